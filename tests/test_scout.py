"""The races of `tpool_asyncio._pool.crew`, each forced into its worst order, and how many threads a burst wakes.

Locks and dicts that run a callback at the critical step take the place of the crew's own.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.plain_job import PlainJob, crew_of, end, join, submit
from tpool_asyncio._pool.crew import HARD_CAP, Crew
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker


class LyingLock:
    """A lock that does something else before it is released."""

    def __init__(self, before_release: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._before_release = [before_release]

    def acquire(self, blocking: bool) -> bool:
        assert not blocking
        return self._lock.acquire(blocking)

    def locked(self) -> bool:
        return self._lock.locked()

    def release(self) -> None:
        if self._before_release:
            self._before_release.pop()()
        self._lock.release()


class LyingDict(dict[Any, None]):
    """A dict that does something else after an item was stored."""

    def __init__(self, after_store: Callable[[], object]) -> None:
        super().__init__()
        self._after_store = [after_store]

    def __setitem__(self, key: Any, value: None) -> None:
        super().__setitem__(key, value)
        if self._after_store:
            self._after_store.pop()()


def never_started(crew: Crew) -> Worker:
    """A member of the crew without a thread, for steps that the test takes in its place."""
    worker = Worker(crew, "nobody", scouting=False)
    crew.workers.add(worker)
    return worker


def test_a_worker_leaves_while_the_submitter_finds_the_crew_full() -> None:
    # (1) The only worker's idle time is over. (2) A job is added; its submitter takes the token and finds neither an
    # idle worker nor room for a new one. (3) The worker leaves; it sees the job but not the token. (4) The submitter
    # gives the token back and must see the room.
    pool = ThreadPool(1)
    crew = crew_of(pool)
    leaving = never_started(crew)
    crew.scout = LyingLock(lambda: crew.leave(leaving))  # type: ignore[assignment]
    assert submit(pool, int).result() == 0
    end(pool)


def test_a_job_is_added_while_the_token_is_on_its_way_back() -> None:
    # (1) A scout finds nothing more to do. (2) Before it gives the token back, a job is added, without the token.
    # (3) The scout gives the token back and must look again.
    pool = ThreadPool(1)
    crew = crew_of(pool)
    job = PlainJob(int)
    crew.scout = LyingLock(lambda: crew.submit(job))  # type: ignore[assignment]
    crew.scout.acquire(False)
    crew.scout_arrived()
    assert job.result() == 0
    end(pool)


def test_a_job_is_added_while_a_worker_goes_idle() -> None:
    # (1) A worker enters ``idle``. (2) A job is added by somebody who does not get the token, so nobody wakes the
    # worker. (3) The worker must look again before it rests.
    pool = ThreadPool(1)
    crew = crew_of(pool)
    worker = never_started(crew)
    crew.scout.acquire(False)
    crew.idle = LyingDict(lambda: crew.submit(PlainJob(int)))
    assert crew.rest(worker) is False
    assert not crew.idle
    crew.queue.clear()
    crew.leave(worker)


def test_a_worker_is_woken_while_it_goes_idle() -> None:
    # (1) A worker enters ``idle``. (2) A job is added with the token, which takes the worker out of ``idle`` and rings
    # its bell. (3) The worker looks again, sees the job but no longer itself, and must take the ring and the token.
    pool = ThreadPool(1)
    crew = crew_of(pool)
    worker = never_started(crew)
    crew.idle = LyingDict(lambda: crew.submit(PlainJob(int)))
    assert crew.rest(worker) is True
    assert not crew.scout.acquire(False)
    crew.queue.clear()
    crew.scout_arrived()
    crew.leave(worker)


@pytest.mark.parametrize("woken", [True, False])
def test_a_worker_is_woken_when_its_idle_time_is_over(woken: bool) -> None:
    # (1) The bell of a worker is not rung in time. (2) Before it steps out of ``idle`` a job is added: with the
    # token, which rings the bell after all, or without. (3) Either way it must not leave.
    pool = ThreadPool(1, idle_timeout=0)
    crew = crew_of(pool)
    worker = never_started(crew)
    if not woken:
        crew.scout.acquire(False)

    class LateBell:
        def __init__(self) -> None:
            self.bell, self.late = worker.bell, True

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if self.late:
                self.late = False
                crew.submit(PlainJob(int))
                return False
            return self.bell.acquire(blocking, timeout)

        def release(self) -> None:
            self.bell.release()

    bell = worker.bell
    worker.bell = LateBell()  # type: ignore[assignment]
    assert crew.rest(worker) is woken
    assert bell.locked()  # for its next rest
    crew.queue.clear()
    crew.scout_arrived()
    crew.leave(worker)


def test_a_job_reaches_a_crew_that_has_been_retired() -> None:
    # (1) A thread loads ``pool.submit``. (2) All crews are dismissed and end. (3) The thread submits its job.
    pool = ThreadPool(1)
    stale = pool.submit
    assert submit(pool, int).result() == 0
    end(pool)
    job = PlainJob(current_worker)
    stale(job)
    worker = job.result()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert worker.crew is not crew_of(pool)
    end(pool)


def test_while_a_scout_is_on_its_way_nobody_wakes_or_starts_anybody() -> None:
    pool = ThreadPool(20)
    crew = crew_of(pool)
    crew.scout.acquire(False)
    jobs = [submit(pool, int) for _ in range(1_000)]
    assert not crew.workers
    crew.scout_arrived()
    for job in jobs:
        job.result()
    end(pool)


def test_blocking_jobs_get_all_the_threads_without_further_submissions() -> None:
    pool = ThreadPool(8)
    gate = Gate()
    jobs = [submit(pool, gate) for _ in range(8)]
    gate.wait_begun(8)
    gate.open()
    for job in jobs:
        job.result()
    end(pool)


def test_a_parked_worker_makes_room_for_another() -> None:
    pool = ThreadPool(1)
    inner = list[PlainJob]()

    def outer() -> Any:
        worker = current_worker()
        assert worker is not None
        inner.append(submit(pool, current_worker))
        with worker.crew.parking(worker):
            other = inner[0].result()
        assert other is not worker
        return other

    other = submit(pool, outer).result()
    while pool.statistics().threads > 1:  # the surplus goes
        pass
    assert (pool.statistics().parked, pool.statistics().submitted) == (0, 2)
    del other
    end(pool)


def test_at_the_end_of_its_parking_a_worker_sends_an_idle_one_away() -> None:
    pool = ThreadPool(1)
    spare, gate = list[Worker](), Gate()

    def outer() -> None:
        worker = current_worker()
        assert worker is not None
        with worker.crew.parking(worker):
            spare.append(submit(pool, current_worker).result())
            while spare[0] not in worker.crew.idle:
                pass
        gate()

    job = submit(pool, outer)
    gate.wait_begun()
    spare[0].join(PATIENCE)
    assert not spare[0].is_alive()
    gate.open()
    job.result()
    end(pool)


def test_a_job_that_waits_gets_the_room_of_a_worker_that_leaves() -> None:
    pool = ThreadPool(1)
    leaving = never_started(crew_of(pool))
    job = submit(pool, int)
    assert not job.delivered.is_set()
    crew_of(pool).leave(leaving)
    assert job.result() == 0
    end(pool)


def test_whether_there_are_too_many_workers_is_known_at_once() -> None:
    # Or else those that are idle would look for their dismissal for ever, or nobody would look.
    pool = ThreadPool(3)
    crew = crew_of(pool)
    one, two, three = (never_started(crew) for _ in range(3))
    pool.resize(2)
    assert crew.dismissing
    with crew.parking(one):
        assert not crew.dismissing
        assert not crew.excuse(two)
    assert crew.dismissing
    assert crew.excuse(one)
    assert not crew.dismissing
    assert not crew.excuse(two)
    crew.leave(one)
    assert (crew.dismissing, crew.excused, crew.workers) == (False, 0, {two, three})
    pool.resize(1)
    assert crew.dismissing
    crew.leave(two)
    assert not crew.dismissing
    crew.leave(three)


def test_too_many_parked_workers_are_an_error_that_names_them() -> None:
    pool = ThreadPool(1, name="deep")
    crew = crew_of(pool)
    worker = never_started(crew)
    worker.job = PlainJob(test_too_many_parked_workers_are_an_error_that_names_them)
    other = never_started(crew)
    other.job = PlainJob(never_started)  # which is not parked, and so not to blame
    with crew.parking(worker):
        assert pool.statistics().parked == 1
        with crew.parking(worker):  # a loop inside a job can wait for several things at once
            assert (crew.parked, pool.statistics().parked) == (1, 1)
        assert pool.statistics().parked == 1
        crew.parked = HARD_CAP
        stuck = r"512 calls of pool 'deep' .*stuck are: [^,]*names_them\."
        with pytest.raises(RuntimeError, match=stuck), crew.parking(worker):
            pass
        crew.parked = 1
    assert pool.statistics().parked == 0
    crew.leave(worker)
    crew.leave(other)


def test_many_threads_submit_to_a_small_pool_that_is_resized_and_dismissed() -> None:
    pool = ThreadPool(3, idle_timeout=0)
    counts = [0] * 8
    stop = threading.Event()

    def submitter(index: int) -> None:
        while not stop.is_set() or counts[index] < 200:
            assert submit(pool, lambda x: x, index).result() == index
            counts[index] += 1

    threads = [threading.Thread(target=submitter, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        pool.resize(1 + turn % 5)
        if turn % 10 == 0:
            end(pool)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    end(pool)
    snapshot = pool.statistics()
    assert (snapshot.completed, snapshot.submitted, snapshot.threads) == (sum(counts), sum(counts), 0)


def test_a_job_that_reaches_a_crew_that_was_forgotten_is_counted_and_waited_for() -> None:
    pool = ThreadPool(1)
    stale = pool.submit
    submit(pool, int).result()
    end(pool)
    gate = Gate()
    stale(PlainJob(gate))
    gate.wait_begun()
    assert pool.statistics().busy == 1
    assert submit(pool, current_worker).result() in crew_of(pool).workers  # which is still the one that takes the calls
    ended = threading.Event()
    farewell = pool.dismiss(ended.set)
    assert not ended.is_set()
    gate.open()
    assert ended.wait(PATIENCE)
    join(farewell)
