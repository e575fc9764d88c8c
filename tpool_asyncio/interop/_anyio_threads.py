"""The choice of the pool that runs what frameworks send to anyio's worker threads."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib.metadata import version
from typing import Any

import anyio.to_thread

from tpool_asyncio._loop.pool import Pool
from tpool_asyncio._pool.worker import current_worker
from tpool_asyncio.interop._anyio_route import Route
from tpool_asyncio.interop._anyio_switch import switch
from tpool_asyncio.tpool import default_pool

__all__ = ["install", "lifespan", "uninstall", "using"]


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
    switch.install(_route(pool))


def uninstall() -> None:
    """Take `install` back, so that anyio runs its own threads again. It does nothing if that has not been done.

    May be called from any thread. Calls that have been made already stay where they are.

    .. versionadded:: 0.1.0
    """
    switch.install(None)


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
    route = _route(pool)
    switch.enter(loop, route)
    try:
        await _try_starlette(route)
        yield
    finally:
        switch.leave(loop, route)


def lifespan(
    pool: Pool | None = None,
    inner: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
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
    async def running(app: Any) -> AsyncIterator[Any]:
        async with using(pool), nullcontext() if inner is None else inner(app) as state:
            yield state

    return running


def _route(pool: Pool | None) -> Route:
    return Route(default_pool() if pool is None else pool)


async def _try_starlette(route: Route) -> None:
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
