"""Green threads that wait in the ways of SQLAlchemy, awaitlet, greenletio and greenback, and how that ends."""

import asyncio
import contextvars
import gc
import time
import traceback
import types
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import awaitlet  # type: ignore[import-untyped]
import greenback
import pytest
from greenlet import getcurrent
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.util import await_only, greenlet_spawn

from tests.bridges import AWAITLET, GREENBACK, GREENLETIO, OTHERS, SQLALCHEMY, Bridge
from tests.child import output_of
from tests.conftest import LoopErrors
from tests.gate import Gate
from tpool_asyncio import green
from tpool_asyncio.green import tpool

SOON = 0.001
VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")

HANDING_OVER = {"sqlalchemy": SQLALCHEMY, "awaitlet": AWAITLET, "greenletio": GREENLETIO}
"""Those whose functions hand what is to be awaited to the parent of the greenlet, as it is."""
handing_over = pytest.mark.parametrize("bridge", list(HANDING_OVER.values()), ids=list(HANDING_OVER))

EVERY = pytest.mark.parametrize("bridge", list(OTHERS.values()), ids=list(OTHERS))


async def later(value: object = None) -> object:
    await asyncio.sleep(0)
    return value


async def in_portal(fn: Callable[..., Any], /, *args: Any) -> Any:
    """Run a function in a green thread of a task that has a portal, so that all of the libraries can wait there."""

    async def body() -> Any:
        await greenback.ensure_portal()
        return await green.run(fn, *args)

    return await asyncio.create_task(body())


# Their functions in green threads


@pytest.mark.parametrize(
    "bridge",
    [
        pytest.param(bridge, id=name, marks=pytest.mark.combination(caller="green thread", library=library))
        for (name, bridge), library in zip(
            OTHERS.items(),
            ["SQLAlchemy await_only", "awaitlet", "greenback", "greenback", "greenletio"],
            strict=True,
        )
    ],
)
async def test_they_wait_in_green_threads(bridge: Bridge) -> None:
    error = KeyError("as it is")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    async def sets() -> None:
        VAR.set("by the coroutine")

    def body() -> None:
        assert bridge.await_(later("coroutine")) == "coroutine"
        assert bridge.await_(asyncio.ensure_future(later("task"))) == "task"
        assert tpool.execute(len, "abc") == 3
        assert bridge.await_(later("after a call")) == "after a call"
        with pytest.raises(KeyError) as caught:
            bridge.await_(fail())
        assert caught.value is error
        assert "fail" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        task = asyncio.current_task()
        assert bridge.await_(current()) is task
        bridge.await_(sets())
        assert VAR.get() == "by the coroutine"

    async def current() -> object:
        return asyncio.current_task()

    await in_portal(body)


@pytest.mark.parametrize("wait", [await_only, awaitlet.awaitlet])
async def test_every_kind_of_awaitable(wait: Callable[[Any], object]) -> None:
    class Awaits:
        def __await__(self) -> Generator[None, None, str]:
            yield
            return "object"

    @types.coroutine
    def generator() -> Generator[None, None, str]:
        yield
        return "generator"

    def body() -> list[object]:
        done = asyncio.get_running_loop().create_future()
        done.set_result("done")
        with pytest.raises(TypeError, match="await"):
            wait(("no", "awaitable"))
        return [wait(Awaits()), wait(generator()), wait(done), wait(green.spawn(str, "green"))]

    assert await green.run(body) == ["object", "generator", "done", "green"]


async def test_a_green_wait_counts_as_one() -> None:
    """SQLAlchemy and awaitlet can insist that the code has waited."""
    assert await awaitlet.async_def(tpool.execute, len, "abc", assert_await_occurs=True) == 3
    assert await greenlet_spawn(tpool.execute, len, "abc", _require_await=True) == 3


async def test_not_in_scripts_and_strange_greenlets() -> None:
    with pytest.raises(MissingGreenlet):
        await_only(later())
    with pytest.raises(awaitlet.NoAwaitletContext):
        awaitlet.awaitlet(later())


async def test_a_portal_for_a_task_with_green_threads() -> None:
    """However the task gets it, and also while a call of the green thread is on its way."""
    gate = Gate()

    def body() -> list[object]:
        results = [tpool.execute(gate, 1), greenback.await_(later(2))]
        results += [greenback.await_(later(3)), tpool.execute(int, 4), greenback.await_(later(5))]
        with greenback.async_context(manager()) as value:
            results += [value, *greenback.async_iter(numbers())]
        return results

    @asynccontextmanager
    async def manager() -> AsyncIterator[object]:
        yield await later(6)

    async def numbers() -> AsyncIterator[object]:
        yield await later(7)
        yield await green.run(tpool.execute, int, 8)

    task = asyncio.create_task(green.run(body))
    await tpool_begun(gate)
    greenback.bestow_portal(task)
    gate.open()
    assert await task == [1, 2, 3, 4, 5, 6, 7, 8]

    def ensures() -> object:
        tpool.execute(len, "abc")
        green.await_(greenback.ensure_portal())
        return tpool.execute(len, "abc"), greenback.await_(later("ensured"))

    assert await asyncio.create_task(green.run(ensures)) == (3, "ensured")

    def closes() -> object:
        values = [
            green.await_(
                greenback.with_portal_run_sync(lambda: (tpool.execute(len, "ab"), greenback.await_(later(3))))
            ),
            green.await_(
                greenback.with_portal_run(green.run, lambda: (tpool.execute(int, 4), greenback.await_(later(5))))
            ),
            tpool.execute(int, 6),
        ]
        with pytest.raises(RuntimeError, match="portal"):
            greenback.await_(later())
        return values

    assert await asyncio.create_task(green.run(closes)) == [(2, 3), (4, 5), 6]


async def tpool_begun(gate: Gate) -> None:
    await green.run(tpool.execute, gate.wait_begun)


# Their end


@EVERY
async def test_a_green_thread_that_waits_there_is_killed(bridge: Bridge) -> None:
    raised: list[BaseException] = []
    waiting: list[bool] = []

    async def wait() -> None:
        waiting.append(True)
        await asyncio.sleep(60)

    def body() -> None:
        tpool.execute(len, "abc")
        try:
            bridge.await_(wait())
        except BaseException as error:
            raised.append(error)
            raise
        finally:
            bridge.await_(later())  # cleanup may wait
            tpool.execute(len, "abc")

    thread = green.spawn(body)
    await asyncio.sleep(0)
    assert thread.task is not None
    greenback.bestow_portal(thread.task)  # while it waits for its call
    while not waiting:
        await asyncio.sleep(0)
    error = ValueError("end")
    thread.kill(error)
    with pytest.raises(ValueError, match="end") as caught:
        await thread
    assert caught.value is error
    # A portal does not know of kills, so there it is a cancellation up to the end of the function.
    assert raised == [error] if bridge in HANDING_OVER.values() else isinstance(raised[0], asyncio.CancelledError)
    assert thread.dead


@pytest.mark.parametrize("bridge", list(OTHERS.values()), ids=list(OTHERS))
@pytest.mark.parametrize("own", [True, False], ids=["own task", "run"])
async def test_killed_without_another_wait(bridge: Bridge, own: bool) -> None:
    """What comes of the function is what it was killed with, whatever the library has made of it."""
    error = ValueError("end")
    threads: list[Any] = []

    def body() -> None:
        threads.append(getcurrent())
        asyncio.get_running_loop().call_soon(threads[0].kill, error)
        bridge.await_(asyncio.sleep(60))

    def with_portal() -> None:
        green.await_(greenback.ensure_portal())
        body()

    async def in_own() -> None:
        await green.spawn(with_portal)

    with pytest.raises(ValueError, match="end") as caught:
        await (in_own() if own else in_portal(body))
    assert caught.value is error


@handing_over
def test_the_loop_is_closed_between_the_short_way_and_the_task(bridge: Bridge) -> None:
    """A coroutine that was handed over, and is not awaited any more, is closed without a word."""
    ended: list[type[BaseException]] = []

    def body() -> None:
        tpool.execute(len, "abc")
        loop.stop()
        try:
            bridge.await_(later())
        except BaseException as error:
            ended.append(type(error))
            raise

    async def start() -> None:
        green.spawn(body)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # which would tell of a task that was destroyed
    loop.run_until_complete(start())
    loop.run_forever()
    loop.close()
    asyncio.run(green.run(green.sleep, 0))  # which sweeps up after loops that have been closed
    gc.collect()
    assert ended == [green.GreenletExit]


@EVERY
async def test_a_time_limit_where_it_waits_there(bridge: Bridge) -> None:
    def body() -> None:
        with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as limit:
            bridge.await_(asyncio.sleep(60))
        assert caught.value is limit
        with green.Timeout(SOON, False):
            bridge.await_(asyncio.sleep(60))
        with pytest.raises(KeyError), green.Timeout(SOON, KeyError):
            bridge.await_(asyncio.sleep(60))
        with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as outer, green.Timeout(60):
            bridge.await_(asyncio.sleep(60))
        assert caught.value is outer
        with pytest.raises(green.Timeout) as caught, green.Timeout(60), green.Timeout(SOON) as inner:
            bridge.await_(asyncio.sleep(60))
        assert caught.value is inner
        assert green.with_timeout(SOON, bridge.await_, asyncio.sleep(60), timeout_value="late") == "late"
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        assert tpool.execute(len, "abc") == 3
        assert bridge.await_(later("goes on")) == "goes on"

    await in_portal(body)


@EVERY
async def test_a_time_limit_in_a_greenlet_of_theirs_inside(bridge: Bridge) -> None:
    """It is a limit for the green thread around, and raised in this code all the same."""

    def inside() -> str:
        with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as limit:
            bridge.await_(asyncio.sleep(60))
        assert caught.value is limit
        with green.Timeout(SOON, False):
            green.sleep(60)
        assert green.with_timeout(SOON, bridge.await_, asyncio.sleep(60), timeout_value="late") == "late"
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        return green.with_timeout(60, tpool.execute, str, "goes on")

    assert await asyncio.create_task(green.run(lambda: green.await_(bridge.run(inside)))) == "goes on"


@EVERY
async def test_a_cancellation_goes_before_a_time_limit(bridge: Bridge) -> None:
    def body() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        with green.Timeout(60) as limit:
            loop.call_soon(limit._expire)
            loop.call_soon(task.cancel)
            bridge.await_(asyncio.sleep(60))

    with pytest.raises(asyncio.CancelledError):
        await in_portal(body)


@handing_over
@pytest.mark.parametrize("how", ["kill", "cancel"])
@pytest.mark.parametrize("kind", ["coroutine", "future"])
async def test_ended_between_the_short_way_and_the_task(bridge: Bridge, how: str, kind: str) -> None:
    """What it has handed over when it came straight from a call is not awaited any more."""
    started: list[int] = []
    raised: list[BaseException] = []
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    async def never() -> None:
        started.append(1)

    def body() -> str:
        thread = getcurrent()
        assert isinstance(thread, green.GreenThread)
        assert thread.task is not None
        tpool.execute(len, "abc")
        loop.call_soon(thread.kill if how == "kill" else thread.task.cancel)
        try:
            bridge.await_(never() if kind == "coroutine" else future)
        except BaseException as error:
            raised.append(error)
            bridge.await_(later())
            raise
        return "not ended"

    thread = green.spawn(body)
    with pytest.raises(green.GreenletExit if how == "kill" else asyncio.CancelledError) as caught:
        await thread
    assert raised == [caught.value]
    assert started == []
    assert future.cancelled() == (kind == "future")


@handing_over
async def test_what_was_swallowed_is_raised_at_the_next_wait(bridge: Bridge) -> None:
    async def swallow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

    async def never() -> None:
        raise AssertionError("it was started")

    def body() -> None:
        for what in (never(), asyncio.get_running_loop().create_future()):
            with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as limit:
                bridge.await_(swallow())
                bridge.await_(what)
            assert caught.value is limit
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        assert isinstance(what, asyncio.Future)
        assert what.cancelled()

    await green.run(body)


@pytest.mark.parametrize("fails", [False, True])
async def test_cancelled_when_the_outcome_is_on_its_way(fails: bool, loop_errors: LoopErrors) -> None:
    """In a task with a portal, a call wakes the task, which may be cancelled before it wakes."""
    gate = Gate()
    loop = asyncio.get_running_loop()
    own = tpool.Pool(1)

    def work() -> None:
        gate()
        if fails:
            raise KeyError("late")

    task = asyncio.create_task(GREENBACK.run(lambda: green.await_(green.run(own.execute, work))))
    await green.run(tpool.execute, gate.wait_begun)
    gate.open()
    while own.statistics().busy:
        time.sleep(SOON)  # and the loop stands still
    loop.call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    await green.run(own.killall)
    while len(loop_errors) < fails:
        await asyncio.sleep(SOON)
    assert [type(error["exception"]) for error in loop_errors] == [KeyError] * fails


@EVERY
async def test_an_error_does_not_lead_back_to_itself(bridge: Bridge) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError(Tracked())

    class Tracked:
        pass

    references: list[weakref.ref[Tracked]] = []

    def body(wait: Callable[[Awaitable[Any]], Any]) -> None:
        try:
            wait(fail())
        except KeyError as error:
            references.append(weakref.ref(error.args[0]))

    gc.collect()
    gc.disable()
    try:
        await bridge.run(body, green.await_)
        if bridge in HANDING_OVER.values():
            await green.run(body, bridge.await_)
        assert [reference() for reference in references] == [None] * len(references)
    finally:
        gc.enable()


# greenletio in a script


@pytest.mark.combination(caller="script with greenletio's bridge", library="tpool_asyncio.green.tpool")
def test_a_script_that_waits_with_greenletio() -> None:
    output = output_of(
        """
        import asyncio, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of asyncio.get_event_loop
        import greenletio
        from tpool_asyncio import green
        from tpool_asyncio.green import tpool

        print(tpool.execute(len, "before"))
        asyncio.set_event_loop(loop := asyncio.new_event_loop())
        print(greenletio.await_(asyncio.sleep(0, "bridge")))
        print(tpool.execute(len, "abc"), green.await_(asyncio.sleep(0, "ours")), sum(tpool.iterate(range(5))))
        print(green.spawn(lambda: (tpool.execute(len, "ab"), greenletio.await_(asyncio.sleep(0, 1)))).wait())
        print(greenletio.await_(asyncio.sleep(0, "bridge")))

        def other_thread():
            print(tpool.execute(len, "other"), green.await_(asyncio.sleep(0, "thread")))
            asyncio.run(plain())

        async def plain():
            try:
                tpool.execute(len, "other")
            except RuntimeError as error:
                print(str(error).partition(":")[0])

        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        from greenletio.core import bridge
        bridge.stop()
        loop.close()
        print(tpool.execute(len, "after the bridge"))
        """
    )
    assert output.split("\n")[:-1] == [
        "6",
        "bridge",
        "3 ours 10",
        "(2, 1)",
        "bridge",
        "5 thread",
        "synchronous code cannot wait here",
        "16",
    ]
