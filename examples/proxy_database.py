"""A database connection as it is, in async code: its methods are awaited, and run in one thread of the pool.

A connection of `sqlite3` belongs to the thread that opened it, so it is opened in the pool (`Proxy.create`) and pinned
to a thread there (`pin=True`). Cursors are wrapped on the way out (`autowrap`), and their rows are read with ``async
for``. There is no class to write: compare `sqlite.py`, which hides its connection behind methods of its own.
"""

import asyncio
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import Any

from tpool_asyncio import tpool

SENSORS = 8
READINGS = 2_000
"""For each sensor."""


async def record(connection: Any, lock: asyncio.Lock, sensor: int) -> None:
    """Write what a sensor has measured, in one transaction."""
    readings = [(sensor, at, at * 37 % (50 + sensor)) for at in range(READINGS)]
    async with lock, connection:  # a connection has one transaction at a time, so the tasks take turns
        await connection.executemany("INSERT INTO reading VALUES (?, ?, ?)", readings)


async def highest(connection: Any, sensor: int) -> tuple[int, int]:
    """Look through all rows of a sensor, as the database hands them out."""
    best = -1
    async for row in await connection.execute("SELECT value FROM reading WHERE sensor = ? ORDER BY at", (sensor,)):
        best = max(best, row["value"])  # thousands of rows, of which a trip to the pool brings many
    return sensor, best


async def main(path: Path) -> None:
    connection: Any = await tpool.Proxy.create(sqlite3.connect, path, autowrap=sqlite3.Cursor, pin=True)
    try:
        connection.row_factory = sqlite3.Row  # an attribute of the connection itself
        await connection.execute("CREATE TABLE reading (sensor INT, at INT, value INT, UNIQUE (sensor, at))")

        lock = asyncio.Lock()
        sensors = range(SENSORS)
        await asyncio.gather(*(record(connection, lock, sensor) for sensor in sensors))
        cursor = await connection.execute("SELECT count(*) AS readings, avg(value) AS mean FROM reading")
        row = await cursor.fetchone()
        print(f"{row['readings']} readings of {SENSORS} sensors, {row['mean']:.1f} on average")
        assert row["readings"] == SENSORS * READINGS

        # Several tasks read at once. Each has a cursor of its own, and all of them one thread.
        for sensor, value in await asyncio.gather(*(highest(connection, sensor) for sensor in sensors)):
            print(f"sensor {sensor}: at most {value}")
            assert value == 49 + sensor
        assert tpool.statistics().pinned == 1

        # A transaction that fails leaves nothing behind, and the error is the driver's own.
        try:
            async with connection:
                await connection.execute("DELETE FROM reading WHERE at > 0")
                await connection.execute("INSERT INTO reading VALUES (0, 0, 50)")
        except sqlite3.IntegrityError as error:
            print(f"Rolled back: {error}")
        else:
            raise AssertionError("a second reading was accepted")
        row = await (await connection.execute("SELECT count(*) AS readings FROM reading")).fetchone()
        assert row["readings"] == SENSORS * READINGS, "the deletion was not taken back"

        # Whatever else needs the connection's thread is called there, with the connection itself.
        there, pages = await tpool.proxy_call(connection, inspect, connection._obj)
        print(f"{pages} pages on disk, says {there.name}; this is {threading.current_thread().name}")
        assert there is not threading.current_thread()
    finally:
        await connection.close()  # the thread is free again
    assert tpool.statistics().pinned == 0


def inspect(connection: sqlite3.Connection) -> tuple[threading.Thread, int]:
    """Ask several things at once. Blocks, in the thread of the connection."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return threading.current_thread(), pages


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder, "readings.db")))
