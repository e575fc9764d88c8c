"""Which threads a call gets that somebody makes through anyio.

anyio promises that a call with a limiter of its own never waits for threads that calls with other limiters hold, and
FastAPI relies on it: a dependency is left with a limiter that nobody else has, so that it can let go of what others
wait for in threads. So

- a call with the default limiter of the loop gets a thread of the pool;
- a call with another limiter gets a thread **beside** the pool's size. These have no limit but the limiters;
- so does a call from a loop that runs inside a call, since that one holds a thread until the loop has ended;
- a call for which a call waits in ``from_thread`` needs no token of the default limiter: that one has a token for both,
  and the pool starts a spare thread for it while it waits. If that one is beside the pool's size, so is this one, with
  a token.
"""

import sys
from collections.abc import Callable
from typing import Any

from anyio._backends._asyncio import AsyncIOBackend

from tpool_asyncio._loop.pool import Pool
from tpool_asyncio._pool.asking import waiting_workers
from tpool_asyncio._pool.refusal import shown
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker
from tpool_asyncio.interop._anyio_call import outcome

__all__ = ["Route"]

_IDLE_TIMEOUT = 10.0
"""Seconds after which a thread beside the pool's size ends, as anyio's threads do."""


class Route:
    """Where the calls of a loop go. It does not change; any loop may use it."""

    def __init__(self, pool: Pool) -> None:
        if not isinstance(pool, Pool):
            raise TypeError(f"pool must be a tpool_asyncio.tpool.Pool, not {shown(pool)}")
        pool._core.check_keeps("the adapter for Starlette")
        self._pool = pool  # which ends its threads when nobody holds it
        self._main: ThreadPool = pool._core
        self._beside = ThreadPool(sys.maxsize, name=f"{self._main.name}-beside", idle_timeout=_IDLE_TIMEOUT)

    def serves_the_same(self, other: "Route | None") -> bool:
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
            return await outcome(core, fn, args, abandons=abandons)
        async with limiter:  # which looks for a cancellation, too, and lets others have their turn
            return await outcome(core, fn, args, abandons=abandons)

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
