"""Databases of sqlite3 behind a proxy: connections that belong to a thread, cursors, transactions, errors."""

import asyncio
import sqlite3
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.gate import Gate
from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

pytestmark = pytest.mark.skipif(sqlite3.threadsafety < 3, reason="this SQLite is not built for several threads")

ROWS = 3_000
"""Enough for several batches."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a table of numbers and their squares."""
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE number (id INTEGER PRIMARY KEY, square INTEGER UNIQUE)")
        connection.executemany("INSERT INTO number VALUES (?, ?)", ((n, n * n) for n in range(ROWS)))
    return path


@asynccontextmanager
async def connected(
    path: Path, connect: Callable[..., Any] = sqlite3.connect, *, pin: bool = True, **options: Any
) -> AsyncIterator[Any]:
    """A connection, closed at the end: ``async with`` a connection itself is a transaction."""
    options = {"autowrap": sqlite3.Cursor, **options}
    connection = await tpool.Proxy.create(connect, path, pin=pin, **options)
    try:
        yield connection
    finally:
        await connection.close()


async def count(connection: Any) -> int:
    cursor = await connection.execute("SELECT count(*) FROM number")
    (rows,) = await cursor.fetchone()
    return int(rows)


# On which thread


async def test_a_connection_made_in_the_pool_refuses_other_threads(path: Path, pool: tpool.Pool) -> None:
    await pool.execute(pool.resize, 1)
    raw = await pool.execute(sqlite3.connect, path)
    elsewhere = tpool.Proxy(raw)
    with pytest.raises(sqlite3.ProgrammingError, match="can only be used in that same thread"):
        await elsewhere.execute("SELECT 1")
    await tpool.Proxy(raw, pool=pool).close()


@pytest.mark.combination(caller="async code", library="sqlite3 behind tpool.Proxy")
async def test_a_pinned_connection_and_its_cursors_stay_on_its_thread(path: Path) -> None:
    seen: set[int] = set()
    async with connected(path) as connection:
        await connection.create_function("thread", 0, threading.get_ident)

        async def ask() -> None:
            cursor = await connection.cursor()
            await cursor.execute("SELECT thread() FROM number LIMIT 700")
            async for (thread,) in cursor:
                seen.add(thread)
            await cursor.close()

        await asyncio.gather(*(ask() for _ in range(10)))
        assert tpool.statistics().pinned == 1
    assert len(seen) == 1
    assert threading.get_ident() not in seen
    assert tpool.statistics().pinned == 0


async def test_one_connection_serves_several_threads_if_it_may(path: Path, pool: tpool.Pool) -> None:
    connect = partial(sqlite3.connect, check_same_thread=False)
    async with connected(path, connect, pin=False) as connection:
        await connection.create_function("thread", 0, threading.get_ident)
        there = tpool.Proxy(connection, sqlite3.Cursor, pool=pool)
        assert there._obj is connection._obj
        threads = set()
        for each in (connection, there):
            threads |= {row[0] async for row in await each.execute("SELECT thread()")}
        assert len(threads) == 2
        assert tpool.statistics().pinned == pool.statistics().pinned == 0


async def test_many_tasks_write_through_one_connection_one_after_the_other(path: Path) -> None:
    # With several threads at once in the same statement, sqlite3 is not safe, and may even crash the interpreter.
    connect = partial(sqlite3.connect, check_same_thread=False, isolation_level=None)
    limiter = anyio.CapacityLimiter(1)
    async with connected(path, connect, pin=False, limiter=limiter) as connection:
        keys = range(ROWS, ROWS + 50)
        insert = "INSERT INTO number VALUES (?, ?)"
        cursors = await asyncio.gather(*(connection.execute(insert, (key, -key)) for key in keys))
        assert [cursor.rowcount for cursor in cursors] == [1] * 50
        written = await connection.execute("SELECT id FROM number WHERE square < 0 ORDER BY id")
        assert [row[0] async for row in written] == list(keys)


async def test_several_connections_at_once(path: Path, pool: tpool.Pool) -> None:
    gate = Gate()  # inside the query: all of them have begun before any can end
    async with (
        connected(path, pool=pool) as first,
        connected(path, pool=pool) as second,
        connected(path, pool=pool) as third,
        connected(path, pool=pool) as fourth,
    ):
        connections = (first, second, third, fourth)
        for each in connections:
            await each.create_function("gate", 1, gate)
        assert pool.statistics().pinned == 4
        queries = [each.execute("SELECT gate(7)") for each in connections]
        await tpool.execute(gate.wait_begun, len(queries))
        assert await pool.execute(str, 1) == "1", "pinned threads are not taken from the pool"
        gate.open()
        assert [await cursor.fetchall() for cursor in await asyncio.gather(*queries)] == [[(7,)]] * 4
    assert pool.statistics().pinned == 0


async def test_a_closed_connection_has_no_thread_any_more(path: Path) -> None:
    async with connected(path) as connection:
        pass
    await connection.close()  # a second time, as sqlite3 allows
    with pytest.raises(RuntimeError, match="pinned to a thread, which became free"):
        await connection.execute("SELECT 1")


async def test_a_query_is_interrupted_from_the_loop(path: Path) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> int:
        loop.call_soon_threadsafe(begun.set)
        return 0

    endless = "WITH RECURSIVE n(i) AS (VALUES (begun()) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    async with connected(path) as connection:
        await connection.create_function("begun", 0, tell)
        running = connection.execute(endless)
        await begun.wait()
        with tpool.nonblocking(connection) as at_once:  # a call in the pinned thread would wait for the query
            await at_once.interrupt()
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            await running
        assert await count(connection) == ROWS


# Cursors


async def test_rows_one_by_one(path: Path) -> None:
    async with connected(path) as connection:
        cursor = await connection.execute("SELECT id, square FROM number ORDER BY id")
        assert type(cursor) is tpool.Proxy
        assert isinstance(cursor, sqlite3.Cursor)
        assert [column[0] for column in cursor.description] == ["id", "square"]
        assert [row async for row in cursor] == [(n, n * n) for n in range(ROWS)]
        assert [row async for row in cursor] == []
        assert await cursor.fetchone() is None


async def test_an_iteration_goes_on_where_it_was_left(path: Path) -> None:
    async with connected(path) as connection:
        cursor = await connection.execute("SELECT id FROM number ORDER BY id")
        seen = []
        async for (key,) in cursor:
            seen.append(key)
            if key == 99:
                break
        seen.append((await anext(cursor))[0])
        seen += [row[0] async for row in cursor]
        assert seen == list(range(ROWS))


async def test_with_a_batch_of_one_fetching_goes_on_where_an_iteration_was_left(path: Path) -> None:
    async with connected(path, batch=1) as connection:
        cursor = await connection.execute("SELECT id FROM number ORDER BY id")
        async for (key,) in cursor:
            if key == 10:
                break
        assert await cursor.fetchone() == (11,)
        assert await cursor.fetchmany(3) == [(12,), (13,), (14,)]
        assert await anext(cursor) == (15,)
        assert len(await cursor.fetchall()) == ROWS - 16


async def test_a_cursor_that_executes_again_starts_anew(path: Path) -> None:
    async with connected(path) as connection:
        cursor = await connection.cursor()
        await cursor.execute("SELECT id FROM number ORDER BY id")
        assert await anext(aiter(cursor)) == (0,)
        assert await cursor.execute("SELECT square FROM number WHERE id = ?", (12,)) is cursor
        assert [row async for row in cursor] == [(144,)]


async def test_fetching_in_pieces(path: Path) -> None:
    async with connected(path) as connection:
        cursor = await connection.execute("SELECT id FROM number ORDER BY id")
        assert await cursor.fetchone() == (0,)
        cursor.arraysize = 5
        assert await cursor.fetchmany() == [(n,) for n in range(1, 6)]
        assert await cursor.fetchmany(size=2) == [(6,), (7,)]
        assert len(await cursor.fetchall()) == ROWS - 8


async def test_many_rows_are_written_at_once(path: Path) -> None:
    async with connected(path) as connection:
        async with connection:
            cursor = await connection.executemany(
                "INSERT INTO number VALUES (:id, :square)", ({"id": ROWS + n, "square": -1 - n} for n in range(500))
            )
            assert cursor.rowcount == 500
        assert await count(connection) == ROWS + 500


async def test_rows_from_an_async_source_are_written(path: Path) -> None:
    async def rows() -> AsyncIterator[tuple[int, int]]:
        for n in range(500):
            if n % 100 == 0:
                await asyncio.sleep(0)
            yield ROWS + n, -1 - n

    async with connected(path) as connection:
        async with connection:
            await connection.executemany("INSERT INTO number VALUES (?, ?)", from_thread.iterate(rows()))
        assert await count(connection) == ROWS + 500


async def test_a_row_factory_is_set_as_an_attribute(path: Path) -> None:
    async with connected(path) as connection:
        connection.row_factory = sqlite3.Row
        assert connection._obj.row_factory is sqlite3.Row
        cursor = await connection.execute("SELECT id, square FROM number WHERE id > 6 ORDER BY id LIMIT 2")
        assert [(row["id"], row["square"]) async for row in cursor] == [(7, 49), (8, 64)]
        cursor = await connection.execute("SELECT square FROM number WHERE id = 3")
        row = await cursor.fetchone()
        assert row.keys() == ["square"]


async def test_what_only_its_thread_may_read_and_write(path: Path) -> None:
    async with connected(path) as connection:
        assert not connection.in_transaction
        await tpool.proxy_call(connection, setattr, connection._obj, "isolation_level", None)
        assert await tpool.proxy_call(connection, getattr, connection._obj, "isolation_level") is None
        await connection.execute("DELETE FROM number WHERE id = 0")
        assert not connection.in_transaction, "it commits each statement"


async def test_a_blob_is_read_and_written_by_item(path: Path) -> None:
    async with connected(path, autowrap=(sqlite3.Cursor, sqlite3.Blob)) as connection:
        await connection.execute("CREATE TABLE file (content BLOB)")
        await connection.execute("INSERT INTO file VALUES (?)", (b"abcdef",))
        async with await connection.blobopen("file", "content", 1) as blob:
            assert await blob[1:3] == b"bc"
            with pytest.raises(RuntimeError, match="proxy_call"):  # an assignment cannot wait for another thread
                blob[0] = ord("X")
            await tpool.proxy_call(blob, blob._obj.__setitem__, 0, ord("X"))
            assert await tpool.proxy_call(blob, len, blob._obj) == 6
            assert await blob.read() == b"Xbcdef"


async def test_a_backup_with_progress(path: Path, tmp_path: Path) -> None:
    left: list[int] = []
    async with connected(path) as connection, connected(tmp_path / "copy.db") as copy:
        with pytest.raises(TypeError):  # a function of C wants the object itself
            await connection.backup(copy)
        await connection.backup(copy._obj, pages=5, progress=lambda _status, remaining, _total: left.append(remaining))
        assert await count(copy) == ROWS
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0


# Transactions


async def test_a_transaction_is_committed(path: Path) -> None:
    async with connected(path) as connection:
        async with connection as same:
            assert same is connection
            await connection.execute("DELETE FROM number WHERE id < 10")
            assert connection.in_transaction
        assert not connection.in_transaction
    async with connected(path) as another:
        assert await count(another) == ROWS - 10


async def test_a_transaction_is_rolled_back_by_an_error(path: Path) -> None:
    async with connected(path) as connection:
        with pytest.raises(LookupError):
            async with connection:
                await connection.execute("DELETE FROM number")
                assert await count(connection) == 0
                raise LookupError
        assert not connection.in_transaction
        assert await count(connection) == ROWS


async def test_a_transaction_is_rolled_back_by_a_cancellation(path: Path) -> None:
    deleted = asyncio.Event()
    async with connected(path) as connection:

        async def delete() -> None:
            async with connection:
                await connection.execute("DELETE FROM number")
                deleted.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(delete())
        await deleted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await count(connection) == ROWS


async def test_a_writer_that_waits_for_another_leaves_the_loop_alone(path: Path) -> None:
    async with connected(path) as first, connected(path) as second:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        # SQLite asks for the lock again and again; a statement of the second can only end when the first has ended.
        await second.set_trace_callback(lambda sql: loop.call_soon_threadsafe(begun.set))
        async with first:
            await first.execute("DELETE FROM number WHERE id = 0")
            waiting = second.execute("BEGIN IMMEDIATE")
            await begun.wait()
            assert not waiting.done()
        await waiting
        await second.set_trace_callback(None)
        assert await count(second) == ROWS - 1
        await second.rollback()


# Errors


class Bank(sqlite3.Connection):
    """A driver's class with methods in Python, of which a traceback tells."""

    def square(self, number: int) -> None:
        self.execute("INSERT INTO number VALUES (?, ?)", (number, number * number))


async def test_an_error_of_the_database_comes_as_it_is(path: Path) -> None:
    async with connected(path, partial(sqlite3.connect, factory=Bank)) as bank:
        with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: number\.square") as caught:
            await bank.square(-5)
        assert caught.value.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
        functions = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert functions[0] == "test_an_error_of_the_database_comes_as_it_is"
        assert functions[-1] == "square"
        await bank.square(ROWS)
        assert await count(bank) == ROWS + 1


def invert(number: int) -> float:
    return 1 / (number - 20)


async def test_an_error_in_the_middle_of_the_rows_comes_after_them(path: Path) -> None:
    query = "SELECT id, invert(id) FROM number ORDER BY id"
    plain: list[object] = []
    seen = []
    with closing(sqlite3.connect(path)) as driver, pytest.raises(sqlite3.OperationalError, match="user-defined"):
        driver.create_function("invert", 1, invert)
        plain.extend(driver.execute(query))
    async with connected(path) as connection:
        await connection.create_function("invert", 1, invert)
        with pytest.raises(sqlite3.OperationalError, match="user-defined"):
            async for row in await connection.execute(query):
                seen.append(row)
    assert seen == plain
    assert len(seen) >= 19


async def test_the_exceptions_of_a_connection_can_be_caught(path: Path) -> None:
    async with connected(path) as connection:
        with pytest.raises(connection.OperationalError, match="no such column"):  # an optional extension of the DB-API
            await connection.execute("SELECT nonsense")


async def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    connection = tpool.Proxy.create(sqlite3.connect, tmp_path / "no such folder" / "x.db", pin=True)
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await connection
    (tmp_path / "no such folder").mkdir()
    await connection  # tries again
    await connection.close()


# Without a proxy of the cursor


@pytest.mark.usefixtures("a_patient_end")
async def test_rows_of_a_query_by_iterate(path: Path) -> None:
    closed_in = []

    def rows(least: int) -> Iterator[tuple[int, int]]:
        with closing(sqlite3.connect(path)) as connection:  # in one thread from beginning to end
            try:
                yield from connection.execute("SELECT id, square FROM number WHERE id >= ? ORDER BY id", (least,))
            finally:
                closed_in.append(threading.get_ident())

    assert [row async for row in tpool.iterate(rows, 5)] == [(n, n * n) for n in range(5, ROWS)]
    async with tpool.iterate(rows, 5) as some:
        assert await anext(some) == (5, 25)
    assert len(closed_in) == 2
    assert threading.get_ident() not in closed_in
    assert tpool.statistics().pinned == 0


async def test_rows_of_a_pinned_connection_by_iterate(path: Path) -> None:
    async with connected(path) as connection:
        rows = tpool.iterate(connection.execute, "SELECT id FROM number ORDER BY id")
        assert [row[0] async for row in rows] == list(range(ROWS))
        cursor = await connection.execute("SELECT id FROM number ORDER BY id")
        assert [row[0] async for row in tpool.iterate(cursor)] == list(range(ROWS))


# The green spelling


def legacy(path: Path) -> list[object]:
    """What synchronous code does with a connection."""
    connection = green_tpool.Proxy(sqlite3.connect(path, check_same_thread=False), autowrap=(sqlite3.Cursor,))
    got: list[object] = []
    with connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO number VALUES (?, ?)", (ROWS, -1))
        got.append(cursor.rowcount)
    try:
        with connection:
            connection.execute("DELETE FROM number")
            connection.execute("INSERT INTO number VALUES (0, 0)")
            connection.execute("INSERT INTO number VALUES (0, 0)")
    except sqlite3.IntegrityError as error:
        got.append(str(error))
    cursor = connection.execute("SELECT id FROM number ORDER BY id")
    got.append(sum(key for (key,) in cursor))
    got.append(next(connection.execute("SELECT square FROM number WHERE id = 9")))
    got.append(cursor.execute("SELECT 1 + 1").fetchall())
    connection.close()
    return got


EXPECTED = [1, "UNIQUE constraint failed: number.id", sum(range(ROWS + 1)), (81,), [(2,)]]


@pytest.mark.combination(caller="green thread", library="sqlite3 behind tpool.Proxy")
async def test_synchronous_code_in_green_threads(path: Path) -> None:
    assert await green.run(legacy, path) == EXPECTED


@pytest.mark.combination(caller="script", library="sqlite3 behind tpool.Proxy")
def test_synchronous_code_in_a_script(script: hubs.Hub, path: Path) -> None:
    assert legacy(path) == EXPECTED


def test_a_pinned_connection_of_green_threads(script: hubs.Hub, path: Path) -> None:
    connection = green_tpool.Proxy.create(sqlite3.connect, path, pin=True, autowrap=(sqlite3.Cursor, sqlite3.Blob))

    def total(least: int) -> int:
        return sum(key for (key,) in connection.execute("SELECT id FROM number WHERE id >= ?", (least,)))

    threads = [green.spawn(total, least) for least in range(8)]
    assert [thread.wait() for thread in threads] == [sum(range(least, ROWS)) for least in range(8)]
    connection.execute("CREATE TABLE file (content BLOB)")
    connection.execute("INSERT INTO file VALUES ('abcdef')")
    with connection.blobopen("file", "content", 1) as blob:
        blob[0] = ord("X")  # synchronous code can wait for it
        assert blob[0:3] == b"Xbc"
    assert green_tpool.statistics().pinned == 1
    connection.close()
    assert green_tpool.statistics().pinned == 0


def test_a_query_of_a_green_thread_lets_others_run(script: hubs.Hub, path: Path) -> None:
    gate = Gate()
    connection = green_tpool.Proxy.create(sqlite3.connect, path, pin=True, autowrap=sqlite3.Cursor)
    connection.create_function("gate", 1, gate)
    query = green.spawn(lambda: connection.execute("SELECT gate('opened')").fetchone())
    green_tpool.execute(gate.wait_begun)
    gate.open()  # by another green thread, while the query runs
    assert query.wait() == ("opened",)
    connection.close()
