"""Reading a table to its last row.

``python -m tpool_asyncio._bench.proxy_rows NAME asyncio PATIENCE DATABASE`` measures one contestant as `child` does.

The clock runs from before the query to after the last row; a connection is there already. The ids are added up, and the
sum must be right. The floor is plain `sqlite3` in a loop that does the same.
"""

import sqlite3
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.proxy_connections import Connect, aiosqlite, bare, pinned, proxied
from tpool_asyncio._bench.proxy_material import SELECT_ALL, check
from tpool_asyncio._bench.self_timed import Measure, SelfTimed, on_a_loop, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.targets import Verdict, faster, near
from tpool_asyncio._bench.workloads import Workload, nothing

__all__ = ["READ", "ROWS", "subject", "verdicts"]

READ = Workload("rows", "rows", 1, nothing, (), reps=100_000, quick_reps=100_000)

Query = Callable[[Any], Awaitable[AsyncIterable[tuple[int, str, float]]]]
"""Has a connection begin the query, and returns the rows."""


def _right(reps: int) -> int:
    return reps * (reps - 1) // 2


def _add_up(rows: Iterable[tuple[int, str, float]]) -> int:
    total = 0
    for row in rows:
        total += row[0]
    return total


async def _add_up_async(rows: AsyncIterable[tuple[int, str, float]]) -> int:
    total = 0
    async for row in rows:
        total += row[0]
    return total


async def _read(connect: Connect, query: Query, path: str, _: Workload, reps: int) -> dict[str, float]:
    async with connect(path) as db:
        clock = Clock()
        total = await _add_up_async(await query(db))
        taken = clock.per_call(reps)
    check(total, _right(reps))
    return taken


@contextmanager
def _async(connections: Callable[[], Connect], query: Query, path: str) -> Iterator[Measure]:
    with on_a_loop(partial(_read, connections(), query, path)) as measure:
        yield measure


async def _cursor(db: Any) -> AsyncIterable[tuple[int, str, float]]:
    rows: AsyncIterable[tuple[int, str, float]] = await db.execute(SELECT_ALL)
    return rows


async def _iterate(db: sqlite3.Connection) -> AsyncIterable[tuple[int, str, float]]:
    from tpool_asyncio import tpool

    rows: AsyncIterable[tuple[int, str, float]] = tpool.iterate(db.execute, SELECT_ALL)
    return rows


def _large_chunks() -> Connect:
    return partial(import_module("aiosqlite").connect, iter_chunk_size=1_000)


def _add_up_here(db: Any, reps: int) -> dict[str, float]:
    clock = Clock()
    total = _add_up(db.execute(SELECT_ALL))
    taken = clock.per_call(reps)
    check(total, _right(reps))
    return taken


@contextmanager
def _plain(path: str) -> Iterator[Measure]:
    with closing(sqlite3.connect(path)) as db:
        yield lambda _, reps: _add_up_here(db, reps)


@contextmanager
def _green(path: str) -> Iterator[Measure]:
    from tpool_asyncio import green

    def in_green_thread(reps: int) -> dict[str, float]:
        db: Any = green.tpool.Proxy(sqlite3.connect(path, check_same_thread=False), autowrap=sqlite3.Cursor)
        try:
            return _add_up_here(db, reps)
        finally:
            db.close()

    with on_a_loop(lambda _, reps: green.run(in_green_thread, reps)) as measure:
        yield measure


TPOOL = SelfTimed("tpool", "async for over a proxied cursor", partial(_async, proxied, _cursor))
PINNED = SelfTimed("pinned", "async for over a pinned cursor", partial(_async, pinned, _cursor))
ITERATE = SelfTimed("iterate", "async for over tpool.iterate", partial(_async, bare, _iterate))
GREEN = SelfTimed("green", "green.run, for over a proxied cursor", _green)
AIOSQLITE = SelfTimed("aiosqlite", "aiosqlite, async for", partial(_async, aiosqlite, _cursor))
LARGE_CHUNKS = SelfTimed("large_chunks", "aiosqlite, iter_chunk_size=1000", partial(_async, _large_chunks, _cursor))
FLOOR = SelfTimed("sqlite3", "plain sqlite3, for", _plain)

CONTESTANTS = {
    contestant.name: contestant for contestant in (TPOOL, PINNED, ITERATE, GREEN, AIOSQLITE, LARGE_CHUNKS, FLOOR)
}

ROWS = Subject("Cost per row", "tpool_asyncio._bench.proxy_rows", TPOOL, CONTESTANTS, {READ.name: READ}, threads=None)


def subject(rows: int) -> Subject:
    """Return the subject for a table of this many rows."""
    read = replace(READ, title=f"{rows:,} rows of SQLite", reps=rows, quick_reps=rows)
    return replace(ROWS, workloads={read.name: read})


def verdicts(figures: Figures, subject: Subject) -> list[Verdict]:
    """Judge the figures by the targets."""
    judged = []
    for way in (TPOOL, PINNED, ITERATE):
        judged.append(faster(figures, READ.name, AIOSQLITE.name, 4.0, subject=subject, reference=way.name))
        judged.append(near(figures, READ.name, FLOOR.name, 2.0, subject=subject, reference=way.name))
    return judged


if __name__ == "__main__":
    serve(CONTESTANTS, ROWS.workloads, *sys.argv[1:])
