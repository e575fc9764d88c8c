"""The pool floor by itself: threads, queue, size, dropped jobs, the end of crews. No event loop anywhere."""

import gc
import math
import threading
import unittest.mock
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tpool_asyncio._pool.crew import Crew
from tpool_asyncio._pool.job import Job, call_name, new_claim
from tpool_asyncio._pool.still_running import running_calls
from tpool_asyncio._pool.thread_pool import Farewell, ThreadPool, current_worker
from tpool_asyncio._pool.worker import Worker


class PlainJob(Job):
    """A job whose outcome goes to whoever calls `result`."""

    def __init__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.claim = new_claim()
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.context = copy_context()
        self.error = None
        self.delivered = threading.Event()

    def deliver(self) -> None:
        self.delivered.set()

    def result(self) -> Any:
        assert self.delivered.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return self.value


@pytest.fixture
def core() -> Iterator[ThreadPool]:
    pool = ThreadPool(2, name="core")
    yield pool
    end(pool)


def submit(pool: ThreadPool, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> PlainJob:
    job = PlainJob(fn, *args, **kwargs)
    pool.submit(job)
    return job


def end(pool: ThreadPool) -> None:
    """Wait until all threads of a pool have ended."""
    ended = threading.Event()
    farewell = pool.dismiss(ended.set)
    assert ended.wait(PATIENCE)
    join(farewell)


def join(farewell: Farewell) -> None:
    """Wait until the threads are gone that a farewell has waited for."""
    for worker in farewell.ended:
        worker.join(PATIENCE)
    assert not farewell.ending()


def crew_of(pool: ThreadPool) -> Crew:
    return pool._crews[-1]


def test_a_job_runs_in_a_thread_of_the_pool(core: ThreadPool) -> None:
    assert core.statistics().threads == 0
    assert submit(core, threading.get_ident).result() != threading.get_ident()
    assert submit(core, lambda: threading.current_thread().name).result() == "core-1"
    assert submit(core, lambda: threading.current_thread().daemon).result()
    assert submit(core, current_worker).result() in crew_of(core).workers
    assert current_worker() is None


def test_arguments_and_outcomes_pass(core: ThreadPool) -> None:
    assert submit(core, dict, [("a", 1)], b=2).result() == {"a": 1, "b": 2}
    with pytest.raises(ZeroDivisionError):
        submit(core, divmod, 1, 0).result()


def test_jobs_start_in_the_order_of_their_submission() -> None:
    pool = ThreadPool(1)
    gate, order = Gate(), list[int]()
    first = submit(pool, gate)
    gate.wait_begun()
    jobs = [submit(pool, order.append, number) for number in range(100)]
    gate.open()
    for job in (first, *jobs):
        job.result()
    assert order == list(range(100))
    end(pool)


def test_no_more_threads_than_the_size(core: ThreadPool) -> None:
    gate = Gate()
    jobs = [submit(core, gate, number) for number in range(5)]
    gate.wait_begun(2)
    snapshot = core.statistics()
    assert (snapshot.threads, snapshot.busy, snapshot.queued, snapshot.idle) == (2, 2, 3, 0)
    assert gate.calls == 2
    gate.open()
    assert [job.result() for job in jobs] == list(range(5))


def test_an_idle_thread_is_taken_before_a_new_one(core: ThreadPool) -> None:
    for _ in range(20):
        submit(core, int).result()
        # The worker delivers before it goes idle; only then can it be taken again.
        while not crew_of(core).idle:
            pass
    assert core.statistics().threads == 1


def test_statistics_are_frozen_and_add_up(core: ThreadPool) -> None:
    gate = Gate()
    for job in [submit(core, int), submit(core, divmod, 1, 0)]:
        job.delivered.wait(PATIENCE)
    running = submit(core, gate)
    gate.wait_begun()
    snapshot = core.statistics()
    assert snapshot == (2, snapshot.threads, snapshot.threads - 1, 1, 0, 0, 0, 3, 1, 1, 0)
    with pytest.raises(AttributeError):
        snapshot.size = 3  # type: ignore[misc]
    gate.open()
    running.result()
    assert core.statistics().completed == 2


def test_a_larger_size_takes_effect_at_once(core: ThreadPool) -> None:
    for grow in (core.resize, core.set_size):
        gate = Gate()
        size = core.size
        jobs = [submit(core, gate) for _ in range(size + 2)]
        gate.wait_begun(size)
        grow(size + 2)
        gate.wait_begun(2)
        assert core.statistics().busy == size + 2
        gate.open()
        for job in jobs:
            job.result()


def test_resize_sends_surplus_threads_away_when_they_finish() -> None:
    pool = ThreadPool(4)
    gate = Gate()
    jobs = [submit(pool, gate) for _ in range(4)]
    gate.wait_begun(4)
    threads = list(crew_of(pool).workers)
    pool.resize(1)
    assert pool.statistics().threads == 4
    gate.open()
    for job in jobs:
        job.result()
    while pool.statistics().threads > 1:
        pass
    assert submit(pool, current_worker).result() in threads
    end(pool)


def test_resize_sends_idle_threads_away() -> None:
    pool = ThreadPool(4)
    pool.start_all()
    threads = list(crew_of(pool).workers)
    assert len(threads) == 4
    pool.resize(1)
    while len([thread for thread in threads if thread.is_alive()]) > 1:
        pass
    assert submit(pool, int).result() == 0
    end(pool)


def test_a_lower_size_waits_for_the_next_crew(core: ThreadPool) -> None:
    core.start_all()
    core.set_size(1)
    assert core.size == 1
    gate = Gate()
    jobs = [submit(core, gate) for _ in range(3)]
    gate.wait_begun(2)
    assert core.statistics().busy == 2
    gate.open()
    for job in jobs:
        job.result()
    end(core)
    gate = Gate()
    jobs = [submit(core, gate) for _ in range(3)]
    gate.wait_begun()
    assert core.statistics().threads == 1
    gate.open()
    for job in jobs:
        job.result()


def test_size_0_runs_in_the_calling_thread_and_warns_once() -> None:
    pool = ThreadPool(0, name="none")
    with pytest.warns(RuntimeWarning, match="pool 'none' has no threads"):
        assert submit(pool, threading.get_ident).result() == threading.get_ident()
    job = submit(pool, divmod, 1, 0)  # a second warning would be an error
    with pytest.raises(ZeroDivisionError):
        job.result()
    snapshot = pool.statistics()
    assert (snapshot.threads, snapshot.completed, snapshot.failed) == (0, 1, 1)
    pool.resize(1)
    assert submit(pool, threading.get_ident).result() != threading.get_ident()
    gate = Gate()
    job = submit(pool, gate)
    gate.wait_begun()
    pool.resize(0)  # with a job that runs
    with pytest.warns(RuntimeWarning):
        assert submit(pool, threading.get_ident).result() == threading.get_ident()
    gate.open()
    job.result()
    end(pool)


@pytest.mark.parametrize("size", [-1, 1.5, "3", None, True])
def test_a_bad_size_leaves_the_pool_as_it_was(core: ThreadPool, size: Any) -> None:
    for change in (core.set_size, core.resize, ThreadPool):
        with pytest.raises(ValueError, match="whole number, 1 or more"):
            change(size)
    assert core.size == 2
    assert submit(core, int).result() == 0


def test_bad_constructor_arguments() -> None:
    with pytest.raises(TypeError, match="name must be a string"):
        ThreadPool(1, name=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="idle_timeout must be a number of seconds"):
        ThreadPool(1, idle_timeout="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exit_grace must be 0 seconds or more"):
        ThreadPool(1, exit_grace=-1)
    with pytest.raises(ValueError, match="not nan"):
        ThreadPool(1, exit_grace=float("nan"))


def test_idle_threads_end_after_the_idle_timeout() -> None:
    pool = ThreadPool(2, idle_timeout=0.01)
    for _ in range(3):
        worker = submit(pool, current_worker).result()
        worker.join(PATIENCE)
        assert not worker.is_alive()
        assert pool.statistics().threads == 0
    assert pool.statistics().completed == 3
    end(pool)


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
    assert pool.statistics() == (1, 0, 0, 0, 0, 0, 0, 5_001, 51, 0, 4_950)


def test_a_thread_that_cannot_be_started_with_others_there(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    first = submit(core, gate)
    gate.wait_begun()
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", _cannot_start)
        second = submit(core, int)
        assert not second.delivered.is_set()
    gate.open()
    assert second.result() == 0
    first.result()


def test_a_thread_that_cannot_be_started_with_none_there(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", _cannot_start)
        job = submit(core, int)
        with pytest.raises(RuntimeError, match=r"no thread could be started.*\(can't start new thread\)") as caught:
            job.result()
        assert str(caught.value.__cause__) == "can't start new thread"
        with pytest.raises(RuntimeError, match="can't start new thread"):
            core.start_all()
    assert core.statistics()[1:] == (0, 0, 0, 0, 0, 0, 1, 0, 1, 0)
    assert submit(core, int).result() == 0


def test_a_farewell_does_not_wait_for_a_thread_that_cannot_be_started(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = core.submit
    worker = submit(core, current_worker).result()
    end(core)
    assert not worker.is_alive()
    crew, ended = worker.crew, threading.Event()
    job = PlainJob(int)
    crew.scout.acquire(False)
    stale(job)  # to a crew that has ended; and no scout can go yet
    with core.lock:
        core.keep(crew)
    core.dismiss(ended.set)
    assert not ended.is_set()
    monkeypatch.setattr(Worker, "start", _cannot_start)
    crew.scout_arrived()
    with pytest.raises(RuntimeError, match="no thread could be started"):
        job.result()
    assert ended.is_set()


def test_a_job_that_reaches_a_pool_while_its_size_becomes_0(core: ThreadPool) -> None:
    for become_0 in (core.resize, core.set_size):
        stale = core.submit
        become_0(0)
        job = PlainJob(threading.get_ident)
        stale(job)
        assert job.result() != threading.get_ident()
        core.resize(2)
    assert core.statistics().completed == 2


def test_a_dropped_job_is_not_failed_when_no_thread_can_be_started(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "start", _cannot_start)
    job = PlainJob(int)
    assert job.drop()
    core.dropped()
    core.submit(job)
    assert not job.delivered.is_set()
    assert core.statistics().queued == 0


def _cannot_start(self: Worker) -> None:
    raise RuntimeError("can't start new thread")


def test_dismiss_runs_what_is_queued_and_the_next_job_starts_afresh(core: ThreadPool) -> None:
    gate, ended = Gate(), threading.Event()
    jobs = [submit(core, gate, number) for number in range(5)]
    gate.wait_begun(2)
    old = set(crew_of(core).workers)
    farewell = core.dismiss(ended.set)
    assert submit(core, current_worker).result() not in old
    assert not ended.is_set()
    gate.open()
    assert ended.wait(PATIENCE)
    join(farewell)
    assert [job.result() for job in jobs] == list(range(5))
    assert not any(worker.is_alive() for worker in old)
    assert core.statistics().completed == 6


def test_dismiss_twice_and_with_nothing_to_do(core: ThreadPool) -> None:
    end(core)
    gate, both = Gate(), threading.Semaphore(0)
    job = submit(core, gate)
    gate.wait_begun()
    core.dismiss(both.release)
    core.dismiss(both.release)
    assert not both.acquire(timeout=0)
    gate.open()
    assert both.acquire(timeout=PATIENCE)
    assert both.acquire(timeout=PATIENCE)
    job.result()


def test_a_worker_of_the_next_crew_ends_while_a_farewell_waits() -> None:
    pool = ThreadPool(1, idle_timeout=0)
    gate, ended = Gate(), threading.Event()
    job = submit(pool, gate)
    gate.wait_begun()
    farewell = pool.dismiss(ended.set)
    submit(pool, current_worker).result().join(PATIENCE)
    assert (ended.is_set(), farewell.ended) == (False, [])
    gate.open()
    job.result()
    assert ended.wait(PATIENCE)
    assert len(farewell.ended) == 1
    join(farewell)
    end(pool)


def test_detach_names_what_runs_and_completes_the_farewells_of_others(core: ThreadPool) -> None:
    gate, ended, other_ended = Gate(), threading.Event(), threading.Event()
    jobs = [submit(core, gate), submit(core, gate)]
    gate.wait_begun(2)
    farewell = core.dismiss(ended.set)
    core.dismiss(other_ended.set)
    calls = core.detach(farewell)
    assert [call.name for call in calls] == ["tests.gate.Gate"] * 2
    assert {call.thread for call in calls} == {"core-1", "core-2"}
    assert all("in __call__" in call.stack and "in thread core" in str(call) for call in calls)
    assert other_ended.wait(PATIENCE)
    assert not ended.is_set()
    assert (core.statistics().threads, core.statistics().submitted) == (0, 2)
    gate.open()
    for job in jobs:
        job.result()
    while core.statistics().completed < 2:
        pass
    assert core.statistics().submitted == 2


def test_a_worker_that_runs_nothing_is_not_named(core: ThreadPool) -> None:
    worker = submit(core, current_worker).result()
    while worker.job is not None:
        pass
    assert running_calls([worker]) == []


def test_close_refuses_further_calls(core: ThreadPool) -> None:
    gate = Gate()
    job = submit(core, gate)
    gate.wait_begun()
    ended = threading.Event()
    core.close(RuntimeError("over"), ended.set)
    with pytest.raises(RuntimeError, match="over"):
        submit(core, int)
    gate.open()
    job.result()
    assert ended.wait(PATIENCE)


def test_refuse_until_a_size_is_set(core: ThreadPool) -> None:
    stale = core._refuse
    core.refuse(ValueError("bad size"))
    for _ in range(2):
        with pytest.raises(ValueError, match="bad size"):
            submit(core, int)
    core.set_size(1)
    assert submit(core, int).result() == 0
    job = PlainJob(int)
    stale(job)  # what a thread does that loaded it just before the size was set
    assert job.result() == 0


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


def test_times_without_end(core: ThreadPool) -> None:
    pool = ThreadPool(1, idle_timeout=math.inf, exit_grace=math.inf)
    assert submit(pool, int).result() == 0
    while not crew_of(pool).idle:
        pass
    assert submit(pool, int).result() == 0
    assert pool.statistics().threads == 1
    end(pool)


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


def test_setup_and_a_submitter_fail_to_start_a_thread_at_once(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # (1) `start_all` counts its worker and is about to start it. (2) The start of a submitter fails; it relies on that
    # worker. (3) The start of that worker fails, too, and the job must not be left.
    jobs = list[PlainJob]()

    def start(self: Worker) -> None:
        if not jobs:
            jobs.append(submit(core, int))
        _cannot_start(self)

    monkeypatch.setattr(Worker, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        core.start_all()
    with pytest.raises(RuntimeError, match="no thread could be started"):
        jobs[0].result()


def test_a_call_in_place_that_ends_while_a_farewell_waits() -> None:
    pool = ThreadPool(0)
    gate, ended = Gate(), threading.Event()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        in_place = threading.Thread(target=submit, args=(pool, gate))
        in_place.start()
        gate.wait_begun()
    pool.resize(1)
    other_gate = Gate()
    job = submit(pool, other_gate)
    other_gate.wait_begun()
    farewell = pool.dismiss(ended.set)
    gate.open()
    in_place.join(PATIENCE)
    other_gate.open()
    job.result()
    assert ended.wait(PATIENCE)
    join(farewell)
    assert pool.statistics().completed == 2


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


def test_names_of_calls() -> None:
    import functools

    assert call_name(len) == "len"
    assert call_name(Gate().open) == "tests.gate.Gate.open"
    assert call_name(functools.partial(functools.partial(end))) == "tests.test_pool_floor.end"
    assert call_name(Gate()) == "tests.gate.Gate"
    assert call_name(unittest.mock.Mock()) == "unittest.mock.Mock"  # has any attribute one asks for
    assert call_name(Prickly()) == "tests.test_pool_floor.Prickly"
    assert PlainJob(len).name == "len"
    job = PlainJob(len)
    assert job.drop()
    assert job.name == "a call that has ended"
    assert not job.unwanted
    job.disown()
    with pytest.raises(NotImplementedError):
        Job().deliver()
