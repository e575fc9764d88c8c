"""Blocking endpoints of Starlette and FastAPI in a pool of this package.

Whatever these frameworks run in a thread goes through ``anyio.to_thread.run_sync``: endpoints and dependencies that are
plain functions, both ends of dependencies with ``yield``, background tasks, files that are sent or uploaded, blocking
generators of streaming responses. That in turn calls one class method of anyio's asyncio backend. It is replaced here,
as long as there is anything to be done, and looks which pool the running loop is to use. Where there is none, and under
Trio, everything is as it was.

.. code-block:: python

    from fastapi import FastAPI
    from tpool_asyncio.interop.starlette import lifespan

    app = FastAPI(lifespan=lifespan())

Which threads a call gets
    anyio promises that a call with a limiter of its own never waits for threads that calls with other limiters hold,
    and FastAPI relies on it: a dependency is left with a limiter that nobody else has, so that it can let go of what
    others wait for in threads. So

    - a call with the default limiter of the loop gets a thread of the pool;
    - a call with another limiter gets a thread **beside** the pool's size. These have no limit but the limiters;
    - so does a call from a loop that runs inside a call, since that one holds a thread until the loop has ended;
    - a call for which a call waits in ``from_thread`` needs no token of the default limiter: that one has a token for
      both, and the pool starts a spare thread for it while it waits.

Who may touch what
    `_Switch` guards what is chosen for which loop by a lock; each call reads it without. A `_Route` does not change.
"""

import asyncio
import inspect
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import Context, copy_context
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from anyio._backends._asyncio import AsyncIOBackend

from tpool_asyncio._loop.pool import Pool
from tpool_asyncio._pool.asking import waiting_workers
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker
from tpool_asyncio.interop._worker_call import outcome
from tpool_asyncio.tpool import default_pool

__all__ = ["install", "lifespan", "uninstall", "using"]

_METHOD = "run_sync_in_worker_thread"
_PARAMETERS = ["cls", "func", "args", "abandon_on_cancel", "limiter"]
_IDLE_TIMEOUT = 10.0
"""Seconds after which a thread beside the pool's size ends, as anyio's threads do."""


def install(pool: Pool | None = None) -> None:
    """Have whatever goes to anyio's worker threads run in a pool, on all event loops of the process.

    To do so again exchanges the pool. Loops for which `using` has chosen a pool keep theirs.

    Args:
        pool: The pool, None for the default one. It remains the caller's to end.

    Raises:
        TypeError: ``pool`` is no `tpool_asyncio.tpool.Pool`.
        RuntimeError: The anyio that is installed runs its worker threads in a way that is not known here.

    May be called from any thread. Calls that have been made already stay where they are.

    .. versionadded:: 0.1.0
    """
    _switch.install(_Route(pool))


def uninstall() -> None:
    """Take `install` back, so that anyio runs its own threads again. It does nothing if that has not been done.

    May be called from any thread. Calls that have been made already stay where they are.

    .. versionadded:: 0.1.0
    """
    _switch.install(None)


@asynccontextmanager
async def using(pool: Pool | None = None) -> AsyncIterator[None]:
    """Have whatever goes to anyio's worker threads on this event loop run in a pool, within ``async with``.

    Several may be open on a loop, and be left in any order; the one that was opened last applies to all of the loop.

    Args:
        pool: The pool, None for the default one. It remains the caller's to end.

    Raises:
        TypeError: ``pool`` is no `tpool_asyncio.tpool.Pool`.
        RuntimeError: The anyio or Starlette that is installed works in a way that is not known here.

    Cancellation: Calls that have been made already stay where they are, and are not waited for.

    May be called in any thread whose event loop runs.

    .. versionadded:: 0.1.0
    """
    loop = asyncio.get_running_loop()
    route = _Route(pool)
    _switch.enter(loop, route)
    try:
        await _try_starlette(route)
        yield
    finally:
        _switch.leave(loop, route)


def lifespan(
    pool: Pool | None = None,
    inner: Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None = None,
) -> Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]:
    """Return a lifespan for ``FastAPI(lifespan=...)`` or ``Starlette(lifespan=...)`` that is `using` a pool.

    Args:
        pool: The pool, None for the default one. It remains the caller's to end, after the application.
        inner: Another lifespan, which begins after it and ends before it; its state becomes that of the application.

    Raises:
        TypeError: When the application starts: ``pool`` is no `tpool_asyncio.tpool.Pool`.
        RuntimeError: When the application starts: the anyio or Starlette that is installed works in a way that is not
            known here.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """

    @asynccontextmanager
    async def running(app: Any) -> AsyncIterator[Mapping[str, Any] | None]:
        async with using(pool), nullcontext() if inner is None else inner(app) as state:
            yield state

    return running


class _Route:
    """Where the calls of a loop go."""

    def __init__(self, pool: Pool | None) -> None:
        if pool is None:
            pool = default_pool()
        elif not isinstance(pool, Pool):
            raise TypeError(f"pool must be a tpool_asyncio.tpool.Pool, not {pool!r}")
        self._pool = pool  # which ends its threads when nobody holds it
        self._main: ThreadPool = pool._core
        self._beside = ThreadPool(sys.maxsize, name=f"{self._main.name}-beside", idle_timeout=_IDLE_TIMEOUT)

    def serves_the_same(self, other: "_Route | None") -> bool:
        return other is not None and other._main is self._main

    def serves(self, worker: Worker) -> bool:
        return self._main.serves(worker) or self._beside.serves(worker)

    def has_no_threads(self) -> bool:
        return self._main.size == 0

    def close(self) -> None:
        """Let the threads beside the pool end when they have done what they have. Any thread."""
        self._beside.abandon()

    async def run(
        self,
        backend: type[AsyncIOBackend],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        abandons: bool,
        limiter: Any,
    ) -> Any:
        """Do what anyio's method does."""
        core, limiter = self._choose(backend, limiter)
        if limiter is None:
            await backend.checkpoint_if_cancelled()
            return await outcome(core, _worker_context(), fn, args, abandons=abandons)
        async with limiter:  # which looks for a cancellation, too, and lets others have their turn
            return await outcome(core, _worker_context(), fn, args, abandons=abandons)

    def _choose(self, backend: type[AsyncIOBackend], limiter: Any) -> tuple[ThreadPool, Any]:
        default = backend.current_default_thread_limiter()
        if limiter is not None and limiter is not default:
            return self._beside, limiter
        own = current_worker()
        if own is not None and self.serves(own):
            return self._beside, default
        if asking := waiting_workers():
            if self._main.serves(asking[-1]):
                return self._main, None
            if self._beside.serves(asking[-1]):
                return self._beside, default
        return self._main, default


class _Switch:
    """What takes the place of anyio's method, and to which route it sends the calls of which loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._everywhere: _Route | None = None
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[_Route, ...]]
        self._by_loop = weakref.WeakKeyDictionary()
        self._original: Any = None  # as it stood in the class
        self._ours: Any = None

    def route(self, loop: asyncio.AbstractEventLoop) -> _Route | None:
        """Return where the calls of a loop go; None for anyio's own threads."""
        routes = self._by_loop.get(loop)
        return routes[-1] if routes else self._everywhere

    def install(self, route: _Route | None) -> None:
        with self._lock:
            old = self._everywhere
            if route is not None and route.serves_the_same(old):
                return
            if route is not None:
                self._replace()
            self._everywhere = route
            self._restore()
        if old is not None:
            old.close()

    def enter(self, loop: asyncio.AbstractEventLoop, route: _Route) -> None:
        with self._lock:
            self._replace()
            self._by_loop[loop] = (*self._by_loop.get(loop, ()), route)

    def leave(self, loop: asyncio.AbstractEventLoop, route: _Route) -> None:
        with self._lock:
            left = tuple(other for other in self._by_loop.get(loop, ()) if other is not route)
            if left:
                self._by_loop[loop] = left
            else:
                self._by_loop.pop(loop, None)
            self._restore()
        route.close()

    def _replace(self) -> None:
        """Put our method into the class, under the lock, unless it is there."""
        found = vars(AsyncIOBackend).get(_METHOD)
        if self._ours is not None:
            return  # it is there, or called by what somebody else has put over it
        if not isinstance(found, classmethod) or list(inspect.signature(found.__func__).parameters) != _PARAMETERS:
            raise RuntimeError(
                f"anyio {version('anyio')} starts its worker threads in another way than the versions that"
                " tpool_asyncio.interop.starlette knows; do without it, or install a version that knows this anyio"
            )
        self._original = found
        self._ours = classmethod(self._method(found.__func__))
        setattr(AsyncIOBackend, _METHOD, self._ours)

    def _restore(self) -> None:
        """Put anyio's own method back, under the lock, if there is nothing to do for ours.

        If somebody has put another one over it meanwhile, ours stays, and hands everything on.
        """
        if self._ours is None or self._everywhere is not None or self._by_loop:
            return
        if vars(AsyncIOBackend).get(_METHOD) is self._ours:
            setattr(AsyncIOBackend, _METHOD, self._original)
            self._ours = self._original = None

    def _method(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def run_sync_in_worker_thread(
            cls: type[AsyncIOBackend],
            func: Callable[..., Any],
            args: tuple[Any, ...],
            abandon_on_cancel: bool = False,
            limiter: Any = None,
        ) -> Any:
            route = self.route(asyncio.get_running_loop())
            if route is None:
                return await original(cls, func, args, abandon_on_cancel, limiter)
            return await route.run(cls, func, args, abandon_on_cancel, limiter)

        return run_sync_in_worker_thread


_switch = _Switch()


def _worker_context() -> Context:
    """Return a copy of this context in which nothing says that an event loop runs."""
    context = copy_context()
    if (sniffio := sys.modules.get("sniffio")) is not None:
        context.run(sniffio.current_async_library_cvar.set, None)
    return context


async def _try_starlette(route: _Route) -> None:
    """Raise what helps if what Starlette runs in a thread does not come here."""
    concurrency = sys.modules.get("starlette.concurrency")
    run = anyio.to_thread.run_sync if concurrency is None else concurrency.run_in_threadpool
    worker = await run(current_worker)
    if route.has_no_threads():
        return
    if worker is None or not route.serves(worker):
        raise RuntimeError(
            f"Starlette {version('starlette')} and anyio {version('anyio')} run blocking code in other threads than"
            " those that tpool_asyncio.interop.starlette knows of; do without it, or install a version that knows them"
        )
