"""The pool floor: what becomes of a job, its references, its name, and of dropped jobs."""

import functools
import gc
import threading
import unittest.mock
import weakref
from collections import deque
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.plain_job import PlainJob, crew_of, end, submit
from tpool_asyncio._pool.crew import Crew
from tpool_asyncio._pool.job import Job, call_name
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker


class Thing:
    """Something that tells by a weak reference whether it is still there."""


def test_function_and_arguments_are_let_go_before_the_outcome_is_delivered(core: ThreadPool) -> None:
    class Watching(PlainJob):
        def deliver(self) -> None:
            self.left = [reference() for reference in references]
            super().deliver()

    things = [Thing(), Thing()]
    references = [weakref.ref(thing) for thing in things]
    job = Watching(lambda *_, **__: None, things.pop(), key=things.pop())
    core.submit(job)
    job.result()
    assert job.left == [None, None]


def test_an_error_keeps_nothing_alive_once_it_is_gone(core: ThreadPool) -> None:
    things = [Thing(), Thing()]
    references = [weakref.ref(thing) for thing in things]
    job = submit(core, divmod, things.pop(), things.pop())
    job.delivered.wait(PATIENCE)
    gc.disable()
    try:
        job.error = None
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_a_resting_worker_keeps_nothing_alive(core: ThreadPool) -> None:
    thing = Thing()
    reference = weakref.ref(thing)
    job = submit(core, lambda thing: thing, thing)
    assert job.result() is thing
    del job, thing
    while not crew_of(core).idle:
        pass
    assert reference() is None


def test_traceback_of_an_error_starts_in_the_code_of_the_user(core: ThreadPool) -> None:
    def fail() -> None:
        raise LookupError

    job = submit(core, fail)
    job.delivered.wait(PATIENCE)
    assert job.error is not None
    assert job.error.__traceback__ is not None
    assert job.error.__traceback__.tb_frame.f_code is fail.__code__


def test_an_outcome_that_cannot_be_delivered_kills_no_thread(
    core: ThreadPool, caplog: pytest.LogCaptureFixture
) -> None:
    class Undeliverable(PlainJob):
        def deliver(self) -> None:
            raise SystemExit

    core.resize(1)
    core.submit(Undeliverable(int))
    assert submit(core, int).result() == 0
    assert "could not be delivered" in caplog.text
    assert core.statistics().threads == 1


def test_a_caller_that_cannot_be_woken_kills_no_thread(core: ThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    class Unwakeable(PlainJob):
        def deliver(self) -> Any:
            super().deliver()
            return lambda: divmod(1, 0)

    core.resize(1)
    gate = Gate()
    blocker = submit(core, gate)
    gate.wait_begun()
    for _ in range(2):  # after the second one there is nothing more to do
        core.submit(Unwakeable(int))
    worker = submit(core, current_worker)
    core.submit(Unwakeable(int))
    gate.open()
    blocker.result()
    while not crew_of(core).idle:
        pass
    assert submit(core, current_worker).result() is worker.result()
    assert [record.getMessage() for record in caplog.records] == ["the outcome of a call could not be delivered"] * 3


def test_the_worker_lets_go_of_a_job_before_it_wakes_the_caller(core: ThreadPool) -> None:
    left = list[object]()

    class Waking(PlainJob):
        def deliver(self) -> Any:
            reference = weakref.ref(self)
            return lambda: left.append(reference())

    core.resize(1)
    gate = Gate()
    blocker = submit(core, gate)
    gate.wait_begun()
    for _ in range(2):  # after the second one there is nothing more to do
        core.submit(Waking(int))
    gate.open()
    blocker.result()
    end(core)
    assert left == [None, None]


def test_a_job_that_comes_as_the_last_one_ends_runs_when_the_caller_has_been_woken(core: ThreadPool) -> None:
    # (1) A worker finds that there is nothing more to do, so the caller is to be woken later. (2) A job is added.
    # (3) The worker takes that job, and must not run it before it has woken the caller.
    woken, late = threading.Event(), list[PlainJob]()
    following = PlainJob(woken.is_set)

    class LyingQueue(deque[Any]):
        def __len__(self) -> int:
            length = super().__len__()
            if late:
                self.append(late.pop())
            return length

    class Waking(PlainJob):
        def deliver(self) -> Any:
            late.append(following)
            return woken.set

    crew_of(core).queue = LyingQueue()
    core.submit(Waking(int))
    assert following.result() is True


def test_a_scout_finds_that_another_worker_was_faster(core: ThreadPool) -> None:
    # (1) A worker sees a job in the queue. (2) Another one takes it. (3) The first one must bring back the token.
    taken = list[PlainJob]()

    class LyingQueue(deque[Any]):
        def popleft(self) -> Any:
            if not taken:
                taken.append(super().popleft())
            return super().popleft()

    crew_of(core).queue = LyingQueue()
    job = submit(core, int)
    while not taken:
        pass
    assert submit(core, int).result() == 0
    core.submit(job)
    assert job.result() == 0


def test_an_error_that_does_not_show_its_traceback(core: ThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    refusals = [LookupError()]

    class SecretiveError(Exception):
        @property
        def __traceback__(self) -> Any:  # type: ignore[override]
            if refusals:
                raise refusals.pop()

    def fail() -> None:
        raise SecretiveError

    job = submit(core, fail)
    assert job.delivered.wait(PATIENCE)
    assert isinstance(job.error, SecretiveError)
    assert submit(core, int).result() == 0
    (record,) = caplog.records
    assert record.getMessage() == f"an exception of the type {SecretiveError.__qualname__} could not be prepared"


def test_a_worker_that_dies_wakes_its_caller(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    woken, died = threading.Event(), list[object]()

    class Waking(PlainJob):
        def deliver(self) -> Any:
            return woken.set

    def rest(self: Crew, worker: Worker) -> bool:
        self.idle[worker] = None
        raise MemoryError

    monkeypatch.setattr(threading, "excepthook", died.append)
    with monkeypatch.context() as patch:
        patch.setattr(Crew, "rest", rest)
        core.submit(Waking(int))
        assert woken.wait(PATIENCE)
        while core.statistics().threads:
            pass
    assert submit(core, int).result() == 0
    while not died:
        pass


def test_a_dropped_job_never_runs(core: ThreadPool) -> None:
    gate, ran = Gate(), list[int]()
    blockers = [submit(core, gate) for _ in range(2)]
    gate.wait_begun(2)
    job = PlainJob(ran.append, 1)
    core.submit(job)
    assert job.drop()
    core.dropped()
    assert (core.statistics().queued, core.statistics().cancelled) == (0, 1)
    gate.open()
    for blocker in (*blockers, submit(core, int)):
        blocker.result()
    end(core)
    assert ran == []
    assert (core.statistics().submitted, core.statistics().completed) == (4, 3)
    assert core._dropped == 0


def test_dropped_jobs_do_not_pile_up_in_a_pool_that_is_stuck() -> None:
    pool = ThreadPool(1)
    gate, order = Gate(), list[int]()
    blocker = submit(pool, gate)
    gate.wait_begun()
    for number in range(5_000):
        job = PlainJob(order.append, number)
        pool.submit(job)
        if number % 100:
            assert job.drop()
            pool.dropped()
    assert len(crew_of(pool).queue) < 2_500
    assert pool.statistics().queued == 50
    gate.open()
    blocker.result()
    end(pool)
    assert order == list(range(0, 5_000, 100))
    assert pool.statistics() == (1, 0, 0, 0, 0, 0, 0, 5_001, 51, 0, 4_950, 0)


@pytest.mark.parametrize(("queued", "dropped"), [(10, 10), (15, 10), (40, 20)])
def test_queues_are_swept_when_enough_has_been_dropped_and_half_of_them(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch, queued: int, dropped: int
) -> None:
    monkeypatch.setattr("tpool_asyncio._pool.thread_pool._SWEEP_FROM", 10)
    core.resize(1)
    gate = Gate()
    blocker = submit(core, gate)
    gate.wait_begun()
    jobs = [submit(core, int) for _ in range(queued)]
    for job in jobs[: dropped - 1]:
        assert job.drop()
        core.dropped()
    assert list(crew_of(core).queue) == jobs
    assert jobs[dropped - 1].drop()
    core.dropped()
    assert list(crew_of(core).queue) == jobs[dropped:]
    assert (core._dropped, core.statistics().queued) == (0, queued - dropped)
    gate.open()
    for job in (blocker, *jobs[dropped:]):
        job.result()


class Prickly:
    """Something callable that lets nobody look at it."""

    def __getattr__(self, name: str) -> object:
        raise LookupError(name)

    def __call__(self) -> None:
        raise ValueError("odd")


def test_a_failing_function_that_has_odd_attributes(core: ThreadPool) -> None:
    for fn in (Prickly(), unittest.mock.Mock(side_effect=ValueError("odd"))):
        job = submit(core, fn)
        with pytest.raises(ValueError, match="odd"):
            job.result()
    assert submit(core, int).result() == 0


def test_a_failed_call_leaves_no_reference_cycle(core: ThreadPool) -> None:
    def fail(thing: Thing) -> None:
        raise LookupError

    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            thing = Thing()
            reference = weakref.ref(thing)
            job = submit(core, fail, thing)
            job.delivered.wait(PATIENCE)
            del job, thing
            while reference() is not None and crew_of(core).idle.keys() != crew_of(core).workers:
                pass  # until the worker has come back from delivering
            assert reference() is None
    finally:
        gc.enable()


def test_names_of_calls() -> None:

    assert call_name(len) == "len"
    assert call_name(str.upper) == "str.upper"  # has no module
    assert call_name(Gate().open) == "tests.gate.Gate.open"
    assert call_name(functools.partial(functools.partial(end))) == "tests.plain_job.end"
    assert call_name(Gate()) == "tests.gate.Gate"
    assert call_name(unittest.mock.Mock()) == "unittest.mock.Mock"  # has any attribute one asks for
    assert call_name(Prickly()) == "tests.test_pool_jobs.Prickly"
    assert PlainJob(len).name == "len"
    job = PlainJob(len)
    assert job.drop()
    assert job.name == "a call that has ended"
    assert not job.unwanted
    job.disown()
    with pytest.raises(NotImplementedError):
        Job().deliver()


def test_dropped_jobs_of_a_detached_crew_are_swept_too() -> None:
    pool = ThreadPool(1)
    gate = Gate()
    blocker = submit(pool, gate)
    gate.wait_begun()
    jobs = [submit(pool, int) for _ in range(3_000)]
    old = crew_of(pool)
    pool.detach(pool.dismiss(lambda: None))
    for job in jobs:
        assert job.drop()
        pool.dropped()
    assert len(old.queue) < 1_500
    gate.open()
    blocker.result()
    while old.workers:
        pass
    assert (pool.statistics().cancelled, pool.statistics().queued) == (3_000, 0)


class Proxy:
    """Like a context-local proxy that is bound to nothing."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("unbound")

    def __call__(self) -> None:
        raise LookupError


def test_a_callable_that_does_not_tell_its_class(core: ThreadPool) -> None:
    assert call_name(Proxy()) == "tests.test_pool_jobs.Proxy"
    with pytest.raises(LookupError):
        submit(core, Proxy()).result()
