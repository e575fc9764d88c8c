"""Options of an iteration in async code, and arguments that it refuses."""

import asyncio
import contextvars
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from tests.gate import PATIENCE, Gate
from tests.sources import Rows, Stepped
from tests.test_engine import until
from tpool_asyncio import tpool

variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable", default="unset")


async def settled(pool: tpool.Pool) -> None:
    """Wait until no trip is under way."""
    while pool.statistics().busy or pool.statistics().queued:
        await asyncio.sleep(0.001)


def expire(rows: Any) -> None:
    """Have the time be over now that the trip is stuck, and no sooner."""
    rows._stream._trip._expire(PATIENCE)


# Options


async def test_a_limiter_admits_each_trip(pool: tpool.Pool) -> None:
    limiter = anyio.CapacityLimiter(1)
    held = list[float]()

    def source() -> Iterator[int]:
        for item in range(10):
            held.append(limiter.borrowed_tokens)
            yield item

    handle = pool.options(limiter=limiter)
    rows = handle.iterate(source, batch=2)
    others = handle.iterate(source, batch=2)
    for item in range(10):
        assert await anext(rows) == item
        assert await anext(others) == item
    assert held == [1] * 20
    await rows.aclose()
    await others.aclose()
    await settled(pool)
    await limiter.acquire_on_behalf_of(rows)  # all tokens are back
    limiter.release_on_behalf_of(rows)


@pytest.mark.parametrize("source", [range(3), lambda: iter(range(3))])
async def test_a_limiter_serves_the_iterations_of_one_loop(pool: tpool.Pool, source: Any) -> None:
    handle = pool.options(limiter=anyio.CapacityLimiter(1))

    async def items() -> list[int]:
        return [item async for item in handle.iterate(source)]

    async def refused() -> None:
        rows = handle.iterate(source)
        with pytest.raises(RuntimeError, match="this one serves another loop already"):
            await anext(rows)
        await rows.aclose()

    assert await items() == [0, 1, 2]
    await asyncio.to_thread(lambda: asyncio.run(refused()))
    assert await items() == [0, 1, 2]


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_trip_that_takes_too_long_ends_the_iteration_after_what_was_read(pool: tpool.Pool) -> None:
    source = Stepped(50)
    rows = pool.options(timeout=PATIENCE, name="slow").iterate(source)
    assert await anext(rows) == 0
    await until(lambda: source.asked == 51)
    expire(rows)
    await until(lambda: rows._stream._trip is None)
    assert [await anext(rows) for _ in range(49)] == list(range(1, 50))
    with pytest.raises(TimeoutError, match="slow took longer than its timeout"):
        await anext(rows)
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(rows)
    assert not source.closed
    source.go()
    source.wait_closed()
    assert len(source.threads) == 1


@pytest.mark.usefixtures("a_patient_end")
async def test_time_is_over_while_the_source_is_being_opened(pool: tpool.Pool) -> None:
    # Its closing must wait for what does not exist yet.
    gate, made = Gate(), Rows([1, 2])

    def opens() -> Rows:
        gate()
        return made

    rows = pool.options(timeout=PATIENCE).iterate(opens)
    first = asyncio.ensure_future(anext(rows))
    await until(lambda: gate.calls)
    expire(rows)
    with pytest.raises(TimeoutError):
        await first
    gate.open()
    await rows.aclose()
    assert made.closed == 1
    assert pool.statistics().pinned == 0


async def test_time_is_over_while_a_source_that_has_failed_is_being_closed(pool: tpool.Pool) -> None:
    gate = Gate()

    class Failing:
        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            raise LookupError("of the source")

        def close(self) -> None:
            gate()

    rows = pool.options(name="slow").iterate(Failing)
    reading = asyncio.ensure_future(anext(rows))
    await asyncio.to_thread(gate.wait_begun)
    trip = rows._stream._trip
    assert trip is not None
    trip._expire(0.1)  # type: ignore[attr-defined]
    assert isinstance(trip.exception(), TimeoutError)
    try:
        with pytest.raises(LookupError, match="of the source"):
            await reading
    finally:
        gate.open()
    await rows.aclose()


async def test_time_in_the_queue() -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()
        call = pool.execute(gate)
        gate.wait_begun()
        rows = pool.options(queue_timeout=0.01).iterate(range(3))
        with pytest.raises(TimeoutError, match="queue_timeout"):
            await anext(rows)
        gate.open()
        await call
        await rows.aclose()


async def test_a_given_context(pool: tpool.Pool) -> None:
    context = contextvars.copy_context()
    rows = pool.options(context=context).iterate(lambda: iter([variable.set("set inside")]))
    async for _ in rows:
        assert context[variable] == "set inside"


async def test_a_context_that_is_in_use_when_the_source_is_closed(pool: tpool.Pool) -> None:
    context, source, gate = contextvars.copy_context(), Stepped(10), Gate()
    handle = pool.options(context=context)
    rows = handle.iterate(source, batch=1)
    assert await anext(rows) == 0
    rows._stream._ahead = False
    await settled(pool)
    call = handle.execute(gate)
    gate.wait_begun()
    await rows.aclose()
    assert source.closed
    gate.open()
    await call


# Bad input


@pytest.mark.parametrize("thing", [None, 3, object()])
async def test_what_cannot_be_iterated_over(pool: tpool.Pool, thing: Any) -> None:
    with pytest.raises(TypeError, match=r"iterate takes an iterable, or a function and its arguments, not "):
        pool.iterate(thing)
    assert pool.statistics().pinned == 0


async def test_a_coroutine_is_closed(pool: tpool.Pool) -> None:
    async def coroutine() -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="iterate takes an iterable"):
        pool.iterate(coroutine())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"coroutine returned <coroutine .* which cannot be iterated over"):
        await anext(pool.iterate(coroutine))  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [0, -1, True, 1.5, "x"])
async def test_what_is_no_batch(pool: tpool.Pool, batch: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="batch"):
        pool.iterate([1], batch=batch)
    assert pool.statistics().pinned == 0


async def test_a_function_that_returns_no_iterable(pool: tpool.Pool) -> None:
    rows: Any = pool.iterate(time.monotonic)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"time.monotonic returned \d.* which cannot be iterated over"):
        await anext(rows)
    with pytest.raises(StopAsyncIteration):
        await anext(rows)
    assert pool.statistics().pinned == 0


def test_without_a_loop() -> None:
    pool = tpool.Pool(1)
    steps = pool.iterate([1]).__anext__()
    with pytest.raises(RuntimeError, match="needs an event loop"):
        steps.send(None)
