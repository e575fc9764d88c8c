"""An executor with the calls that an engine has given it."""

import sys
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.neighbours import adapted
from tpool_asyncio._pool.refusal import shown

if TYPE_CHECKING:
    from tpool_asyncio._pool.engine import Engine
    from tpool_asyncio._pool.job import Job
    from tpool_asyncio._pool.ticket import Ticket

__all__ = ["Outlet"]

_JOIN = 5.0
"""Seconds to wait at exit for the thread that looks after worker processes, when there is nothing left to do."""

_MARKS = ("_broken", "_shutdown", "_shutdown_thread")
"""Attributes by which the executors of Python know that they take no calls any more."""


class Outlet:
    """What an engine has of one executor.

    The lock of the engine guards ``tickets`` and ``closing``. ``_processes`` and ``_manager`` are written by the one
    thread that closes, and read by one load each at exit, where they are asked of the executor as well. The rest never
    changes.
    """

    __slots__ = ("_manager", "_processes", "closing", "engine", "executor", "kind", "silent", "tickets")

    def __init__(self, engine: "Engine", executor: Executor) -> None:
        self.engine = engine
        self.kind = type(executor).__name__
        self.executor: Any = adapted(executor)
        self.silent = getattr(self.executor, "tells_no_start", False)  # whether nobody knows when a call is started
        self.tickets: dict[Ticket, None] = {}
        self.closing = False
        self._processes: list[Any] = []
        self._manager: Any = None  # the thread that looks after them

    def take(self, job: "Job") -> "Future[Any]":
        """Give the executor a call; raises whatever that raises. In the thread that feeds."""
        assert job.fn is not None
        call = partial(job.fn, *(job.args or ()), **(job.kwargs or {}))
        del job  # the frames of an error, which is to be its outcome, lead here
        future = self.executor.submit(call)
        if not (hasattr(future, "add_done_callback") and hasattr(future, "running")):
            raise TypeError(
                f"the {self.kind} returned {shown(future)} for a call, which is no Future of concurrent.futures; the"
                " call may run, but nobody can tell its outcome"
            )
        return future  # type: ignore[no-any-return]

    def fail_lost(self) -> None:
        """Fail what a broken executor of processes has, as it may have lost some of it. In the thread that feeds.

        In CPython 3.11 it fails its calls without the lock under which it takes others. One that it takes meanwhile
        it may forget, or stumble over, and then it forgets those that it has not failed by then.
        """
        if getattr(self.executor, "_broken", False) and hasattr(self.executor, "_executor_manager_thread"):
            broken: Any = sys.modules["concurrent.futures.process"]
            future: Future[Any] = Future()
            future.set_exception(broken.BrokenProcessPool("a worker process ended while the executor took calls"))
            with self.engine.lock:
                tickets = list(self.tickets)
            for ticket in tickets:
                ticket.ended(future)

    def is_over(self, error: BaseException) -> bool:
        """Return whether the executor takes no further calls, after this error."""
        with suppress(Exception):  # of an error, or an executor, that fails in whatever it is asked for
            marks = [getattr(self.executor, name) for name in _MARKS if hasattr(self.executor, name)]
            if marks:
                return any(marks)
            return isinstance(error, BrokenExecutor) or (isinstance(error, RuntimeError) and "shutdown" in str(error))
        return False

    def size(self) -> int | None:
        """Return how many calls it can run at once, if it says so."""
        size = getattr(self.executor, "_max_workers", None)
        return size if isinstance(size, int) else None

    def close(self, *, wait: bool = True) -> None:
        """Shut the executor down, and wait until it is, in a thread of its own; or do not wait, at exit."""
        try:
            self._processes = self._living_processes()
            self._manager = getattr(self.executor, "_executor_manager_thread", None)
            self.executor.shutdown(wait=wait)
        except BaseException:
            complain("the executor of pool %r could not be shut down", self.engine.name)
        self.engine.closed(self)

    def _living_processes(self) -> list[Any]:
        """Return the worker processes, which the executor forgets when it is told to shut down."""
        processes = getattr(self.executor, "_processes", None)
        return list(processes.values()) if isinstance(processes, dict) else []

    def join(self) -> None:
        """Wait, at exit, until the executor has come to its end.

        Otherwise its manager would be closing a pipe while the interpreter writes to that, to wake it.
        """
        manager = self._manager or getattr(self.executor, "_executor_manager_thread", None)
        if manager is not None:
            manager.join(_JOIN)

    def kill(self) -> None:
        """End worker processes in the middle of their calls, at exit."""
        try:
            for process in {*self._processes, *self._living_processes()}:
                process.kill()
            self.join()
        except Exception:
            complain("the worker processes of pool %r could not be ended", self.engine.name)
