"""Proxies in async code: options, cancellation, bad input, and several loops."""

import asyncio
import contextvars
import functools
import gc
import threading
import types
from collections.abc import Callable
from typing import Any, Self

import anyio
import pytest

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tests.proxied import Connection, Cursor
from tests.test_hubs import in_thread
from tpool_asyncio import from_thread, tpool
from tpool_asyncio.green import tpool as green_tpool

Proxy = tpool.Proxy

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


def here() -> int:
    return threading.get_ident()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def coroutine() -> None:
    pass


# Options


def waiter(gate: Gate) -> Any:
    return types.SimpleNamespace(wait=gate)


async def test_a_timeout_holds_for_each_call_and_at_every_level(pool: tpool.Pool) -> None:
    gate = Gate()
    inner = types.SimpleNamespace(wait=gate)
    proxy = Proxy(types.SimpleNamespace(inner=inner), types.SimpleNamespace, timeout=0.01, pool=pool)
    call = proxy.inner.wait()
    gate.wait_begun()
    with pytest.raises(TimeoutError, match="Gate took longer than its timeout"):
        await call
    assert pool.statistics().abandoned == 1
    gate.open()


async def test_a_queue_timeout() -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()
        blocker = pool.execute(gate)
        gate.wait_begun()
        with pytest.raises(TimeoutError, match="waited longer than its queue_timeout"):
            await Proxy(Connection(), queue_timeout=0.01, pool=pool).thread()
        gate.open()
        await blocker


async def test_on_cancel_wait(pool: tpool.Pool) -> None:
    gate = Gate()
    call = Proxy(waiter(gate), on_cancel="wait", pool=pool).wait()
    gate.wait_begun()
    call.cancel()
    await asyncio.sleep(0)
    assert not call.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_limiter_admits_the_calls_of_the_whole_family(pool: tpool.Pool) -> None:
    gate = Gate()
    limiter = anyio.CapacityLimiter(1)
    inner = types.SimpleNamespace(wait=gate)
    proxy = Proxy(types.SimpleNamespace(wait=gate, inner=inner), types.SimpleNamespace, limiter=limiter, pool=pool)
    calls = [proxy.wait(1), proxy.inner.wait(2)]
    await until(lambda: gate.calls)
    assert limiter.borrowed_tokens == 1
    assert limiter.statistics().tasks_waiting == 1
    assert gate.calls == 1
    gate.open()
    assert await asyncio.gather(*calls) == [1, 2]


async def test_a_context_of_its_own() -> None:
    context = contextvars.copy_context()
    context.run(VAR.set, "from outside")
    proxy = Proxy(VAR, context=context)
    assert await proxy.get() == "from outside"
    await proxy.set("from inside")
    assert context[VAR] == "from inside"
    assert VAR.get() == "unset"
    VAR.set("of the caller")
    assert await Proxy(VAR).get() == "of the caller"


async def test_a_name_in_messages() -> None:
    async with tpool.Pool(2) as pool:
        gate = Gate()
        call = Proxy(waiter(gate), name="a name", pool=pool).wait()
        gate.wait_begun()
        with pytest.raises(tpool.StillRunningError) as caught:
            await pool.killall(timeout=0)
        assert [running.name for running in caught.value.calls] == ["a name"]
        gate.open()
        await call


async def test_without_a_name_messages_call_the_method() -> None:
    async with tpool.Pool(2) as pool:
        gate = Gate()
        call = Proxy(types.SimpleNamespace(method=functools.partial(gate)), pool=pool).method()
        assert "gate.Gate" in repr(call)
        gate.wait_begun()
        with pytest.raises(tpool.StillRunningError) as caught:
            await pool.killall(timeout=0)
        assert [running.name for running in caught.value.calls] == ["tests.gate.Gate"]
        gate.open()
        await call


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_a_batch() -> None:
    read: list[int] = []

    def source() -> Any:
        for number in range(5):
            read.append(number)
            yield number

    async with aiter(Proxy(source(), batch=2)) as numbers:
        assert await anext(numbers) == 0
        assert read == [0, 1]


# Cancellation


async def test_a_queued_call_that_is_cancelled_never_runs() -> None:
    async with tpool.Pool(1) as pool:
        gate, never = Gate(), Gate()
        proxy = Proxy(types.SimpleNamespace(block=gate, never=never), pool=pool)
        blocker = proxy.block()
        gate.wait_begun()
        call = proxy.never()
        assert call.cancel()
        gate.open()
        await blocker
        with pytest.raises(asyncio.CancelledError):
            await call
        assert never.calls == 0
        assert pool.statistics().cancelled == 1


async def test_a_running_call_that_is_cancelled_is_abandoned(pool: tpool.Pool, loop_errors: LoopErrors) -> None:
    gate = Gate()

    def fails() -> None:
        gate()
        raise KeyError("too late")

    call = Proxy(types.SimpleNamespace(fails=fails), pool=pool).fails()
    gate.wait_begun()
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert pool.statistics().abandoned == 1
    gate.open()
    await until(lambda: loop_errors)
    assert "fails raised an exception after its caller had stopped waiting" in str(loop_errors[0]["message"])


class Managed:
    """A context manager whose end can be seen."""

    def __init__(self) -> None:
        self.left: list[tuple[object, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> bool:
        self.left.append(failure)
        return isinstance(failure[1], KeyError)


async def test_the_end_of_async_with_gets_the_error_and_may_swallow_it() -> None:
    managed = Managed()
    async with Proxy(managed):
        raise KeyError("swallowed")
    with pytest.raises(OSError, match="passed on"):
        async with Proxy(managed):
            raise OSError("passed on")
    async with Proxy(managed):
        pass
    assert [failure[0] for failure in managed.left] == [KeyError, OSError, None]


async def test_the_end_of_async_with_runs_although_cancelled_and_queued() -> None:
    async with tpool.Pool(1) as pool:
        managed, gate, inside = Managed(), Gate(), asyncio.Event()
        proxy = Proxy(managed, pool=pool)

        async def use() -> None:
            async with proxy:
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(use())
        await inside.wait()
        blocker = pool.execute(gate)
        gate.wait_begun()
        task.cancel()
        await until(lambda: pool.statistics().queued)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert managed.left == []
        gate.open()
        await blocker
        await until(lambda: managed.left)
        assert managed.left[0][0] is asyncio.CancelledError
        await until(lambda: not pool.statistics().busy)


# Bad input


async def async_with_argument(argument: object) -> None:
    pass


class WithAsyncMethod:
    async def method(self) -> None:
        pass


@pytest.mark.parametrize("obj", [coroutine, WithAsyncMethod().method, functools.partial(async_with_argument, 1)])
def test_a_coroutine_function_needs_no_proxy(obj: Any) -> None:
    with pytest.raises(TypeError, match=r"takes an object that blocks, not .* which can be awaited as it is"):
        Proxy(obj)


def test_none_and_coroutines_are_refused() -> None:
    with pytest.raises(TypeError, match="not None; what was to make it"):
        Proxy(None)
    with pytest.raises(TypeError, match="which can be awaited as it is"):
        Proxy(coroutine())
    gc.collect()  # which would complain of a coroutine that was never awaited


def test_a_proxy_of_a_proxy_is_one_of_the_same_object() -> None:
    connection = Connection()
    inner = Proxy(connection, Cursor)
    outer = Proxy(inner)
    assert outer._obj is connection
    assert type(outer.current) is Cursor  # by its own policy
    assert Proxy(green_tpool.Proxy(connection))._obj is connection


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"autowrap": 3}, TypeError, "autowrap takes a type or a collection of types, not 3"),
        ({"autowrap": "cursor"}, TypeError, "not 'cursor'; names go into autowrap_names"),
        ({"autowrap": ["cursor"]}, TypeError, "autowrap takes a type"),
        ({"autowrap": None}, TypeError, "autowrap takes a type"),
        ({"autowrap": list[int]}, TypeError, "autowrap takes a type"),
        ({"autowrap_names": 3}, TypeError, "autowrap_names takes a collection of strings"),
        ({"autowrap_names": Cursor}, TypeError, "types go into autowrap"),
        ({"autowrap_names": [Cursor]}, TypeError, "types go into autowrap"),
        ({"batch": 0}, ValueError, "batch"),
        ({"batch": "1"}, ValueError, "batch"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds"),
        ({"queue_timeout": -1}, ValueError, "queue_timeout"),
        ({"on_cancel": "ignore"}, ValueError, "on_cancel"),
        ({"limiter": 3}, TypeError, "limiter"),
        ({"context": {}}, TypeError, "context"),
        ({"name": 3}, TypeError, "name must be a string"),
        ({"pool": 3}, TypeError, "pool must be a tpool_asyncio.tpool.Pool, not 3"),
        ({"pool": tpool.options(timeout=1)}, TypeError, "options are given to the proxy"),
        ({"pool": green_tpool.default_pool()}, TypeError, "pool must be a tpool_asyncio.tpool.Pool"),
        ({"timeuot": 1}, TypeError, "timeuot"),
    ],
)
@pytest.mark.parametrize("pin", [False, True])
def test_wrong_arguments_are_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], message: str, pin: bool
) -> None:
    with pytest.raises(error, match=message):
        Proxy(Connection(), pin=pin, **arguments)
    with pytest.raises(error, match=message):
        Proxy.create(Connection, pin=pin, **arguments)
    assert tpool.statistics().pinned == 0  # no thread has been taken


def test_a_call_needs_a_loop() -> None:
    proxy = Proxy(Connection())
    with pytest.raises(RuntimeError, match="needs an event loop that runs in this thread"):
        proxy.thread()
    with pytest.raises(RuntimeError, match="needs an event loop that runs in this thread"):
        tpool.nonblocking(proxy).__enter__().thread()
    assert proxy.name == "connection"


async def test_an_attribute_that_raises_on_access_raises_as_it_is() -> None:
    error = ValueError("as it is")

    class Raises:
        @property
        def value(self) -> None:
            raise error

    with pytest.raises(ValueError, match="as it is") as caught:
        Proxy(Raises()).value  # noqa: B018
    assert caught.value is error
    with pytest.raises(ValueError, match="as it is"):
        await tpool.proxy_call((), getattr, Raises(), "value")


class Looping:
    def __getattr__(self, name: str) -> Any:
        return getattr(self, name + "_")


class CallableLooping(Looping):
    def __call__(self) -> str:
        return "called"


async def test_an_object_whose_getattr_loops() -> None:
    for obj in (Looping(), CallableLooping()):
        proxy = Proxy(obj)
        with pytest.raises(RecursionError):
            proxy.anything  # noqa: B018
        assert isinstance(proxy, Looping)
    assert await Proxy(CallableLooping())() == "called"


async def test_an_object_that_answers_whatever_it_is_asked() -> None:
    class Remote:
        def __init__(self) -> None:
            self.__dict__["asked"] = []

        def __getattr__(self, name: str) -> Any:
            self.asked.append(name)
            raise RuntimeError("not connected")

        def __call__(self) -> str:
            return "called"

    remote = Remote()
    proxy = Proxy(remote)
    assert remote.asked == []  # for that may block
    assert await proxy() == "called"
    with pytest.raises(RuntimeError, match="not connected"):
        proxy.anything  # noqa: B018


async def test_errors_that_a_future_cannot_hold() -> None:
    proxy = Proxy(Connection())
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await proxy.fails(StopIteration("value"))
    assert isinstance(caught.value.__cause__, StopIteration)


# More than one loop, and calls from inside


async def test_two_loops_at_once_use_one_proxy() -> None:
    gate = Gate()
    holder = types.SimpleNamespace(wait=gate, rows=Cursor(Connection()))
    proxy = Proxy(holder, Cursor)

    async def use() -> list[Any]:
        return [await proxy.wait("elsewhere"), [row.number async for row in proxy.rows]]

    call = proxy.wait("here")
    elsewhere = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(use())))
    await until(lambda: gate.calls == 2)
    gate.open()
    assert await call == "here"
    assert await elsewhere == ["elsewhere", [1, 2, 3]]


async def test_one_after_another_loops_use_one_proxy() -> None:
    proxy = Proxy(Connection())

    async def use() -> Any:
        return await proxy.keywords(1)

    for _ in range(2):
        assert in_thread(lambda: asyncio.run(use())) == ((1,), {})


async def test_a_method_that_asks_the_loop_for_the_proxy() -> None:
    connection = Connection()
    proxy: Any = Proxy(types.SimpleNamespace(ask=lambda: from_thread.run(inner), thread=connection.thread))

    async def inner() -> Any:
        return await proxy.thread()

    assert await proxy.ask() != here()
