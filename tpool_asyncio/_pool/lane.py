"""One thread of a pool, for calls that must all be made in the same thread.

What it guarantees
    All jobs of a lane run in one thread, first come, first served. The thread starts with the first job and belongs to
    the lane until that is released. It comes on top of the size of the pool: if it counted, lanes that hold their
    threads and wait for other calls could use up the pool, and nothing would ever move again.

How it is built
    A lane is a `Crew` of one worker, which is never replaced: neither does it leave for want of work, nor does a spare
    one take its place while it is parked. ``killall`` leaves lanes their threads, since what is bound to one would be
    of no use after it, and waits until they have done what they have been given so far.

    The thread of a lane that has been released serves the next one, so that short-lived lanes start no threads.
"""

from functools import partial
from typing import TYPE_CHECKING

from tpool_asyncio._pool.asking import waiting_workers
from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.crew import HARD_CAP, Crew

if TYPE_CHECKING:
    import threading

    from tpool_asyncio._pool.job import Job
    from tpool_asyncio._pool.thread_pool import Farewell, ThreadPool
    from tpool_asyncio._pool.worker import Worker

__all__ = ["Lane", "Lanes"]


class _LaneCrew(Crew):
    """The one worker of a lane, and its queue."""

    __slots__ = ("lost",)

    def __init__(self, pool: "ThreadPool") -> None:
        super().__init__(pool, 1)
        self.idle_timeout = -1
        self.lost = False  # whether the thread is one of the process that this one was forked from

    def _active(self) -> int:
        return len(self.workers) - self.excused


class Lanes:
    """The lanes of a pool, those in use and those to be used again. The lock of the pool guards them."""

    def __init__(self, pool: "ThreadPool") -> None:
        self._pool = pool
        self._crews: list[_LaneCrew] = []
        self._free: list[_LaneCrew] = []

    def crews(self) -> list[Crew]:
        return list(self._crews)

    def in_use(self) -> int:
        return len(self._crews) - len(self._free)

    def take(self) -> _LaneCrew:
        """Return the crew of a free lane, or of a new one."""
        pool = self._pool
        with pool.lock:
            pool.check_open()
            if self._free:
                return self._free.pop()
            if len(self._crews) >= HARD_CAP:
                raise RuntimeError(
                    f"pool {pool.name!r} has {HARD_CAP} threads for pinned proxies and open iterations, which is the"
                    " most there can be; close those that are done with, or let fewer be open at once"
                )
            crew = _LaneCrew(pool)
            self._crews.append(crew)
            return crew

    def give_back(self, crew: _LaneCrew) -> None:
        """Keep a lane for its next user, or have its thread end."""
        pool = self._pool
        with pool.lock:
            if crew.retired:
                return
            if pool.idle_timeout < 0 and len(self._free) < pool.size:
                self._free.append(crew)
                return
            self._crews.remove(crew)
            pool.retire([crew])
        crew.stir()

    def dismiss(self, *, all_of_them: bool) -> list[Crew]:
        """Give up those that are not in use, or all of them, under the lock; return their crews."""
        given_up = self._crews if all_of_them else self._free
        self._crews = [] if all_of_them else [crew for crew in self._crews if crew not in given_up]
        self._free = []
        return list(given_up)

    def set_milestones(self, farewell: "Farewell") -> list[tuple[Crew, Chore]]:
        """Have a farewell wait for what the lanes in use have been given so far, under the lock.

        Returns the jobs to be submitted for it, and where, when the lock is free again.
        """
        for crew in self.crews():
            if (crew.queue or crew.idle.keys() != crew.workers) and crew.workers.isdisjoint(farewell.spared):
                milestone = Chore(self._pool, _nothing)
                milestone.done = partial(self._reached, farewell, milestone)
                farewell.milestones[milestone] = crew
        return [(crew, milestone) for milestone, crew in farewell.milestones.items()]

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

    __slots__ = ("_crew", "_released", "home")

    size = 1

    def __init__(self, home: "ThreadPool") -> None:
        self.home = home
        self._crew = home.lanes.take()
        self._released = False

    @property
    def name(self) -> str:
        return self.home.name

    @property
    def local(self) -> "threading.local":
        return self.home.local

    def serves(self, worker: "Worker") -> bool:
        """Return whether this is the worker of the lane."""
        return worker.crew is self._crew

    def submit(self, job: "Job") -> None:
        """Queue a job; raise a `RuntimeError` if it can never run."""
        crew = self._crew
        if self._released:
            raise RuntimeError(
                f"{job.name} was pinned to a thread, which became free when it was closed; open it again"
            )
        if crew.lost:
            raise RuntimeError(
                f"{job.name} is pinned to a thread of the process that this one was forked from; make the object and"
                " its proxy anew in the child"
            )
        self.home.check_open()
        if any(worker.crew is crew for worker in waiting_workers()):
            raise RuntimeError(
                f"{job.name} is pinned to a thread that waits for this very code, so the call would wait for itself;"
                " make it before or after the call that runs there"
            )
        crew.submit(job)

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
