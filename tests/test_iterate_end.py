"""How an iteration in async code ends: errors, leaving early, what is closed, and being dropped."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from tests.gate import Gate
from tests.sources import Rows, Stepped
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._loop.stream import _PATIENCE

variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable", default="unset")


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.001)


async def freed(pool: tpool.Pool) -> None:
    """Wait until no iteration has a thread of its own any more."""
    await until(lambda: pool.statistics().pinned == 0)


# Errors


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("batch", [1, None])
async def test_an_error_comes_after_the_items_before_it_and_once(
    pool: tpool.Pool, error: type[BaseException], batch: int | None
) -> None:
    raised = error("x")
    made = Rows([1, 2, raised, 3])
    rows = pool.iterate(lambda: made, batch=batch)
    assert [await anext(rows), await anext(rows)] == [1, 2]
    with pytest.raises(error) as caught:
        await anext(rows)
    assert caught.value is raised
    files = {frame.path for frame in caught.traceback}
    assert not [file for file in files if str(file).endswith(("worker.py", "thread_pool.py"))]
    with pytest.raises(StopAsyncIteration):
        await anext(rows)
    assert made.closed == 1
    assert pool.statistics().pinned == 0


@pytest.mark.parametrize("error", [StopIteration, asyncio.CancelledError])
async def test_errors_that_mean_something_else_in_a_coroutine(pool: tpool.Pool, error: type[BaseException]) -> None:
    def opens() -> list[int]:
        raise error("x")

    with pytest.raises(RuntimeError, match=rf"opens raised {error.__name__}, which") as caught:
        await anext(pool.iterate(opens))
    assert isinstance(caught.value.__cause__, error)
    rows = pool.iterate(Rows([1, asyncio.CancelledError()]))
    assert await anext(rows) == 1
    with pytest.raises(RuntimeError, match="raised CancelledError"):
        await anext(rows)


async def test_an_error_in_opening(pool: tpool.Pool) -> None:
    def opens(number: int) -> list[int]:
        raise LookupError(number)

    class Broken(list[int]):
        closed = 0

        def __iter__(self) -> Iterator[int]:
            raise LookupError("no iterator")

        def close(self) -> None:
            self.closed += 1

    with pytest.raises(LookupError, match="7"):
        await anext(pool.iterate(opens, 7))
    broken = Broken()
    with pytest.raises(LookupError, match="no iterator"):
        await anext(pool.iterate(lambda: broken))
    assert broken.closed == 1  # which nobody else could do
    assert pool.statistics().pinned == 0


async def test_an_error_is_not_kept_alive_and_neither_is_what_was_read(pool: tpool.Pool) -> None:
    class FailError(LookupError):
        pass

    class Thing:
        pass

    references = list[weakref.ref[Any]]()

    def source() -> Iterator[Thing]:
        thing = Thing()
        references.append(weakref.ref(thing))
        yield thing
        raise FailError

    gc.collect()
    gc.disable()
    try:
        rows = pool.iterate(source)
        await anext(rows)
        try:
            await anext(rows)
        except FailError as error:
            references.append(weakref.ref(error))
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


# Leaving early


@pytest.mark.parametrize("way", ["break", "aclose", "async with", "error"])
@pytest.mark.parametrize("made_by", ["function", "generator"])
async def test_leaving_early_closes_the_source_in_its_own_thread(pool: tpool.Pool, way: str, made_by: str) -> None:
    source = Stepped(1 << 30)
    seen = list[object]()

    def generator() -> Iterator[int]:
        token = variable.set("inside")
        try:
            yield from source()
        finally:
            variable.reset(token)
            seen.append(variable.get())

    rows = pool.iterate(generator if made_by == "function" else generator(), batch=3)
    if way == "aclose":
        assert await anext(rows) == 0
        await rows.aclose()
        assert source.closed
    elif way == "async with":
        async with rows as same:
            assert same is rows
            assert await anext(rows) == 0
        assert source.closed
    elif way == "error":
        with pytest.raises(LookupError):
            async with rows:
                async for item in rows:
                    raise LookupError(item)
        assert source.closed
    else:
        async for _ in rows:
            break
        del rows
        await freed(pool)
        assert source.closed
    assert len(set(source.threads)) == 1
    assert seen == ["unset"]
    await freed(pool)
    if way != "break":
        with pytest.raises(StopAsyncIteration):
            await anext(rows)
        await rows.aclose()


async def test_a_consumer_that_is_cancelled_closes_the_source(pool: tpool.Pool) -> None:
    source = Stepped(5)

    async def consume() -> None:
        async for _ in pool.iterate(source):
            pass

    consuming = asyncio.ensure_future(consume())
    await until(lambda: source.asked == 6)
    consuming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consuming
    source.go(2)
    await freed(pool)
    assert source.closed
    assert len(set(source.threads)) == 1


@pytest.mark.usefixtures("a_patient_end")
async def test_a_stopped_source_is_told_in_the_middle_of_a_batch(pool: tpool.Pool) -> None:
    # However long its stride has become, it is not read any further.
    source = Stepped(3_000)
    async with pool.iterate(source) as rows:
        for item in range(3_000):
            assert await anext(rows) == item
        waiting = asyncio.ensure_future(anext(rows))
        await until(lambda: source.asked == 3_001)
        waiting.cancel()
        source.go()
    assert source.closed
    assert source.asked <= 3_002


async def test_it_is_closed_at_once_when_a_trip_is_queued_or_never_was() -> None:
    async with tpool.Pool(1) as pool:
        gate, made = Gate(), Rows([1, 2, 3])
        call = pool.execute(gate)
        gate.wait_begun()
        rows = pool.iterate(made)
        waiting = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(0)
        await rows.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting
        never = pool.iterate(made)
        await never.aclose()
        await never.aclose()
        gate.open()
        await call
        assert list(made) == [1, 2, 3]


async def test_check_cancelled_stops_a_source_whose_consumer_has_left(pool: tpool.Pool) -> None:
    begun = threading.Event()

    class Endless(Rows):
        def __next__(self) -> object:
            begun.set()
            while True:
                from_thread.check_cancelled()

    made = Endless([])
    rows = pool.iterate(lambda: made)
    waiting = asyncio.ensure_future(anext(rows))
    await until(begun.is_set)
    waiting.cancel()
    await rows.aclose()  # which waits for no read
    await until(lambda: made.closed)
    with pytest.raises(StopAsyncIteration):  # and not the error of an item that nobody wants
        await anext(rows)


@pytest.mark.parametrize("on_cancel", ["abandon", "wait"])
async def test_leaving_while_a_read_is_stuck(pool: tpool.Pool, on_cancel: Literal["abandon", "wait"]) -> None:
    source = Stepped()
    rows = pool.options(on_cancel=on_cancel).iterate(source)
    waiting = asyncio.ensure_future(anext(rows))
    await until(lambda: source.asked)
    closing = asyncio.ensure_future(rows.aclose())
    if on_cancel == "abandon":
        await closing  # however long the read may take
        assert not source.closed
        source.go()
        source.wait_closed()
    else:
        await asyncio.wait([closing], timeout=2 * _PATIENCE)
        assert not closing.done()
        source.go()
        await closing
        assert source.closed
    await asyncio.wait([waiting])  # which may have got the item that came last
    assert isinstance(waiting.exception(), StopAsyncIteration | None)
    assert len(source.threads) == 1
    await freed(pool)


async def test_a_cancelled_wait_loses_no_item(pool: tpool.Pool) -> None:
    source = Stepped(1)
    rows = pool.iterate(source, 6)
    assert await anext(rows) == 0
    for item in range(1, 6):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(rows), 0.001)
        assert len(rows._stream._bells) <= 1  # nobody is kept who waits no more
        source.go()
        assert await anext(rows) == item
    await rows.aclose()


# What is closed


async def test_what_a_function_returns_is_closed_at_the_end_and_what_was_passed_is_not(pool: tpool.Pool) -> None:
    owned, passed = Rows([1, 2]), Rows([1, 2])
    assert [item async for item in pool.iterate(lambda: owned)] == [1, 2]
    assert [item async for item in pool.iterate(passed)] == [1, 2]
    assert (owned.closed, passed.closed) == (1, 0)
    early = Rows([1, 2])
    async with pool.iterate(early, batch=1) as rows:
        await anext(rows)
    assert early.closed == 1


async def test_both_the_iterator_and_what_made_it_are_closed(pool: tpool.Pool) -> None:
    inner = Rows([1, 2, 3], LookupError("inner"))

    class Owner(list[int]):
        closed = 0

        def __iter__(self) -> Any:
            return inner

        def close(self) -> None:
            self.closed += 1

    owner = Owner()
    rows = pool.iterate(lambda: owner, batch=1)
    await anext(rows)
    with pytest.raises(LookupError, match="inner"):
        await rows.aclose()
    assert (inner.closed, owner.closed) == (1, 1)


@pytest.mark.parametrize("error", [LookupError, StopIteration, asyncio.CancelledError])
async def test_an_error_in_closing(
    pool: tpool.Pool, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    raised = error("in closing")
    rows = pool.iterate(Rows([1, 2, 3], raised), batch=1)
    await anext(rows)
    with pytest.raises((LookupError, RuntimeError)) as caught:
        await rows.aclose()
    assert raised in (caught.value, caught.value.__cause__)
    await rows.aclose()
    assert not caplog.records
    dropped = Rows([1, 2, 3], raised)
    rows = pool.iterate(dropped, batch=1)
    await anext(rows)
    del rows
    await until(lambda: dropped.closed)
    await pool.killall()  # whose threads have logged what they had to
    if error is asyncio.CancelledError:  # let to pass, as `from_thread.check_cancelled` says
        assert not caplog.records
    else:
        assert [record.name for record in caplog.records] == ["tpool_asyncio"]
        assert "raised an exception when it was closed" in caplog.text


async def test_a_generator_that_ignores_its_end(pool: tpool.Pool, caplog: pytest.LogCaptureFixture) -> None:
    def stubborn() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    rows = pool.iterate(stubborn, batch=1)
    assert await anext(rows) == 1
    rows._stream._ahead = False
    await until(lambda: rows._stream._trip is None)
    if rows._stream._incoming:  # it has been asked for its second item
        await rows.aclose()
    else:
        with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
            await rows.aclose()
    await freed(pool)
    assert not caplog.records


# Dropped


@pytest.mark.parametrize("where", ["here", "another thread", "the pool"])
@pytest.mark.parametrize("in_cycle", [False, True])
async def test_a_dropped_iteration_is_closed_in_its_own_thread(pool: tpool.Pool, where: str, in_cycle: bool) -> None:
    source = Stepped(1 << 30)
    gc.collect()
    gc.disable()
    try:
        held: list[Any] = [pool.iterate(source, batch=2)]
        stream = weakref.ref(held[0]._stream)
        assert await anext(held[0]) == 0
        if in_cycle:
            held.append(held)
            boxes = [held]
            del held
            boxes.clear()
            drop: Callable[[], object] = gc.collect
        else:
            drop = held.clear
        if where == "here":
            drop()
        elif where == "the pool":
            await pool.execute(drop)
        else:
            await asyncio.to_thread(drop)
        await freed(pool)
        assert source.closed
        assert len(set(source.threads)) == 1
        await until(lambda: stream() is None)  # nothing keeps it
    finally:
        gc.enable()
    executor = asyncio.get_running_loop()
    await executor.shutdown_default_executor()


async def test_a_dropped_iteration_whose_trip_is_stuck(pool: tpool.Pool) -> None:
    source = Stepped()
    rows = pool.iterate(source)
    stream = weakref.ref(rows._stream)
    waiting = asyncio.ensure_future(anext(rows))
    await until(lambda: source.asked)
    waiting.cancel()
    await asyncio.wait([waiting])
    del rows, waiting
    assert not source.closed
    source.go()
    await freed(pool)
    assert source.closed
    await until(lambda: stream() is None)
