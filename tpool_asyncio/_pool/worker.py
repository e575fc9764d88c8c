"""One native thread of a crew. `crew` tells the theory; this is the part that runs in the thread."""

import sys
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING

from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.job import Job, new_claim
from tpool_asyncio._pool.native import allocate_lock, local, new_thread
from tpool_asyncio._pool.neighbours import greet

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tpool_asyncio._pool.crew import Crew

__all__ = ["Worker", "current_worker", "forget_worker_in_children"]


class _Here(local):
    worker: "Worker | None" = None


_here = _Here()
"""Tells a thread which worker it is. To ask `threading` would leave an entry for each thread it does not know."""


def current_worker() -> "Worker | None":
    """Return the worker in whose thread this is called, or None if it is another thread."""
    return _here.worker


def _forget_worker(_: object) -> None:  # pragma: no cover - in processes that are forked, whose coverage is not saved
    _here.worker = None


_forgetting: list[object] = []


def forget_worker_in_children() -> None:
    """Have worker processes that are forked in the thread of a worker not take themselves for that worker.

    Only those of `multiprocessing`, which never come back to what that thread did: if it has been imported.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _forgetting:
        _forgetting.append(util)
        util.register_after_fork(_forget_worker, _forget_worker)


class Worker:
    """A daemon thread that runs jobs of one crew.

    Only the worker itself writes `next_job`, `job`, `completed` and `failed`; others read each by one load, for a
    snapshot. `scouting` and `wake` nobody else touches. `parked` and `excused` are written by the worker under the lock
    of the pool, for others to read under it. `bell` is a lock that is released once by whoever has taken the worker
    out of ``idle``, which is atomic, and so by one thread at a time. Of the thread itself and whoever gives up starting
    it, the one that claims `_life` decides; `stillborn` is written after that by the latter, and `_thread` by whoever
    starts it, once. `prepare` is written and read in the thread of the worker, `orphaned` in the child of a fork, where
    there is no other thread.
    """

    def __init__(self, crew: "Crew", name: str, *, scouting: bool) -> None:
        self.name = name
        self.crew = crew
        self.scouting = scouting  # whether the thread starts with the scout's token
        self.next_job: Job | None = None  # on its way from the queue to `run_job`, held nowhere else
        self.job: Job | None = None  # what runs
        self.completed = 0
        self.failed = 0
        self.parked = 0  # how many things in this thread wait, parked; a loop inside a job can run several
        self.excused = False
        self.prepare: Callable[[Context], object] | None = None  # called with the context of each job, see `neighbours`
        self.orphaned = False  # whether the process was forked in the middle of a job, whose caller is in the parent
        self.wake: Callable[[], object] | None = None  # wakes the caller of the last job, if that is still to be done
        self.stillborn = False  # whether it was given up before it came to live
        self._life = new_claim()  # claimed by the thread that comes to live, or by the one that gives up starting it
        self.bell = allocate_lock()  # released once by whoever takes this worker out of `Crew.idle`
        self.bell.acquire()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; raises what `threading.Thread.start` raises."""
        self._thread = new_thread(self.run, self.name)
        self._thread.start()

    @property
    def ident(self) -> int | None:
        """The identity of the thread, None if it has not been started."""
        return None if self._thread is None else self._thread.ident

    def is_alive(self) -> bool:
        """Return whether the thread has been started and has not quite ended."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread, which has been started. This blocks the thread in which it is called."""
        assert self._thread is not None
        self._thread.join(timeout)

    def run(self) -> None:
        """Serve the crew until it has no more use for this worker. The body of the thread."""
        try:
            self._life.pop()
        except IndexError:
            return
        _here.worker = self
        try:
            self._serve()
        finally:
            self.wake_caller()
            self.crew.leave(self)

    def give_up(self) -> bool:
        """Have this never serve, since its start has failed; return False if it lives."""
        try:
            self._life.pop()
        except IndexError:
            return self.stillborn
        self.stillborn = True
        return True

    def ring(self) -> None:
        """Ring the bell, if it has not been rung."""
        with suppress(RuntimeError):
            self.bell.release()

    def _serve(self) -> None:
        crew = self.crew
        queue = crew.queue
        popleft = queue.popleft
        scouting = self.scouting
        modules = sys.modules
        seen = 0
        while True:
            if crew.dismissing:
                self.wake_caller()
                if crew.excuse(self):
                    if scouting:
                        crew.scout_arrived()
                    return
            try:
                self.next_job = popleft() if queue else None  # to look first costs less than the exception
            except IndexError:  # another worker was faster, in between these two steps
                continue
            if self.next_job is None:
                if scouting:
                    crew.scout_arrived()
                woken = crew.rest(self)
                if woken is None:
                    return
                scouting = woken
                continue
            if self.wake is not None:
                self.wake_caller()
            if scouting:
                scouting = False
                crew.scout_arrived()
            if len(modules) != seen:  # something has been imported; to look costs 20 ns
                seen = len(modules)
                greet(self)
            self.run_job()

    def run_job(self, job: Job | None = None) -> None:
        """Run a job, or else `next_job`, in this thread, and deliver its outcome, unless its caller has dropped it.

        What belongs to the user is let go of, and the counts are right, before the outcome is delivered; and the job
        itself is let go of before the caller is woken. Whoever has the outcome may rely on that.

        When there is nothing else to do, the worker wakes the caller only after it has gone idle. A caller that comes
        back with its next call then finds this worker, in place of waking another one.
        """
        if job is None:
            job = self.next_job
            assert job is not None
        try:
            job.claim.pop()
        except IndexError:
            self.next_job = None
            self.crew.pool.discard_dropped()
            return
        outer = self.job
        served = self.next_job is job
        self.job = job
        self.next_job = None
        try:
            context = job.context
            if context is None:
                context = Context()
            elif self.prepare is not None:
                self.prepare(context)
            args = job.args
            if job.kwargs is not None:
                job.value = context.run(job.fn, *args, **job.kwargs)  # type: ignore[arg-type, misc]
            elif not args:  # to unpack what is empty costs more than to look
                job.value = context.run(job.fn)  # type: ignore[arg-type]
            elif len(args) == 1:
                job.value = context.run(job.fn, args[0])  # type: ignore[arg-type]
            else:
                job.value = context.run(job.fn, *args)  # type: ignore[arg-type]
        except BaseException as error:
            job.error = error
            self.failed += 1
            try:
                job.culprit = job.name
                # Without this frame the traceback starts in the user's code, and holds nothing of the pool's.
                BaseException.with_traceback(error, error.__traceback__ and error.__traceback__.tb_next)
            except BaseException:
                complain("an exception of the type %s could not be prepared", type(error).__qualname__)
        else:
            self.completed += 1
        job.fn = job.args = job.kwargs = job.context = context = args = None
        self.job = outer
        try:
            wake = job.deliver()
            job = None  # an error's frames lead back to this one
            if wake is not None:
                if served and not self.crew.queue:
                    self.wake = wake
                else:
                    wake()
        except BaseException:
            complain("the outcome of a call could not be delivered")

    def wake_caller(self) -> object:
        """Wake the caller of the last job, if that has not been done; return what is left over, see `Job.deliver`."""
        wake, self.wake = self.wake, None
        if wake is not None:
            try:
                return wake()
            except BaseException:
                complain("the outcome of a call could not be delivered")
        return None
