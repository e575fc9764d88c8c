"""Queries for one row each, one after another and in many tasks at once.

``python -m tpool_asyncio._bench.proxy_queries NAME asyncio PATIENCE DATABASE`` measures one contestant as `child` does.

A query takes as many trips to another thread as its spelling needs, and each spelling is a contestant of its own: two
for ``execute`` and ``fetchone``, three where the cursor is closed as well, one for a function that does all of it. They
are held against each other where they make the same number of trips. Each query asks for another row, and the ids that
have come back must add up. Connections are made before the clock starts. Where a connection has no thread of its own,
each query takes a lock, so that only one task at a time uses the connection.
"""

import asyncio
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.proxy_connections import Connect, aiosqlite, pinned, proxied
from tpool_asyncio._bench.proxy_material import SELECT_ONE, check
from tpool_asyncio._bench.self_timed import Measure, SelfTimed, on_a_loop, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.targets import Verdict, faster
from tpool_asyncio._bench.workloads import Workload, nothing

__all__ = ["ALONE", "CONNECTIONS", "CROWD", "QUERIES", "subject", "verdicts"]

TASKS = 100
CONNECTIONS = 4

ALONE = Workload("alone", "one after another", 1, nothing, (), reps=10_000, quick_reps=200)
CROWD = Workload("crowd", f"{TASKS} tasks, {CONNECTIONS} connections", TASKS, nothing, (), reps=50, quick_reps=2)

Fetch = Callable[[Any, int], Awaitable[tuple[int, str, float]]]
"""Asks a connection for the row with this id."""


def _keys(rows: int, number: int) -> list[int]:
    """Return the ids to ask for: not in their order, and the same ones for each contestant."""
    stride = 7_919  # a prime, so that all rows have their turn in a table of any size that is no multiple of it
    return [index * stride % rows for index in range(number)]


def _rows(path: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        (number,) = db.execute("select count(*) from item").fetchone()
    return int(number)


async def _ask(db: Any, fetch: Fetch, keys: Sequence[int]) -> int:
    total = 0
    for key in keys:
        row = await fetch(db, key)
        total += row[0]
    return total


async def _measure(
    connect: Connect, fetch: Fetch, path: str, rows: int, workload: Workload, reps: int
) -> dict[str, float]:
    tasks = workload.at_once
    keys = _keys(rows, reps * tasks)
    shares = [keys[start::tasks] for start in range(tasks)]
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(path)) for _ in range(min(tasks, CONNECTIONS))]
        clock = Clock()
        if tasks == 1:
            total = await _ask(connections[0], fetch, keys)
        else:
            asking = [_ask(connections[i % len(connections)], fetch, share) for i, share in enumerate(shares)]
            total = sum(await asyncio.gather(*asking))
        taken = clock.per_call(len(keys))
    check(total, sum(keys))
    return taken


@contextmanager
def _async(connections: Callable[[], Connect], fetch: Fetch, path: str) -> Iterator[Measure]:
    with on_a_loop(partial(_measure, connections(), fetch, path, _rows(path))) as measure:
        yield measure


@contextmanager
def _plain(path: str) -> Iterator[Measure]:
    def ask(db: sqlite3.Connection, keys: Sequence[int]) -> int:
        total = 0
        for key in keys:
            row = db.execute(SELECT_ONE, (key,)).fetchone()
            total += row[0]
        return total

    def measure(workload: Workload, reps: int) -> dict[str, float]:
        keys = _keys(rows, reps * workload.at_once)
        clock = Clock()
        total = ask(db, keys)
        taken = clock.per_call(len(keys))
        check(total, sum(keys))
        return taken

    rows = _rows(path)
    with closing(sqlite3.connect(path)) as db:
        yield measure


async def _two_trips(db: Any, key: int) -> Any:
    cursor = await db.execute(SELECT_ONE, (key,))
    return await cursor.fetchone()


def _in_turn(fetch: Fetch) -> Fetch:
    locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # by the id of the connection

    async def fetch_in_turn(db: Any, key: int) -> Any:
        async with locks[id(db)]:
            return await fetch(db, key)

    return fetch_in_turn


async def _three_trips(db: Any, key: int) -> Any:
    async with db.execute(SELECT_ONE, (key,)) as cursor:
        return await cursor.fetchone()


async def _fetchall(db: Any, key: int) -> Any:
    (row,) = await db.execute_fetchall(SELECT_ONE, (key,))
    return row


def _fetch_one(connection: sqlite3.Connection, key: int) -> Any:
    return connection.execute(SELECT_ONE, (key,)).fetchone()


async def _one_trip(db: Any, key: int) -> Any:
    from tpool_asyncio import tpool

    return await tpool.proxy_call(db, _fetch_one, db._obj, key)


TPOOL = SelfTimed("tpool", "2 trips: Proxy and Lock, execute, fetchone", partial(_async, proxied, _in_turn(_two_trips)))
PINNED = SelfTimed("pinned", "2 trips: pinned Proxy, execute, fetchone", partial(_async, pinned, _two_trips))
AIOSQLITE = SelfTimed("aiosqlite", "2 trips: aiosqlite, execute, fetchone", partial(_async, aiosqlite, _two_trips))
AIOSQLITE_WITH = SelfTimed(
    "aiosqlite_with", "3 trips: aiosqlite, async with execute, fetchone", partial(_async, aiosqlite, _three_trips)
)
TPOOL_ONE = SelfTimed("tpool_one", "1 trip: Proxy and Lock, proxy_call", partial(_async, proxied, _in_turn(_one_trip)))
PINNED_ONE = SelfTimed("pinned_one", "1 trip: pinned Proxy, proxy_call", partial(_async, pinned, _one_trip))
AIOSQLITE_ONE = SelfTimed("aiosqlite_one", "1 trip: aiosqlite, execute_fetchall", partial(_async, aiosqlite, _fetchall))
FLOOR = SelfTimed("sqlite3", "no trip: plain sqlite3, one after another", _plain)

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (TPOOL, PINNED, AIOSQLITE, AIOSQLITE_WITH, TPOOL_ONE, PINNED_ONE, AIOSQLITE_ONE, FLOOR)
}
SAME_TRIPS = ((TPOOL, AIOSQLITE), (PINNED, AIOSQLITE), (TPOOL_ONE, AIOSQLITE_ONE), (PINNED_ONE, AIOSQLITE_ONE))

QUERIES = Subject(
    "Cost per query",
    "tpool_asyncio._bench.proxy_queries",
    TPOOL,
    CONTESTANTS,
    {workload.name: workload for workload in (ALONE, CROWD)},
    threads=None,
)


def subject(queries: int) -> Subject:
    """Return the subject for this many queries one after another, and half as many in all tasks together."""
    each = max(1, queries // 2 // TASKS)
    alone = replace(ALONE, title=f"{queries:,} queries, {ALONE.title}", reps=queries, quick_reps=min(queries, 200))
    crowd = replace(CROWD, title=f"{each * TASKS:,} queries, {CROWD.title}", reps=each, quick_reps=min(each, 2))
    return replace(QUERIES, workloads={workload.name: workload for workload in (alone, crowd)})


def verdicts(figures: Figures, subject: Subject) -> list[Verdict]:
    """Judge the figures by the targets."""
    return [
        faster(figures, workload.name, peer.name, times, subject=subject, reference=way.name)
        for workload, times in ((ALONE, 1.0), (CROWD, 1.5))
        for way, peer in SAME_TRIPS
    ]


if __name__ == "__main__":
    serve(CONTESTANTS, QUERIES.workloads, *sys.argv[1:])
