"""Proxies in async code: what they pass for, subclasses, and `nonblocking` and `proxy_call`."""

import asyncio
import copy
import functools
import inspect
import rlcompleter
import threading
import types
from typing import Any, ClassVar, Self
from unittest import mock

import pytest

from tests.proxied import Connection, Cursor, Row
from tpool_asyncio import tpool

Proxy = tpool.Proxy


def here() -> int:
    return threading.get_ident()


# What it passes for


async def test_it_is_a_proxy_and_what_its_object_is() -> None:
    proxy = Proxy(Connection())
    assert isinstance(proxy, Proxy)
    assert isinstance(proxy, Connection)
    assert not isinstance(proxy, Cursor)
    assert type(proxy) is Proxy
    assert proxy.__class__ is Connection
    assert isinstance(Proxy([1]), list)
    child = await Proxy(Connection(), Cursor).cursor()
    assert isinstance(child, Cursor)
    assert isinstance(child, Proxy)

    class Other(Connection):
        pass

    proxy.__class__ = Other
    assert type(proxy._obj) is Other
    assert isinstance(proxy, Other)


def test_it_passes_for_what_its_object_passes_for() -> None:
    proxy = Proxy(mock.Mock(spec=Connection))
    assert isinstance(proxy, Connection)
    assert not isinstance(proxy, Cursor)


async def test_names_are_those_of_the_object() -> None:
    proxy = Proxy(Connection())
    assert dir(proxy) == dir(proxy._obj)
    completer = rlcompleter.Completer({"proxy": proxy})
    found = [completer.complete("proxy.cu", state) for state in range(3)]
    assert [name and name.rstrip("()") for name in found] == ["proxy.current", "proxy.cursor", None]
    assert completer.complete("proxy._tpool", 0) is None


async def test_a_method_passes_for_the_method() -> None:
    proxy = Proxy(Connection())
    assert proxy.thread.__name__ == "thread"
    assert proxy.thread.__qualname__ == "Connection.thread"
    assert proxy.thread.__doc__ == "Return the thread of this call."
    assert inspect.getdoc(proxy.thread) == "Return the thread of this call."
    assert inspect.signature(proxy.rows) == inspect.signature(proxy._obj.rows)
    assert proxy.thread.__wrapped__ == proxy._obj.thread
    assert proxy.thread.__self__ is proxy
    assert proxy.thread == proxy.thread
    assert {proxy.thread: 1}[proxy.thread] == 1
    other = Proxy(Connection())
    assert proxy.thread not in (proxy.cursor, other.thread, proxy._obj.thread, functools.partial(proxy.thread))
    assert repr(proxy.thread).endswith(", which runs in a pool>")
    assert "bound method Connection.thread" in repr(proxy.thread)
    assert callable(proxy.thread)
    assert copy.copy(method := proxy.thread) is method
    assert copy.deepcopy(method) is method
    method = proxy.thread
    del proxy
    assert await method() != here()
    with pytest.raises(AttributeError):
        method.missing  # noqa: B018


async def test_methods_of_the_object_may_have_any_name() -> None:
    names = ("create", "execute", "obj", "pool", "pin", "policy", "names", "children", "mro", "nonblocking")
    proxy = Proxy(types.SimpleNamespace(**{name: functools.partial(str, name) for name in names}))
    assert [await getattr(proxy, name)() for name in names] == list(names)


# Subclasses


class Logged(Proxy):
    """Notes what is asked of its object, and keeps that for what it wraps."""

    log: ClassVar[list[str]] = []
    label = "none"

    def __init__(self, obj: Any, label: str) -> None:
        super().__init__(obj, (Cursor, Row))
        self.label = label
        type(self).log.clear()

    def __getattr__(self, name: str) -> Any:
        self.log.append(name)
        return super().__getattr__(name)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        self.log.append("()")
        return super().__call__(*args, **kwargs)


async def test_a_subclass_keeps_itself_and_its_attributes_at_every_level() -> None:
    connection = Connection()
    proxy = Logged(connection, "a label")
    assert not hasattr(connection, "label")
    cursor = await proxy.cursor()
    assert type(cursor) is Logged
    assert cursor.label == "a label"
    row = await cursor.fetchone()
    assert type(row) is Logged
    assert row.label == "a label"
    assert row.number == 1
    called = await proxy("argument")
    assert type(called) is Logged
    assert type(proxy.current) is Logged
    assert [type(row) async for row in cursor] == [Logged] * 2
    assert await cursor.execute() is cursor
    assert proxy.log == ["cursor", "fetchone", "number", "()", "current", "execute"]
    cursor.label = "its own"
    assert proxy.label == "a label"
    assert type(await copy.copy(proxy)) is Logged
    with tpool.nonblocking(proxy) as view:
        assert type(view) is Logged
        assert view.label == "a label"


class WithMethods(Proxy):
    """Has methods of its own, and a constructor that wants something else."""

    def __new__(cls, host: str, *, port: int) -> Self:
        return super().__new__(cls)

    def __init__(self, host: str, *, port: int) -> None:
        super().__init__(Connection(f"{host}:{port}"), Cursor, autowrap_names="itself")

    async def names(self) -> list[str]:
        return [self.name, (await self.cursor()).connection.name]

    @property
    def doubled(self) -> str:
        return str(self.name * 2)


async def test_a_subclass_with_methods_and_a_constructor_of_its_own() -> None:
    proxy = WithMethods("host", port=1)
    assert await proxy.names() == ["host:1", "host:1"]
    assert proxy.doubled == "host:1host:1"
    assert type(await proxy.cursor()) is WithMethods
    assert isinstance(proxy, Connection)
    assert isinstance(proxy, WithMethods)


async def test_a_subclass_that_does_not_call_the_constructor() -> None:
    class Careless(Proxy):
        def __init__(self) -> None:
            pass

    proxy = Careless()
    with pytest.raises(RuntimeError, match=r"Careless has no object; a subclass has to call super\(\).__init__\(obj"):
        proxy.name  # noqa: B018
    with pytest.raises(RuntimeError, match="Careless has no object"):
        await proxy()
    assert "Careless" in repr(proxy)
    assert isinstance(proxy, Proxy)


# What is known not to block


async def test_nonblocking_calls_run_in_place_and_are_awaited() -> None:
    connection: Any = Proxy(Connection(), Cursor)
    with tpool.nonblocking(connection) as quick:
        call = quick.thread()
        assert call.done()
        assert await call == here()
        assert await connection.thread() != here()
        cursor = await quick.cursor()
        assert await cursor.thread() != here()  # its calls block again
        assert quick == connection
        async with quick as cursor:
            assert await cursor.thread() != here()
        with pytest.raises(KeyError, match="in place"):
            await quick.fails(KeyError("in place"))
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await quick.fails(StopIteration())
        with pytest.raises(ZeroDivisionError):
            await (tpool.nonblocking(Proxy(1)).__enter__() / 0)
    cursor = Proxy(Cursor(Connection()))
    with tpool.nonblocking(cursor) as quick:
        async with quick:
            pass
    assert cursor.threads == [here()] * 2
    assert quick._obj is cursor._obj


async def test_nonblocking_needs_a_proxy() -> None:
    with pytest.raises(TypeError, match=r"needs a Proxy of tpool_asyncio.tpool, not Connection"):
        tpool.nonblocking(Connection())  # type: ignore[type-var]
    unmade = Proxy.create(Connection)
    with pytest.raises(RuntimeError, match="has not been made yet"):
        tpool.nonblocking(unmade)


# proxy_call


async def test_proxy_call_wraps_by_type() -> None:
    assert type(await tpool.proxy_call(Cursor, Connection().cursor)) is Proxy
    assert type(await tpool.proxy_call((), Connection().cursor)) is Cursor
    assert type(await tpool.proxy_call([Row, Cursor], Connection, "name")) is Connection
    assert await tpool.proxy_call((), Connection().thread) != here()
    call = tpool.proxy_call(Cursor, Connection().thread, nonblocking=True)
    assert isinstance(call, asyncio.Future)
    assert await call == here()
    assert type(await tpool.proxy_call(Cursor, Connection().cursor, nonblocking=True)) is Proxy
    assert await tpool.proxy_call((), dict, autowrap=1, fn=2, args=3) == {"autowrap": 1, "fn": 2, "args": 3}
    error = KeyError("as it is")
    with pytest.raises(KeyError) as caught:
        await tpool.proxy_call((), Connection().fails, error)
    assert caught.value is error


async def test_proxy_call_with_a_proxy_lends_its_policy(pool: tpool.Pool) -> None:
    class Slow:
        @property
        def where(self) -> int:
            return threading.get_ident()

        @property
        def cursor(self) -> Cursor:
            return Cursor(Connection())

    proxy = Logged(Slow(), "a label")
    assert await tpool.proxy_call(proxy, getattr, proxy._obj, "where") != here()
    cursor = await tpool.proxy_call(proxy, getattr, proxy._obj, "cursor")
    assert type(cursor) is Logged
    assert cursor.label == "a label"
    own = Proxy(Slow(), pool=pool)
    await tpool.proxy_call(own, getattr, own._obj, "where")
    assert pool.statistics().completed == 1


async def test_proxy_call_refuses_what_is_wrong() -> None:
    with pytest.raises(TypeError, match="the first argument must be callable, not 3"):
        tpool.proxy_call((), 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="autowrap takes a type or a collection of types, not 3"):
        tpool.proxy_call(3, int)  # type: ignore[arg-type]
