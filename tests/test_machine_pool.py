"""The pool against a simple model of it: whatever is done, the right jobs run in their order, and the counts are exact.

After each step the pool comes to rest, since each job does nothing but wait for what it is told. The model says what
must run then. ``TPOOL_TESTS=long`` searches a hundred times as long.
"""

import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.effort import LONG, few_examples
from tests.gate import PATIENCE
from tests.plain_job import PlainJob
from tpool_asyncio._pool import thread_pool
from tpool_asyncio._pool.thread_pool import Farewell, ThreadPool
from tpool_asyncio._pool.worker import current_worker

sizes = st.integers(1, 4)


class ObedientJob(PlainJob):
    """A job that does what it is told, and that knows what became of it."""

    def __init__(self, number: int) -> None:
        super().__init__(self._obey)
        self.number = number
        self.orders: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.begun = 0
        self.deliveries = 0
        self.over = False
        self.parked = False
        self.unpark = threading.Semaphore(0)

    def deliver(self) -> None:
        self.deliveries += 1
        super().deliver()

    def park(self) -> None:
        worker = current_worker()
        assert worker is not None
        with worker.crew.parking(worker):
            assert self.unpark.acquire(timeout=PATIENCE)

    def end(self) -> None:
        self.over = True

    def fail(self) -> None:
        raise ArithmeticError(self.number)

    def _obey(self) -> int:
        self.begun += 1
        while not self.over:
            self.orders.get()()
        return self.number


class ModelCrew:
    """What a crew must have: the rest follows."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.queue: list[ObedientJob] = []
        self.running: list[ObedientJob] = []
        self.used = False
        self.retired = False
        self.detached = False

    def active(self) -> int:
        return sum(not job.parked for job in self.running)

    def go_on(self) -> None:
        while self.queue and self.active() < self.size:
            self.running.append(self.queue.pop(0))


class PoolMachine(RuleBasedStateMachine):
    """Each rule does a thing to the pool and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = ThreadPool(2, name="machine")
        self.size = 2
        self.crews = [ModelCrew(2)]
        self.farewells: list[tuple[Farewell, threading.Event, list[ModelCrew], list[int]]] = []
        self.jobs: list[ObedientJob] = []
        self.dropped: list[ObedientJob] = []
        self.ended: list[ObedientJob] = []
        self.failed: list[ObedientJob] = []
        self.in_place = 0

    # Jobs

    @rule()
    def submit(self) -> None:
        crew = self.crews[-1]
        job = ObedientJob(len(self.jobs))
        if crew.size == 0:
            job.over = True
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                self.pool.submit(job)
            assert job.result() == job.number
            self.in_place += 1
            return
        self.jobs.append(job)
        crew.queue.append(job)
        crew.used = True
        self.pool.submit(job)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.waiting()), "job")
        assert job.drop()
        assert job.fn is None
        self.pool.dropped()
        for crew in self.crews:
            if job in crew.queue:
                crew.queue.remove(job)
        self.dropped.append(job)

    @precondition(lambda self: self.awake())
    @rule(data=st.data(), fails=st.booleans())
    def end(self, data: st.DataObject, fails: bool) -> None:
        job = data.draw(st.sampled_from(self.awake()), "job")
        assert not job.drop()
        for crew in self.crews:
            if job in crew.running:
                crew.running.remove(job)
        (self.failed if fails else self.ended).append(job)
        job.orders.put(job.fail if fails else job.end)

    @precondition(lambda self: self.awake())
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.awake()), "job")
        job.parked = True
        job.orders.put(job.park)

    @precondition(lambda self: self.parked())
    @rule(data=st.data())
    def unpark(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.parked()), "job")
        job.parked = False
        job.unpark.release()

    # The pool

    @rule(size=sizes)
    def resize(self, size: int) -> None:
        self.pool.resize(size)
        self.size = self.crews[-1].size = size

    @rule(size=sizes)
    def set_size(self, size: int) -> None:
        self.pool.set_size(size)
        self.size = size
        crew = self.crews[-1]
        if size > crew.size or not crew.used:
            crew.size = size

    @rule()
    def do_without_threads(self) -> None:
        self.pool.resize(0)
        self.size = 0
        self.crews[-1].retired = True
        self.crews.append(ModelCrew(0))

    @rule(size=st.sampled_from([-1, 1.5, "2", None, True]), at_once=st.booleans())
    def refuse_a_size(self, size: Any, at_once: bool) -> None:
        with pytest.raises(ValueError, match="whole number"):
            (self.pool.resize if at_once else self.pool.set_size)(size)

    @rule()
    def start_all(self) -> None:
        self.pool.start_all()
        if self.crews[-1].size:
            self.crews[-1].used = True

    @rule()
    def dismiss(self) -> None:
        ended = threading.Event()
        told: list[int] = []
        farewell = self.pool.dismiss(lambda: (told.append(1), ended.set()))
        for crew in self.crews:
            crew.retired = True
        self.farewells.append((farewell, ended, [crew for crew in self.crews if not crew.detached], told))
        self.crews.append(ModelCrew(self.size))

    @precondition(lambda self: self.farewells)
    @rule(data=st.data())
    def detach(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.farewells) - 1), "farewell")
        farewell, ended, crews, told = self.farewells.pop(index)
        calls = self.pool.detach(farewell)
        assert sorted(call.name for call in calls) == sorted(
            job.name for crew in crews for job in crew.running if not crew.detached
        )
        for crew in crews:
            crew.detached = True
        for other in self.farewells:
            other[2][:] = [crew for crew in other[2] if not crew.detached]
        assert len(told) == ended.is_set()

    # What must hold

    def waiting(self) -> list[ObedientJob]:
        return [job for crew in self.crews for job in crew.queue]

    def awake(self) -> list[ObedientJob]:
        return [job for crew in self.crews for job in crew.running if not job.parked]

    def parked(self) -> list[ObedientJob]:
        return [job for crew in self.crews for job in crew.running if job.parked]

    @invariant()
    def the_pool_is_as_the_model_says(self) -> None:
        for crew in self.crews:
            crew.go_on()
        deadline = time.monotonic() + PATIENCE
        while (found := self.found()) != (expected := self.expected()) and time.monotonic() < deadline:
            time.sleep(0.0002)
        assert found == expected
        snapshot = self.pool.statistics()
        assert snapshot.threads == snapshot.idle + snapshot.busy + snapshot.parked
        assert snapshot.idle >= 0
        for job in (*self.ended, *self.failed):
            assert (job.begun, job.deliveries) == (1, 1)
            assert job.error is None if job in self.ended else isinstance(job.error, ArithmeticError)
        assert not any(job.begun or job.deliveries for job in (*self.dropped, *self.waiting()))
        for worker in (worker for crew in self.pool._all_crews() for worker in crew.workers):
            assert worker.is_alive() or not worker.ident  # one that is about to start has no number yet

    def expected(self) -> dict[str, Any]:
        counted = [crew for crew in self.crews if not crew.detached]
        running = [job for crew in counted for job in crew.running]
        parked = [job for job in running if job.parked]
        return {
            "begun": {job.number for crew in self.crews for job in crew.running},
            "size": self.size,
            "busy": len(running) - len(parked),
            "parked": len(parked),
            "queued": len(self.waiting()),
            "completed": len(self.ended) + self.in_place,
            "failed": len(self.failed),
            "cancelled": len(self.dropped),
            "submitted": len(self.jobs) + self.in_place,
            "told": [not any(crew.queue or crew.running for crew in crews) for _, _, crews, _ in self.farewells],
            "retired threads": sum(len(crew.running) for crew in counted if crew.retired),
            "too many threads": False,
            "token free": True,
        }

    def found(self) -> dict[str, Any]:
        snapshot = self.pool.statistics()
        crew, model = self.pool._crews[-1], self.crews[-1]
        return {
            "begun": {
                job.number for job in self.jobs if job.begun and job not in self.ended and job not in self.failed
            },
            **{name: getattr(snapshot, name) for name in ("size", "busy", "parked", "queued")},
            **{name: getattr(snapshot, name) for name in ("completed", "failed", "cancelled", "submitted")},
            "told": [ended.is_set() for _, ended, _, _ in self.farewells],
            "retired threads": snapshot.threads - len(crew.workers),
            "too many threads": len(crew.workers) - crew.parked > max(model.size, model.active()),
            "token free": not any(crew.scout.locked() for crew in self.pool._all_crews()),
        }

    def teardown(self) -> None:
        self.size = self.size or 1
        while self.waiting() or self.awake() or self.parked():
            for job in self.parked():
                job.parked = False
                job.unpark.release()
            for crew in self.crews:
                for job in crew.running:
                    job.orders.put(job.end)
                    self.ended.append(job)
                crew.running.clear()
                crew.go_on()
        workers = [worker for crew in self.pool._all_crews() for worker in crew.workers]
        ended = threading.Event()
        farewell = self.pool.dismiss(ended.set)
        assert ended.wait(PATIENCE)
        for worker in (*workers, *farewell.ended):
            worker.join(PATIENCE)
        for job in self.ended:
            assert job.result() == job.number
        for _, told_event, _, told in self.farewells:
            assert told_event.wait(PATIENCE)
            assert told == [1]
        assert self.pool.statistics()[1:] == (
            *(0, 0, 0, 0, 0, 0, len(self.jobs) + self.in_place, len(self.ended) + self.in_place),
            *(len(self.failed), len(self.dropped), 0),
        )


@contextmanager
def sweeping_from(number: int) -> Iterator[None]:
    before = thread_pool._SWEEP_FROM
    thread_pool._SWEEP_FROM = number
    try:
        yield
    finally:
        thread_pool._SWEEP_FROM = before


@pytest.mark.timeout(3_600 if LONG else 60)
@pytest.mark.parametrize("sweep_from", [2, 1_000], ids=["swept early", "never swept"])
def test_the_pool_does_what_its_model_does(sweep_from: int) -> None:
    with sweeping_from(sweep_from):
        run_state_machine_as_test(PoolMachine, settings=few_examples(40, steps=30))
