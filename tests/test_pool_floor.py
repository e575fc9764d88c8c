"""The pool floor by itself: threads, queue and size. No event loop anywhere."""

import math
import threading
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.plain_job import crew_of, end, submit
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker


def test_a_job_runs_in_a_thread_of_the_pool(core: ThreadPool) -> None:
    assert core.statistics().threads == 0
    assert submit(core, threading.get_ident).result() != threading.get_ident()
    assert submit(core, lambda: threading.current_thread().name).result() in ("core-1", "core-2")
    assert submit(core, lambda: threading.current_thread().daemon).result()
    assert submit(core, current_worker).result() in crew_of(core).workers
    assert current_worker() is None


def test_arguments_and_outcomes_pass(core: ThreadPool) -> None:
    assert submit(core, dict, [("a", 1)], b=2).result() == {"a": 1, "b": 2}
    with pytest.raises(ZeroDivisionError):
        submit(core, divmod, 1, 0).result()


def test_a_thread_that_has_not_been_started(core: ThreadPool) -> None:
    worker = Worker(crew_of(core), "nobody", scouting=False)
    assert (worker.ident, worker.is_alive()) == (None, False)


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
    assert snapshot == (2, snapshot.threads, snapshot.threads - 1, 1, 0, 0, 0, 3, 1, 1, 0, 0)
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
    assert submit(pool, current_worker).result() in threads
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


def test_times_that_nobody_has_given(core: ThreadPool) -> None:
    assert (core.idle_timeout, core.exit_grace) == (-1, 5.0)
    assert ThreadPool(1, exit_grace=None).exit_grace is None


def test_times_without_end(core: ThreadPool) -> None:
    pool = ThreadPool(1, idle_timeout=math.inf, exit_grace=math.inf)
    assert submit(pool, int).result() == 0
    while not crew_of(pool).idle:
        pass
    assert submit(pool, int).result() == 0
    assert pool.statistics().threads == 1
    end(pool)
