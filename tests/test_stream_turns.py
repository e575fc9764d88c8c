"""Iterations that have many items give way to others in between, and lose nothing by it."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from tests.gate import PATIENCE
from tests.sources import Stepped
from tests.test_iterate import numbers
from tpool_asyncio import green, hubs, tpool
from tpool_asyncio._loop import stream as stream_module
from tpool_asyncio.green import tpool as green_tpool

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 10_000


@pytest.fixture
def one_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a trip end by the number of its items only."""
    monkeypatch.setattr(stream_module, "_SHORT", PATIENCE)
    monkeypatch.setattr(stream_module, "_LONG", PATIENCE)


@pytest.mark.parametrize("turn", [1, 2, 7, 100])
@pytest.mark.parametrize("batch", [None, 1, 5, 5_000])
async def test_all_items_come_in_order(
    pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch, turn: int, batch: int | None
) -> None:
    monkeypatch.setattr(stream_module, "_TURN", turn)
    count = 300 if batch in (1, 5) else 20_000
    assert [item async for item in pool.iterate(numbers, count, batch=batch)] == list(range(count))
    proxy: Any = tpool.Proxy(iter(range(count)), batch=batch, pool=pool)
    got = list[int]()
    for _ in range(3):
        async for item in proxy:
            got.append(item)
            if len(got) % 97 == 0:
                break
    got += [item async for item in proxy]
    assert got == list(range(count))


@pytest.mark.parametrize("fast", [1, 2, 3, 4, 5, 8])
async def test_a_slow_item_comes_although_full_ones_are_before_it(
    pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch, fast: int
) -> None:
    # The consumer goes on from one to the next while the trip is stuck in a third.
    monkeypatch.setattr(stream_module, "_TURN", 2)
    monkeypatch.setattr(stream_module, "_SHORT", 0.005)  # so that it is one trip
    source = Stepped(fast)
    async with pool.iterate(source, fast + 3) as rows:
        for item in range(fast):
            assert await anext(rows) == item
        for item in range(fast, fast + 3):
            source.go()
            assert await anext(rows) == item
        with pytest.raises(StopAsyncIteration):
            await anext(rows)


@pytest.mark.usefixtures("one_trip")
async def test_a_batch_may_be_greater_than_a_turn(pool: tpool.Pool) -> None:
    before = pool.statistics().completed
    rows = pool.iterate(iter(range(MANY)), batch=4_000)
    rows._stream._ahead = False
    assert await anext(rows) == 0
    assert rows._stream.left() == 3_999
    assert [item async for item in rows] == list(range(1, MANY))
    assert pool.statistics().completed - before == 3


@pytest.mark.usefixtures("one_trip")
async def test_what_is_left_is_told_and_it_is_over_when_nothing_is(pool: tpool.Pool) -> None:
    rows = pool.iterate(iter(range(MANY)))
    stream = rows._stream
    assert not stream.over()
    for item in range(MANY):
        assert await anext(rows) == item
        assert stream.left() == MANY - 1 - item
        assert stream.over() == (item == MANY - 1)


@pytest.mark.usefixtures("one_trip")
async def test_stopping_drops_the_full_ones_too(pool: tpool.Pool) -> None:
    rows = pool.iterate(iter(range(MANY)))
    assert await anext(rows) == 0
    await rows.aclose()
    assert rows._stream.left() == 0
    with pytest.raises(StopAsyncIteration):
        await anext(rows)


class Meanwhile(deque[Any]):
    """The full ones, at which the consumer looks when something else happens."""

    happens: "Callable[[], None] | None" = None

    def __bool__(self) -> bool:
        there = len(self) > 0
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return there


@pytest.mark.parametrize("already", [[], [1, 2]])
async def test_the_trip_leaves_a_full_one_while_the_consumer_goes_on(pool: tpool.Pool, already: list[int]) -> None:
    # (1) The consumer finds no full one. (2) The trip leaves one and begins another. (3) The consumer takes that which
    # the trip was filling at (1), if anything was in it; it must neither pass it over nor come to it twice.
    rows = pool.iterate(list[int]())
    stream, loop = rows._stream, asyncio.get_running_loop()
    stream._ahead = False
    full = stream._full = Meanwhile()
    first, second = deque(already), deque([3])
    stream._incoming = first

    def trip() -> None:
        first.extend([1, 2][len(first) :])
        full.append(first)
        stream._incoming = second

    full.happens = trip
    assert stream.advance(loop)
    assert stream.items is first
    assert stream.left() == 3
    first.clear()  # consumed
    assert stream.advance(loop)
    assert stream.items is second
    assert stream.left() == 1
    second.clear()
    assert not stream.advance(loop)
    assert stream.left() == 0


# Others get their turns


@pytest.mark.usefixtures("one_trip")
@pytest.mark.parametrize("by", ["iterate", "proxy"])
async def test_other_tasks_go_on_while_the_body_awaits_nothing(pool: tpool.Pool, by: str) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    proxy: Any = tpool.Proxy(iter(range(MANY)), pool=pool)
    rows = proxy if by == "proxy" else pool.iterate(iter(range(MANY)))
    assert await anext(aiter(rows)) == 0  # all has been read, so that nothing is to be waited for
    task = asyncio.create_task(other())
    count = 0
    async for _ in rows:
        count += 1
    assert count == MANY - 1
    assert turns >= count // (stream_module._TURN + stream_module._STRIDE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("one_trip")
@pytest.mark.parametrize("by", ["iterate", "proxy"])
def test_other_green_threads_go_on_while_the_body_waits_for_nothing(script: hubs.Hub, by: str) -> None:
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            green.sleep(0)

    def consume() -> int:
        proxy: Any = green_tpool.Proxy(iter(range(MANY)))
        rows = iter(proxy if by == "proxy" else green_tpool.iterate(iter(range(MANY))))
        assert next(rows) == 0
        green_thread = green.spawn(other)
        assert list(rows) == list(range(1, MANY))
        seen = turns
        green_thread.kill()
        return seen

    assert green.spawn(consume).wait() >= MANY // (stream_module._TURN + stream_module._STRIDE) - 1


@pytest.mark.parametrize("turn", [1, 7])
def test_all_items_come_in_order_in_scripts_and_green_threads(
    script: hubs.Hub, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    monkeypatch.setattr(stream_module, "_TURN", turn)

    def read() -> list[int]:
        return list(green_tpool.iterate(numbers, 3_000))

    assert read() == list(range(3_000))
    threads = [green.spawn(read) for _ in range(3)]
    assert [thread.wait() for thread in threads] == [list(range(3_000))] * 3
