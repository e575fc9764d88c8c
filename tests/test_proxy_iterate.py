"""Iterating over proxies: what has been read ahead is never lost without a word, and what `iterate` takes."""

import asyncio
import io
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytest
import pytest_asyncio

from tests.gate import PATIENCE
from tests.proxied import Connection, Cursor, Row
from tpool_asyncio import tpool
from tpool_asyncio._loop.stream import Stream
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.hubs import Hub

Proxy = tpool.Proxy

LINES = [f"line {number}\n".encode() for number in range(500)]

SKIPS = (
    r"(\d+ items.* has read ahead|items.* is reading just now);"
    r" let the iteration come to its end before, .*Proxy\(\.\.\., batch=1\)"
)
"""The message names the mistake and the remedy."""


@pytest_asyncio.fixture
async def database() -> AsyncIterator[Any]:
    """A pinned connection with a table of numbers."""
    create = Proxy.create(sqlite3.connect, ":memory:", autowrap=(sqlite3.Cursor, sqlite3.Connection), pin=True)
    async with tpool.closing(create) as connection:
        await connection.execute("CREATE TABLE number (id INTEGER)")
        await connection.executemany("INSERT INTO number VALUES (?)", ((number,) for number in range(500)))
        yield connection


async def some(iterable: Any, last: Any) -> None:
    """Iterate, and break after this item."""
    async for item in iterable:
        if item == last:
            return
    raise AssertionError("there was no such item")


# Items that have been read ahead


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_call_that_would_skip_rows_is_an_error_and_loses_none(database: Any) -> None:
    cursor = await database.execute("SELECT id FROM number ORDER BY id")
    await some(cursor, (0,))
    while cursor._tpool_items._stream.left() < 499:
        await asyncio.sleep(0.001)
    for fetch in (cursor.fetchone, cursor.fetchall, cursor.fetchmany):
        with pytest.raises(RuntimeError, match=r"Cursor\.fetch\w+ .* " + SKIPS):
            await fetch()
    assert await anext(cursor) == (1,)
    assert [row[0] async for row in cursor] == list(range(2, 500))
    assert await cursor.fetchone() is None  # nothing is left, so nothing is in its way


@pytest.mark.parametrize("anew", ["execute", "executemany", "close"])
async def test_a_call_that_starts_anew_drops_the_rows(database: Any, anew: str) -> None:
    cursor = await database.execute("SELECT id FROM number ORDER BY id")
    await some(cursor, (0,))
    arguments: dict[str, tuple[Any, ...]] = {
        "execute": ("SELECT id + 1000 FROM number WHERE id < 2 ORDER BY id",),
        "executemany": ("DELETE FROM number WHERE id = ?", [(1,)]),
        "close": (),
    }
    await getattr(cursor, anew)(*arguments[anew])
    if anew == "execute":
        assert await cursor.fetchone() == (1000,)
        assert [row async for row in cursor] == [(1001,)]
    elif anew == "close":
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            await anext(cursor)
    else:
        assert [row async for row in cursor] == []


async def test_with_a_batch_of_one_the_next_call_gets_the_next_row(database: Any) -> None:
    one = Proxy(database, sqlite3.Cursor, batch=1)
    cursor = await one.execute("SELECT id FROM number ORDER BY id")
    await some(cursor, (10,))
    assert await cursor.fetchone() == (11,)
    assert await anext(cursor) == (12,)
    assert [row[0] async for row in cursor] == list(range(13, 500))


async def test_attributes_are_no_calls(database: Any) -> None:
    cursor = await database.execute("SELECT id FROM number ORDER BY id")
    await some(cursor, (0,))
    assert cursor.description[0][0] == "id"
    cursor.arraysize = 7
    assert await anext(cursor) == (1,)


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_the_lines_of_a_file() -> None:
    file = Proxy(io.BytesIO(b"".join(LINES)))
    await some(file, LINES[3])
    for use in (file.readline, file.read, file.tell):
        with pytest.raises(RuntimeError, match=SKIPS):
            await use()
    assert [line async for line in file] == LINES[4:]
    assert await file.seek(0) == 0
    await some(file, LINES[3])
    assert await file.seek(len(LINES[0])) == len(LINES[0])
    assert await file.readline() == LINES[1]
    exact = Proxy(io.BytesIO(b"".join(LINES)), batch=1)
    await some(exact, LINES[3])
    assert await exact.readline() == LINES[4]
    assert await exact.tell() == sum(map(len, LINES[:5]))


async def test_the_lines_of_a_file_before_and_in_and_after_async_with() -> None:
    file = Proxy(io.BytesIO(b"".join(LINES)))
    await some(file, LINES[0])
    async with file as same:
        assert same is file
        await some(file, LINES[1])
        assert await anext(file) == LINES[2]
    with pytest.raises(ValueError, match="closed file"):
        await file.read()


class Numbers:
    """An iterator that can also be used otherwise."""

    def __init__(self) -> None:
        self._numbers = iter(range(500))

    def __iter__(self) -> "Numbers":
        return self

    def __next__(self) -> int:
        return next(self._numbers)

    def __getitem__(self, key: object) -> int:
        return next(self._numbers)

    def __add__(self, other: object) -> int:
        return next(self._numbers)

    def __call__(self) -> int:
        return next(self._numbers)


@pytest.mark.usefixtures("a_batch_at_a_time")
@pytest.mark.parametrize("use", [lambda p: p[0], lambda p: p + 1, lambda p: p(), lambda p: tpool.proxy_call(p, len, p)])
async def test_operators_count_as_calls(use: Callable[[Any], Any]) -> None:
    numbers = Proxy(Numbers())
    await some(numbers, 0)
    with pytest.raises(RuntimeError, match=SKIPS):
        await use(numbers)
    assert [number async for number in numbers] == list(range(1, 500))


class SlowNumbers:
    """An iterator that waits for each number but the first."""

    def __init__(self) -> None:
        self.steps = threading.Semaphore(1)
        self.asked = 0
        self._number = -1

    def __iter__(self) -> "SlowNumbers":
        return self

    def __next__(self) -> int:
        self.asked += 1
        assert self.steps.acquire(timeout=PATIENCE)
        self._number += 1
        if self._number > 3:
            raise StopIteration
        return self._number

    def fetchone(self) -> int | None:
        return next(self, None)

    def seek(self, number: int) -> None:
        self._number = number

    def interrupt(self) -> None:
        self.steps.release(10)


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_call_in_the_middle_of_a_read_is_an_error_and_loses_nothing() -> None:
    numbers = SlowNumbers()
    proxy: Any = Proxy(numbers)
    await some(proxy, 0)
    while numbers.asked < 2:  # the next one is being read, since that might have been as fast as the first
        await asyncio.sleep(0.001)
    with pytest.raises(RuntimeError, match="fetchone would skip items that an iteration over the object is reading ju"):
        await proxy.fetchone()
    numbers.steps.release(10)
    assert [number async for number in proxy] == [1, 2, 3]
    assert await proxy.fetchone() is None


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_call_that_begins_anew_does_so_after_the_read_that_is_under_way(pool: tpool.Pool) -> None:
    numbers = SlowNumbers()
    proxy: Any = Proxy(numbers, pool=pool)
    await some(proxy, 0)
    while numbers.asked < 2:
        await asyncio.sleep(0.001)
    stream = proxy._tpool_items._stream
    call = proxy.seek(-1)
    while proxy._tpool_items is not None:  # it is forgotten, and then waited for
        await asyncio.sleep(0.001)
    assert stream.is_reading()
    assert not call.done()
    numbers.steps.release(10)
    await call
    assert [number async for number in proxy] == [0, 1, 2, 3]


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_call_that_interrupts_a_read_does_not_wait_for_it(pool: tpool.Pool) -> None:
    numbers = SlowNumbers()
    proxy: Any = Proxy(numbers, pool=pool)
    await some(proxy, 0)
    while numbers.asked < 2:
        await asyncio.sleep(0.001)
    await proxy.interrupt()


async def test_a_call_waits_for_a_read_that_is_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # It finds the trip that has read the only item of its batch, and has not yet said so.
    proxy: Any = Proxy(SlowNumbers(), batch=1)
    handed_on, called = threading.Event(), threading.Event()
    announce = Stream._announce

    def announce_slowly(stream: Stream) -> None:
        announce(stream)
        handed_on.set()
        assert called.wait(PATIENCE)

    monkeypatch.setattr(Stream, "_announce", announce_slowly)
    monkeypatch.setattr("tpool_asyncio._loop.stream._PATIENCE", PATIENCE)
    assert proxy._obj.steps.acquire(timeout=PATIENCE)
    first = asyncio.ensure_future(some(proxy, 0))
    while proxy._tpool_items is None or not proxy._tpool_items._stream._eager:
        await asyncio.sleep(0.001)
    proxy._obj.steps.release(10)
    await first
    assert handed_on.wait(PATIENCE)
    assert proxy._tpool_items._stream.is_reading()
    call = proxy.fetchone()
    called.set()
    assert await call == 1


async def test_what_is_not_its_own_iterator_has_nothing_to_lose() -> None:
    numbers: Any = Proxy(list(range(500)))
    await some(numbers, 3)
    await numbers.append(500)
    assert [number async for number in numbers] == list(range(501))


# Attributes that are proxies


async def test_an_attribute_is_wrapped_once() -> None:
    connection = Connection()
    proxy: Any = Proxy(connection, Cursor, autowrap_names="limit")
    assert proxy.current is proxy.current
    assert proxy.limit is proxy.limit
    first = proxy.current
    connection.current = Cursor(connection)
    assert proxy.current is not first
    assert proxy.current._obj is connection.current
    del connection.current
    with pytest.raises(AttributeError):
        _ = proxy.current


async def test_an_iteration_over_an_attribute_goes_on() -> None:
    program = "for number in range(300): print(number)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    async with Proxy(process, autowrap_names="stdout") as proxy:
        assert proxy.stdout is proxy.stdout
        await some(proxy.stdout, "0\n")
        await some(proxy.stdout, "1\n")
        assert await anext(proxy.stdout) == "2\n"
        assert [int(line) async for line in proxy.stdout] == list(range(3, 300))


async def test_an_object_that_happens_to_be_callable_is_handed_out_as_a_proxy() -> None:
    cursor: Any = Proxy(await tpool.execute(lambda: sqlite3.connect(":memory:", check_same_thread=False).cursor()))
    connection = cursor.connection
    assert callable(connection._obj)
    assert type(connection) is Proxy
    assert connection is cursor.connection
    assert connection._obj is cursor._obj.connection
    await connection.create_function("thread", 0, threading.get_ident)
    rows = await connection.execute("SELECT thread()")  # which runs the statement up to its first row
    assert rows.fetchone() != (threading.get_ident(),)
    await connection.close()


# What `iterate` takes


def same_rows(count: int, *, start: int = 0) -> Iterator[Row]:
    for number in range(start, start + count):
        yield Row(number)


@pytest.mark.parametrize("pin", [False, True])
async def test_iterate_takes_proxies_of_iterables_of_functions_and_methods(pool: tpool.Pool, pin: bool) -> None:
    proxy: Any = Proxy(Connection(), Row, pin=pin, pool=pool)
    function: Any = Proxy(same_rows, Row, pin=pin, pool=pool)
    rows: Any = Proxy([Row(number) for number in range(3)], Row, pin=pin, pool=pool)
    iterations: list[Any] = [
        tpool.iterate(rows),
        tpool.iterate(rows, batch=1),
        tpool.iterate(function, 3),
        tpool.iterate(function, 3, start=0, batch=2),
        tpool.iterate(proxy.rows, 3),
        tpool.iterate(proxy.rows, count=3, batch=1),
    ]
    for iteration in iterations:
        got = [row async for row in iteration]
        assert [type(row) for row in got] == [Proxy] * 3
        assert [row.number for row in got] == [0, 1, 2]
        threads = {await row.thread() for row in got}
        assert threading.get_ident() not in threads
        if pin:
            assert len(threads) == 1
    del got
    assert pool.statistics().pinned == 3 * pin
    length: Any = Proxy(len, pool=pool)
    with pytest.raises(TypeError, match="cannot be iterated over"):
        await anext(tpool.iterate(length, "spam"))


async def test_the_wrong_way_to_iterate_names_the_right_one(pool: tpool.Pool) -> None:
    proxy: Any = Proxy(Connection(), Cursor, pool=pool)
    with pytest.raises(TypeError, match="'async for'"):
        iter(proxy)
    with pytest.raises(TypeError, match="'async with'"), proxy:
        raise AssertionError
    call = proxy.cursor()
    with pytest.raises(TypeError, match=r"'async for item in await \.\.\.'"):
        aiter(call)
    with pytest.raises(TypeError, match=r"'async with await \.\.\.'"):
        async with call:
            raise AssertionError
    assert type(await call) is Proxy


async def test_iterate_over_a_pinned_function_opens_reads_and_closes_in_its_thread(pool: tpool.Pool) -> None:
    threads = list[int]()

    def numbers(count: int) -> Iterator[int]:
        try:
            for number in range(count):
                threads.append(threading.get_ident())
                yield number
        finally:
            threads.append(threading.get_ident())

    function: Any = Proxy(numbers, pin=True, pool=pool)
    async with tpool.iterate(function, 1 << 40, batch=2) as items:
        assert [await anext(items), await anext(items)] == [0, 1]
        assert pool.statistics().pinned == 1
    assert set(threads) == {await tpool.proxy_call(function, threading.get_ident)}


@runtime_checkable
class HasThread(Protocol):
    """What tells its thread."""

    def thread(self) -> int: ...


class Chameleon:
    """Some of them tell their thread, and some do not."""

    def __init__(self, number: int) -> None:
        self.number = number
        if number % 2:
            self.thread: Callable[[], int] = threading.get_ident


@pytest.mark.parametrize("source", ["proxy", "iterate"])
async def test_a_protocol_looks_at_each_item(source: str) -> None:
    things: Any = Proxy([Chameleon(number) for number in range(300)], HasThread)
    kinds = [type(item) async for item in (things if source == "proxy" else tpool.iterate(things))]
    assert kinds == [Chameleon, Proxy] * 150


async def test_a_class_looks_at_one_item_of_a_kind_and_wraps_all_that_it_is_to() -> None:
    class Sub(Row):
        pass

    items = [1, 2, Row(1), 3, "text", Sub(2), Sub(3), None, Row(4), 5]
    proxy: Any = Proxy(items, Row)
    got = [item async for item in proxy]
    assert [type(item) is Proxy for item in got] == [isinstance(item, Row) for item in items]
    assert got == items


async def test_an_iterator_that_is_among_its_own_items_gives_the_proxy() -> None:
    class Itself(Iterator[Any]):
        left = 3

        def __next__(self) -> Any:
            self.left -= 1
            if self.left < 0:
                raise StopIteration
            return self if self.left else Itself()

    itself = Itself()
    proxy: Any = Proxy(itself, Itself)
    got = [item async for item in proxy]
    assert [type(item) for item in got] == [Proxy] * 3
    assert [item._obj is itself for item in got] == [True, True, False]


# The green spelling


@pytest.mark.usefixtures("a_batch_at_a_time")
def test_green_calls_that_would_skip_rows(script: Hub, tmp_path: Path) -> None:
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE number (id INTEGER)")
        made.executemany("INSERT INTO number VALUES (?)", ((number,) for number in range(500)))
    create: Any = green_tpool.Proxy.create(sqlite3.connect, path, autowrap=sqlite3.Cursor, pin=True)
    with green_tpool.closing(create) as connection:
        cursor = connection.execute("SELECT id FROM number ORDER BY id")
        for row in cursor:
            assert row == (0,)
            break
        with pytest.raises(RuntimeError, match=SKIPS):
            cursor.fetchone()
        assert next(cursor) == (1,)
        assert [row[0] for row in cursor] == list(range(2, 500))
        cursor.execute("SELECT id FROM number ORDER BY id")
        next(iter(cursor))
        assert cursor.execute("SELECT 7") is cursor
        assert cursor.fetchall() == [(7,)]


def test_green_attributes_and_iterate(script: Hub) -> None:
    proxy: Any = green_tpool.Proxy(Connection(), (Cursor, Row))
    assert proxy.current is proxy.current
    rows = proxy.current
    for row in rows:
        assert row.number == 1
        break
    assert [row.number for row in proxy.current] == [2, 3]
    function: Any = green_tpool.Proxy(same_rows, Row, pin=True)
    got = list(green_tpool.iterate(function, 3, start=5, batch=1))
    assert [type(row) for row in got] == [green_tpool.Proxy] * 3
    assert len({row.thread() for row in got}) == 1
    assert [row.number for row in green_tpool.iterate(proxy.rows, 3)] == [0, 1, 2]


class Bound:
    """Notes from which thread each of its special methods is called."""

    def __init__(self) -> None:
        object.__setattr__(self, "threads", dict[str, int]())

    def __len__(self) -> int:
        self.threads["len"] = threading.get_ident()
        return 0

    def __setattr__(self, name: str, value: object) -> None:
        self.threads["set"] = threading.get_ident()
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self.threads["del"] = threading.get_ident()
        object.__delattr__(self, name)

    def thread(self) -> int:
        return threading.get_ident()

    threads: dict[str, int]


class WithBool(Bound):
    """Is false by a method of its own."""

    def __bool__(self) -> bool:
        self.threads["bool"] = threading.get_ident()
        return False


def use(proxy: Any) -> dict[str, int]:
    proxy.name = "x"
    del proxy.name
    assert len(proxy) == 0
    assert not proxy
    threads: dict[str, int] = proxy._obj.threads
    return threads


def test_green_pinned_objects_are_looked_at_in_their_thread(script: Hub) -> None:
    for kind, names in ((Bound, {"set", "del", "len"}), (WithBool, {"set", "del", "len", "bool"})):
        pinned: Any = green_tpool.Proxy(kind(), pin=True)
        assert use(pinned) == dict.fromkeys(names, pinned.thread())
        free: Any = green_tpool.Proxy(kind())
        assert use(free) == dict.fromkeys(names, threading.get_ident())
    assert pinned._obj.threads["bool"] != threading.get_ident()


def test_green_truth_of_what_has_none_needs_no_thread(script: Hub) -> None:
    proxy = green_tpool.Proxy(Connection(), pin=True)
    before = green_tpool.statistics().submitted
    assert proxy
    assert green_tpool.statistics().submitted == before


async def test_async_pinned_objects_are_looked_at_in_place() -> None:
    for kind, names in ((Bound, {"set", "del", "len"}), (WithBool, {"set", "del", "len", "bool"})):
        pinned: Any = Proxy(kind(), pin=True)
        assert await pinned.thread() != threading.get_ident()
        assert use(pinned) == dict.fromkeys(names, threading.get_ident())
    await asyncio.sleep(0)
