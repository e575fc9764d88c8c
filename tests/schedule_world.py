"""What small programs over the pool and the mailbox are made of, and what must hold after each of them."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.schedule_copies import Copy, Deque, now
from tests.schedules import Scheduler, Thing

__all__ = ["Deliveries", "Flag", "Loop", "World", "meeting"]


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


class Strike(BaseException):
    """What comes out of a signal handler, at any step."""


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
            now().wait(lambda: not self.ready.empty())
            with suppress(Strike):
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

        class Pool(thread_pool.ThreadPool):  # type: ignore[misc,name-defined]
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


class Deliveries:
    """Workers that leave outcomes in the mailbox of one loop, which drains it."""

    def __init__(self, copy: Copy, scheduler: Scheduler) -> None:
        self.loop = loop = Loop()
        self.mailbox = copy["_loop.mailbox"].Mailbox(None, loop)

        class Outcome(copy["_loop.loop_job"].LoopJob):  # type: ignore[misc]
            mailbox = self.mailbox

            def get_loop(self) -> Loop:
                return loop

            def settle(outcome) -> None:  # noqa: N805
                strikes, self.strikes = self.strikes, 0
                loop.settled.append(outcome)
                if strikes:
                    raise Strike

        self.strikes = 0
        self._outcome = Outcome
        self.made: list[Any] = []
        self.struck = 0
        self.scheduler = scheduler

    def strike(self) -> None:
        """Have a signal strike in the middle of the next drain."""
        self.strikes = self.struck = 1

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
        assert {id(outcome) for outcome in self.loop.settled} == {id(outcome) for outcome in self.made}
        assert len(self.loop.settled) <= len(self.made) + self.struck
