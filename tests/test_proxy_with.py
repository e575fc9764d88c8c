"""Proxies in ``with`` and ``async with``, also when somebody is cancelled there, and ``closing``."""

import asyncio
import contextlib
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import pytest
import pytest_asyncio

from tests.gate import PATIENCE, Gate
from tests.proxied import Connection
from tpool_asyncio import green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

Proxy = tpool.Proxy


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def green_until(condition: Callable[[], object]) -> None:
    with green.Timeout(PATIENCE):
        while not condition():
            green.sleep(0.001)


class Managed:
    """A context manager that blocks at its beginning, and tells what is done to it."""

    def __init__(self, gate: Gate | None = None, error: BaseException | None = None) -> None:
        self._gate = gate
        self._error = error
        self.done: list[object] = []
        self.threads: set[int] = set()

    def __enter__(self) -> Self:
        if self._gate is not None:
            self._gate()
        self.threads.add(threading.get_ident())
        if self._error is not None:
            raise self._error
        self.done.append("entered")
        return self

    def __exit__(self, *failure: object) -> None:
        self.threads.add(threading.get_ident())
        self.done.append(failure[0])

    def thread(self) -> int:
        return threading.get_ident()

    def close(self) -> None:
        self.done.append("closed")


@pytest_asyncio.fixture
async def one() -> AsyncIterator[tpool.Pool]:
    """A pool of one thread."""
    async with tpool.Pool(1) as pool:
        yield pool


@pytest.fixture
def green_one(script: hubs.Hub) -> Iterator[green_tpool.Pool]:
    """The same for synchronous code."""
    with green_tpool.Pool(1) as pool:
        yield pool


# Entering


async def never_inside(proxy: Any) -> None:
    async with proxy:
        raise AssertionError("nobody waited for it any more")


@pytest.mark.parametrize("pin", [False, True])
async def test_entering_that_is_cancelled_after_it_has_begun_is_taken_back(one: tpool.Pool, pin: bool) -> None:
    managed = Managed(gate := Gate())
    task = asyncio.create_task(never_inside(Proxy(managed, pin=pin, pool=one)))
    await until(lambda: gate.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert managed.done == []
    gate.open()
    await until(lambda: len(managed.done) == 2)
    assert managed.done == ["entered", None]
    assert len(managed.threads) == 1


async def test_entering_that_takes_too_long_is_taken_back(one: tpool.Pool) -> None:
    managed = Managed(gate := Gate())
    seconds = 0.01
    while not gate.calls:  # a thread may be slow to start, and nothing be entered
        with pytest.raises(TimeoutError):
            await never_inside(Proxy(managed, timeout=seconds, pool=one))
        seconds *= 2
    gate.open()
    await until(lambda: len(managed.done) == 2)
    assert managed.done == ["entered", None]


async def test_entering_that_is_cancelled_when_it_is_done_but_not_yet_known_is_taken_back(one: tpool.Pool) -> None:
    # The call is over, and the loop has not been told: the object has to be left by a call of its own.
    managed = Managed(gate := Gate())
    task = asyncio.create_task(never_inside(Proxy(managed, pool=one)))
    await until(lambda: gate.calls)
    gate.open()
    while not managed.done:
        pass  # holding up the loop
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: len(managed.done) == 2)
    assert managed.done == ["entered", None]


async def test_entering_that_is_cancelled_in_the_queue_never_happens(one: tpool.Pool) -> None:
    managed, gate = Managed(), Gate()
    blocker = one.execute(gate)
    task = asyncio.create_task(never_inside(Proxy(managed, pool=one)))
    await until(lambda: one.statistics().queued)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    await blocker
    await one.killall()
    assert managed.done == []


async def test_entering_that_fails_is_not_taken_back(one: tpool.Pool) -> None:
    managed = Managed(error=LookupError("closed"))
    with pytest.raises(LookupError, match="closed"):
        await never_inside(Proxy(managed, pool=one))
    assert managed.done == []


async def test_what_is_no_context_manager_says_so() -> None:
    for pin in (False, True):
        with pytest.raises(TypeError, match=r"'Event' object is no context manager \(it has no __enter__\)"):
            await never_inside(Proxy(threading.Event(), pin=pin))


# Leaving


async def test_a_queue_timeout_does_not_spare_the_end_of_async_with(one: tpool.Pool) -> None:
    managed, gate = Managed(), Gate()
    blocker: Any = None
    while blocker is None:  # a thread may be slow to start, and nothing be entered
        with pytest.raises(TimeoutError):
            async with Proxy(managed, queue_timeout=0.01, pool=one):
                blocker = one.execute(gate)
                await until(lambda: gate.calls)
    assert managed.done == ["entered"]
    gate.open()
    await blocker
    await until(lambda: len(managed.done) == 2)
    await one.killall()
    assert managed.done == ["entered", None]


async def test_closed_inside_its_own_async_with(one: tpool.Pool) -> None:
    managed = Managed()
    async with Proxy(managed, pin=True, pool=one) as same:
        await same.close()
        assert one.statistics().pinned == 0
    assert managed.done == ["entered", "closed"]
    with pytest.raises(LookupError, match="of the block"):
        async with Proxy(Managed(), pin=True, pool=one) as same:
            await same.close()
            raise LookupError("of the block")


async def test_closed_inside_its_own_async_with_it_is_left_if_not_pinned(one: tpool.Pool) -> None:
    managed = Managed()
    async with Proxy(managed, pool=one) as same:
        await same.close()
    assert managed.done == ["entered", "closed", None]


# closing


@pytest.mark.parametrize("pin", [False, True])
async def test_closing(one: tpool.Pool, pin: bool) -> None:
    connection = Connection()
    proxy = Proxy(connection, pin=pin, pool=one)
    async with tpool.closing(proxy) as same:
        assert same is proxy
        assert await same.thread() != threading.get_ident()
        assert connection.closed == 0
    assert connection.closed == 1
    assert one.statistics().pinned == 0
    with pytest.raises(LookupError, match="of the block"):
        async with tpool.closing(Proxy(connection, pin=pin, pool=one)):
            raise LookupError("of the block")
    assert connection.closed == 2


async def test_closing_makes_what_is_made_later_and_closes_it() -> None:
    async with tpool.closing(Proxy.create(sqlite3.connect, ":memory:", autowrap=sqlite3.Cursor, pin=True)) as db:
        assert await (await db.execute("SELECT 7")).fetchone() == (7,)
        assert tpool.statistics().pinned == 1
        held = db
    assert tpool.statistics().pinned == 0
    with pytest.raises(RuntimeError, match="became free when it was closed"):
        await held.execute("SELECT 7")


async def test_closing_what_was_closed_inside(one: tpool.Pool) -> None:
    connection = Connection()
    async with tpool.closing(Proxy(connection, pin=True, pool=one)) as proxy:
        await proxy.close()
    assert connection.closed == 1  # as a second one does nothing
    async with tpool.closing(Proxy(connection, pool=one)) as proxy:
        await proxy.close()
    assert connection.closed == 3  # it is up to the object


async def test_closing_runs_although_cancelled(one: tpool.Pool) -> None:
    connection, gate, inside = Connection(), Gate(), asyncio.Event()

    async def use() -> None:
        async with tpool.closing(Proxy(connection, pool=one)):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await inside.wait()
    blocker = one.execute(gate)
    await until(lambda: gate.calls)
    task.cancel()
    await until(lambda: one.statistics().queued)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.closed == 0
    gate.open()
    await blocker
    await until(lambda: connection.closed)
    await one.killall()
    assert connection.closed == 1


async def test_closing_runs_although_its_time_in_the_queue_is_over(one: tpool.Pool) -> None:
    connection, gate = Connection(), Gate()
    with pytest.raises(TimeoutError):
        async with tpool.closing(Proxy(connection, queue_timeout=0.01, pool=one)):
            blocker = one.execute(gate)
            await until(lambda: gate.calls)
    gate.open()
    await blocker
    await until(lambda: connection.closed)
    await one.killall()
    assert connection.closed == 1


@pytest.mark.parametrize("place", ["green thread", "async code"])
async def test_closing_that_the_garbage_collector_finds_closes_the_object_and_does_not_wait(place: str) -> None:
    connection, others = Connection(), list[str]()

    def lose() -> None:
        stack: Any = contextlib.ExitStack()
        stack.enter_context(green_tpool.closing(green_tpool.Proxy(connection)))
        stack.itself = stack

    def collect() -> None:
        lose()
        asyncio.get_running_loop().call_soon(others.append, "ran")
        gc.collect()

    gc.collect()
    if place == "green thread":
        green_thread = green.spawn(lambda: (collect(), list(others)))
        assert (await green_thread)[1] == []
    else:
        collect()  # a complaint of the interpreter would fail this test
    await until(lambda: connection.closed)
    assert connection.closed == 1


async def test_closing_of_a_subclass_that_closes_in_its_own_way() -> None:
    class Own(Proxy):
        async def close(self) -> None:
            closed.append(await self.thread())

    closed = list[int]()
    async with tpool.closing(Own(Connection())):
        pass
    assert closed != [threading.get_ident()]
    assert len(closed) == 1


async def test_closing_hands_on_what_close_raises_and_refuses_what_cannot_be_closed() -> None:
    class Fails:
        def close(self) -> None:
            raise LookupError("in closing")

    with pytest.raises(LookupError, match="in closing"):
        async with tpool.closing(Proxy(Fails())):
            pass
    with pytest.raises(AttributeError, match="close"):
        async with tpool.closing(Proxy([])):
            raise AssertionError
    with pytest.raises(TypeError, match=r"needs a Proxy of tpool_asyncio\.tpool"):
        async with tpool.closing(Fails()):  # type: ignore[type-var]
            raise AssertionError


# The green spelling


@pytest.mark.parametrize("pin", [False, True])
def test_green_entering_that_is_interrupted_after_it_has_begun_is_taken_back(
    green_one: green_tpool.Pool, pin: bool
) -> None:
    managed = Managed(gate := Gate())

    def use() -> None:
        with green_tpool.Proxy(managed, pin=pin, pool=green_one):
            raise AssertionError("nobody waited for it any more")

    green_thread = green.spawn(use)
    green_until(lambda: gate.calls)
    green_thread.kill()
    assert managed.done == []
    gate.open()
    green_until(lambda: len(managed.done) == 2)
    assert managed.done == ["entered", None]
    assert len(managed.threads) == 1
    del green_thread
    gc.collect()  # the traceback of its end holds the proxy, and with it the thread


def test_green_closed_inside_its_own_with(green_one: green_tpool.Pool) -> None:
    managed = Managed()
    with green_tpool.Proxy(managed, pin=True, pool=green_one) as same:
        same.close()
    assert managed.done == ["entered", "closed"]
    with pytest.raises(LookupError, match="of the block"), green_tpool.Proxy(Managed(), pin=True) as same:
        same.close()
        raise LookupError("of the block")


@pytest.mark.parametrize("pin", [False, True])
def test_green_closing(green_one: green_tpool.Pool, pin: bool) -> None:
    connection = Connection()
    proxy = green_tpool.Proxy(connection, pin=pin, pool=green_one)
    with green_tpool.closing(proxy) as same:
        assert same is proxy
    assert connection.closed == 1
    with pytest.raises(LookupError, match="of the block"), green_tpool.closing(green_tpool.Proxy(connection, pin=pin)):
        raise LookupError("of the block")
    assert connection.closed == 2
    with green_tpool.closing(green_tpool.Proxy(connection, pin=pin, pool=green_one)) as same:
        same.close()
    assert connection.closed == (3 if pin else 4)
    assert green_one.statistics().pinned == 0
    with pytest.raises(AttributeError, match="close"), green_tpool.closing(green_tpool.Proxy([])):
        raise AssertionError
    with pytest.raises(TypeError, match="needs a Proxy"), green_tpool.closing(connection):  # type: ignore[type-var]
        raise AssertionError


def test_green_closing_runs_although_interrupted(green_one: green_tpool.Pool) -> None:
    connection, gate = Connection(), Gate()
    blocker = list[Any]()

    def use() -> None:
        with contextlib.suppress(TimeoutError), green_tpool.closing(green_tpool.Proxy(connection, pool=green_one)):
            blocker.append(green.spawn(green_one.execute, gate))
            green_until(lambda: gate.calls)

    green_thread = green.spawn(use)
    green_until(lambda: green_one.statistics().queued)
    green_thread.kill()
    assert connection.closed == 0
    gate.open()
    blocker[0].wait()
    green_until(lambda: connection.closed)
    green_one.killall()
    assert connection.closed == 1
