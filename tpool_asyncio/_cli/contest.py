"""The same work, with its blocking calls made in three ways.

What differs is only `Way.open`: how a call is made. The tasks, what they do and the order in which they take the files
are the same.
"""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from tpool_asyncio._cli.files import Inventory
from tpool_asyncio._cli.heartbeat import Heartbeat
from tpool_asyncio._cli.work import Database, Record, hash_file
from tpool_asyncio.tpool import Pool

__all__ = ["TASKS", "WAYS", "Outcome", "Way", "run"]

TASKS = 100
"""Tasks that work at the same time, each on one file, like the requests to a server."""

BATCH = 100
"""Records that go into the database with one call."""

INTERVAL = 0.005
"""Seconds between two heartbeats."""

P = ParamSpec("P")
T = TypeVar("T")


class Execute(Protocol):
    """Make a blocking call; what comes back is awaited for the result."""

    def __call__(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...


@asynccontextmanager
async def _on_the_loop(_size: int) -> AsyncIterator[Execute]:
    async def execute(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        result = fn(*args, **kwargs)
        await asyncio.sleep(0)  # as a considerate program would; without it the loop never gets a turn
        return result

    yield execute


@asynccontextmanager
async def _to_thread(size: int) -> AsyncIterator[Execute]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(size))
    yield asyncio.to_thread  # the end of the loop is the end of the executor


@asynccontextmanager
async def _tpool(size: int) -> AsyncIterator[Execute]:
    async with Pool(size, name="demo") as pool:
        yield pool.execute


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make blocking calls."""

    name: str
    open: Callable[[int], AbstractAsyncContextManager[Execute]]
    """Opens it on the running loop, with this many threads."""


WAYS = (Way("on the loop", _on_the_loop), Way("asyncio.to_thread", _to_thread), Way("tpool", _tpool))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way has come to."""

    name: str
    seconds: float
    worst_stall: float
    """The longest time in seconds that the loop stood still."""
    threads: int
    """Threads that were there for the calls, at the most."""
    files: int
    digest: str


async def run(
    way: Way, inventory: Inventory, folder: str, *, size: int, on_progress: Callable[[int], object] = lambda _: None
) -> Outcome:
    """Hash the files and file the digests in a new database in this folder.

    Args:
        way: How to make the blocking calls.
        inventory: The files.
        folder: Where the database goes.
        size: How many threads the way may have.
        on_progress: Called now and then on the loop, with the number of files done.

    Raises:
        OSError, sqlite3.Error: A file can no longer be read, or the database not be written; alone or in an
            exception group.
    """
    threads_before = threading.active_count()
    async with way.open(size) as execute:
        work = _Work(execute, inventory)
        async with Heartbeat(INTERVAL, lambda: on_progress(work.done)) as heartbeat:
            started = time.perf_counter()
            database = await execute(Database, os.path.join(folder, f"{way.name}.sqlite"))
            try:
                await work.do(database)
                seconds = time.perf_counter() - started
                threads = threading.active_count() - threads_before  # none of them ends before its pool does
                files, digest = await execute(database.combined)
            finally:
                database.close()
    on_progress(files)
    return Outcome(way.name, seconds, heartbeat.worst, threads, files, digest)


class _Work:
    """What the tasks of one way share. Only the loop touches it, but for `unwanted`."""

    def __init__(self, execute: Execute, inventory: Inventory) -> None:
        self.done = 0
        self._execute = execute
        self._folder = inventory.folder
        self._names = iter(inventory.files)
        self._batch: list[Record] = []
        self._over = False
        self._main = asyncio.current_task()

    def unwanted(self) -> bool:
        """Tell the calls that run whether to stop. Any thread.

        Ctrl-C cancels the main task, which is to be seen at once, also when a call holds up the loop itself.
        """
        return self._over or (self._main is not None and self._main.cancelling() > 0)

    async def do(self, database: Database) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(TASKS):
                    group.create_task(self._take_files(database))
        finally:
            self._over = True  # after an error there are calls that nobody waits for any more
        await self._execute(database.file, self._batch)

    async def _take_files(self, database: Database) -> None:
        for name in self._names:
            record = await self._execute(hash_file, self._folder, name, self.unwanted)
            self._batch.append(record)  # looked up after the wait, since another task may have begun a new one
            self.done += 1
            if len(self._batch) >= BATCH:
                full, self._batch = self._batch, []
                await self._execute(database.file, full)
