"""Cases of proxies that reviews have found: one test for each, so that none comes back."""

import asyncio
import gc
import itertools
import threading
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tpool_asyncio import tpool
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.tpool import Proxy


class Friend:
    """Calls another proxy from inside a call."""

    other: Any = None

    def ask(self) -> Any:
        return self.other.ask_back()

    def ask_back(self) -> Any:
        return self.other.answer()

    def answer(self) -> str:
        return "answer"


@pytest.mark.usefixtures("script")
def test_pinned_proxies_that_call_each_other_are_refused_and_do_not_hang() -> None:
    one, two = Friend(), Friend()
    first, second = green_tpool.Proxy(one, pin=True), green_tpool.Proxy(two, pin=True)
    one.other, two.other = second, first
    with pytest.raises(RuntimeError, match=r"Friend.answer is pinned to a thread that waits for this very code"):
        first.ask()
    assert first.answer() == "answer"
    one.other = two.other = None


class Family:
    def members(self) -> "list[Family]":
        return [Family() for _ in range(8)]

    def close(self) -> None:
        """Do nothing."""

    def is_there(self) -> bool:
        return True


@pytest.mark.usefixtures("script")
def test_closing_a_child_never_lets_the_thread_go() -> None:
    root = green_tpool.Proxy.create(Family, pin=True, autowrap=Family, autowrap_items=True)
    child = root.members()[0]
    del root
    for other in child.members():  # one of them may well be where the root was
        other.close()
    assert child.is_there()
    assert tpool.statistics().pinned == 1


class Numbers:
    """Its own iterator, whose methods have other names than their attributes."""

    def __init__(self) -> None:
        self.numbers = itertools.count()

    def __iter__(self) -> "Numbers":
        return self

    def __next__(self) -> int:
        return next(self.numbers)

    def __contains__(self, number: object) -> bool:
        return any(number == own for own in self.numbers)

    def _shut(self) -> str:
        return "shut"

    def peek(self) -> int:
        return next(self.numbers)

    close = _shut


async def partly_read() -> Any:
    proxy = Proxy(Numbers(), batch=10)
    async for number in proxy:
        assert number == 0
        break
    while proxy._tpool_items._stream.is_reading():
        await asyncio.sleep(0.001)
    return proxy


SKIPPING: list[Any] = [
    lambda proxy: proxy.peek(),
    lambda proxy: tpool.proxy_call(proxy, proxy._obj.peek),
]


@pytest.mark.parametrize("skip", SKIPPING)
@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_call_that_would_skip_items_is_refused(skip: Any) -> None:
    proxy = await partly_read()
    with pytest.raises(RuntimeError, match=r"Numbers.peek would skip 9 items"):
        await skip(proxy)
    assert await anext(proxy) == 1


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_so_is_what_cannot_be_awaited_or_takes_the_object_over() -> None:
    proxy = await partly_read()
    with pytest.raises(RuntimeError, match="contains would skip 9 items"):
        assert 5 in proxy
    with pytest.raises(RuntimeError, match="would skip 9 items"):
        tpool.iterate(proxy)
    with pytest.raises(RuntimeError, match="would skip 9 items"):
        tpool.iterate(proxy.peek)
    assert await anext(proxy) == 1


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_the_name_of_the_attribute_decides_and_not_that_of_the_function() -> None:
    proxy = await partly_read()
    assert await proxy.close() == "shut"


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_view_goes_on_with_what_has_been_read_ahead() -> None:
    proxy = await partly_read()
    with tpool.nonblocking(proxy) as view:
        assert await anext(view) == 1
    assert await anext(proxy) == 2


async def test_an_iteration_over_a_proxy_that_was_left_goes_on_with_the_next() -> None:
    proxy = Proxy(Numbers(), batch=10)
    number: int
    async for number in tpool.iterate(proxy):
        if number == 3:
            break
    assert await anext(proxy) == 4


async def test_iterating_over_a_method_that_returns_the_object_does_not_close_it() -> None:
    class Cursor(Numbers):
        closed = False

        def execute(self) -> "Cursor":
            return self

        def close(self) -> str:
            self.closed = True
            return "closed"

    proxy = Proxy(Cursor())
    async with tpool.iterate(proxy.execute) as numbers:
        assert await anext(numbers) == 0
    assert not proxy._obj.closed


async def test_an_error_that_would_end_an_async_iteration_is_told() -> None:
    def source() -> Any:
        yield 1
        raise StopAsyncIteration("an error")

    got = []
    with pytest.raises(RuntimeError, match="raised StopAsyncIteration") as caught:
        async for item in tpool.iterate(source):
            got.append(item)
    assert got == [1]
    assert str(caught.value.__cause__) == "an error"


@pytest.mark.usefixtures("script")
def test_tuples_are_looked_at_one_by_one() -> None:
    class Rows:
        def rows(self) -> Any:
            return iter([(), (Family(),), (Family(),)])

    proxy = green_tpool.Proxy(Rows(), autowrap=Family, autowrap_items=True)
    rows = list(green_tpool.iterate(proxy.rows))
    assert [[isinstance(item, green_tpool.Proxy) for item in row] for row in rows] == [[], [True], [True]]


async def test_closing_also_closes_what_is_made_too_late() -> None:
    gate, closed = Gate(), threading.Event()

    class Late:
        def __init__(self) -> None:
            gate()

        def close(self) -> None:
            closed.set()

    async def use() -> None:
        async with tpool.closing(Proxy.create(Late)):
            pytest.fail("it was cancelled before")

    task = asyncio.create_task(use())
    await tpool.execute(gate.wait_begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    assert await tpool.execute(closed.wait, PATIENCE)


async def test_the_end_of_with_sees_the_context_of_the_caller_in_any_case(pool: tpool.Pool) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[str] = []
    left = threading.Event()

    class Manager:
        def __enter__(self) -> None:
            """Do nothing."""

        def __exit__(self, *failure: object) -> None:
            seen.append(variable.get("nothing"))
            left.set()

    gate = Gate()
    entered = asyncio.Event()

    async def use() -> None:
        variable.set("set")
        async with Proxy(Manager(), pool=pool):
            entered.set()
            await asyncio.sleep(0)
            blockers.extend(pool.execute(gate) for _ in range(2))
        pytest.fail("it was cancelled before")

    blockers: list[Any] = []
    task = asyncio.create_task(use())
    await entered.wait()
    while pool.statistics().queued == 0:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    await asyncio.gather(*blockers)
    assert await tpool.execute(left.wait, PATIENCE)
    assert seen == ["set"]


async def test_an_error_in_a_view_leads_back_to_nothing() -> None:
    class FailureError(Exception):
        pass

    class Fails:
        def fail(self) -> None:
            raise FailureError

        def look_cancelled(self) -> None:
            raise asyncio.CancelledError

    async def fail() -> "weakref.ref[FailureError]":
        try:
            await view.fail()
        except FailureError as failure:
            return weakref.ref(failure)
        pytest.fail("it did not fail")

    with tpool.nonblocking(Proxy(Fails())) as view:
        with pytest.raises(RuntimeError, match="raised CancelledError"):
            await view.look_cancelled()
        gc.collect()
        gc.disable()
        try:
            assert (await fail())() is None
        finally:
            gc.enable()


async def test_the_proxy_of_an_attribute_goes_with_the_attribute() -> None:
    class Holder:
        held: Any = None

    holder = Holder()
    holder.held = Family()
    gone = weakref.ref(holder.held)
    proxy = Proxy(holder, autowrap=Family)
    assert proxy.held is proxy.held
    holder.held = None
    assert proxy.held is None
    assert gone() is None


async def test_what_has_failed_to_be_made_is_not_closed_when_it_is_made_later() -> None:
    closed: list[bool] = []
    fail = True

    class Connection:
        def __init__(self) -> None:
            if fail:
                raise OSError("not yet")

        def close(self) -> None:
            closed.append(True)

    proxy = Proxy.create(Connection)
    with pytest.raises(OSError, match="not yet"):
        async with tpool.closing(proxy):
            pytest.fail("there is nothing to enter")
    fail = False
    async with tpool.closing(proxy) as same:
        assert same is proxy
        assert not closed
    assert closed == [True]
