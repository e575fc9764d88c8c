"""Small programs over the pool and the mailbox whose schedules are explored, and what must hold after each of them."""

from collections.abc import Callable
from typing import Any

from tests.schedule_copies import Copy, Deque, now
from tests.schedules import Scheduler, Thing

__all__ = ["CASES"]


class Flag:
    """Something that has happened or not, for which threads can wait."""

    def __init__(self) -> None:
        self._thing = Thing()
        self.up = False

    def set(self) -> None:
        now().point(self._thing, "raise a flag")
        self.up = True

    def wait(self) -> None:
        scheduler = now()
        scheduler.point(self._thing, "look at a flag", writes=False)
        if not self.up:
            scheduler.wait(lambda: self.up)
            scheduler.note(self._thing, "see the flag", writes=False)


class Loop:
    """What is used of an event loop."""

    def __init__(self) -> None:
        self.ready = Deque()
        self.closed = False
        self.settled: list[Any] = []

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.ready.append(callback)

    call_soon = call_soon_threadsafe

    def is_closed(self) -> bool:
        return self.closed

    def run(self) -> None:
        while True:
            now().wait(lambda: bool(list.__len__(list(self.ready.__iter__()))))
            self.ready.popleft()()


class World:
    """One run of a program: its pool, its threads, its jobs, and what must hold at the end."""

    def __init__(self, copy: Copy, scheduler: Scheduler) -> None:
        self.copy = copy
        self.scheduler = scheduler
        self.jobs: list[Any] = []
        self.pool: Any = None
        self.crews: list[Any] = []
        self.running = self.most_running = 0
        self.dropped = 0
        self.farewells: list[list[str]] = []
        self._job_type = _job_type(self)

    def make_pool(self, size: int, *, idle: bool = False) -> Any:
        """Make the pool; its workers leave after some idle time, or never."""
        world = self
        thread_pool = self.copy["_pool.thread_pool"]
        crew_type = thread_pool.Crew

        class Pool(thread_pool.ThreadPool):  # type: ignore[misc]
            def _new_crew(self) -> None:
                super()._new_crew()
                assert type(self._crews[-1]) is crew_type
                world.crews.append(self._crews[-1])

        self.pool = Pool(size, idle_timeout=1.0 if idle else None)
        return self.pool

    def thread(self, run: Callable[[], object], name: str = "user") -> None:
        """Add a thread, which has to come to its end."""
        self.scheduler.start(name, run)

    def job(self, fn: Callable[[], object] | None = None) -> Any:
        job = self._job_type()
        job.claim = self.copy["_pool.job"].new_claim()
        job.fn = job.inner = self._begin
        job.args, job.kwargs, job.context = (job, fn), None, None
        job.error = None
        job.ran = job.delivered = 0
        self.jobs.append(job)
        return job

    def submit(self, fn: Callable[[], object] | None = None) -> Any:
        """Submit a job."""
        job = self.job(fn)
        self.pool.submit(job)
        return job

    def drop(self, job: Any) -> None:
        """Do what the caller of a queued job does who is cancelled."""
        if job.drop():
            job.was_dropped = True
            self.dropped += 1
            self.pool.dropped()

    def dismiss(self) -> None:
        """Dismiss the crews and wait until they have ended."""
        ended = Flag()
        told: list[str] = []
        self.farewells.append(told)

        def done() -> None:
            told.append("done")
            ended.set()

        self.pool.dismiss(done)
        ended.wait()

    def _begin(self, job: Any, fn: Callable[[], object] | None) -> None:
        job.ran += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if fn is not None:
                fn()
        finally:
            self.running -= 1

    def check(self, *, threads: int | None = None, failed: int = 0) -> None:
        """Check what always holds when nobody can go on."""
        assert all(job.ran + job.was_dropped + (job.error is not None) == 1 for job in self.jobs), [
            (job.ran, job.was_dropped, job.error) for job in self.jobs
        ]
        assert all(job.delivered == (not job.was_dropped) for job in self.jobs)
        pool = self.pool
        for crew in (*self.crews, *pool.lanes.crews()):
            assert not crew.scout.locked(), "the token is lost"
            assert not crew.queue, "a job is left in the queue"
            assert len(crew.idle) == len(crew.workers), "a worker neither rests nor works"
            assert not crew.excused
            assert not crew.parked
            assert not (crew.retired and crew.workers), "a retired worker stays"
            assert len(crew.workers) <= crew.size, "there are too many workers"
            assert crew.dismissing == (crew.retired or crew._active() > crew.size)
        assert all(told == ["done"] for told in self.farewells), self.farewells
        assert not pool._farewells
        assert not pool._dropped
        snapshot = pool.statistics()
        assert snapshot.completed == sum(job.ran for job in self.jobs), snapshot
        assert (snapshot.failed, snapshot.cancelled, snapshot.queued) == (failed, self.dropped, 0), snapshot
        assert (snapshot.busy, snapshot.parked, snapshot.idle) == (0, 0, snapshot.threads), snapshot
        if threads is not None:
            assert snapshot.threads == threads, snapshot


def _job_type(world: World) -> Any:
    class PlainJob(world.copy["_pool.job"].Job):  # type: ignore[misc]
        was_dropped = False
        ran = delivered = 0
        value = None

        def deliver(self) -> None:
            self.delivered += 1

    return PlainJob


def meeting(number: int) -> list[Callable[[], object]]:
    """Functions each of which ends only when all of them have begun."""
    flags = [Flag() for _ in range(number)]

    def of(own: int) -> Callable[[], object]:
        def meet() -> None:
            flags[own].set()
            for flag in flags:
                flag.wait()

        return meet

    return [of(own) for own in range(number)]


# The pool


def two_jobs(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two threads submit a job each, and the jobs need one another."""
    world = World(copy, scheduler)
    world.make_pool(2)
    for fn in meeting(2):
        world.thread(lambda fn=fn: world.submit(fn))
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
        world.submit(lambda fn=fn, flag=flag: (flag.set(), fn()))

    def user() -> None:
        for flag in begun:
            flag.wait()
        pool.resize(1)
        world.submit()

    world.thread(user)
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


class Deliveries:
    """Workers that leave outcomes in the mailbox of one loop, which drains it."""

    def __init__(self, copy: Copy, scheduler: Scheduler) -> None:
        self.loop = loop = Loop()
        self.mailbox = copy["_loop.mailbox"].Mailbox(None, loop)

        class Outcome(copy["_loop.loop_job"].LoopJob):  # type: ignore[misc,name-defined]
            mailbox = self.mailbox

            def get_loop(self) -> Loop:
                return loop

            def settle(self) -> None:
                loop.settled.append(self)

        self._outcome = Outcome
        self.made: list[Any] = []
        self.scheduler = scheduler

    def deliver(self, times: int) -> None:
        for _ in range(times):
            outcome = self._outcome()
            self.made.append(outcome)
            wake = outcome.deliver()
            if wake is not None:
                wake()

    def check(self) -> None:
        assert not self.mailbox.outcomes, "an outcome is left in the mailbox"
        assert not self.mailbox.scheduled.locked(), "the token of the mailbox is lost"
        assert not self.loop.ready
        assert sorted(map(id, self.loop.settled)) == sorted(map(id, self.made))


def round_trips(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
    """Two calls go to the pool and come back to their loop, where one is dropped, or not."""
    world = World(copy, scheduler)
    pool = world.make_pool(2)
    loop = Loop()
    mailbox = copy["_loop.mailbox"].Mailbox(pool, loop)

    class Call(world.copy["_loop.loop_job"].LoopJob):  # type: ignore[misc,name-defined]
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


CASES = (
    two_jobs,
    short_jobs,
    caller_comes_back,
    meeting_late,
    one_dropped,
    swept,
    resized_down,
    surplus_leaves,
    resized_up,
    size_set,
    dismissed,
    dismissed_twice,
    dismissed_with_size_zero,
    detached,
    idle_time_over,
    start_fails,
    all_started,
    dismissed_as_start_fails,
    parked,
    lane_released,
    lane_kept,
    lane_dismissed,
    lane_trash,
    round_trips,
    outcomes_drained,
    loop_closed,
)
