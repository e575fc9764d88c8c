"""Iterating over blocking sources in async code: what comes, when, from which thread, and in which context."""

import asyncio
import contextvars
import copy
import functools
import pickle
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gate import Gate
from tests.sources import Stepped
from tpool_asyncio import green, tpool
from tpool_asyncio.green import tpool as green_tpool

variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable", default="unset")


async def settled(pool: tpool.Pool) -> None:
    """Wait until no trip is under way."""
    while pool.statistics().busy or pool.statistics().queued:
        await asyncio.sleep(0.001)


# What comes


def numbers(number: int) -> Iterator[int]:
    yield from range(number)


@pytest.mark.parametrize("batch", [1, 7, 1_000, None])
@pytest.mark.parametrize(
    "make", [numbers, range, lambda number: list(range(number)), lambda number: iter(range(number))]
)
async def test_all_items_come_in_order(
    pool: tpool.Pool, make: Callable[[int], Iterable[int]], batch: int | None
) -> None:
    number = 100_000 if batch is None or batch > 100 else 500
    assert [item async for item in pool.iterate(make(number), batch=batch)] == list(range(number))
    assert [item async for item in pool.iterate(make, number, batch=batch)] == list(range(number))
    assert pool.statistics().pinned == 0


async def test_it_passes_for_an_async_iterator_only(pool: tpool.Pool) -> None:
    iteration: object = pool.iterate([b"a", b"b"])
    assert isinstance(iteration, AsyncIterator)
    assert not isinstance(iteration, Iterable)
    with pytest.raises(TypeError, match="what iterate returns is iterated over with 'async for'"):
        list(iteration)  # type: ignore[call-overload]


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("spelling", [tpool, green_tpool])
def test_nothing_can_be_copied_and_so_ended_by_a_copy(spelling: Any, take: Callable[[object], object]) -> None:
    iteration = spelling.iterate(list(range(3)))
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        take(iteration)
    assert asyncio.run(rest_of(iteration)) == [0, 1, 2]


async def rest_of(iteration: Any) -> list[object]:
    if isinstance(iteration, AsyncIterator):
        return [item async for item in iteration]
    return await green.run(list, iteration)


async def test_a_client_uploads_what_is_read_in_the_pool(pool: tpool.Pool, tmp_path: Path) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=await request.aread())

    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        response = await client.post("http://test", content=pool.iterate(open, path, "rb"))
    assert response.content == b"one\ntwo\n"


async def test_the_lines_of_a_file(pool: tpool.Pool, tmp_path: Path) -> None:
    lines = [f"line {number}\n" for number in range(20_000)]
    path = tmp_path / "file"
    path.write_text("".join(lines))
    assert [line async for line in pool.iterate(open, path)] == lines
    with path.open() as file:
        assert [line async for line in pool.iterate(file)] == lines
        assert not file.closed


async def test_rows_of_a_connection_that_is_bound_to_its_thread(pool: tpool.Pool) -> None:
    def rows(number: int) -> Iterator[tuple[int]]:
        with sqlite3.connect(":memory:") as connection:  # which insists on one thread
            connection.execute("create table t (n integer)")
            connection.executemany("insert into t values (?)", ((item,) for item in range(number)))
            yield from connection.execute("select n from t order by n")
        connection.close()

    assert [row async for row in pool.iterate(rows, 5_000, batch=100)] == [(item,) for item in range(5_000)]


async def test_the_module_iterates_in_the_default_pool() -> None:
    def name() -> list[str]:
        return [threading.current_thread().name]

    assert [item.partition("-")[0] async for item in tpool.iterate(name)] == ["tpool"]
    assert [item async for item in tpool.options(name="x").iterate(range(3))] == [0, 1, 2]


async def test_nothing_at_all(pool: tpool.Pool) -> None:
    sources: list[Iterable[int]] = [[], numbers(0), iter(())]
    for source in sources:
        assert [item async for item in pool.iterate(source)] == []
    rows = pool.iterate(list[int]())
    for _ in range(3):
        with pytest.raises(StopAsyncIteration):
            await anext(rows)


async def test_arguments_reach_the_function(pool: tpool.Pool) -> None:
    def source(*args: object, **kwargs: object) -> list[object]:
        return [args, kwargs]

    assert [item async for item in pool.iterate(source, 1, batch=1, name="n", timeout=2)] == [
        (1,),
        {"name": "n", "timeout": 2},
    ]
    assert [item async for item in pool.iterate(functools.partial(source, batch=3))] == [(), {"batch": 3}]


async def test_an_iterable_is_called_if_there_are_arguments(pool: tpool.Pool) -> None:
    class Both(list[int]):
        def __call__(self, number: int) -> list[int]:
            return [number]

    assert [item async for item in pool.iterate(Both([1, 2]))] == [1, 2]
    assert [item async for item in pool.iterate(Both([1, 2]), 3)] == [3]


# When it comes


@pytest.mark.parametrize("fast", [0, 1, 3, 50, 200, 5_000])
@pytest.mark.parametrize("batch", [None, 1, 7])
async def test_a_slow_item_comes_before_the_source_goes_on(pool: tpool.Pool, fast: int, batch: int | None) -> None:
    # Also if the source was fast before, so that its trip is stuck in the middle of a batch.
    source = Stepped(fast)
    async with pool.iterate(source, fast + 4, batch=batch) as rows:
        for item in range(fast):
            assert await anext(rows) == item
        for item in range(fast, fast + 4):
            source.go()
            assert await anext(rows) == item
        with pytest.raises(StopAsyncIteration):
            await anext(rows)


async def test_a_slow_item_comes_to_a_consumer_that_came_late(pool: tpool.Pool) -> None:
    # The trip reads ahead and has been looked after, when nobody waited yet.
    source = Stepped(1)
    rows = pool.iterate(source, 3)
    assert await anext(rows) == 0
    while source.asked < 2:
        await asyncio.sleep(0)
    stream = rows._stream
    while not stream._looked:
        await asyncio.sleep(0.001)
    waiting = asyncio.ensure_future(anext(rows))
    await asyncio.sleep(0)
    source.go()
    assert await waiting == 1
    source.go()
    assert [item async for item in rows] == [2]


async def test_a_slow_item_comes_although_its_trip_was_queued_for_long(pool: tpool.Pool) -> None:
    # When the trip begins at last, the consumer has long looked after it.
    items, steps = iter(range(100)), threading.Semaphore(0)

    class Slow:
        def __iter__(self) -> "Slow":
            return self

        def __next__(self) -> int:
            item = next(items)
            if item >= 50:
                assert steps.acquire(timeout=20)
            return item

    gates = [Gate(), Gate()]
    calls = [pool.execute(gate) for gate in gates]
    for gate in gates:
        gate.wait_begun()
    rows = pool.iterate(Slow())
    waiting = asyncio.ensure_future(anext(rows))
    while not (rows._stream._looked and rows._stream._eager):
        await asyncio.sleep(0.001)
    for gate in gates:
        gate.open()
    assert await waiting == 0
    for item in range(1, 50):
        assert await anext(rows) == item
    for item in range(50, 60):
        steps.release()
        assert await anext(rows) == item
    steps.release(100)
    assert [item async for item in rows] == list(range(60, 100))
    await asyncio.gather(*calls)


async def test_a_source_that_is_slow_in_the_middle_of_a_stride_lets_its_thread_go() -> None:
    # It was fast enough for the clock to be looked at once for many items only.
    async with tpool.Pool(1) as pool:
        source = Stepped(5_000)

        class NoGenerator:
            def __iter__(self) -> Iterator[int]:
                return map(int, source(5_010))  # is read in the threads of the pool

        rows = pool.iterate(NoGenerator())
        for item in range(5_000):
            assert await anext(rows) == item
        waiting = asyncio.ensure_future(anext(rows))
        while not (source.asked > 5_000 and rows._stream._looked and rows._stream._bells):
            await asyncio.sleep(0.001)
        await asyncio.sleep(2 * rows._stream._span)  # the trip may have begun later than it was looked after
        rows._stream._ahead = False  # from here on
        source.go()
        assert await waiting == 5_000
        assert await pool.execute(int) == 0
        source.go(9)
        assert [item async for item in rows] == list(range(5_001, 5_010))


# How far it is read


@pytest.mark.parametrize(("batch", "most"), [(1, 2), (10, 20), (500, 1_000)])
async def test_no_more_is_read_ahead_than_a_batch(pool: tpool.Pool, batch: int, most: int) -> None:
    read = [0]

    def source() -> Iterator[int]:
        while True:
            read[0] += 1
            yield read[0]

    async with pool.iterate(source, batch=batch) as rows:
        taken = 0
        for _ in range(5):
            assert await anext(rows) == taken + 1
            taken += 1
            for _ in range(3):
                await settled(pool)
                await asyncio.sleep(0.001)
                assert read[0] <= (taken - 1) // batch * batch + most
            while taken % batch:
                assert await anext(rows) == taken + 1
                taken += 1


async def test_without_a_batch_the_time_is_the_limit(pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    # By this clock, to read 16 items takes half a millisecond, which is what the first trips are for.
    now = [0.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    def source() -> Iterator[int]:
        for item in range(1 << 30):
            now[0] += 0.0005 / 16
            read[0] = item + 1
            yield item

    read = [0]
    monkeypatch.setattr("tpool_asyncio._loop.stream.time", Clock)
    async with pool.iterate(source) as rows:
        assert await anext(rows) == 0
        for _ in range(3):
            await settled(pool)
            await asyncio.sleep(0.001)
        assert 16 <= read[0] <= 64


async def test_trips_of_a_fast_source_become_longer_and_few(pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    # By this clock, to read 1,000 items takes a millisecond.
    now = [0.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    def source() -> Iterator[int]:
        for item in range(100_000):
            now[0] += 1e-6
            yield item

    monkeypatch.setattr("tpool_asyncio._loop.stream.time", Clock)
    before = pool.statistics().completed
    assert [item async for item in pool.iterate(source)] == list(range(100_000))
    assert pool.statistics().completed - before < 100


async def test_it_reads_ahead_while_the_body_awaits_and_not_before(pool: tpool.Pool) -> None:
    source = Stepped(100)
    async with pool.iterate(source, batch=1) as rows:
        assert await anext(rows) == 0
        stream = rows._stream
        assert source.asked == 1  # the body goes on in the turn of the loop in which it came
        while source.asked < 2:
            await asyncio.sleep(0)
        await settled(pool)
        assert (source.asked, len(stream._incoming)) == (2, 1)
        assert await anext(rows) == 1  # without waiting
        assert source.asked == 2
        while source.asked < 3:
            await asyncio.sleep(0)


# Where it runs


async def test_a_generator_has_one_thread_and_one_context(pool: tpool.Pool) -> None:
    source = Stepped(1 << 30)
    seen = list[object]()

    def generator() -> Iterator[int]:
        token = variable.set(0)
        try:
            for item in source(10):
                seen.append(variable.get())
                variable.set(item + 1)
                yield item
        finally:
            variable.reset(token)
            seen.append(variable.get())

    variable.set("caller")
    for make in (generator(), generator):
        async for _ in pool.iterate(make, batch=2):
            await pool.execute(int)
            variable.set("changed")
        assert len(set(source.threads)) == 1
        assert seen == [*range(10), "caller"]
        seen.clear()
        source.threads.clear()
        variable.set("caller")


async def test_what_is_no_generator_takes_no_thread_of_its_own() -> None:
    async with tpool.Pool(1) as pool:
        names = list[str]()

        def name(_: int) -> str:
            return threading.current_thread().name

        async for item in pool.iterate(map(name, range(20)), batch=3):
            names.append(item)
            assert pool.statistics().pinned == 0
        assert len(set(names)) == 1
        assert await pool.execute(name, 0) == names[0]


async def test_calls_in_the_body_with_one_thread() -> None:
    async with tpool.Pool(1) as pool:
        async for item in pool.iterate(numbers, 50, batch=2):
            assert await pool.execute(int, item) == item
            assert item > 40 or pool.statistics().pinned == 1
        assert pool.statistics().pinned == 0


async def test_many_iterations_at_once(pool: tpool.Pool) -> None:
    async def consume(start: int) -> None:
        expected = start
        async for item in pool.iterate(range, start, start + 1_000, batch=start + 1):
            assert item == expected
            expected += 1
        assert expected == start + 1_000

    await asyncio.gather(*(consume(start) for start in range(30)))
    assert pool.statistics().pinned == 0


async def test_several_consumers_share_the_items(pool: tpool.Pool) -> None:
    rows = pool.iterate(numbers, 3_000, batch=5)
    got = list[int]()

    async def consume() -> list[int]:
        own = []
        async for item in rows:
            own.append(item)
            got.append(item)
            await asyncio.sleep(0)
        return own

    shares = await asyncio.gather(*(consume() for _ in range(5)))
    assert sorted(got) == list(range(3_000))
    assert all(share == sorted(share) for share in shares)


async def test_too_many_at_once_names_the_remedy(pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._pool.lane.HARD_CAP", 3)
    open_ones = [pool.iterate(numbers, 1) for _ in range(3)]
    with pytest.raises(RuntimeError, match="close those that are done with"):
        pool.iterate(numbers, 1)
    assert [item async for item in pool.iterate(range(3))] == [0, 1, 2]  # needs no thread of its own
    for rows in open_ones:
        await rows.aclose()
    assert [item async for item in pool.iterate(numbers, 2)] == [0, 1]


async def test_debug_mode(pool: tpool.Pool, loop_errors: list[object]) -> None:
    asyncio.get_running_loop().set_debug(True)
    source = Stepped(1 << 30)
    async for item in pool.iterate(source, batch=3):
        if item == 50:
            break
    rows = pool.iterate(source, batch=3)
    assert await anext(rows) == 0
    await asyncio.get_running_loop().run_in_executor(None, rows._stream.stop)  # as a drop in another thread does
    while pool.statistics().pinned:
        await asyncio.sleep(0.001)
    assert not loop_errors
