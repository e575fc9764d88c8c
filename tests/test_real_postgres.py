"""A real PostgreSQL server behind proxies of psycopg: rows, transactions, cancelling, COPY, notifications."""

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from tests.gate import PATIENCE
from tests.postgres import NoServerError, serving
from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed", exc_type=ImportError)

ROWS = 10_000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """How to connect to a server that runs as long as the tests of this file."""
    try:
        with serving() as conninfo:
            yield conninfo
    except NoServerError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def database(server: str) -> str:
    """The server, with a table of numbers and their squares and nothing else."""
    with psycopg.connect(server) as connection:
        connection.execute("DROP TABLE IF EXISTS number")
        connection.execute("CREATE TABLE number (id INTEGER PRIMARY KEY, square INTEGER UNIQUE)")
        connection.execute("INSERT INTO number SELECT n, n * n FROM generate_series(0, %s) AS n", (ROWS - 1,))
    return server


def connecting(conninfo: str, **options: Any) -> Any:
    return tpool.Proxy.create(psycopg.connect, conninfo, **{"autowrap": (psycopg.Cursor,), **options})


async def count(connection: Any) -> int:
    (rows,) = await (await connection.execute("SELECT count(*) FROM number")).fetchone()
    return int(rows)


async def until_asleep(watcher: Any, how_many: int) -> list[int]:
    """Wait until so many connections are inside ``pg_sleep`` at the same time; return their process ids."""
    watcher.autocommit = True  # or else it would see the same snapshot again and again
    async with asyncio.timeout(PATIENCE):
        while True:
            cursor = await watcher.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            asleep = [row[0] async for row in cursor]
            if len(asleep) == how_many:
                return asleep


# Connections and transactions


async def test_the_context_of_a_connection_commits_and_closes(database: str) -> None:
    async with connecting(database) as connection:
        assert type(connection) is tpool.Proxy
        await connection.execute("DELETE FROM number WHERE id < 10")
        assert not connection.closed
    assert connection.closed
    assert isinstance(connection, psycopg.Connection)
    with pytest.raises(LookupError):
        async with connecting(database) as connection:
            await connection.execute("DELETE FROM number")
            raise LookupError
    assert connection.closed
    async with connecting(database) as connection:
        assert await count(connection) == ROWS - 10


async def test_nested_transactions(database: str) -> None:
    async with connecting(database, autowrap_names="transaction") as connection:
        async with await connection.transaction():
            await connection.execute("DELETE FROM number WHERE id = 0")
            with pytest.raises(LookupError):
                async with await connection.transaction():
                    await connection.execute("DELETE FROM number")
                    raise LookupError
            assert await count(connection) == ROWS - 1
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        async with await connection.transaction():
            await connection.execute("DELETE FROM number")
            raise psycopg.Rollback  # which psycopg swallows
        assert await count(connection) == ROWS - 1


async def test_a_server_that_is_not_there(server: str) -> None:
    connection = tpool.Proxy.create(psycopg.connect, server.replace("/pg-", "/no-pg-"))
    with pytest.raises(psycopg.OperationalError, match="No such file"):
        await connection


async def test_a_pinned_connection_stays_on_its_thread(database: str) -> None:
    threads = set()

    class Cursor(psycopg.Cursor):  # type: ignore[misc, name-defined]
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            threads.add(threading.get_ident())
            return super().execute(*args, **kwargs)

        def __next__(self) -> Any:
            threads.add(threading.get_ident())
            return super().__next__()

    connect = partial(psycopg.connect, cursor_factory=Cursor)
    async with tpool.Proxy.create(connect, database, pin=True, autowrap=psycopg.Cursor) as connection:
        assert await asyncio.gather(*(count(connection) for _ in range(10))) == [ROWS] * 10
        assert len([row async for row in await connection.execute("SELECT id FROM number")]) == ROWS
        assert tpool.statistics().pinned == 1
    assert connection.closed
    await connection.close()  # once more, by name, which lets the thread go
    assert tpool.statistics().pinned == 0
    assert len(threads) == 1
    assert threading.get_ident() not in threads


# Rows


async def test_ten_thousand_rows(database: str) -> None:
    async with connecting(database) as connection:
        cursor = await connection.execute("SELECT id, square FROM number ORDER BY id")
        assert type(cursor) is tpool.Proxy
        assert cursor.rowcount == ROWS
        assert [column.name for column in cursor.description] == ["id", "square"]
        assert [row async for row in cursor] == [(n, n * n) for n in range(ROWS)]
        async with await connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            await cursor.execute("SELECT square FROM number WHERE id = %(id)s", {"id": 12})
            assert await cursor.fetchone() == {"square": 144}
        assert cursor.closed


async def test_a_cursor_of_the_server(database: str) -> None:
    async with connecting(database) as connection, await connection.cursor(name="numbers") as cursor:
        assert type(cursor) is tpool.Proxy
        assert isinstance(cursor, psycopg.ServerCursor)
        cursor.itersize = 700
        assert await cursor.execute("SELECT id FROM number ORDER BY id") is cursor
        assert await cursor.fetchmany(2) == [(0,), (1,)]
        assert [row[0] async for row in cursor] == list(range(2, ROWS))
        await cursor.scroll(5, mode="absolute")
        assert await cursor.fetchone() == (5,)


async def test_rows_as_they_are_streamed(database: str) -> None:
    async with connecting(database) as connection:
        cursor = await connection.cursor()
        rows = tpool.iterate(cursor.stream, "SELECT id FROM number ORDER BY id")
        assert [row[0] async for row in rows] == list(range(ROWS))
        async with tpool.iterate(cursor.stream, "SELECT id FROM number ORDER BY id") as rows:
            assert await anext(rows) == (0,)
        await connection.rollback()  # psycopg may have cancelled the query
        assert await count(connection) == ROWS


async def test_an_async_source_is_written(database: str) -> None:
    async def source() -> AsyncIterator[tuple[int, int]]:
        for n in range(1_000):
            if n % 100 == 0:
                await asyncio.sleep(0)
            yield (ROWS + n, -1 - n)

    async with connecting(database) as connection:
        async with await connection.cursor() as cursor:
            await cursor.executemany("INSERT INTO number VALUES (%s, %s)", from_thread.iterate(source()))
        assert await count(connection) == ROWS + 1_000


async def test_copy_in_both_directions(database: str) -> None:
    async with connecting(database, autowrap=(psycopg.Cursor, psycopg.Copy), autowrap_names="copy") as connection:
        cursor = await connection.cursor()
        async with await cursor.copy("COPY number FROM STDIN") as copy:
            assert type(copy) is tpool.Proxy
            for n in range(100):
                await copy.write_row((ROWS + n, -1 - n))
        assert cursor.rowcount == 100
        async with await cursor.copy("COPY (SELECT * FROM number WHERE square < 0 ORDER BY id) TO STDOUT") as copy:
            assert [bytes(line) async for line in copy] == [b"%d\t%d\n" % (ROWS + n, -1 - n) for n in range(100)]
        async with await cursor.copy("COPY (SELECT id FROM number ORDER BY id) TO STDOUT") as copy:
            await copy.set_types(["int4"])
            assert [row async for row in tpool.iterate(copy.rows)] == [(n,) for n in range(ROWS + 100)]
        with pytest.raises(LookupError):
            async with await cursor.copy("COPY number FROM STDIN") as copy:
                await copy.write_row((-1, -1))
                raise LookupError
        await connection.rollback()
        assert await count(connection) == ROWS


async def test_notifications_come_at_once(server: str) -> None:
    async with connecting(server) as listener, connecting(server) as speaker:
        speaker.autocommit = listener.autocommit = True
        await listener.execute("LISTEN news")
        heard = []
        async with asyncio.timeout(PATIENCE), tpool.iterate(listener.notifies, stop_after=20) as notifications:
            await speaker.execute("NOTIFY news, '0'")
            async for notification in notifications:
                heard.append(notification.payload)
                await speaker.execute(f"NOTIFY news, '{len(heard)}'")
        assert heard == [str(n) for n in range(20)]


# Waiting and cancelling


async def test_several_connections_sleep_at_once(server: str) -> None:
    async with connecting(server) as watcher:
        connections = [await connecting(server) for _ in range(6)]
        sleeping = [connection.execute("SELECT pg_sleep(%s)", (10 * PATIENCE,)) for connection in connections]
        for process in await until_asleep(watcher, 6):  # the loop goes on, and sees it
            await watcher.execute("SELECT pg_cancel_backend(%s)", (process,))
        outcomes = await asyncio.gather(*sleeping, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [psycopg.errors.QueryCanceled] * 6
        for connection in connections:
            await connection.close()


async def test_a_short_sleep_lets_the_loop_go_on(server: str) -> None:
    async with connecting(server) as connection:
        turns = 0
        sleeping = connection.execute("SELECT pg_sleep(0.05)")
        while not sleeping.done():
            turns += 1
            await asyncio.sleep(0)
        assert await (await sleeping).fetchone() == ("",)
        assert turns > 1


async def test_a_query_is_cancelled_by_another_call(database: str) -> None:
    async with connecting(database) as connection, connecting(database) as watcher:
        sleeping = connection.execute("SELECT pg_sleep(%s)", (10 * PATIENCE,))
        await until_asleep(watcher, 1)
        await connection.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await sleeping
        await connection.rollback()
        assert await count(connection) == ROWS


async def test_a_query_in_a_pinned_connection_is_cancelled_in_place(database: str) -> None:
    async with connecting(database, pin=True) as connection, connecting(database) as watcher:
        sleeping = connection.execute("SELECT pg_sleep(%s)", (10 * PATIENCE,))
        await until_asleep(watcher, 1)
        with tpool.nonblocking(connection) as at_once:  # a call in the pinned thread would wait for the query
            await at_once.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await sleeping
        await connection.rollback()
    await connection.close()  # by name, which lets the thread go


async def test_a_cancelled_task_ends_its_query_by_a_cleanup(database: str) -> None:
    async with connecting(database) as connection, connecting(database) as watcher:

        async def query() -> None:
            try:
                await connection.execute("SELECT pg_sleep(%s)", (10 * PATIENCE,))
            except asyncio.CancelledError:
                await connection.cancel()
                raise

        task = asyncio.create_task(query())
        await until_asleep(watcher, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_asleep(watcher, 0)
        await connection.rollback()
        assert await count(connection) == ROWS


# Errors


async def test_an_error_of_the_server_comes_as_it_is(database: str) -> None:
    async with connecting(database) as connection:
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            await connection.execute("INSERT INTO number VALUES (0, -1)")
        assert caught.value.diag.constraint_name == "number_pkey"
        assert caught.value.sqlstate == "23505"
        functions = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert functions[0] == "test_an_error_of_the_server_comes_as_it_is"
        assert functions[-1] == "execute"
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await count(connection)
        await connection.rollback()
        with pytest.raises(connection.ProgrammingError):  # an optional extension of the DB-API
            await connection.execute("SELECT nonsense")


# The green spelling


def legacy(conninfo: str) -> list[object]:
    """What synchronous code does with a database."""
    got: list[object] = []
    driver = green_tpool.Proxy(psycopg, autowrap=(psycopg.Connection, psycopg.Cursor), autowrap_names="transaction")
    with driver.connect(conninfo) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM number WHERE id >= %s", (10,))
            got.append(sum(key for (key,) in cursor))
        try:
            with connection.transaction():
                connection.execute("DELETE FROM number WHERE id = 1")
                connection.execute("INSERT INTO number VALUES (0, -1)")
        except driver.errors.UniqueViolation as error:
            got.append(error.diag.constraint_name)
        got.append(connection.execute("SELECT square FROM number WHERE id = 1").fetchone())
    return got


EXPECTED = [sum(range(10, ROWS)), "number_pkey", (1,)]


async def test_synchronous_code_in_green_threads(database: str) -> None:
    assert await green.run(legacy, database) == EXPECTED


def test_synchronous_code_in_a_script(script: hubs.Hub, database: str) -> None:
    threads = [green.spawn(legacy, database) for _ in range(5)]
    assert [thread.wait() for thread in threads] == [EXPECTED] * 5


def test_a_green_thread_that_sleeps_in_the_database_lets_others_run(script: hubs.Hub, server: str) -> None:
    first = green_tpool.Proxy.create(psycopg.connect, server, pin=True, autowrap=psycopg.Cursor)
    second = green_tpool.Proxy.create(psycopg.connect, server, autowrap=psycopg.Cursor)
    first.execute("SELECT pg_advisory_lock(1)")
    waiting = green.spawn(lambda: second.execute("SELECT pg_advisory_lock(1), 'mine'").fetchone())
    asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while first.execute(asked).fetchone() != (1,):
        green.sleep(0)
    first.execute("SELECT pg_advisory_unlock(1)")
    assert waiting.wait() == ("", "mine")
    first.close()
    second.close()
    assert green_tpool.statistics().pinned == 0
