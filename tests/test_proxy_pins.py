"""Pinned proxies: one thread for all calls of a family, and how that thread becomes free."""

import asyncio
import contextlib
import gc
import operator
import sqlite3
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.proxied import Connection, Cursor, Row
from tests.test_hubs import in_thread
from tpool_asyncio import from_thread, tpool
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.hubs import Hub

Proxy = tpool.Proxy


def here() -> int:
    return threading.get_ident()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


class Dies:
    """Tells in which thread it is destroyed."""

    def __init__(self, ends: list[int]) -> None:
        self.ends = ends
        self.itself: Dies | None = None

    def __del__(self) -> None:
        self.ends.append(here())

    def thread(self) -> int:
        return here()

    def child(self) -> "Dies":
        return Dies(self.ends)

    def block(self, gate: Gate) -> int:
        gate()
        return here()


# One thread


async def test_all_calls_of_a_family_run_on_one_thread(pool: tpool.Pool) -> None:
    proxy: Any = Proxy(Connection(), (Cursor, Row), pin=True, pool=pool)
    thread = await proxy.thread()
    assert thread != here()
    blocked = Gate()
    blockers = [pool.execute(blocked) for _ in range(2)]  # the pool itself has nothing left
    blocked.wait_begun(2)
    assert await proxy.thread() == thread
    cursor = await proxy.cursor()
    assert await cursor.thread() == thread
    assert await (await cursor.fetchone()).thread() == thread
    assert await proxy.current.thread() == thread
    async with cursor:
        rows = [row async for row in cursor]
    assert len(rows) == 2
    assert {await row.thread() for row in rows} == {thread}
    assert set(cursor.threads) == {thread}
    assert await tpool.proxy_call(proxy, threading.get_ident) == thread
    async with proxy as entered:
        assert await entered.thread() == thread
    assert [await row.thread() async for row in tpool.iterate(proxy.rows, 2)] == [thread] * 2
    assert await Proxy(proxy).thread() == thread
    assert await Proxy(proxy, pin=True).thread() == thread
    assert await Proxy(cursor).thread() == thread
    assert pool.statistics().pinned == 1
    blocked.open()
    await asyncio.gather(*blockers)


async def test_each_pinned_proxy_has_a_thread_of_its_own_also_of_a_pool_of_one() -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()
        blocker = pool.execute(gate)
        gate.wait_begun()
        proxies = [Proxy(Connection(), pin=True, pool=pool) for _ in range(3)]
        assert pool.statistics().pinned == 3
        assert len({await proxy.thread() for proxy in proxies}) == 3
        assert pool.statistics().busy == 1
        gate.open()
        await blocker
        del proxies


async def test_first_come_first_served(pool: tpool.Pool) -> None:
    numbers: list[int] = []
    proxy = Proxy(numbers, pin=True, pool=pool)
    await asyncio.gather(*(proxy.append(number) for number in range(1000)))
    assert numbers == list(range(1000))


async def test_two_loops_at_once_share_the_thread(pool: tpool.Pool) -> None:
    gate = Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate, thread=here, close=gate), pin=True, pool=pool)

    async def use() -> list[object]:
        return [await proxy.wait("elsewhere"), await proxy.thread()]

    call = proxy.wait("here")
    gate.wait_begun()
    elsewhere = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(use())))
    await until(lambda: pool.statistics().queued)
    assert gate.calls == 1
    gate.open()
    assert await call == "here"
    assert await elsewhere == ["elsewhere", await proxy.thread()]
    await proxy.close()  # for the other thread may hold it a little longer
    assert pool.statistics().pinned == 0


async def test_the_factory_runs_in_the_pinned_thread(pool: tpool.Pool) -> None:
    threads: list[int] = []

    def factory() -> Connection:
        threads.append(here())
        return Connection()

    proxy = Proxy.create(factory, pin=True, pool=pool)
    assert pool.statistics().pinned == 1
    await proxy
    assert [await proxy.thread()] == threads
    await proxy.close()
    assert pool.statistics().pinned == 0
    unmade = Proxy.create(factory, pin=True, pool=pool)
    assert pool.statistics().pinned == 1
    del unmade
    assert pool.statistics().pinned == 0


async def test_options_and_a_pin_go_together(pool: tpool.Pool) -> None:
    gate = Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate, thread=here), pin=True, pool=pool, timeout=0.01)
    with pytest.raises(TimeoutError, match="Gate took longer"):
        await proxy.wait()
    gate.open()
    await until(lambda: not pool.statistics().abandoned)


async def test_a_queued_call_that_is_cancelled_never_runs(pool: tpool.Pool) -> None:
    gate, never = Gate(), Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate, never=never), pin=True, pool=pool)
    call = proxy.wait()
    gate.wait_begun()
    assert proxy.never().cancel()
    gate.open()
    await call
    assert never.calls == 0


# How the thread becomes free


async def test_closing_it_frees_the_thread(pool: tpool.Pool) -> None:
    connection = Connection()
    proxy = Proxy(connection, Cursor, pin=True, pool=pool)
    cursor = await proxy.cursor()
    assert pool.statistics().pinned == 1
    await proxy.close()
    assert connection.closed == 1
    assert pool.statistics().pinned == 0
    await proxy.close()  # a second time does nothing
    assert connection.closed == 1
    for call in (proxy.thread, cursor.thread, proxy):
        with pytest.raises(RuntimeError, match="was pinned to a thread, which became free when it was closed"):
            await call()
    assert proxy.name == "connection"


async def test_closing_what_it_has_wrapped_does_not(pool: tpool.Pool) -> None:
    class Child:
        closed = False

        def close(self) -> None:
            self.closed = True

    proxy = Proxy(types.SimpleNamespace(child=Child(), thread=here), Child, pin=True, pool=pool)
    await proxy.child.close()
    assert proxy.child.closed
    assert pool.statistics().pinned == 1
    assert await proxy.thread() != here()


async def test_a_close_that_fails_does_not(pool: tpool.Pool) -> None:
    attempts = [OSError("busy")]

    def close() -> str:
        if attempts:
            raise attempts.pop()
        return "closed"

    proxy = Proxy(types.SimpleNamespace(close=close, thread=here), pin=True, pool=pool)
    with pytest.raises(OSError, match="busy"):
        await proxy.close()
    assert pool.statistics().pinned == 1
    await proxy.thread()
    assert await proxy.close() == "closed"
    assert pool.statistics().pinned == 0


async def test_closing_it_by_way_of_another_proxy_of_the_object(pool: tpool.Pool) -> None:
    proxy = Proxy(Connection(), pin=True, pool=pool)
    await Proxy(proxy).close()
    assert pool.statistics().pinned == 0
    await proxy.close()
    assert proxy.closed == 1


async def test_what_was_asked_for_before_the_close_is_still_done(pool: tpool.Pool) -> None:
    gate = Gate()
    done: list[str] = []
    obj = types.SimpleNamespace(wait=gate, note=done.append, close=lambda: done.append("close"))
    proxy = Proxy(obj, pin=True, pool=pool)
    calls = [proxy.wait(), proxy.note("one"), proxy.close(), proxy.note("two")]
    gate.wait_begun()
    gate.open()
    await asyncio.gather(*calls)
    assert done == ["one", "close", "two"]


async def test_dropping_it_frees_the_thread(pool: tpool.Pool) -> None:
    proxy = Proxy(Connection(), Cursor, pin=True, pool=pool)
    cursor = await proxy.cursor()
    reference = weakref.ref(proxy)
    del proxy
    assert reference() is None
    assert await cursor.thread() != here()
    assert pool.statistics().pinned == 1  # as what it has wrapped needs it
    method = cursor.thread
    del cursor
    assert pool.statistics().pinned == 1
    assert await method() != here()
    del method
    assert pool.statistics().pinned == 0


async def test_a_call_in_flight_keeps_the_thread(pool: tpool.Pool) -> None:
    gate = Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate), pin=True, pool=pool)
    call = proxy.wait("value")
    gate.wait_begun()
    del proxy
    assert pool.statistics().pinned == 1
    gate.open()
    assert await call == "value"
    assert pool.statistics().pinned == 0


async def test_a_proxy_that_was_never_used_takes_no_thread(pool: tpool.Pool) -> None:
    ends: list[int] = []
    proxy = Proxy(Dies(ends), pin=True, pool=pool)
    assert pool.statistics().threads == 0
    del proxy
    assert ends == [here()]
    assert pool.statistics().threads == 0


async def test_the_object_is_destroyed_in_its_thread(pool: tpool.Pool) -> None:
    ends: list[int] = []
    proxy = Proxy(Dies(ends), Dies, pin=True, pool=pool)
    thread = await proxy.thread()
    child = await proxy.child()
    assert await child.thread() == thread
    del child
    await until(lambda: ends)
    del proxy
    await until(lambda: len(ends) == 2)
    assert ends == [thread] * 2


async def test_the_object_of_a_factory_is_destroyed_in_its_thread(pool: tpool.Pool) -> None:
    ends: list[int] = []
    proxy = await Proxy.create(Dies, ends, pin=True, pool=pool)
    thread = await proxy.thread()
    gate = Gate()
    call = proxy.block(gate)
    gate.wait_begun()
    del proxy
    gate.open()
    assert await call == thread
    del call
    await until(lambda: ends)
    assert ends == [thread]


async def test_the_garbage_collector_frees_the_thread(pool: tpool.Pool) -> None:
    proxy: Any = Proxy(Connection(), pin=True, pool=pool)
    await proxy.thread()
    holder = types.SimpleNamespace(proxy=proxy)
    holder.itself = holder
    del proxy, holder
    assert pool.statistics().pinned == 1
    gc.collect()
    assert pool.statistics().pinned == 0


async def test_a_thread_that_became_free_serves_the_next_one(pool: tpool.Pool) -> None:
    threads = set()
    for _ in range(3):
        proxy = Proxy(Connection(), pin=True, pool=pool)
        threads.add(await proxy.thread())
        await proxy.close()
        await until(lambda: pool.statistics().idle == 1)
    assert len(threads) == 1


# What cannot be


AT_ONCE: list[Callable[[Any], Any]] = [
    lambda p: operator.setitem(p, "a", 1),
    lambda p: operator.delitem(p, "a"),
    lambda p: "a" in p,
    int,
    float,
    bytes,
    operator.index,
    lambda p: p.__ior__({"b": 1}),
]


@pytest.mark.parametrize("use", AT_ONCE)
async def test_what_needs_a_result_at_once_is_a_clear_error(use: Callable[[Any], Any], pool: tpool.Pool) -> None:
    stock = {"a": 1}
    proxy = Proxy(stock, pin=True, pool=pool)
    with pytest.raises(RuntimeError, match=r"pinned to a thread, .* cannot be awaited; use 'await tpool.proxy_call"):
        use(proxy)
    assert stock == {"a": 1}


async def test_the_remedy_for_what_needs_a_result_at_once(pool: tpool.Pool) -> None:
    stock = {"a": 1}
    proxy = Proxy(stock, pin=True, pool=pool)
    await tpool.proxy_call(proxy, operator.setitem, proxy._obj, "b", 2)
    assert await tpool.proxy_call(proxy, operator.contains, proxy._obj, "b")
    assert await tpool.proxy_call(proxy, operator.ior, proxy._obj, {"c": 3}) is proxy
    assert await proxy["c"] == 3


async def test_a_call_that_would_wait_for_itself_is_refused(pool: tpool.Pool) -> None:
    connection = Connection()
    proxy: Any = Proxy(
        types.SimpleNamespace(ask=lambda fn: from_thread.run(fn), thread=connection.thread, close=connection.close),
        pin=True,
        pool=pool,
    )

    async def inner() -> Any:
        return await proxy.thread()

    with pytest.raises(RuntimeError, match="is pinned to a thread that waits for this very code"):
        await proxy.ask(inner)
    assert await proxy.thread() != here()  # and it works on

    async def other() -> Any:
        return await pool.execute(here)

    assert await proxy.ask(other) != await proxy.thread()
    await proxy.close()  # since the traceback of the error may hold it


# SQLite, whose connections serve one thread


async def test_sqlite(pool: tpool.Pool) -> None:
    database = await Proxy.create(sqlite3.connect, ":memory:", autowrap=sqlite3.Cursor, pin=True, pool=pool)
    async with database:
        await database.execute("create table numbers (number)")
        await database.executemany("insert into numbers values (?)", [(number,) for number in range(1000)])
    cursor = await database.execute("select number from numbers order by number")
    assert isinstance(cursor, sqlite3.Cursor)
    assert isinstance(cursor, Proxy)
    assert await cursor.fetchone() == (0,)
    assert [number async for (number,) in cursor] == list(range(1, 1000))
    with pytest.raises(sqlite3.OperationalError):
        await database.execute("nonsense")
    with pytest.raises(sqlite3.IntegrityError), contextlib.suppress(KeyError):
        async with database:
            await database.execute("insert into numbers values (1000)")
            raise sqlite3.IntegrityError
    assert await (await database.execute("select count(*) from numbers")).fetchone() == (1000,)
    with pytest.raises(sqlite3.ProgrammingError, match="thread"):
        database._obj.execute("select 1")  # which shows that it matters
    await cursor.close()
    await database.close()
    assert pool.statistics().pinned == 0
    with pytest.raises(RuntimeError, match="was pinned to a thread, which became free"):
        await database.execute("select 1")


# The green spelling


def test_green_sqlite_in_scripts_and_threads(script: Hub) -> None:
    def use() -> list[int]:
        database = green_tpool.Proxy.create(sqlite3.connect, ":memory:", autowrap=sqlite3.Cursor, pin=True)
        with contextlib.closing(database), database:
            database.execute("create table numbers (number)")
            database.executemany("insert into numbers values (?)", [(number,) for number in range(1000)])
            found = database.execute("select number from numbers order by number")
            numbers = [number for (number,) in found]
        assert green_tpool.statistics().pinned == 0
        return numbers

    assert use() == list(range(1000))
    assert in_thread(use) == list(range(1000))
    assert green_tpool.statistics().pinned == 0


def test_green_calls_of_a_family_run_on_one_thread(script: Hub) -> None:
    proxy: Any = green_tpool.Proxy(Connection(), (Cursor, Row), pin=True)
    thread = proxy.thread()
    assert thread != here()
    assert green_tpool.statistics().pinned == 1
    cursor = proxy.cursor()
    with cursor:
        assert [row.thread() for row in cursor] == [thread] * 3
    assert set(cursor.threads) == {thread}
    assert proxy.current.thread() == thread
    assert in_thread(proxy.thread) == thread
    assert green_tpool.proxy_call(proxy, here) == thread
    assert green_tpool.Proxy(proxy).thread() == thread
    proxy.close()
    assert green_tpool.statistics().pinned == 0
    proxy.close()
    assert proxy.closed == 1
    with pytest.raises(RuntimeError, match="was pinned to a thread, which became free when it was closed"):
        cursor.thread()


def test_green_calls_that_need_a_result_at_once_run_there_too(script: Hub) -> None:
    class Stock:
        def __init__(self) -> None:
            self.threads: list[int] = []

        def __setitem__(self, key: object, value: object) -> None:
            self.threads.append(here())

        def __contains__(self, key: object) -> bool:
            self.threads.append(here())
            return True

        def thread(self) -> int:
            return here()

    proxy: Any = green_tpool.Proxy(Stock(), pin=True)
    proxy["a"] = 1
    assert "a" in proxy
    assert proxy.threads == [proxy.thread()] * 2


def test_green_dropping_it_frees_the_thread_and_destroys_the_object_there(script: Hub) -> None:
    ends: list[int] = []
    ended = threading.Event()

    class Tells(Dies):
        def __del__(self) -> None:
            super().__del__()
            ended.set()

    proxy = green_tpool.Proxy.create(Tells, ends, pin=True)
    thread = proxy.thread()
    del proxy
    assert green_tpool.statistics().pinned == 0
    assert ended.wait(PATIENCE)
    assert ends == [thread]


def test_green_nested_calls_of_one_pinned_proxy_run_in_place(script: Hub) -> None:
    proxy: Any = green_tpool.Proxy(types.SimpleNamespace(call=lambda fn: fn(), thread=here), pin=True)
    assert proxy.call(lambda: proxy.call(lambda: [here(), proxy.thread()])) == [proxy.thread()] * 2


def test_green_call_that_would_wait_for_itself_is_refused(script: Hub) -> None:
    proxy: Any = green_tpool.Proxy(types.SimpleNamespace(thread=here), pin=True)

    async_proxy: Any = Proxy(proxy)

    async def inner() -> Any:
        return await async_proxy.thread()

    with pytest.raises(RuntimeError, match="is pinned to a thread that waits for this very code"):
        green_tpool.proxy_call(proxy, from_thread.run, inner)
    assert proxy.thread() != here()
