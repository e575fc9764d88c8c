"""Proxies in async code of objects that are made later, in the pool."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tests.proxied import Connection, Cursor, Row
from tpool_asyncio import tpool

Proxy = tpool.Proxy

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


def here() -> int:
    return threading.get_ident()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


class Maker:
    """A factory that counts, and that can be held up."""

    def __init__(self, *, held: bool = False) -> None:
        self.gate = Gate()
        if not held:
            self.gate.open()
        self.threads: list[int] = []

    def __call__(self, *args: Any) -> Connection:
        self.gate()
        self.threads.append(here())
        return Connection(*args)


# Objects that are made later


async def test_create_makes_the_object_in_the_pool_when_it_is_awaited() -> None:
    maker = Maker()
    proxy: Any = Proxy.create(maker, "a name", autowrap=Cursor)
    assert type(proxy) is Proxy
    assert maker.threads == []
    assert "has not been made" in repr(proxy) == str(proxy)
    assert isinstance(proxy, Proxy)
    assert not isinstance(proxy, Connection)
    assert await proxy is proxy
    assert maker.threads != [here()]
    assert proxy.name == "a name"
    assert type(await proxy.cursor()) is Proxy
    assert await proxy is proxy
    assert len(maker.threads) == 1
    assert isinstance(proxy, Connection)


async def test_create_in_async_with() -> None:
    cursors: list[Cursor] = []

    def factory() -> Cursor:
        cursors.append(Cursor(Connection()))
        return cursors[0]

    async with Proxy.create(factory) as cursor:
        assert type(cursor) is Proxy
        assert cursor._obj is cursors[0]
        assert len(cursors[0].threads) == 1
    assert len(cursors[0].threads) == 2
    assert here() not in cursors[0].threads


async def test_what_has_been_made_already_can_be_awaited() -> None:
    proxy = Proxy(Connection())
    assert await proxy is proxy


UNMADE: list[Callable[[Any], Any]] = [
    lambda p: p.name,
    lambda p: p(),
    lambda p: p["key"],
    lambda p: setattr(p, "name", 1),
    lambda p: delattr(p, "name"),
    lambda p: operator_in(p),
    lambda p: len(p),
    lambda p: bool(p),
    lambda p: p + 1,
    lambda p: 1 + p,
    lambda p: int(p),
    lambda p: dir(p),
    lambda p: f"{p:3}",
    lambda p: p._obj,
    lambda p: p.__aiter__(),
    lambda p: Proxy(p),
    lambda p: isinstance(1, p),
]


def operator_in(proxy: Any) -> bool:
    return 1 in proxy


@pytest.mark.parametrize("use", UNMADE)
async def test_use_before_it_is_made_is_a_clear_error(use: Callable[[Any], Any]) -> None:
    proxy = Proxy.create(Maker())
    with pytest.raises(RuntimeError, match=r"test_proxy_create.Maker returns has not been made yet; await the proxy"):
        use(proxy)


async def test_before_it_is_made_it_is_equal_to_itself_only() -> None:
    proxies = [Proxy.create(list), Proxy.create(list)]
    assert len(set(proxies)) == 2
    assert proxies[0] == proxies[0]
    assert proxies[0] != proxies[1]
    made: list[Any] = await asyncio.gather(*proxies)  # which hashes them
    assert made == [[], []]


async def test_concurrent_awaits_make_it_once() -> None:
    maker = Maker(held=True)
    proxy = Proxy.create(maker)

    async def wait() -> Any:
        return await proxy

    waiting = [asyncio.create_task(wait()) for _ in range(5)]
    await until(lambda: maker.gate.calls)
    maker.gate.open()
    assert all(made is proxy for made in await asyncio.gather(*waiting))
    assert len(maker.threads) == 1


async def test_two_loops_that_await_it_at_once_make_it_once() -> None:
    maker = Maker(held=True)
    proxy = Proxy.create(maker)

    async def wait() -> Any:
        return (await proxy).name

    waiting = asyncio.create_task(wait())
    await until(lambda: maker.gate.calls)
    elsewhere = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(wait())))
    await until(lambda: tpool.statistics().busy == 2)
    maker.gate.open()
    assert [await waiting, await elsewhere] == ["connection"] * 2
    assert len(maker.threads) == 1


async def test_a_cancelled_await_leaves_it_made(loop_errors: LoopErrors) -> None:
    maker = Maker(held=True)
    proxy = Proxy.create(maker)

    async def wait() -> Any:
        return await proxy

    waiting = asyncio.create_task(wait())
    await until(lambda: maker.gate.calls)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    maker.gate.open()
    await proxy
    assert proxy.name == "connection"
    assert len(maker.threads) == 1
    assert loop_errors == []


async def test_an_error_of_the_factory_and_another_attempt() -> None:
    errors: list[BaseException] = [KeyError("one"), OSError("two")]

    def factory() -> Connection:
        if errors:
            raise errors.pop(0)
        return Connection()

    proxy = Proxy.create(factory)
    with pytest.raises(KeyError, match="one"):
        await proxy
    with pytest.raises(RuntimeError, match="has not been made yet"):
        proxy.name  # noqa: B018
    with pytest.raises(OSError, match="two"):
        async with proxy:
            pass
    await proxy
    assert proxy.name == "connection"


async def coroutine() -> None:
    pass


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: None, "not None; what was to make it"),
        (lambda: coroutine(), "which can be awaited as it is"),
        (lambda: coroutine, "which can be awaited as it is"),
    ],
)
async def test_a_factory_that_returns_what_has_no_use_for_a_proxy(factory: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await Proxy.create(factory)
    gc.collect()  # which would complain of a coroutine that was never awaited


async def test_a_factory_that_returns_a_proxy() -> None:
    inner = Proxy(Connection())
    proxy = await Proxy.create(lambda: inner)
    assert proxy._obj is inner._obj


@pytest.mark.parametrize("factory", [3, None, coroutine])
async def test_create_takes_a_function_that_blocks(factory: Any) -> None:
    with pytest.raises(TypeError, match="create takes what makes the object"):
        Proxy.create(factory)


async def test_create_closes_a_coroutine() -> None:
    with pytest.raises(TypeError, match="create takes what makes the object"):
        Proxy.create(coroutine())  # type: ignore[arg-type]
    gc.collect()


async def test_create_has_the_options_of_the_constructor(pool: tpool.Pool) -> None:
    with pytest.raises(TypeError, match="autowrap takes"):
        Proxy.create(Connection, autowrap=3)  # type: ignore[arg-type]
    gate = Gate()
    with pytest.raises(TimeoutError, match=r"gate.Gate took longer than its timeout of 0.01 s"):
        await Proxy.create(gate, timeout=0.01, pool=pool)
    gate.open()
    assert pool.statistics().submitted == 1


async def test_a_factory_and_its_arguments_are_let_go_of() -> None:
    maker, argument = Maker(), Row(1)
    references: list[weakref.ref[Any]] = [weakref.ref(maker), weakref.ref(argument)]
    proxy = Proxy.create(maker, argument)
    await proxy
    proxy.name = "another"
    del maker, argument
    await asyncio.sleep(0)
    assert [reference() for reference in references] == [None, None]
    assert proxy.name == "another"


@pytest.mark.parametrize("use", ["await", "async with", "closing"])
async def test_a_proxy_whose_object_could_not_be_made_leaves_nothing_to_the_garbage_collector(use: str) -> None:
    def fails() -> Connection:
        raise LookupError("no connection today")

    async def try_it() -> "weakref.ref[Any]":
        proxy: Any = Proxy.create(fails, pin=True)
        try:
            if use == "await":
                await proxy
            else:
                async with proxy if use == "async with" else tpool.closing(proxy):
                    pytest.fail("there is nothing to use")
        except LookupError:
            pass
        return weakref.ref(proxy)

    gc.collect()
    gc.disable()
    try:
        reference = await try_it()
        await until(lambda: reference() is None)  # and with it goes its thread
    finally:
        gc.enable()


async def test_what_is_made_when_the_time_for_it_is_over_is_closed_at_the_end_of_closing() -> None:
    maker, made = Maker(held=True), list[Connection]()

    def make() -> Connection:
        made.append(maker())
        return made[0]

    proxy: Any = Proxy.create(make, timeout=3600)

    async def use() -> None:
        async with tpool.closing(proxy):
            pytest.fail("there is nothing to use")

    using = asyncio.create_task(use())
    await until(lambda: maker.gate.calls)
    object.__getattribute__(proxy, "_tpool_maker").call()._expire(3600.0)  # as its clock does
    with pytest.raises(TimeoutError):
        await using
    assert made == []
    maker.gate.open()
    await until(lambda: made and made[0].closed)
