"""Between async and synchronous code: await_, run, the decorators, iteration and context managers."""

import asyncio
import contextvars
import gc
import inspect
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager
from types import coroutine
from typing import Any

import anyio
import pytest
from greenlet import greenlet

from tests.conftest import LoopErrors
from tpool_asyncio import green, hubs
from tpool_asyncio.green import tpool

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


async def later(value: object) -> object:
    await asyncio.sleep(0)
    return value


class Awaits:
    """An awaitable of a kind that is neither a coroutine nor a future, and whose iterator can only be iterated."""

    def __await__(self) -> Generator[None, None, None]:
        return iter([None, None])  # type: ignore[return-value]


@coroutine
def generator_coroutine() -> Generator[None, None, str]:
    yield
    return "generator"


def awaitables() -> dict[str, tuple[Callable[[], Awaitable[Any]], object]]:
    def done_future() -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        future.set_result("done")
        return future

    def pending_future() -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "pending")
        return future

    return {
        "coroutine": (lambda: later("coroutine"), "coroutine"),
        "done future": (done_future, "done"),
        "pending future": (pending_future, "pending"),
        "task": (lambda: asyncio.create_task(later("task")), "task"),
        "gather": (lambda: asyncio.gather(later(1), later(2)), [1, 2]),
        "object": (lambda: Awaits(), None),
        "generator coroutine": (generator_coroutine, "generator"),
        "green thread": (lambda: green.spawn(str, "green"), "green"),
    }


@pytest.mark.parametrize("kind", awaitables())
async def test_await_takes_every_kind_of_awaitable(kind: str) -> None:
    make, value = awaitables()[kind]
    assert await green.run(lambda: green.await_(make())) == value


async def test_only_the_task_of_the_green_thread_waits() -> None:
    steps = []

    def waits(name: str) -> str:
        for _ in range(2):
            steps.append(name)
            green.await_(asyncio.sleep(0))
        return name

    await asyncio.gather(green.run(waits, "a"), green.run(waits, "b"))
    assert steps == ["a", "b", "a", "b"]


async def test_arguments_and_errors_go_through() -> None:
    def fails(number: int, *, error: Exception) -> None:
        assert number == 1
        raise error

    error = ValueError("as it is")
    with pytest.raises(ValueError, match="as it is") as caught:
        await green.run(fails, 1, error=error)
    assert caught.value is error

    async def fails_too() -> None:
        await asyncio.sleep(0)
        raise error

    def waits() -> None:
        with pytest.raises(ValueError, match="as it is") as caught:
            green.await_(fails_too())
        assert caught.value is error

    await green.run(waits)


async def test_nesting_to_any_depth() -> None:
    async def down(depth: int) -> int:
        await asyncio.sleep(0)
        return await green.run(under, depth)

    def under(depth: int) -> int:
        green.sleep(0)
        # once through a green thread of its own, once straight, since all of it runs in this one
        return 0 if depth == 0 else 1 + green.await_(down(depth - 1) if depth % 2 else straight(depth - 1))

    async def straight(depth: int) -> int:
        await asyncio.sleep(0)
        return under(depth)

    assert await green.run(under, 60) == 60


async def test_it_is_the_same_task_and_context() -> None:
    async def sets(value: str) -> None:
        await asyncio.sleep(0)
        VAR.set(value)

    def inside() -> "asyncio.Task[Any] | None":
        assert VAR.get() == "outside"
        VAR.set("inside")
        green.await_(sets("deep inside"))
        assert VAR.get() == "deep inside"
        return asyncio.current_task()

    VAR.set("outside")
    assert await green.run(inside) is asyncio.current_task()
    assert VAR.get() == "deep inside"


async def test_the_task_is_current_after_every_kind_of_wait() -> None:
    def inside() -> None:
        for wait in (lambda: tpool.execute(int), lambda: green.sleep(0), lambda: tpool.execute(int)):
            wait()
            assert asyncio.current_task() is task
            assert VAR.get() == "mine"
            VAR.set("mine")

    VAR.set("mine")
    task = asyncio.current_task()
    await green.run(inside)
    assert asyncio.current_task() is task


async def test_plain_async_code_is_refused_and_its_coroutine_closed() -> None:
    waiting = later(1)
    with pytest.raises(RuntimeError, match="use await, or call the synchronous code in a green thread"):
        green.await_(waiting)
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED
    with pytest.raises(RuntimeError, match="use await"):
        green.await_(asyncio.get_running_loop().create_future())
    with pytest.raises(RuntimeError, match="use await"):
        green.sleep(0)


async def test_a_callback_of_the_loop_is_refused_too() -> None:
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def callback() -> None:
        try:
            green.sleep(0)
        except RuntimeError as error:
            outcome.set_result(str(error))

    asyncio.get_running_loop().call_soon(callback)
    assert "by a callback" in await outcome


async def test_what_cannot_be_awaited_is_refused() -> None:
    def inside() -> None:
        with pytest.raises(TypeError, match="await_ takes what can be awaited"):
            green.await_(1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"call it: await_\(function"):
            green.await_(later)  # type: ignore[arg-type]

    await green.run(inside)


@pytest.mark.parametrize("refuses", [green.async_, green.sync, green.iter_, green.with_, green.spawn, green.spawn_n])
def test_a_coroutine_handed_to_what_takes_something_else_is_closed(refuses: Callable[[Any], object]) -> None:
    waiting = later(1)
    with pytest.raises(TypeError):
        refuses(waiting)
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED


async def test_run_closes_a_coroutine_that_it_refuses() -> None:
    waiting = later(1)
    with pytest.raises(TypeError, match="run takes a synchronous function"):
        await green.run(waiting)  # type: ignore[arg-type]
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED


async def test_cancellation_goes_through_and_finally_may_wait() -> None:
    steps = []

    def inside() -> None:
        try:
            green.await_(asyncio.get_running_loop().create_future())
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        finally:
            green.sleep(0)
            steps.append("finally")

    task = asyncio.create_task(green.run(inside))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cancelled", "finally"]


async def test_time_limits_of_asyncio_and_anyio_work_around_and_inside() -> None:
    def forever() -> None:
        green.await_(asyncio.get_running_loop().create_future())

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await green.run(forever)
    with anyio.move_on_after(0.001) as scope:
        await green.run(forever)
    assert scope.cancelled_caught

    def inside() -> str:
        with pytest.raises(TimeoutError), green.with_(asyncio.timeout(0.001)):
            forever()
        with anyio.move_on_after(0.001) as scope:
            forever()
        assert scope.cancelled_caught
        green.sleep(0)
        return "went on"

    assert await green.run(inside) == "went on"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_task_groups() -> None:
    def fails() -> None:
        green.sleep(0)
        raise ValueError("one of them")

    def forever() -> None:
        try:
            green.await_(asyncio.get_running_loop().create_future())
        finally:
            ended.append(True)

    ended: list[bool] = []
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="one of them")):
        async with asyncio.TaskGroup() as group:
            group.create_task(green.run(forever))
            group.create_task(green.run(fails))
    assert ended == [True]


async def test_a_plain_greenlet_inside_a_green_thread_waits_in_its_place() -> None:
    def inside() -> list[object]:
        def other() -> str:
            got.append(green.await_(later("awaited")))
            got.append(tpool.execute(str, "called"))
            got.append(green.await_(asyncio.ensure_future(later("task"))))
            return "returned"

        got: list[object] = []
        got.append(greenlet(other).switch())
        green.sleep(0)
        got.append(tpool.execute(str, "outside again"))
        return got

    assert await green.run(inside) == ["awaited", "called", "task", "returned", "outside again"]


async def test_an_interrupt_reaches_a_plain_greenlet_inside_a_green_thread() -> None:
    def inside() -> str:
        def other() -> None:
            green.await_(asyncio.get_running_loop().create_future())

        with pytest.raises(green.Timeout), green.Timeout(0.001):
            greenlet(other).switch()
        green.sleep(0)
        return "went on"

    assert await green.run(inside) == "went on"


async def test_async_code_that_swallows_a_cancellation_keeps_its_value() -> None:
    async def swallows() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass
        return "kept"

    def inside() -> str:
        limit = green.Timeout(0.001)
        value = green.await_(swallows())
        assert not limit.pending
        with pytest.raises(green.Timeout) as caught:  # where it waits next
            green.sleep(0)
        assert caught.value is limit
        green.sleep(0)
        return value

    assert await green.run(inside) == "kept"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_closed_coroutine_ends_its_green_thread() -> None:
    steps = []

    def inside() -> None:
        try:
            green.sleep(0)
        except green.GreenletExit:
            steps.append("exit")
            with pytest.raises(RuntimeError, match="cannot wait any more"):
                green.sleep(0)
            steps.append("refused")

    running = green.run(inside)
    running.send(None)
    running.close()
    assert steps == ["exit", "refused"]
    assert not hubs.get_hub().green_threads


async def test_nothing_is_kept_alive() -> None:
    class Thing:
        pass

    def passes(thing: Thing) -> Thing:
        green.sleep(0)
        return thing

    def fails(thing: Thing) -> None:
        green.sleep(0)
        raise ValueError(thing)

    gc.collect()
    gc.disable()
    try:
        thing = Thing()
        reference = weakref.ref(thing)
        assert await green.run(passes, thing) is thing
        try:
            await green.run(fails, thing)
        except ValueError:
            pass
        assert await green.spawn(passes, thing) is thing
        try:
            await green.spawn(fails, thing)
        except ValueError:
            pass
        await asyncio.sleep(0)
        del thing
        assert reference() is None
    finally:
        gc.enable()


# The decorators


async def test_async_and_sync_are_each_other_s_opposite() -> None:
    @green.sync
    async def fetch(name: str) -> str:
        """Fetch."""
        await asyncio.sleep(0)
        return f"fetched {name}"

    @green.async_
    def use(name: str) -> str:
        """Use."""
        return fetch(name) + " and used"

    assert (fetch.__name__, fetch.__doc__, use.__name__, use.__doc__) == ("fetch", "Fetch.", "use", "Use.")
    assert asyncio.iscoroutinefunction(use)
    assert await use("it") == "fetched it and used"


def test_the_decorators_refuse_what_they_cannot_decorate() -> None:
    with pytest.raises(TypeError, match="async_ takes a synchronous function"):
        green.async_(later)
    with pytest.raises(TypeError, match="async_ takes a synchronous function"):
        green.async_(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sync takes a coroutine function"):
        green.sync(1)  # type: ignore[arg-type]


# Iteration


def counting(numbers: int, ended: list[str]) -> Iterator[int]:
    try:
        for number in range(numbers):
            green.sleep(0)
            yield number
    finally:
        green.sleep(0)
        ended.append("closed")


async def test_async_for_over_a_synchronous_generator_that_waits() -> None:
    ended: list[str] = []
    assert [number async for number in green.aiter(counting, 3, ended)] == [0, 1, 2]
    assert ended == ["closed"]
    assert [item async for item in green.aiter(list, "ab")] == ["a", "b"]


async def test_items_may_be_coroutines() -> None:
    def coroutines() -> Iterator[Awaitable[object]]:
        for number in range(3):
            green.sleep(0)
            yield later(number)

    assert [await item async for item in green.aiter(coroutines)] == [0, 1, 2]


async def test_leaving_early_closes_the_generator_which_may_wait() -> None:
    ended: list[str] = []
    async with aclosing(green.aiter(counting, 3, ended)) as numbers:
        async for number in numbers:
            assert number == 0
            break
    assert ended == ["closed"]


async def test_an_error_in_the_generator_comes_at_its_item() -> None:
    def fails() -> Iterator[int]:
        yield 1
        green.sleep(0)
        raise ValueError("at the second")

    got = []
    with pytest.raises(ValueError, match="at the second"):
        async for item in green.aiter(fails):
            got.append(item)
    assert got == [1]
    with pytest.raises(TypeError):
        await anext(green.aiter(int))  # type: ignore[arg-type]


async def acounting(numbers: int, ended: list[str]) -> AsyncIterator[int]:
    try:
        for number in range(numbers):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)
        ended.append("closed")


async def test_for_over_an_async_iterator() -> None:
    def inside() -> None:
        ended: list[str] = []
        assert list(green.iter_(acounting(3, ended))) == [0, 1, 2]
        assert ended == ["closed"]
        iterator = green.iter_(acounting(3, ended))
        for number in iterator:
            assert number == 0
            break
        iterator.close()
        assert ended == ["closed", "closed"]

    await green.run(inside)


async def test_an_iterator_dropped_in_async_code_is_closed_by_the_loop(loop_errors: LoopErrors) -> None:
    ended: list[str] = []
    iterator = green.iter_(acounting(3, ended))
    assert await green.run(next, iterator) == 0
    del iterator
    gc.collect()
    for _ in range(4):
        await asyncio.sleep(0)
    assert ended == ["closed"]
    assert loop_errors == []


def test_iter_takes_async_iterables_only() -> None:
    with pytest.raises(TypeError, match="iter_ takes an async iterable"):
        green.iter_([1])  # type: ignore[arg-type]


# Context managers


async def test_with_over_an_async_context_manager() -> None:
    steps = []

    @asynccontextmanager
    async def managed() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        steps.append("enter")
        try:
            yield "value"
        except ValueError:
            steps.append("swallowed")
        finally:
            await asyncio.sleep(0)
            steps.append("exit")

    def inside() -> None:
        with green.with_(managed()) as value:
            steps.append(value)
        with green.with_(managed()):
            raise ValueError
        with pytest.raises(KeyError), green.with_(managed()):
            raise KeyError

    await green.run(inside)
    assert steps == ["enter", "value", "exit", "enter", "swallowed", "exit", "enter", "exit"]


def test_with_takes_async_context_managers_only(tmp_path: Any) -> None:
    with pytest.raises(TypeError, match="with_ takes an async context manager"):
        green.with_(object())  # type: ignore[arg-type]


# Scripts


@pytest.mark.usefixtures("script")
def test_a_script_awaits_with_the_loop_of_its_hub() -> None:
    assert green.await_(later("value")) == "value"
    assert green.sync(later)("again") == "again"
    future: asyncio.Future[str] = hubs.get_hub().loop.create_future()
    hubs.get_hub().loop.call_later(0.001, future.set_result, "future")
    assert green.await_(future) == "future"
    assert list(green.iter_(acounting(2, []))) == [0, 1]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


@pytest.mark.usefixtures("script")
def test_context_variables_set_in_an_awaitable_are_set_in_the_script() -> None:
    async def sets() -> None:
        assert VAR.get() == "before"
        await asyncio.sleep(0)
        VAR.set("after")

    def script() -> str:
        VAR.set("before")
        green.await_(sets())
        return VAR.get()

    assert contextvars.copy_context().run(script) == "after"


@pytest.mark.usefixtures("script")
def test_an_error_reaches_the_script() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("in the loop")

    with pytest.raises(ValueError, match="in the loop"):
        green.await_(fails())


@pytest.mark.usefixtures("script")
def test_a_script_and_asyncio_run_take_turns() -> None:
    assert green.await_(later(1)) == 1
    assert asyncio.run(later(2)) == 2
    assert asyncio.run(green.run(green.await_, later(3))) == 3
    assert green.await_(later(4)) == 4
