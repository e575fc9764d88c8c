"""The ways to make a call that are measured side by side.

Each contestant is opened on the loop it is measured on, and has as many threads as the others. Its package is imported
then and not before, so that a process knows only its own. Where a package leaves a choice, the cheaper way is taken:
asgiref wraps a function once, not once per call.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from tpool_asyncio._bench.floors import asyncio_floor, plain_futures
from tpool_asyncio._bench.workloads import ONE_BY_ONE, WORKLOADS, Submit, Workload

__all__ = ["ASYNCIO_FLOOR", "CONTESTANTS", "FLOOR", "PEERS", "PLAIN_FUTURES", "THREADS", "TPOOL", "Contestant"]

THREADS = 20


@asynccontextmanager
async def _tpool() -> AsyncIterator[Submit]:
    from tpool_asyncio import tpool

    tpool.set_num_threads(THREADS)
    yield tpool.execute
    await tpool.killall()


@asynccontextmanager
async def _to_thread() -> AsyncIterator[Submit]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    yield asyncio.to_thread


@asynccontextmanager
async def _run_in_executor() -> AsyncIterator[Submit]:
    with ThreadPoolExecutor(THREADS) as executor:
        yield partial(asyncio.get_running_loop().run_in_executor, executor)


@asynccontextmanager
async def _anyio() -> AsyncIterator[Submit]:
    anyio = import_module("anyio")
    yield partial(import_module("anyio.to_thread").run_sync, limiter=anyio.CapacityLimiter(THREADS))


@asynccontextmanager
async def _asgiref() -> AsyncIterator[Submit]:
    sync_to_async = import_module("asgiref.sync").sync_to_async
    with ThreadPoolExecutor(THREADS) as executor:
        wrapped = {
            workload.fn: sync_to_async(workload.fn, thread_sensitive=False, executor=executor)
            for workload in WORKLOADS.values()
        }
        yield lambda fn, *args: wrapped[fn](*args)


@asynccontextmanager
async def _asyncio_floor() -> AsyncIterator[Submit]:
    with asyncio_floor() as submit:
        yield submit


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to make a call."""

    name: str
    """The word for it on the command line of a child process and in JSON."""
    title: str
    """What people read."""
    open: Callable[[], AbstractAsyncContextManager[Submit]] | None
    """Opens it on the running loop; raises `ImportError` if its package is missing. None for what needs no loop."""
    only: Workload | None = None
    """The one workload it is meant for, None for all."""

    def takes(self, workload: Workload) -> bool:
        """Return whether it takes part in this workload."""
        return self.only in (None, workload)


TPOOL = Contestant("tpool", "tpool.execute", _tpool)
FLOOR = Contestant("floor", "floor: lock, socket, poll", None, ONE_BY_ONE)
ASYNCIO_FLOOR = Contestant("asyncio_floor", "floor of asyncio", _asyncio_floor, ONE_BY_ONE)
PLAIN_FUTURES = Contestant("plain_futures", "plain futures, no threads", plain_futures)
"""Takes no part in the table of calls, where nothing is to be explained by it."""

PEERS = (
    Contestant("to_thread", "asyncio.to_thread", _to_thread),
    Contestant("run_in_executor", "loop.run_in_executor", _run_in_executor),
    Contestant("anyio", "anyio.to_thread.run_sync", _anyio),
    Contestant("asgiref", "asgiref.sync_to_async", _asgiref),
)

CONTESTANTS = {contestant.name: contestant for contestant in (TPOOL, *PEERS, FLOOR, ASYNCIO_FLOOR)}
