"""Small programs over the crews of a pool, whose schedules are explored."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.schedule_copies import Copy, now
from tests.schedule_world import Flag, World, meeting
from tests.schedules import Scheduler

__all__ = ["CREW_CASES"]


def _both(first: Callable[[], object], second: Callable[[], object]) -> None:
    first()
    second()


def two_jobs(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two threads submit a job each, and the jobs need one another."""
    world = World(copy, scheduler)
    world.make_pool(2)
    for fn in meeting(2):
        world.thread(partial(world.submit, fn))
    return lambda: world.check(threads=2)


def short_jobs(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two threads submit two short jobs each to one worker, which goes idle in between."""
    world = World(copy, scheduler)
    world.make_pool(1)
    world.thread(lambda: (world.submit(), world.submit()))
    world.thread(lambda: world.submit())
    return lambda: world.check(threads=1)


def caller_comes_back(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A caller waits for each of its calls, and is woken when the worker of the call is idle already."""
    world = World(copy, scheduler)
    world.make_pool(2)
    outcomes = [Flag(), Flag(), Flag()]
    deliver = world._job_type.deliver

    def deliver_and_wake(job: Any) -> Callable[[], object]:
        deliver(job)
        return outcomes[world.jobs.index(job)].set

    world._job_type.deliver = deliver_and_wake

    def user() -> None:
        for outcome in outcomes:
            world.submit()
            outcome.wait()

    world.thread(user)
    return world.check


def meeting_late(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A worker rests already; two jobs that need one another come from one thread, a short one from another."""
    world = World(copy, scheduler)
    world.make_pool(2)
    first = Flag()
    world.submit(first.set)

    def user() -> None:
        first.wait()
        for fn in meeting(2):
            world.submit(fn)

    world.thread(user)
    return lambda: world.check(threads=2)


def one_dropped(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two jobs for two workers, and one of them is dropped, or not."""
    world = World(copy, scheduler)
    world.make_pool(2)
    submitted = Flag()

    def user() -> None:
        job = world.submit()
        submitted.set()
        world.drop(job)

    world.thread(user)
    world.thread(lambda: world.submit())
    return world.check


def swept(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Dropped jobs are swept out of the queue at once, while a worker pops and another job comes."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)
    copy["_pool.thread_pool"]._SWEEP_FROM = 1

    def user() -> None:
        job, _ = world.submit(), world.submit()
        world.drop(job)

    world.thread(user)
    world.thread(lambda: world.submit())
    assert pool.size == 1
    return lambda: world.check(threads=1)


def resized_down(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two workers get a job each, and one of them has to go."""
    world = World(copy, scheduler)
    pool = world.make_pool(2)
    world.thread(lambda: (world.submit(), world.submit()))
    world.thread(lambda: pool.resize(1))
    return world.check


def surplus_leaves(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two workers end their jobs while the size goes down by one and another job comes."""
    world = World(copy, scheduler)
    pool = world.make_pool(2)
    begun = [Flag(), Flag()]
    for fn, flag in zip(meeting(2), begun, strict=True):
        world.submit(partial(_both, flag.set, fn))

    def user() -> None:
        for flag in begun:
            flag.wait()
        pool.resize(1)
        world.submit()

    world.thread(user)
    return lambda: world.check(threads=1)


def surplus_ends(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """The size goes down by one while two workers end their jobs."""
    world = World(copy, scheduler)
    pool = world.make_pool(2)
    ended = Flag()
    for fn in meeting(2):
        world.submit(partial(_both, fn, ended.set))
    world.thread(lambda: (ended.wait(), pool.resize(1)))
    return lambda: world.check(threads=1)


def resized_up(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two jobs that need one another wait in a pool of one thread, which becomes larger."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)
    first, second = meeting(2)
    world.thread(lambda: (world.submit(first), world.submit(second)))
    world.thread(lambda: pool.resize(2))
    return lambda: world.check(threads=2)


def size_set(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """The size is set while a job comes; a lower size waits for the next crew."""
    world = World(copy, scheduler)
    pool = world.make_pool(2)
    world.thread(lambda: world.submit())
    world.thread(lambda: (pool.set_size(1), pool.set_size(3)))
    return lambda: world.check(threads=1)


def dismissed(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A job comes from another thread while the crews are dismissed."""
    world = World(copy, scheduler)
    world.make_pool(1)
    world.thread(lambda: (world.submit(), world.dismiss()))
    world.thread(lambda: world.submit())
    return world.check


def dismissed_twice(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two threads dismiss the crews, and both are told."""
    world = World(copy, scheduler)
    world.make_pool(2)
    world.submit()
    world.thread(world.dismiss)
    world.thread(world.dismiss)
    return lambda: world.check(threads=0)


def dismissed_with_size_zero(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A thread has loaded the way in before the size becomes 0; its job runs all the same."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)

    def user() -> None:
        job = world.job()
        submit = pool.submit
        submit(job)

    world.thread(user)
    world.thread(lambda: (pool.resize(0), pool.resize(1)))
    return world.check


def detached(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A farewell is given up while the job it waits for ends."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)
    told: list[str] = []
    world.submit(lambda: now().point(None, "the job"))

    def user() -> None:
        farewell = pool.dismiss(lambda: told.append("done"))
        pool.detach(farewell)
        world.submit()

    def check() -> None:
        assert len(told) <= 1
        world.check(threads=1)

    world.thread(user)
    return check


def looked_at(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Somebody looks at the pool while it works and is dismissed."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)

    def look() -> None:
        snapshot = pool.statistics()
        assert snapshot.threads == snapshot.idle + snapshot.busy + snapshot.parked
        assert snapshot.submitted <= 2
        for farewell in pool._farewells:
            assert farewell.queued() <= 2

    world.thread(lambda: (world.submit(), world.submit(), world.dismiss()))
    world.thread(look, "observer")
    return world.check


def idle_time_over(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """The idle time of a worker is over when a job comes."""
    world = World(copy, scheduler)
    world.make_pool(1, idle=True)
    world.submit()
    world.thread(lambda: world.submit())
    return lambda: world.check(threads=0)


def start_fails(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """The first thread cannot be started; two jobs come, and each runs or gets the error."""
    world = World(copy, scheduler)
    world.make_pool(2)
    scheduler.failed_starts = 1
    world.thread(lambda: world.submit())
    world.thread(lambda: world.submit())
    return lambda: world.check(failed=sum(job.error is not None for job in world.jobs))


def all_started(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """All threads are to be started, and the first cannot; a job comes that relies on it."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)
    scheduler.failed_starts = 1

    def user() -> None:
        try:
            pool.start_all()
        except RuntimeError:
            pass

    world.thread(user)
    world.thread(lambda: world.submit())
    return lambda: world.check(failed=sum(job.error is not None for job in world.jobs))


def dismissed_as_start_fails(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """The crews are dismissed while a thread cannot be started for their only job."""
    world = World(copy, scheduler)
    world.make_pool(1)
    scheduler.failed_starts = 1
    world.thread(lambda: world.submit())
    world.thread(world.dismiss)
    return lambda: world.check(failed=sum(job.error is not None for job in world.jobs))


def parked(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A job that waits, parked, for another one in a pool of one thread; then one thread is too many."""
    world = World(copy, scheduler)
    world.make_pool(1)
    inner = Flag()

    def outer() -> None:
        worker = copy["_pool.worker"].current_worker()
        with worker.crew.parking(worker):
            inner.wait()

    world.thread(lambda: world.submit(outer))
    world.thread(lambda: world.submit(inner.set))
    return lambda: world.check(threads=None)


CREW_CASES = (
    two_jobs,
    short_jobs,
    caller_comes_back,
    meeting_late,
    one_dropped,
    swept,
    resized_down,
    surplus_leaves,
    surplus_ends,
    resized_up,
    size_set,
    dismissed,
    dismissed_twice,
    dismissed_with_size_zero,
    detached,
    looked_at,
    idle_time_over,
    start_fails,
    all_started,
    dismissed_as_start_fails,
    parked,
)
