"""anyio's own ways back from a thread, in the threads of our pools.

In them `anyio.from_thread.run`, ``run_sync`` and ``check_cancelled`` work without a token, as they do in anyio's worker
threads: they go to the loop that made the call, by way of `tpool_asyncio.from_thread`, and keep all that is promised
there. Nobody has to set anything up.

What is done to a thread
    anyio's functions look into a thread-local for the class that knows the way back. We put one of our own there. That
    is not public: where anyio looks elsewhere, its functions say that this is no thread of theirs, and nothing else
    changes. Up to 4.10 it looks for the class itself, since then for a token that has it.

    A thread of a pool runs no loop, but a call runs in a copy of its caller's context, in which sniffio (all that anyio
    up to 4.11 asks, and later ones if it is there) may have been told that one does. That is taken back for each call.

What is done for callers that wait for the real end
    In a cancel scope that has been cancelled, anyio cancels whatever waits in every turn of the loop, until it ends. A
    call with ``on_cancel="wait"`` does not before its function does, and until then the loop would turn without rest.
    anyio's own threads are waited for in a shielded scope. So are our calls, once they have been cancelled, see
    `Shelter`.

This module never imports anyio: a thread may come here while somebody else does.
"""

import asyncio
import concurrent.futures
import sys
import threading
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

from tpool_asyncio import from_thread
from tpool_asyncio._loop.errand import LoopClosedError
from tpool_asyncio._pool.job import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tpool_asyncio._pool.worker import Worker

__all__ = ["Shelter", "greet"]


class Backend:
    """What is used of an anyio backend in a worker thread. Its errors and cancellations are those of anyio's."""

    @staticmethod
    def run_async_from_thread(func: "Callable[..., Any]", args: tuple[Any, ...], token: object = None) -> Any:  # noqa: ARG004
        """Do what `anyio.from_thread.run` does. A token of ours says nothing that the thread does not know."""
        return _go(from_thread.run, func, args)

    @staticmethod
    def run_sync_from_thread(func: "Callable[..., Any]", args: tuple[Any, ...], token: object = None) -> Any:  # noqa: ARG004
        """Do what `anyio.from_thread.run_sync` does."""
        return _go(from_thread.run_sync, _Inside(func), args)

    @staticmethod
    def check_cancelled() -> None:
        """Do what `anyio.from_thread.check_cancelled` does."""
        from_thread.check_cancelled()


class _Token:
    """What is used of an `anyio.lowlevel.EventLoopToken` in a worker thread."""

    backend_class = Backend
    native_token = None


_token = _Token()


def _go(way: "Callable[..., Any]", func: "Callable[..., Any]", args: tuple[Any, ...]) -> Any:
    try:
        return way(func, *args)
    except asyncio.CancelledError as error:
        raise concurrent.futures.CancelledError(*error.args) from None
    except LoopClosedError as error:
        finished = getattr(sys.modules.get("anyio"), "RunFinishedError", None)
        if finished is None:
            raise
        raise finished from error


class _Inside(Wrapper):
    """A function that is called in a loop, outside of any task, where sniffio has to be told."""

    __slots__ = ("func",)

    def __init__(self, func: "Callable[..., Any]") -> None:
        self.func = func

    def __call__(self, *args: Any) -> Any:
        library = _sniffed()
        if library is not None:
            library.set("asyncio")
        return self.func(*args)


def _sniffed() -> "ContextVar[str | None] | None":
    """Return where sniffio is told which library runs, if it is there."""
    variable = getattr(sys.modules.get("sniffio"), "current_async_library_cvar", None)
    return variable if isinstance(variable, ContextVar) else None


def _outside(context: Context) -> None:
    """Have it known in a context that what runs there runs in no loop."""
    library = _sniffed()
    if library is not None and context.get(library) is not None:
        context.run(library.set, None)


def greet(worker: "Worker") -> None:
    """Have anyio's functions work in this thread, which is the worker's. `tpool_asyncio._pool.neighbours` calls it."""
    known = getattr(sys.modules.get("anyio._core._eventloop"), "threadlocals", None)
    if isinstance(known, threading.local) and not hasattr(known, "current_token"):
        known.current_token = _token
        known.current_async_backend = Backend  # for anyio 4.10
    if _sniffed() is not None:
        worker.prepare = _outside


class Shelter:
    """Shielded cancel scopes around the tasks that wait for one call. All of it in the thread of the loop.

    A task that waits can enter no scope, so (1) when the call has been cancelled, and cannot be, this is called in the
    next turn of the loop, as no scope may be entered while anyio goes through its tasks. It (2) makes the task the
    current one, as asyncio lets other implementations of tasks do, and enters the scope for it. The task goes on
    waiting: it is woken by nothing but the call. (3) When the call has ended, and before the task is woken, the scope
    is left in the same way, which has anyio go on with its cancellation.

    Only tasks that await the call itself are found; not those that await a `gather` of several.
    """

    __slots__ = ("_call", "_scopes")

    def __init__(self, call: "asyncio.Future[Any]") -> None:
        self._call: asyncio.Future[Any] | None = call
        self._scopes: dict[asyncio.Task[Any], AbstractContextManager[Any]] = {}

    def enter(self) -> None:
        """Enter a scope for each task that waits for the call."""
        call = self._call
        make_scope = getattr(sys.modules.get("anyio"), "CancelScope", None)
        if call is None or make_scope is None:
            return
        for callback, _ in getattr(call, "_callbacks", None) or ():
            task = getattr(callback, "__self__", None)
            if isinstance(task, asyncio.Task) and task not in self._scopes and getattr(task, "_fut_waiter", 0) is call:
                asyncio._enter_task(call.get_loop(), task)
                try:
                    scope = make_scope(shield=True)
                    scope.__enter__()
                    self._scopes[task] = scope
                finally:
                    asyncio._leave_task(call.get_loop(), task)

    def leave(self) -> None:
        """Leave all of them, and enter no more."""
        call, self._call = self._call, None
        assert call is not None
        while self._scopes:
            task, scope = self._scopes.popitem()
            asyncio._enter_task(call.get_loop(), task)
            try:
                scope.__exit__(None, None, None)
            finally:
                asyncio._leave_task(call.get_loop(), task)
