"""One thread of a pool, for calls that must all be made in the same thread.

What it guarantees
    All jobs of a lane run in one thread, first come, first served. The thread starts with the first job and belongs to
    the lane until that is released. It comes on top of the size of the pool: if it counted, lanes that hold their
    threads and wait for other calls could use up the pool, and nothing would ever move again.

How it is built
    A lane is a `Crew` of one worker, which is never replaced: neither does it leave for want of work, nor does a spare
    one take its place while it is parked. ``killall`` leaves lanes their threads, since what is bound to one would be
    of no use after it, and waits until they have done what they have been given so far; the threads end when the lanes
    are released.

    The thread of a lane that has been released serves the next one, so that short-lived lanes start no threads; unless
    it still runs what it was given, since that may be stuck, or there has been a ``killall`` since it was taken.

Why a job is queued under the lock of the pool
    (1) A thread finds that the lane is not released. (2) Another thread releases it, and as it is one too many, its
    thread ends. (3) The first thread queues its job, for which the crew would start a second thread. With (1) and (3)
    under the lock under which (2) happens, the job comes before the end of the thread, or is refused.

What is dropped in the thread of a lane
    Objects that are bound to a thread may have to be destroyed there, and some are dropped after every call. To wake
    the thread for each would cost as much as a call. So (1) the object goes to the **trash**; (2) unless the worker is
    `dozing`, a chore wakes it. A worker that dozes empties the trash whenever it goes idle, and once more when nothing
    has happened for `_DOZE` seconds: (3) it stops dozing, (4) it empties the trash, and then it sleeps until it is
    woken. Who comes to (1) after (4) finds at (2) that it does not doze.

Who may touch what
    What a lane has of a `Crew` is as it is there. The trash is a deque, to which any thread appends and from which the
    worker takes. ``dozing`` is a hint that anybody sets; the order of the steps above makes it right. ``lost`` is
    written in the child of a fork, where there is one thread. `Lanes` and ``Lane._released`` are written under the lock
    of the pool, as is ``outdated``, and but for ``_released`` in messages they are read under it. ``Lanes.keeps_free``
    is written once, before the lock is taken to dismiss what is free.

Where the garbage collector may strike
    It releases lanes, and that at any point, also in a thread that holds the lock and is in the middle of a method of
    `Lanes`. So each step there is a single operation that leaves everything whole, and none walks a list that a
    release may change.
"""

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.asking import askers, is_waited_for_by
from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.crew import HARD_CAP, Crew

if TYPE_CHECKING:
    from collections.abc import Collection

    from tpool_asyncio._pool.job import Job
    from tpool_asyncio._pool.thread_pool import Farewell, ThreadPool
    from tpool_asyncio._pool.worker import Worker

__all__ = ["Lane", "Lanes"]

_ABSENT: Any = object()

_DOZE = 0.02
"""Seconds within which an object is destroyed that was dropped while its thread had just been at work."""

_TOO_MUCH = 100
"""Objects in the trash that are worth a chore although the worker dozes, as it may be too busy to rest."""


class _LaneCrew(Crew):
    """The one worker of a lane, and its queue."""

    __slots__ = ("dozing", "lost", "outdated", "trash")

    def __init__(self, pool: "ThreadPool") -> None:
        super().__init__(pool, 1)
        self.idle_timeout = -1
        self.trash: deque[list[Any]] = deque()  # boxes with one object each
        self.dozing = False
        self.lost = False  # whether the thread is one of the process that this one was forked from
        self.outdated = False  # whether the threads of the pool have been told to end since the lane was taken

    def _active(self) -> int:
        return len(self.workers) - self.excused

    def rest(self, worker: "Worker") -> bool | None:
        if self.trash:
            worker.wake_caller()  # who is not to wait for what destructors do
            self.empty_trash()
        if self.dozing:
            self.idle_timeout = _DOZE
            woken = super().rest(worker)
            self.idle_timeout = -1
            if woken is not None:
                return woken
            self.dozing = False
            self.empty_trash()
        return super().rest(worker)

    def leave(self, worker: "Worker") -> None:
        self.empty_trash()
        super().leave(worker)

    def empty_trash(self) -> None:
        """Drop what is in the trash. In the thread of the worker."""
        while self.trash:
            self.trash.popleft().clear()

    def has_work_left(self, spared: "Collection[Worker]") -> bool:
        # While its worker waits nobody else runs what is queued, so to wait for that would never end.
        return self.workers.isdisjoint(spared) and super().has_work_left(spared)

    def at_rest(self) -> bool:
        """Tell, under the lock, whether everything is done that the lane has been given."""
        # A job on its way from the queue to its worker is seen by nobody; but a worker that has one is not idle.
        return not self.queue and len(self.idle) >= len(self.workers)


class Lanes:
    """The lanes of a pool, those in use and those to be used again. The lock of the pool guards them."""

    def __init__(self, pool: "ThreadPool") -> None:
        self._pool = pool
        self.keeps_free = pool.idle_timeout < 0  # whether a thread waits for its next user
        self._crews: dict[_LaneCrew, None] = {}  # all of them, in order
        self._free: dict[_LaneCrew, None] = {}  # those that nobody uses

    def crews(self) -> list[Crew]:
        return list(self._crews)

    def in_use(self) -> int:
        return len(self._crews) - len(self._free)

    def take(self) -> _LaneCrew:
        """Return the crew of a free lane that has nothing to do, or of a new one."""
        pool = self._pool
        with pool.lock:
            pool.check_open()
            for crew in reversed(list(self._free)):
                if crew.at_rest() and self._free.pop(crew, _ABSENT) is None:
                    return crew
            if len(self._crews) >= HARD_CAP:
                raise RuntimeError(
                    f"pool {pool.name!r} has {HARD_CAP} threads for pinned proxies and open iterations, which is the"
                    " most there can be; close those that are done with, or let fewer be open at once"
                )
            crew = _LaneCrew(pool)
            self._crews[crew] = None
            return crew

    def give_back(self, crew: _LaneCrew) -> None:
        """Keep a lane for its next user, or have its thread end."""
        pool = self._pool
        with pool.lock:
            if crew not in self._crews:
                return  # all lanes have been dismissed, or this is the child of a fork
            if self.keeps_free and not crew.outdated and len(self._free) < pool.size:
                self._free[crew] = None
                return
            self._crews.pop(crew, None)
            pool.retire([crew])
        crew.stir()

    def dismiss(self, *, all_of_them: bool) -> list[Crew]:
        """Give up those that are not in use, or all of them, under the lock; return their crews.

        The others are given up when they are released.
        """
        for crew in list(self._crews):
            crew.outdated = True  # first, as one may be released in between
        given_up: list[Crew] = []
        for crew in list(self._crews if all_of_them else self._free):
            self._crews.pop(crew, None)
            self._free.pop(crew, None)
            given_up.append(crew)
        return given_up

    def set_milestones(self, farewell: "Farewell") -> list[Crew]:
        """Have a farewell wait for what the lanes in use have been given so far, under the lock.

        Returns the crews to be stirred for it when the lock is free again.
        """
        marked: list[Crew] = []
        for crew in self.crews():
            # A worker goes idle when its job is over, and only then. So the queue is to be asked first.
            if (crew.queue or len(crew.idle) < len(crew.workers)) and crew.workers.isdisjoint(farewell.spared):
                milestone = Chore(self._pool, _nothing)
                milestone.done = partial(self._reached, farewell, milestone)
                farewell.milestones[milestone] = crew
                crew.queue.append(milestone)
                marked.append(crew)
        return marked

    def _reached(self, farewell: "Farewell", milestone: Chore) -> None:
        with self._pool.lock:
            farewell.milestones.pop(milestone, None)
        self._pool.bid_farewell()

    def lose(self) -> None:
        """Note, in the child of a fork, that the threads are the parent's."""
        for crew in self._crews:
            crew.lost = True


class Lane:
    """What stands in the place of a `ThreadPool` where calls are made that go to one thread of it.

    Any thread may call any method.
    """

    __slots__ = ("_crew", "_released", "home", "local")

    size = 1

    def __init__(self, home: "ThreadPool") -> None:
        self.home = home
        self.local = home.local
        self._crew = home.lanes.take()
        self._released = False

    @property
    def name(self) -> str:
        return self.home.name

    def serves(self, worker: "Worker") -> bool:
        """Return whether this is the worker of the lane."""
        return worker.crew is self._crew

    def has_thread(self) -> bool:
        """Return whether the thread has been started, or is about to be."""
        return bool(self._crew.workers or self._crew.queue)

    def submit(self, job: "Job") -> None:
        """Queue a job; raise a `RuntimeError` if it can never run."""
        crew = self._crew
        # For a chore nobody waits, so it may come when the worker has done waiting.
        home = self.home
        circular = askers() and is_waited_for_by(crew) and not isinstance(job, Chore)
        with home.lock:
            admitted = not (self._released or crew.lost or circular)
            if admitted:
                if home.refusal is not None:
                    home.check_open()
                crew.queue.append(job)
        if not admitted:
            raise self._refusal(job)
        crew.stir()

    def _refusal(self, job: "Job") -> RuntimeError:
        if self._released:
            return RuntimeError(
                f"{job.name} was pinned to a thread, which became free when it was closed; open it again"
            )
        if self._crew.lost:
            return RuntimeError(
                f"{job.name} is pinned to a thread of the process that this one was forked from; make the object and"
                " its proxy anew in the child"
            )
        return RuntimeError(
            f"{job.name} is pinned to a thread that waits for this very code, so the call would wait for itself;"
            " make it before or after the call that runs there"
        )

    def discard(self, box: list[Any]) -> None:
        """Have what is in a box dropped in the thread of the lane, within a short time."""
        crew = self._crew
        crew.trash.append(box)
        if not crew.dozing or len(crew.trash) % _TOO_MUCH == 0:
            crew.dozing = True
            with self.home.lock:
                # The thread of a lane that has been released may sleep until somebody needs it.
                there = not crew.lost and self.home.refusal is None and (not self._released or crew._active() > 0)
                if there:
                    crew.queue.append(Chore(self.home, crew.empty_trash))
            if there:
                crew.stir()
            else:
                crew.dozing = False  # the thread is about to end, and empties the trash then

    def dropped(self) -> None:
        """Do what `ThreadPool.dropped` does."""
        self.home.dropped()

    def release(self) -> None:
        """Let the thread go when it has done what it has been given so far. A second time does nothing."""
        with self.home.lock:
            released, self._released = self._released, True
        if not released:
            self.home.lanes.give_back(self._crew)


def _nothing() -> None:
    pass
