"""The green spelling in greenlets of other libraries: all that waits does so there, and the rest says what to do."""

import asyncio
import contextvars
import gc
import os
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import greenletio  # type: ignore[import-untyped]
import pytest
from greenlet import getcurrent, greenlet

from tests.bridges import ALL, ENSURED, GREENBACK, GREENLETIO, OTHERS, SQLALCHEMY, Bridge, others
from tests.child import output_of
from tests.gate import Gate
from tpool_asyncio import green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")

TPOOL = pytest.mark.parametrize("bridge", others("tpool_asyncio.green.tpool"))
GREEN = pytest.mark.parametrize("bridge", others("tpool_asyncio.green"))
ANY = pytest.mark.parametrize("bridge", list(OTHERS.values()), ids=list(OTHERS))


async def later(value: object = None) -> object:
    await asyncio.sleep(0)
    return value


# What waits in the pool


@TPOOL
async def test_a_call(bridge: Bridge) -> None:
    def body() -> tuple[bool, str]:
        VAR.set("of the caller")
        in_pool, value = green_tpool.execute(lambda: (threading.current_thread(), VAR.get()))
        return in_pool is not threading.current_thread(), value

    assert await bridge.run(body) == (True, "of the caller")


@TPOOL
async def test_a_call_with_all_options(bridge: Bridge) -> None:
    context = contextvars.copy_context()
    context.run(VAR.set, "of the context")
    handle = green_tpool.options(
        timeout=60,
        queue_timeout=60,
        on_cancel="wait",
        limiter=anyio.CapacityLimiter(1),
        context=context,
        name="a call of the test",
    )
    assert await bridge.run(lambda: [handle.execute(VAR.get), handle.execute(len, "abc")]) == ["of the context", 3]


@ANY
async def test_the_time_of_a_call_is_over(bridge: Bridge) -> None:
    gate = Gate()

    def body() -> None:
        with pytest.raises(TimeoutError):
            green_tpool.options(timeout=0.001).execute(gate)

    await bridge.run(body)
    gate.open()


@ANY
async def test_only_the_task_waits(bridge: Bridge) -> None:
    gate = Gate()
    waiting = asyncio.create_task(bridge.run(green_tpool.execute, gate, "through"))
    await tpool.execute(gate.wait_begun)
    assert await tpool.execute(len, "abc") == 3  # while that one waits
    gate.open()
    assert await waiting == "through"


@ANY
async def test_an_error_is_the_same_object(bridge: Bridge) -> None:
    error = KeyError("from the pool")

    def fail(error: BaseException) -> None:
        raise error

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise error

    def body() -> None:
        waits: list[Callable[[], object]] = [
            lambda: green_tpool.execute(fail, error),
            lambda: green_tpool.options(timeout=60).execute(fail, error),
            lambda: green.await_(fail_later()),
            lambda: green.await_(asyncio.ensure_future(fail_later())),
        ]
        for wait in waits:
            with pytest.raises(KeyError) as caught:
                wait()
            assert caught.value is error
        raise error

    with pytest.raises(KeyError) as caught:
        await bridge.run(body)
    assert caught.value is error


@ANY
async def test_what_is_no_function_is_refused(bridge: Bridge) -> None:
    def body() -> None:
        with pytest.raises(TypeError, match="callable"):
            green_tpool.execute(later())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="await_ takes"):
            green.await_(3)  # type: ignore[arg-type]

    await bridge.run(body)


@TPOOL
async def test_an_iteration(bridge: Bridge) -> None:
    def body() -> None:
        assert list(green_tpool.iterate(range(5))) == [0, 1, 2, 3, 4]
        with green_tpool.iterate(range, 5, batch=1) as numbers:
            assert next(numbers) == 0
        assert list(numbers) == []
        assert list(green_tpool.options(timeout=60).iterate(iter("ab"))) == ["a", "b"]

    await bridge.run(body)


@ANY
async def test_an_iteration_gives_way(bridge: Bridge) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def body() -> None:
        numbers = green_tpool.iterate(range(20_000))
        numbers._stream._span = 60.0  # so that one trip reads all, and nobody waits after the first item
        next(numbers)
        before = turns
        assert sum(1 for _ in numbers) == 19_999
        assert turns >= before + 10

    counting = asyncio.create_task(count_turns())
    await bridge.run(body)
    counting.cancel()


class Thing:
    def __init__(self) -> None:
        self.thread: threading.Thread | None = None

    def ident(self) -> int:
        return threading.get_ident()

    def __enter__(self) -> Self:
        self.thread = threading.current_thread()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread = None

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))

    def __getitem__(self, key: str) -> str:
        return key.upper()


@TPOOL
@pytest.mark.parametrize("pin", [False, True], ids=["unpinned", "pinned"])
async def test_a_proxy(bridge: Bridge, pin: bool) -> None:
    def body() -> None:
        thing = Thing()
        proxy: Any = green_tpool.Proxy(thing, pin=pin)
        assert proxy.ident() != threading.get_ident()
        if pin:
            assert len({proxy.ident() for _ in range(5)}) == 1
        with proxy as entered:
            assert entered is proxy
            assert thing.thread is not threading.current_thread()
        assert list(proxy) == [0, 1, 2]
        assert proxy["key"] == "KEY"
        assert green_tpool.proxy_call(proxy, getattr, thing, "thread") is None

    await bridge.run(body)
    gc.collect()  # the error for want of a length: greenback keeps those that go through it, and the proxy with them


@TPOOL
async def test_a_pool_of_its_own(bridge: Bridge) -> None:
    def body() -> None:
        with green_tpool.Pool(1, name="own") as pool:
            assert pool.execute(lambda: threading.current_thread().name).startswith("own")
            pool.killall()
            assert pool.statistics().threads == 0

    await bridge.run(body)


# What waits for something else


@GREEN
async def test_awaitables(bridge: Bridge) -> None:
    def body() -> list[object]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        return [
            green.await_(later("coroutine")),
            green.await_(future),
            green.await_(asyncio.ensure_future(later("task"))),
            green.await_(green.run(lambda: green.await_(later("green")))),
            green.sync(later)("sync"),
            *green.await_(asyncio.gather(later(1), later(2))),
        ]

    assert await bridge.run(body) == ["coroutine", "future", "task", "green", "sync", 1, 2]


@GREEN
async def test_sleeping_managers_and_iterators(bridge: Bridge) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        events.append("enter")
        await asyncio.sleep(0)
        try:
            yield "value"
        finally:
            await asyncio.sleep(0)
            events.append("exit")

    async def letters() -> AsyncIterator[str]:
        try:
            for letter in "abc":
                await asyncio.sleep(0)
                yield letter
        finally:
            await asyncio.sleep(0)
            events.append("closed")

    def waits() -> Iterator[int]:
        for number in range(2):
            green.sleep(0)
            yield number

    async def collect() -> list[int]:
        return [number async for number in green.aiter(waits)]

    def body() -> None:
        green.sleep(0)
        green.sleep(0.001)
        with green.with_(manager()) as value:
            assert value == "value"
        assert list(green.iter_(letters())) == ["a", "b", "c"]
        for _ in green.iter_(letters()):
            break
        assert events == ["enter", "exit", "closed", "closed"]
        assert green.await_(collect()) == [0, 1]
        with pytest.raises(TimeoutError), green.with_(asyncio.timeout(0.001)):
            green.sleep(60)

    await bridge.run(body)


@GREEN
async def test_green_threads_and_what_they_share(bridge: Bridge) -> None:
    def body() -> None:
        event, semaphore, queue = green.Event(), green.Semaphore(0), green.Queue[int](1)

        def other() -> str:
            semaphore.release()
            queue.put(1)
            queue.put(2)
            event.send("sent")
            return "ended"

        thread = green.spawn(other)
        assert semaphore.acquire()
        assert [queue.get(), queue.get()] == [1, 2]
        assert event.wait() == "sent"
        assert thread.wait() == "ended"
        assert green.Event().wait(0.001) is None
        with pytest.raises(green.Empty):
            queue.get(timeout=0.001)

        killed = green.spawn(green.sleep, 60)
        green.sleep(0)
        killed.kill()
        assert killed.dead  # as it gave way
        with pytest.raises(green.GreenletExit):
            killed.wait()
        assert green.spawn_after(0.001, len, "abc").wait() == 3

        pool = green.GreenPool(2)
        assert list(pool.imap(lambda number: green_tpool.execute(abs, number), range(-3, 0))) == [3, 2, 1]
        for _ in range(3):
            pool.spawn_n(green.sleep, 0)
        pool.waitall()
        pile = green.GreenPile[int](2)
        for number in range(3):
            pile.spawn(abs, -number)
        assert list(pile) == [0, 1, 2]

    await bridge.run(body)


@ANY
async def test_what_interrupts_its_caller_names_the_remedy(bridge: Bridge) -> None:
    read, write = os.pipe()

    def limited() -> str:
        try:
            with green.Timeout(0.001):
                green.sleep(60)
        except green.Timeout:
            green.spawn_after_local(0, len, "abc").wait()
            os.write(write, b"x")
            hubs.trampoline(read, read=True, timeout=60)
            return green.with_timeout(60, green_tpool.execute, str, "in time")
        return "never"

    def body() -> Any:
        for refused in (
            lambda: green.Timeout(1),
            lambda: green.with_timeout(1, len, "abc"),
            lambda: green.spawn_after_local(0, len, "abc"),
            lambda: hubs.trampoline(read, read=True),
        ):
            with pytest.raises(RuntimeError, match=r"green\.await_\(green\.run\(function, \.\.\.\)\)"):
                refused()
        with green.Timeout(None):  # is none
            pass
        return green.await_(green.run(limited))

    try:
        assert await bridge.run(body) == "in time"
    finally:
        os.close(read)
        os.close(write)


# Context variables


@pytest.mark.parametrize("bridge", [SQLALCHEMY, ENSURED, GREENBACK], ids=["sqlalchemy", "ensured", "greenback"])
async def test_context_variables_are_those_of_the_task(bridge: Bridge) -> None:
    async def sets(value: str) -> None:
        VAR.set(value)

    def body() -> None:
        VAR.set("set by the code")
        assert green_tpool.execute(VAR.get) == "set by the code"
        green.await_(sets("set by the coroutine"))
        assert VAR.get() == "set by the coroutine"
        green.await_(green.run(VAR.set, "set in a green thread"))
        assert VAR.get() == "set in a green thread"

    await bridge.run(body)
    assert VAR.get() == "set in a green thread"


async def test_greenletio_keeps_its_context() -> None:
    def body() -> str:
        VAR.set("of the greenlet")
        return green_tpool.execute(VAR.get)

    VAR.set("of the task")
    assert await greenletio.async_(body)() == "of the greenlet"
    assert VAR.get() == "of the task"
    assert await GREENLETIO.run(body) == "of the greenlet"
    assert VAR.get() == "of the greenlet"


# Cancellation


@ANY
async def test_the_task_is_cancelled(bridge: Bridge) -> None:
    cleaned: list[object] = []

    def body() -> None:
        try:
            green.sleep(60)
        finally:
            cleaned.append(green_tpool.execute(str, "cleaned"))

    task = asyncio.create_task(bridge.run(body))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["cleaned"]


@ANY
async def test_a_call_of_a_cancelled_task_never_runs(bridge: Bridge) -> None:
    gate = Gate()
    ran: list[int] = []
    pool = green_tpool.Pool(1)
    first = asyncio.create_task(green.run(pool.execute, gate))
    await tpool.execute(gate.wait_begun)
    second = asyncio.create_task(bridge.run(pool.execute, ran.append, 1))
    while not pool.statistics().queued:
        await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert pool.statistics().queued == 0
    gate.open()
    await first
    await green.run(pool.killall)
    assert ran == []


@ANY
async def test_a_running_call_is_waited_for(bridge: Bridge) -> None:
    gate = Gate()
    handle = green_tpool.options(on_cancel="wait")
    task = asyncio.create_task(bridge.run(handle.execute, gate))
    await tpool.execute(gate.wait_begun)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task


@ANY
async def test_time_limits_and_scopes_around(bridge: Bridge) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await bridge.run(green.sleep, 60)
    with anyio.move_on_after(0.001) as scope:
        await bridge.run(green.sleep, 60)
    assert scope.cancelled_caught

    def body() -> str:
        with anyio.move_on_after(0.001) as scope:
            green.sleep(60)
        assert scope.cancelled_caught
        with anyio.fail_after(60):
            return green_tpool.execute(str, "goes on")

    assert await bridge.run(body) == "goes on"


# Where there is no host


async def test_plain_async_code_has_no_host() -> None:
    for refused in (lambda: green_tpool.execute(len, "abc"), lambda: green.sleep(0), lambda: green.Timeout(1)):
        with pytest.raises(RuntimeError, match=r"await green\.run\(function, \.\.\.\)"):
            refused()
    refusals: list[RuntimeError] = []

    def strange() -> None:
        try:
            green_tpool.execute(len, "abc")
        except RuntimeError as error:
            refusals.append(error)

    def nested() -> None:
        greenlet(strange).switch()  # in which neither of them can wait

    await SQLALCHEMY.run(nested)
    await GREENLETIO.run(nested)
    assert len(refusals) == 2


@pytest.mark.parametrize("bridge", [ENSURED, GREENBACK], ids=["ensured", "greenback"])
async def test_a_strange_greenlet_in_a_portal(bridge: Bridge) -> None:
    def strange() -> object:
        first = green_tpool.execute(threading.get_ident)
        return first != threading.get_ident(), green.await_(later("waited"))

    assert await bridge.run(lambda: greenlet(strange).switch()) == (True, "waited")


async def test_a_portal_of_another_task_is_of_no_use() -> None:
    portal = asyncio.create_task(ENSURED.run(green.sleep, 0.001))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="synchronous code cannot wait here"):
        green.sleep(0)
    await portal
    errors: list[BaseException] = []

    def callback() -> None:
        try:
            green.sleep(0)
        except RuntimeError as error:
            errors.append(error)

    asyncio.get_running_loop().call_soon(callback)
    await ENSURED.run(green.sleep, 0.001)
    assert len(errors) == 1


def test_a_script_has_no_host(script: hubs.Hub) -> None:
    assert set(sys.modules) >= {"sqlalchemy", "awaitlet", "greenback", "greenletio"}
    assert green_tpool.execute(len, "abc") == 3
    assert green.await_(later("value")) == "value"


def test_a_namesake_of_a_library() -> None:
    output = output_of(
        """
        import logging, sys, types
        logging.disable()
        for name in ("greenback", "greenletio"):
            sys.modules[name] = types.ModuleType(name)
        from tpool_asyncio import green
        from tpool_asyncio.green import tpool
        print(tpool.execute(len, "abc"), green.spawn(tpool.execute, len, "abc").wait())
        """
    )
    assert output.split() == ["3", "3"]


def test_in_a_fork_of_a_greenlet() -> None:
    """What the child has of the greenlets is of no use: the loop is the parent's. It is a script there."""
    output = output_of(
        """
        import asyncio, os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from sqlalchemy.exc import MissingGreenlet
        from sqlalchemy.util import await_only
        from tests.bridges import ALL, GREEN
        from tpool_asyncio import green
        from tpool_asyncio.green import tpool

        def body(bridge):
            if (child := os.fork()) == 0:
                status = 1
                try:
                    if bridge is GREEN:
                        try:
                            await_only(asyncio.sleep(0))
                        except MissingGreenlet:
                            pass
                    status = tpool.execute(len, "abc") - 3 + green.await_(asyncio.sleep(0, 0))
                finally:
                    os._exit(status)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        async def main():
            print(*[await asyncio.create_task(bridge.run(body, bridge)) for bridge in ALL.values()])
            print(await green.run(tpool.execute, len, "abc"))

        asyncio.run(main())
        """
    )
    assert output.split() == ["0"] * len(ALL) + ["3"]


# Greenlets inside greenlets


# `ensure_portal` gives the task another greenlet to run in, which those of the others that have begun do not know of.
NESTED = [
    (outer, inner)
    for outer in ALL
    for inner in ALL
    if "green" in (outer, inner) or (outer != inner and inner != "ensured") or outer == "greenback"
]


@pytest.mark.parametrize(("outer", "inner"), NESTED, ids=["/".join(pair) for pair in NESTED])
async def test_nesting(outer: str, inner: str) -> None:
    """Both ways of waiting, in turn, at each of four levels that are inside each other."""
    kinds = [ALL[outer], ALL[inner]]
    steps: list[int] = []

    def level(depth: int) -> int:
        bridge = kinds[depth % 2]
        waits: list[Callable[[], object]] = [
            lambda: bridge.await_(later()),
            lambda: green.await_(later()),
            lambda: green_tpool.execute(len, "abc"),
            lambda: bridge.await_(asyncio.ensure_future(later())),
            lambda: green_tpool.execute(len, "abc"),
            lambda: green_tpool.execute(len, "abc"),
            lambda: bridge.await_(later()),
            lambda: green.sleep(0),
        ]
        below = 0
        for number, wait in enumerate(waits):
            wait()
            steps.append(depth)
            if depth < 3 and number in (1, 4, 5):
                go_down = bridge.await_ if number == 4 else green.await_
                below += go_down(kinds[(depth + 1) % 2].run(level, depth + 1))
                below -= green_tpool.execute(int, 0)
        return 1 + below

    assert await asyncio.gather(*(kinds[0].run(level, 0) for _ in range(2))) == [40, 40]
    assert len(steps) == 2 * 40 * 8


@pytest.mark.parametrize(("outer", "inner"), NESTED, ids=["/".join(pair) for pair in NESTED])
async def test_cancelled_where_both_are_nested(outer: str, inner: str) -> None:
    """Wherever the innermost code waits, the cancellation is raised there, and cleanup may wait at each level."""
    kinds = [ALL[outer], ALL[inner]]
    raised: list[type[BaseException]] = []
    cleaned: list[int] = []

    def level(depth: int, wait: Callable[[], object]) -> None:
        bridge = kinds[depth % 2]
        try:
            green_tpool.execute(len, "abc")
            if depth == 2:
                started.set()
                wait()
            else:
                bridge.await_(kinds[(depth + 1) % 2].run(level, depth + 1, wait))
        except BaseException as error:
            raised.append(type(error))
            raise
        finally:
            green_tpool.execute(len, "abc")
            bridge.await_(later())
            cleaned.append(depth)

    gate = Gate()
    waits: list[Callable[[], object]] = [
        lambda: kinds[0].await_(asyncio.sleep(60)),
        lambda: green.await_(asyncio.sleep(60)),
        lambda: green_tpool.execute(gate),
    ]
    for wait in waits:
        raised.clear()
        cleaned.clear()
        started = asyncio.Event()
        task = asyncio.create_task(kinds[0].run(level, 0, wait))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert raised == [asyncio.CancelledError] * 3
        assert cleaned == [2, 1, 0]
    gate.open()


@pytest.mark.parametrize("name", list(ALL))
def test_a_loop_is_closed_over_the_heads_of_those_who_wait(name: str) -> None:
    """Nothing is said of coroutines that nobody has awaited, and cleanup runs."""
    begun: list[str] = []
    ended: list[str] = []

    def body(wait: Callable[[Any], object]) -> None:
        green_tpool.execute(len, "abc")
        begun.append("try")
        try:
            wait(asyncio.sleep(60))
        finally:
            ended.append("finally")

    def both() -> None:
        ALL[name].await_(green.run(body, ALL[name].await_))

    async def main() -> None:
        if name in ("sqlalchemy", "awaitlet", "greenletio"):
            tasks.append(green.spawn(body, ALL[name].await_).task)
        tasks.append(asyncio.create_task(ALL[name].run(both)))
        while len(begun) < len(tasks):
            await tpool.execute(len, "abc")

    tasks: list[Any] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # which would tell of tasks that were destroyed
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run_until_complete(main())
        loop.close()
        number = len(tasks)
        tasks.clear()
        hubs.get_hub()
        asyncio.run(green.run(green.sleep, 0))  # which sweeps up after loops that have been closed
        for _ in range(3):
            gc.collect()
    assert not [str(warning.message) for warning in caught if "never awaited" in str(warning.message)]
    assert ended == ["finally"] * number
    hubs.get_hub().close()
    assert getcurrent().parent is None
