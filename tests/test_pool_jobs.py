"""The pool floor: what becomes of a job, its references, its name, and of dropped jobs."""

import functools
import gc
import unittest.mock
import weakref

import pytest

from tests.gate import PATIENCE, Gate
from tests.plain_job import PlainJob, crew_of, end, submit
from tpool_asyncio._pool.job import Job, call_name
from tpool_asyncio._pool.thread_pool import ThreadPool


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
    assert pool.statistics() == (1, 0, 0, 0, 0, 0, 0, 5_001, 51, 0, 4_950, 0)


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
