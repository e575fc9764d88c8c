"""Small programs over lanes and mailboxes, whose schedules are explored."""

from collections.abc import Callable
from typing import Any

from tests.schedule_copies import Copy
from tests.schedule_world import Deliveries, Loop, World
from tests.schedules import Scheduler

__all__ = ["LANE_AND_MAILBOX_CASES"]


# Lanes


def lane_released(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A lane is released, and its thread is one too many, while a job comes: it runs in that thread or is refused."""
    return _lane_released(copy, scheduler, idle=True)


def lane_kept(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A lane is released, and its thread stays for the next, while a job comes."""
    return _lane_released(copy, scheduler, idle=False)


def _lane_released(copy: Copy, scheduler: Scheduler, *, idle: bool) -> Callable[[], object]:
    world = World(copy, scheduler)
    pool = world.make_pool(1, idle=idle)
    lane = copy["_pool.lane"].Lane(pool)
    crew = lane._crew
    workers: set[Any] = set()

    def note() -> None:
        workers.add(copy["_pool.worker"].current_worker())

    def submit() -> None:
        job = world.job(note)
        try:
            lane.submit(job)
        except RuntimeError:
            world.jobs.remove(job)

    def check() -> None:
        assert len(workers) <= 1, "the jobs of a lane have run in two threads"
        assert not crew.scout.locked()
        world.check(threads=0 if idle else len(workers))

    world.thread(lambda: (submit(), submit()))
    world.thread(lane.release)
    return check


def lane_dismissed(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """The crews are dismissed while a lane gets a job; whoever dismisses is told when it has done what it had."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)
    lane = copy["_pool.lane"].Lane(pool)
    world.thread(lambda: (lane.submit(world.job()), world.dismiss()))
    world.thread(lambda: lane.submit(world.job()))
    return lambda: world.check(threads=1)


def lane_trash(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two objects are dropped while the worker of their lane dozes off; both are destroyed."""
    world = World(copy, scheduler)
    pool = world.make_pool(1)
    lane = copy["_pool.lane"].Lane(pool)
    boxes: list[list[str]] = [["an object"], ["another"]]

    def check() -> None:
        assert boxes == [[], []], "what was dropped is left in the trash"
        assert not lane._crew.dozing
        world.check(threads=1)

    world.thread(lambda: [lane.discard(box) for box in boxes])
    return check


# The mailbox


def round_trips(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two calls go to the pool and come back to their loop, where one is dropped, or not."""
    world = World(copy, scheduler)
    pool = world.make_pool(2)
    loop = Loop()
    mailbox = copy["_loop.mailbox"].Mailbox(pool, loop)

    class Call(world.copy["_loop.loop_job"].LoopJob):  # type: ignore[misc]
        was_dropped = False
        delivered = True

        def get_loop(self) -> Loop:
            return loop

        def settle(self) -> None:
            loop.settled.append(self)

    Call.mailbox = mailbox
    world._job_type = Call

    def begin() -> None:
        call, _ = world.submit(), world.submit()
        if call.withdraw():
            call.was_dropped = call.delivered = True
            world.dropped += 1

    def check() -> None:
        for job in world.jobs:
            job.delivered = not job.was_dropped
        world.check()
        assert not mailbox.outcomes
        assert not mailbox.scheduled.locked()
        assert sorted(map(id, loop.settled)) == sorted(id(job) for job in world.jobs if not job.was_dropped)

    loop.ready.append(begin)
    scheduler.start("loop", loop.run, daemon=True)
    return check


def outcomes_drained(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two workers leave outcomes while the loop drains its mailbox."""
    world = Deliveries(copy, scheduler)
    scheduler.start("loop", world.loop.run, daemon=True)
    scheduler.start("worker 1", lambda: world.deliver(2))
    scheduler.start("worker 2", lambda: world.deliver(2))
    return world.check


def drain_struck(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """A signal strikes in the middle of a drain; every outcome is settled all the same, one of them perhaps twice."""
    world = Deliveries(copy, scheduler)
    world.strike()
    scheduler.start("loop", world.loop.run, daemon=True)
    scheduler.start("worker 1", lambda: world.deliver(2))
    scheduler.start("worker 2", lambda: world.deliver(1))
    return world.check


def loop_closed(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two workers leave outcomes for a loop that has been closed; nothing gathers."""
    world = Deliveries(copy, scheduler)
    world.loop.closed = True
    scheduler.start("worker 1", lambda: world.deliver(2))
    scheduler.start("worker 2", lambda: world.deliver(1))

    def check() -> None:
        assert not world.mailbox.scheduled.locked()
        assert not world.loop.settled

    return check


LANE_AND_MAILBOX_CASES = (
    lane_released,
    lane_kept,
    lane_dismissed,
    lane_trash,
    round_trips,
    outcomes_drained,
    drain_struck,
    loop_closed,
)
