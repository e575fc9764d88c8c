"""`from_thread.iterate`: a worker consumes an async iterator of the loop."""

import asyncio
import contextvars
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from tests.gate import PATIENCE, Gate
from tpool_asyncio import from_thread, tpool

variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable", default="unset")


class Source:
    """An async generator that tells what becomes of it."""

    def __init__(self) -> None:
        self.asked = 0
        self.tasks = set[asyncio.Task[Any] | None]()
        self.seen = list[object]()
        self.step = asyncio.Event()
        self.closed = threading.Event()

    async def numbers(self, number: int = 1 << 30, *, pause: Callable[[], Any] | None = None) -> AsyncIterator[int]:
        token = variable.set("inside")
        try:
            for item in range(number):
                self.asked += 1
                self.tasks.add(asyncio.current_task())
                self.seen.append(variable.get())
                if pause is not None:
                    await pause()
                yield item
        finally:
            self.tasks.add(asyncio.current_task())
            await asyncio.sleep(0)
            variable.reset(token)
            self.closed.set()

    async def wait_step(self) -> None:
        await self.step.wait()
        self.step.clear()


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def others() -> set[Any]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.parametrize("batch", [None, 1, 7])
@pytest.mark.parametrize("pause", [None, lambda: asyncio.sleep(0)])
async def test_all_items_come_in_order(pool: tpool.Pool, batch: int | None, pause: Any) -> None:
    number = 20_000 if batch is None and pause is None else 300
    source = Source()
    got = await pool.execute(lambda: list(from_thread.iterate(source.numbers(number, pause=pause), batch=batch)))
    assert got == list(range(number))
    assert source.closed.is_set()
    assert len(source.tasks) == 1
    assert set(source.seen) == {"inside"}


async def test_any_async_iterable(pool: tpool.Pool) -> None:
    class Iterable:
        def __aiter__(self) -> AsyncIterator[int]:
            return Source().numbers(3)

    class Ticker:
        left = 3

        def __aiter__(self) -> "Ticker":
            return self

        async def __anext__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    for made, expected in ((Iterable(), [0, 1, 2]), (Ticker(), [2, 1, 0])):
        assert await pool.execute(lambda source: list(from_thread.iterate(source)), made) == expected
    assert await pool.execute(lambda: list(from_thread.iterate(pool.iterate(range(50))))) == list(range(50))


async def test_many_items_come_with_one_errand(pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    errands = [0]
    run = from_thread.run

    def counting(*args: Any) -> Any:
        errands[0] += 1
        return run(*args)

    monkeypatch.setattr("tpool_asyncio._loop.feed.run", counting)
    assert len(await pool.execute(lambda: list(from_thread.iterate(Source().numbers(10_000))))) == 10_000
    assert errands[0] <= 30


async def test_a_slow_item_comes_before_the_source_goes_on(pool: tpool.Pool) -> None:
    source, got = Source(), list[int]()

    def consume() -> None:
        for item in from_thread.iterate(source.numbers(5, pause=source.wait_step)):
            got.append(item)

    call = pool.execute(consume)
    for item in range(5):
        source.step.set()
        while len(got) <= item:
            await asyncio.sleep(0)
        assert got == list(range(item + 1))
    await call


async def test_no_more_is_read_ahead_than_a_batch(pool: tpool.Pool) -> None:
    source, gate = Source(), Gate()

    def consume() -> None:
        for item in from_thread.iterate(source.numbers(), batch=10):
            gate(item)
            break

    call = pool.execute(consume)
    await until(lambda: gate.calls)
    for _ in range(50):
        await asyncio.sleep(0)
    assert source.asked <= 20
    gate.open()
    await call
    assert source.closed.is_set()


async def test_the_thread_does_not_count_while_it_waits() -> None:
    async with tpool.Pool(1) as pool:
        source = Source()
        call = pool.execute(lambda: list(from_thread.iterate(source.numbers(2, pause=source.wait_step))))
        await until(lambda: pool.statistics().parked)
        assert await pool.execute(int) == 0
        source.step.set()
        await until(lambda: source.asked == 2)
        source.step.set()
        assert await call == [0, 1]


# Errors


@pytest.mark.parametrize("error", [LookupError, GeneratorExit])
async def test_an_error_comes_after_the_items_before_it(pool: tpool.Pool, error: type[BaseException]) -> None:
    raised, got = error("x"), list[int]()

    async def source() -> AsyncIterator[int]:
        for item in range(3):
            yield item
        raise raised

    def consume() -> bool:
        try:
            got.extend(item for item in from_thread.iterate(source()))
        except BaseException as caught:
            return caught is raised
        return False

    def consume_one_by_one() -> bool:
        try:
            for item in from_thread.iterate(source()):
                got.append(item)
        except BaseException as caught:
            return caught is raised
        return False

    assert await pool.execute(consume_one_by_one)
    assert got == [0, 1, 2]
    assert await pool.execute(consume)


async def test_an_error_of_aiter(pool: tpool.Pool) -> None:
    class Broken:
        def __aiter__(self) -> AsyncIterator[int]:
            raise LookupError("no iterator")

    with pytest.raises(LookupError, match="no iterator"):
        await pool.execute(lambda: list(from_thread.iterate(Broken())))


@pytest.mark.parametrize("thing", [3, None, [1], range(3)])
async def test_what_is_no_async_iterable(pool: tpool.Pool, thing: Any) -> None:
    with pytest.raises(TypeError, match=r"from_thread.iterate takes an async iterable, not"):
        await pool.execute(from_thread.iterate, thing)


async def test_bad_input(pool: tpool.Pool) -> None:
    async def coroutine() -> None:
        raise AssertionError

    waiting: Any = coroutine()
    with pytest.raises(TypeError, match="takes an async iterable"):
        from_thread.iterate(waiting)
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED
    for batch in (0, True, "x"):
        with pytest.raises((TypeError, ValueError), match="batch"):
            from_thread.iterate(Source().numbers(), batch=batch)  # type: ignore[arg-type]


def test_outside_a_worker() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(RuntimeError, match=r"from_thread.iterate works in a thread of a pool"):
        next(from_thread.iterate(source()))


# Leaving early


@pytest.mark.parametrize("way", ["break", "close", "error"])
@pytest.mark.parametrize("slow", [False, True])
async def test_leaving_early_closes_the_source_in_its_task(pool: tpool.Pool, way: str, slow: bool) -> None:
    source = Source()
    source.step.set()

    def consume() -> None:
        items = from_thread.iterate(source.numbers(pause=source.wait_step if slow else None))
        for item in items:
            if way == "error":
                raise LookupError(item)
            break
        items.close()
        assert source.closed.is_set()

    if way == "error":
        try:
            await pool.execute(consume)
        except LookupError:  # whose traceback holds the iteration
            pass
        gc.collect()
        await until(source.closed.is_set)
    else:
        await pool.execute(consume)
    assert len(source.tasks) == 1
    await until(lambda: not others())


async def test_a_source_that_makes_light_of_its_cancellation(pool: tpool.Pool) -> None:
    closed = list[bool]()

    async def stubborn() -> AsyncIterator[int]:
        try:
            while True:
                try:
                    yield 1
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        finally:
            closed.append(True)

    def consume() -> None:
        for _ in from_thread.iterate(stubborn()):
            break

    await pool.execute(consume)
    await until(lambda: not others())
    assert closed == [True]


async def test_it_may_be_found_by_the_garbage_collector_in_another_thread(pool: tpool.Pool) -> None:
    source = Source()
    held = list[Any]()

    def consume() -> int:
        held.append(from_thread.iterate(source.numbers()))
        return next(held[0])  # type: ignore[no-any-return]

    assert await pool.execute(consume) == 0
    assert others()
    held.clear()
    gc.collect()
    await until(source.closed.is_set)
    await until(lambda: not others())
    assert len(source.tasks) == 1


async def test_the_collector_finds_it_while_the_lock_of_the_pool_is_held(pool: tpool.Pool) -> None:
    source = Source()
    loop = asyncio.get_running_loop()
    used = threading.Event()

    def use() -> None:
        pool.statistics()
        used.set()

    def consume() -> int:
        items = from_thread.iterate(source.numbers())
        got = next(items)
        cycle: list[object] = [items]
        cycle.append(cycle)
        del items, cycle
        with pool._core.lock:  # as the collector may strike in any method of the pool
            loop.call_soon_threadsafe(use)
            gc.collect()
        assert used.wait(PATIENCE)
        return got

    assert await pool.execute(consume) == 0
    await until(source.closed.is_set)
    await until(lambda: not others())
    assert len(source.tasks) == 1


async def test_an_error_that_was_read_ahead_is_of_no_interest(
    pool: tpool.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    async def fails() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(0.001)
            raise LookupError("too far")
        finally:
            failed.set()

    def consume() -> None:
        items = from_thread.iterate(fails())
        next(items)
        assert failed.wait(PATIENCE)
        from_thread.run(asyncio.sleep, 0.001)  # for the end of the task that reads
        items.close()

    await pool.execute(consume)
    assert not others()
    assert not caplog.records


@pytest.mark.parametrize("way", ["close", "drop", "cancel"])
async def test_an_error_at_its_early_end_is_logged(
    pool: tpool.Pool, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    begun = asyncio.Event()

    async def fails() -> AsyncIterator[int]:
        try:
            yield 1
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise LookupError("at the end")

    def consume() -> None:
        items = from_thread.iterate(fails())
        next(items)
        if way == "close":
            items.close()
        elif way == "cancel":
            next(items)

    call = pool.execute(consume)
    if way == "cancel":
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    else:
        await call
    await until(lambda: not others())
    await until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.getMessage().endswith("fails raised an exception when it was closed")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_anyio_scopes_inside_the_source(pool: tpool.Pool) -> None:
    async def source() -> AsyncIterator[int]:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 0)
                for item in range(3):
                    with anyio.fail_after(PATIENCE):
                        await anyio.sleep(0)
                    yield item
                group.cancel_scope.cancel()
        with anyio.move_on_after(0):
            await anyio.sleep(60)
        assert not scope.cancelled_caught
        yield 3

    def take(number: int) -> list[int]:
        got = []
        for item in from_thread.iterate(source(), batch=1):
            got.append(item)
            if len(got) == number:
                break
        return got

    assert await pool.execute(take, 10) == [0, 1, 2, 3]
    assert await pool.execute(take, 2) == [0, 1]  # and the scopes are left in the task that has entered them
    await until(lambda: not others())


# Callers that go


@pytest.mark.parametrize("state", ["waits", "computes"])
async def test_the_caller_is_cancelled(pool: tpool.Pool, state: str) -> None:
    source, gate, seen = Source(), Gate(), list[BaseException]()

    def consume() -> None:
        try:
            for item in from_thread.iterate(source.numbers(pause=source.wait_step if state == "waits" else None)):
                gate(item)
        except BaseException as error:
            seen.append(error)
            raise

    call = pool.execute(consume)
    if state == "waits":
        await until(lambda: source.asked)
    else:
        await until(lambda: gate.calls)
    call.cancel()
    await until(source.closed.is_set)  # at once, although the worker may be at something else
    await until(lambda: not others())
    gate.open()
    await pool.killall()
    assert isinstance(seen[0], asyncio.CancelledError)


async def test_the_time_of_the_caller_is_over(pool: tpool.Pool) -> None:
    source = Source()
    with pytest.raises(TimeoutError):
        await pool.options(timeout=0.01).execute(
            lambda: list(from_thread.iterate(source.numbers(pause=source.wait_step)))
        )
    await until(lambda: not others())
    assert source.closed.is_set() or not source.asked  # the time may have been over before it began


# What the worker has asked for last may become a task when the loop is just about to be closed, as with any task.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("state", ["waits", "computes"])
def test_the_loop_is_closed(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._loop.errand._LOOK_AGAIN", 0.01)
    pool, gate, seen = tpool.Pool(1), Gate(), list[str]()
    sources = list[Source]()

    def consume() -> None:
        source = sources[0]
        try:
            for item in from_thread.iterate(source.numbers(pause=source.wait_step if state == "waits" else None)):
                gate(item)
        except RuntimeError as error:
            seen.append(str(error))
        except asyncio.CancelledError:
            seen.append("cancelled")

    async def main() -> None:
        sources.append(Source())
        call = pool.execute(consume)
        call.add_done_callback(lambda _: None)
        if state == "waits":
            await until(lambda: sources[0].asked)
        else:
            await until(lambda: gate.calls)

    asyncio.run(main())  # which cancels all tasks, so the source is closed
    assert sources[0].closed.is_set()
    gate.open()
    asyncio.run(pool.killall())
    assert len(seen) == 1
    assert "the loop that made this call has been closed" in seen[0] or seen == ["cancelled"]


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="since Python 3.12")
async def test_eager_tasks(pool: tpool.Pool) -> None:
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("uvloop hands its task factories an argument that this one does not know")
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined]
    asyncio.get_running_loop().set_task_factory(factory)
    try:
        assert await pool.execute(lambda: list(from_thread.iterate(Source().numbers(2_000)))) == list(range(2_000))
    finally:
        asyncio.get_running_loop().set_task_factory(None)
