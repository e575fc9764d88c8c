"""What stays of a pool when crews come and go: size, name, totals, and the state in which it takes calls.

Who may touch what
    `ThreadPool.lock` guards everything here and the slow-path state of the crews. It is held for a few statements at
    a time (and while a long queue is swept), never while user code runs, a thread is started or a bell is rung. It is
    reentrant, because the garbage collector may strike while it is held, and find the last handle of this very pool,
    which dismisses the crews.

    Without the lock are read, each by one load of an attribute: ``submit`` and ``refusal``, see below; ``size``, for
    people to look at; and ``_farewells``, to see whether there are any. A farewell that is added just then is seen to
    by whoever adds it, afterwards. ``_warn_in_place`` is no more than a habit of being brief: two threads that make the
    first call in place at the same time may both give the warning. ``local`` is different in each thread, and what the
    workers count is theirs, see `worker`. ``name``, ``idle_timeout`` and ``exit_grace`` never change.

    `ThreadPool.submit` is an attribute that always holds the right way to take a job (queue it, run it in place,
    refuse it), so that the fast path asks no questions. A thread may have loaded it just before it changes; then the
    job reaches a crew that has been retired in the meantime, and a retired crew still runs whatever it gets.
"""

import itertools
import warnings
from _thread import TIMEOUT_MAX
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from tpool_asyncio._pool import lifetime
from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.crew import Crew
from tpool_asyncio._pool.job import Job
from tpool_asyncio._pool.lane import Lanes
from tpool_asyncio._pool.native import RLock, current_thread, local
from tpool_asyncio._pool.refusal import levels_to_user, shown
from tpool_asyncio._pool.size import check_seconds, check_size
from tpool_asyncio._pool.statistics import Statistics, Tally
from tpool_asyncio._pool.still_running import RunningCall, running_calls
from tpool_asyncio._pool.worker import Worker, current_worker

__all__ = ["Farewell", "PerThread", "ThreadPool"]

_SWEEP_FROM = 1_000
"""How many dropped jobs may stand in the queues, at the least, before they are swept out."""


class PerThread(local):
    """What the floor above keeps for each thread that uses a pool."""

    mailbox: Any = None


class Farewell:
    """Waits until some crews have run everything they have and their threads are at their end.

    Who asks from inside a call waits neither for itself nor for others that do the same, or they would wait for each
    other for ever.
    """

    __slots__ = ("crews", "done", "ended", "milestones", "spared", "waited_for")

    def __init__(self, crews: list[Crew], spared: Collection[Worker], done: Callable[[], object]) -> None:
        self.crews = crews
        self.spared = spared  # workers not to wait for, such as the one that asks
        self.done = done
        self.waited_for = True
        self.ended: list[Worker] = []  # threads that have nothing left to do but to end
        self.milestones: dict[Chore, Crew] = {}  # how far the lanes have to come that stay

    def complete(self, askers: "set[Worker]") -> bool:
        """Tell, under the lock of the pool, whether there is nobody left to wait for but those who wait like this."""
        spared = {*self.spared, *askers} if self.spared else ()
        if any(crew.workers.isdisjoint(spared) for crew in self.milestones.values()):
            return False
        return not any(crew.has_work_left(spared) for crew in self.crews)

    def queued(self) -> int:
        """Return how many calls have not been started."""
        jobs = [job for crew in self.crews for job in crew.queue.copy()]
        for milestone, crew in self.milestones.copy().items():
            given = list(crew.queue.copy())
            if milestone in given:
                jobs += given[: given.index(milestone)]
        return sum(bool(job.claim) and not isinstance(job, Chore) for job in jobs)

    def ending(self) -> bool:
        """Tell, once ``done`` has been called, whether there is a thread that has not quite ended yet."""
        return any(worker.is_alive() for worker in self.ended)


class ThreadPool:
    """A pool of native threads. Any thread may call any method."""

    def __init__(
        self, size: int, *, name: str = "tpool", idle_timeout: float | None = None, exit_grace: float | None = 5.0
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {shown(name)}")
        self.size = check_size(size)
        self.name = name
        idle_timeout = check_seconds("idle_timeout", idle_timeout)
        exit_grace = check_seconds("exit_grace", exit_grace)
        self.idle_timeout = -1 if idle_timeout is None else min(idle_timeout, TIMEOUT_MAX)  # -1 for ever
        self.exit_grace = None if exit_grace is None else min(exit_grace, TIMEOUT_MAX)
        self.local = PerThread()
        self.refusal: Exception | None = None
        self._start_afresh()
        lifetime.register(self)

    def _start_afresh(self) -> None:
        self.process = object()  # stands for this process; a fork has another one
        self.lock = RLock()
        self.tally = Tally()
        self._thread_numbers = itertools.count(1)
        self._dropped = 0  # jobs that stand in a queue although their caller has dropped them
        self._crews: list[Crew] = []  # all that may still have workers; the last one takes the calls
        self._detached: list[Crew] = []  # given up by a ``killall``; only their calls still count
        self._farewells: list[Farewell] = []
        self.lanes = Lanes(self)
        self._new_crew()

    def _new_crew(self) -> None:
        old = self._crews.copy()
        self._crews.append(Crew(self, self.size))
        for crew in old:
            self._forget_ended(crew)
        self._choose_submit()

    def _forget_ended(self, crew: Crew) -> None:
        """Count a crew no more, under the lock, if it has ended. A release may add others at the same time."""
        if not (crew.workers or crew.queue):
            self._forget(crew)

    def _forget(self, crew: Crew) -> None:
        with suppress(ValueError):
            self._crews.remove(crew)

    def _all_crews(self) -> list[Crew]:
        return [*self._crews, *self._detached, *self.lanes.crews()]

    def keep(self, crew: Crew) -> None:
        """Have a crew among those that count, under the lock, since it is about to get a worker.

        A retired crew is forgotten when it has ended, but a job may yet reach it, see above.
        """
        if crew not in self._all_crews():
            self._crews.insert(0, crew)

    def _choose_submit(self) -> None:
        crew = self._crews[-1]
        self.submit: Callable[[Job], None]
        if self.refusal is not None:
            self.submit = self._refuse
        elif crew.size == 0:
            self.submit = self._run_in_place
        else:
            self.submit = crew.submit

    # Taking calls

    def refuse(self, error: ValueError) -> None:
        """Raise a copy of this error for every call, until a size is set."""
        with self.lock:
            self.refusal = error
            self._choose_submit()

    def _refuse(self, job: Job) -> None:
        self.check_open()
        self.submit(job)  # the size has been set right in the meantime

    def check_open(self) -> None:
        """Raise the error that there is for every call, if there is one."""
        if (error := self.refusal) is not None:
            raise type(error)(*error.args)

    def _run_in_place(self, job: Job) -> None:
        """Run a job in the thread of its caller: what a pool of size 0 does."""
        if self._warn_in_place:
            self._warn_in_place = False
            warnings.warn(
                f"pool {self.name!r} has no threads (size 0): its calls block the thread that makes them;"
                " set a size of 1 or more to run them in threads",
                RuntimeWarning,
                stacklevel=levels_to_user(),
            )
        crew = self._crews[-1]
        stand_in = Worker(crew, current_thread().name, scouting=False)
        stand_in.run_job(job)
        with self.lock:
            self.tally.add(stand_in)

    _warn_in_place = True

    def fail(self, job: Job, error: BaseException) -> None:
        """Give a job that stands in no queue any more an error for its outcome, unless its caller has dropped it."""
        if not job.drop():
            self.discard_dropped()
            return
        job.error = error
        with self.lock:
            self.tally.failed += 1
        wake = job.deliver()
        if wake is not None:
            wake()

    # Dropped jobs

    def dropped(self) -> None:
        """Note that the caller of a queued job has claimed it for itself, and that the empty job is still queued."""
        with self.lock:
            self.tally.cancelled += 1
            self._dropped += 1
            crews = self._all_crews()
            if self._dropped < _SWEEP_FROM or self._dropped * 2 < sum(len(crew.queue) for crew in crews):
                return
            swept = self._sweep(crews)
        for crew in crews:
            crew.stir()  # a worker may have found the queue empty and gone idle
        del swept  # without the lock, since whoever else has held these jobs may have hung something on them

    def discard_dropped(self) -> None:
        """Note that an empty job has been taken out of its queue."""
        with self.lock:
            self._dropped -= 1

    def _sweep(self, crews: Iterable[Crew]) -> list[Job]:
        """Take the empty jobs out of the queues, so that a pool that is stuck does not collect them for ever.

        Under the lock, so that no worker finds the queue empty and leaves for good meanwhile. A queue is emptied job
        by job, since workers may pop at the same time, and from its tail, so that they get what is next. What is still
        wanted goes back in one operation. Only a job that is queued in between may overtake others, and in a lane
        there is none, since that takes the lock.

        A signal handler may raise here. So no job is ever in none but the interpreter's hands: they go from the queue
        to a list in one call of C code, and if that is all that comes to pass, all of them go back.

        Returns the empty jobs, to be let go of without the lock.
        """
        swept: list[Job] = []
        for crew in crews:
            taken: list[Job] = []
            back, dropped = taken, 0
            try:
                with suppress(IndexError):
                    taken.extend(iter(crew.queue.pop, None))
                wanted = [job for job in taken if job.claim]
                swept += [job for job in taken if not job.claim]
                back, dropped = wanted, len(taken) - len(wanted)
            finally:
                self._dropped -= dropped
                crew.queue.extendleft(back)
        return swept

    # Size

    def set_size(self, size: int) -> None:
        """Change the size; while there are threads, a lower size waits for the next crew."""
        size = check_size(size)
        with self.lock:
            self.size = size
            self._accept_size()
            crew = self._crews[-1]
            if size > crew.size or not (crew.workers or crew.queue):
                self._set_crew_size(crew, size)
        crew.stir()

    def resize(self, size: int) -> None:
        """Change the size at once, in both directions; surplus workers leave when they have finished their jobs."""
        size = check_size(size)
        with self.lock:
            self.size = size
            self._accept_size()
            crew = self._crews[-1]
            self._set_crew_size(crew, size)
        crew.stir()

    def _accept_size(self) -> None:
        if isinstance(self.refusal, ValueError):
            self.refusal = None
        self._warn_in_place = True

    def _set_crew_size(self, crew: Crew, size: int) -> None:
        if size == 0:
            # A job may yet reach this crew from a thread that has loaded `submit` before; somebody has to run it.
            self._new_crew()
            self.retire([crew])
        else:
            crew.size = size
            crew.recount()
            self._choose_submit()

    def start_all(self) -> None:
        """Start every thread that the size allows, now; raises what `threading.Thread.start` raises."""
        with self.lock:
            crew = self._crews[-1]
        try:
            while crew.hire(scouting=False):
                pass
        except Exception:
            crew.stir()  # a submitter may have relied on the thread that was about to start
            raise

    # The end of crews

    def dismiss(
        self, done: Callable[[], object], *, spared: Collection[Worker] = (), with_lanes: bool = False
    ) -> Farewell:
        """Retire all crews: they run what they have, then their threads end. The next job starts a new crew.

        Lanes that are in use keep their threads unless ``with_lanes``, but have to do what they have been given so far.
        ``done`` is called from any thread when only spared workers are left; at once if there are no others. That is
        once, unless a signal handler raises in between; then it may be once more.
        """
        with self.lock:
            crews = self._crews + self.lanes.dismiss(all_of_them=with_lanes)
            self._new_crew()  # first, so that there is one whatever strikes in between
            self.retire(crews)
            farewell = Farewell(crews, spared, done)
            marked = self.lanes.set_milestones(farewell)
            self._farewells.append(farewell)
        for crew in crews + marked:
            crew.stir()
        self.bid_farewell()
        return farewell

    def abandon(self) -> None:
        """Do without idle threads from now on, since nobody holds this pool any more but for what is still open."""
        self.lanes.keeps_free = False
        self.dismiss(_nothing)

    def retire(self, crews: Iterable[Crew]) -> None:
        """Have crews end when they have run what they have, under the lock."""
        for crew in crews:
            crew.retired = True
            crew.recount()
            if crew.workers or crew.queue:
                self.keep(crew)

    def note_end(self, crew: Crew, worker: Worker) -> None:
        """Count, under the lock, what an ending worker has done."""
        self.tally.add(worker)
        for farewell in self._farewells:
            if crew in farewell.crews:
                farewell.ended.append(worker)
        if crew.retired:
            self._forget_ended(crew)

    def bid_farewell(self) -> None:
        """Say that it is done to whoever waits for crews that have nothing left to do."""
        if self._farewells:
            complete: list[Farewell] = []
            try:
                with self.lock:
                    askers = {worker for other in self._farewells if other.waited_for for worker in other.spared}
                    complete = [farewell for farewell in self._farewells if farewell.complete(askers)]
                    self._farewells = [farewell for farewell in self._farewells if farewell not in complete]
                for farewell in complete:
                    farewell.done()
            except BaseException:
                for farewell in complete:  # nobody else would say it; and to hear it twice does no harm
                    with suppress(RuntimeError):
                        farewell.done()
                raise

    def detach(self, farewell: Farewell) -> list[RunningCall]:
        """Forget the crews of a farewell that takes too long; return what they still run."""
        with self.lock:
            workers = [worker for crew in farewell.crews for worker in crew.workers.difference(farewell.spared)]
            workers += [worker for crew in farewell.milestones.values() for worker in crew.workers]
            given_up = {crew for crew in farewell.crews if crew in self._crews}
            for crew in given_up:
                self._forget(crew)
            self._detached = [crew for crew in self._detached if crew.workers] + list(given_up)
            self._farewells = [other for other in self._farewells if other is not farewell]
            for other in self._farewells:
                other.crews = [crew for crew in other.crews if crew not in given_up]
        self.bid_farewell()
        return running_calls(workers)

    def close(self, error: Exception, done: Callable[[], object]) -> Farewell:
        """Refuse all further calls with a copy of this error, and dismiss the crews."""
        with self.lock:
            self.refusal = error
        return self.dismiss(done, with_lanes=True)

    def ends_before_threads(self) -> bool:
        """Return False: its threads are daemons, for which nobody waits; see `Engine.ends_before_threads`."""
        return False

    def kill(self) -> None:
        """Do nothing, at exit: threads cannot be ended, and are left; see `Engine.kill`."""

    def join(self) -> None:
        """Do nothing, at exit; see `Engine.join`."""

    # What others may know

    @property
    def home(self) -> "ThreadPool":
        """The pool itself; see `Lane.home`."""
        return self

    def serves(self, worker: Worker) -> bool:
        """Return whether this is one of the pool's workers, those of its lanes included."""
        return worker.crew.pool is self

    def check_keeps(self, what: str) -> None:
        """Do nothing: threads of this process can use its objects; see `Engine.check_keeps`."""

    def check_context(self) -> None:
        """Do nothing; see `Engine.check_context`."""

    def workers(self) -> list[Worker]:
        """Return all that there are at the moment."""
        with self.lock:
            return [worker for crew in self._all_crews() for worker in crew.workers]

    def next_thread_name(self) -> str:
        return f"{self.name}-{next(self._thread_numbers)}"

    def statistics(self) -> Statistics:
        """Return a snapshot."""
        with self.lock:
            lanes = self.lanes.crews()
            workers = [worker for crew in (*self._crews, *lanes) for worker in crew.workers]
            detached = [worker for crew in self._detached for worker in crew.workers]
            parked = sum(worker.parked > 0 for worker in workers)
            standing = sum(len(crew.queue) for crew in (*self._crews, *self._detached))
            queued = min(standing, standing - self._dropped)  # who is struck by a signal may have dropped one uncounted
            queued += sum(not isinstance(job, Chore) for crew in lanes for job in crew.queue.copy())
            jobs = [job for worker in workers if (job := worker.job) is not None and not isinstance(job, Chore)]
            completed = self.tally.completed + sum(worker.completed for worker in (*workers, *detached))
            failed = self.tally.failed + sum(worker.failed for worker in (*workers, *detached))
            cancelled = self.tally.cancelled
            pinned = self.lanes.in_use()
        queued = max(0, queued)
        running = max(parked, len(jobs))
        unfinished = queued + running + sum(worker.job is not None for worker in detached)
        return Statistics(
            size=self.size,
            threads=len(workers),
            idle=len(workers) - running,
            busy=running - parked,
            parked=parked,
            abandoned=sum(job.unwanted for job in jobs),
            queued=queued,
            submitted=unfinished + completed + failed + cancelled,
            completed=completed,
            failed=failed,
            cancelled=cancelled,
            pinned=pinned,
        )

    # Fork

    def after_fork_in_child(self) -> object:
        """Start afresh: of the parent's threads none is here, and its jobs are the parent's to run.

        Returns what is to be let go of when all pools have started afresh, as that may run code of the user, which may
        use any of them; and whoever had a lock of the parent's never gives it back here.
        """
        left: list[object] = [self.local.mailbox, self._farewells]
        for crew in self._all_crews():
            left.append(crew.queue.copy())
            crew.queue.clear()
            crew.retired = crew.dismissing = True
        self.lanes.lose()
        worker = current_worker()
        if worker is not None and worker.crew.pool is self and worker.job is not None:
            # The child was forked in the middle of a job, and ends with this thread, before its coverage is saved.
            worker.job.disown()  # pragma: no cover
            worker.orphaned = True  # pragma: no cover
        self.local.mailbox = None
        self._start_afresh()
        return left


def _nothing() -> None:
    pass
