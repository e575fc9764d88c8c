"""Proxies in async code: which calls go to the pool, what of their results is wrapped, and what is let go of."""

import asyncio
import contextlib
import functools
import gc
import inspect
import json
import math
import threading
import types
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from tests.proxied import Connection, Cursor, Row
from tpool_asyncio import tpool

Proxy = tpool.Proxy


def here() -> int:
    return threading.get_ident()


# Where calls run


async def test_methods_run_in_the_pool_and_are_awaited() -> None:
    connection = Proxy(Connection())
    call = connection.thread()
    assert isinstance(call, asyncio.Future)
    assert await call != here()
    assert await connection.keywords(1, a=2) == ((1,), {"a": 2})
    assert await Proxy(threading).get_ident() != here()
    error = KeyError("as it is")
    with pytest.raises(KeyError) as caught:
        await connection.fails(error)
    assert caught.value is error


async def test_attributes_are_those_of_the_object() -> None:
    connection = Connection("a name")
    proxy = Proxy(connection)
    assert proxy.name == "a name"
    assert proxy.limit == 100
    assert proxy.current is connection.current
    proxy.name = "another"
    assert connection.name == "another"
    proxy.new = 1
    assert connection.__dict__["new"] == 1
    del proxy.new
    assert "new" not in connection.__dict__
    with pytest.raises(AttributeError, match="'Connection' object has no attribute 'missing'"):
        proxy.missing  # noqa: B018
    with pytest.raises(AttributeError):
        del proxy.missing
    assert getattr(proxy, "missing", "default") == "default"
    assert not hasattr(proxy, "missing")
    assert proxy._obj is connection


async def test_all_keywords_are_those_of_the_method() -> None:
    words: dict[str, Any] = {
        word: word
        for word in ("self", "fn", "proxy", "nonblocking", "timeout", "args", "kwargs", "name", "context", "func")
    }
    connection = Proxy(Connection())
    assert await connection.keywords(**words) == ((), words)
    assert await Proxy(dict)(**words) == words
    quick = {word: value for word, value in words.items() if word != "nonblocking"}
    assert await tpool.proxy_call((), dict, **quick) == quick
    with tpool.nonblocking(connection) as view:
        assert await view.keywords(**words) == ((), words)


async def test_async_methods_are_handed_on() -> None:
    connection = Proxy(Connection())
    assert inspect.iscoroutinefunction(connection.waits)
    assert await connection.waits() == here()
    assert [item async for item in connection.gives()] == [here()]


class AsyncCallable:
    async def __call__(self, number: int) -> tuple[int, int]:
        return number, here()

    def thread(self) -> int:
        return here()


async def test_what_is_called_and_awaited_is_handed_on() -> None:
    proxy = Proxy(AsyncCallable())
    assert await proxy(1) == (1, here())
    assert await proxy.thread() != here()
    partial = functools.partial(AsyncCallable().__call__, 2)
    named = functools.wraps(here)(AsyncCallable())
    holder = Proxy(types.SimpleNamespace(partial=functools.partial(partial), nameless=AsyncCallable(), named=named))
    assert await holder.partial() == (2, here())
    assert await holder.nameless(3) == (3, here())
    assert await holder.nameless.thread() != here()
    assert await holder.named(4) == (4, here())


async def test_of_modules_classes_functions_and_partials() -> None:
    assert await Proxy(json).loads("[1]") == [1]
    assert await Proxy(math).floor(1.5) == 1
    kind = Proxy(Connection, Connection)
    made = await kind("made")
    assert type(made) is Proxy
    assert made.name == "made"
    assert await made.thread() != here()
    assert await kind.thread(made._obj) != here()
    assert await Proxy(threading.get_ident)() != here()
    assert await Proxy(functools.partial(int, base=2))("101") == 5
    holder = Proxy(types.SimpleNamespace(binary=functools.partial(int, base=2)))
    assert await holder.binary("110") == 6
    assert await holder.binary("12", base=3) == 5


async def test_exceptions_of_a_proxied_module_can_be_caught() -> None:
    module = Proxy(json, autowrap_names=("JSONDecodeError",))
    assert module.JSONDecodeError is json.JSONDecodeError
    with pytest.raises(module.JSONDecodeError):
        await module.loads("nonsense")
    with contextlib.suppress(module.JSONDecodeError):
        await module.loads("nonsense")


async def test_classes_of_a_proxied_module_serve_isinstance() -> None:
    module = Proxy(json)
    assert isinstance(json.JSONDecoder(), module.JSONDecoder)
    assert not isinstance(1, module.JSONDecoder)
    assert issubclass(json.JSONDecoder, module.JSONDecoder)
    kind: Any = Proxy(Connection)
    assert isinstance(Connection(), kind)
    assert isinstance(Proxy(Connection()), kind)
    assert not isinstance(1, kind)
    assert issubclass(Connection, kind)
    with pytest.raises(TypeError):
        isinstance(1, Proxy(1))  # type: ignore[arg-type]


# What is wrapped


AUTOWRAPS: list[Any] = [
    Cursor,
    (Cursor,),
    [Row, Cursor],
    {Cursor},
    frozenset({Cursor, int}),
    Cursor | Row,
    [Cursor | Row],
    dict.fromkeys([Cursor]),
]


@pytest.mark.parametrize("autowrap", AUTOWRAPS, ids=lambda autowrap: type(autowrap).__name__)
async def test_results_are_wrapped_by_any_collection_of_types(autowrap: Any) -> None:
    for proxy in (Proxy(Connection(), autowrap), Proxy(Connection(), autowrap=autowrap)):
        cursor = await proxy.cursor()
        assert type(cursor) is Proxy
        assert type(cursor._obj) is Cursor
        assert await cursor.thread() != here()
        assert type(await proxy.thread()) is int or int in autowrap


async def test_a_generator_of_types_lasts() -> None:
    proxy = Proxy(Connection(), (kind for kind in (Row, Cursor)))
    for _ in range(2):
        assert type(await proxy.cursor()) is Proxy


async def test_without_autowrap_nothing_is_wrapped() -> None:
    proxy = Proxy(Connection())
    assert type(await proxy.cursor()) is Cursor
    assert type(proxy.current) is Cursor
    assert type(await proxy()) is Cursor


async def test_by_type_at_every_level() -> None:
    proxy = Proxy(Connection(), (Cursor, Row, Connection, Iterator))
    assert type(proxy.current) is Proxy
    assert type(proxy.current.connection) is Proxy
    assert type(await proxy()) is Proxy
    assert type(await proxy["key"]) is Proxy
    row = await (await proxy.cursor()).fetchone()
    assert type(row) is Proxy
    assert await row.thread() != here()
    async with proxy as cursor:
        assert type(cursor) is Proxy
        assert type(cursor.connection) is Proxy
        async with cursor as itself:
            assert itself is cursor
        rows = [row async for row in cursor]
    assert [type(row) for row in rows] == [Proxy] * 3
    assert [row.number for row in rows] == [1, 2, 3]
    generator = await proxy.rows(2)
    assert [type(row) async for row in generator] == [Proxy] * 2
    assert type(await tpool.proxy_call(proxy, Row, 1)) is Proxy
    assert type(await tpool.iterate(proxy.rows, 1).__anext__()) is Proxy


async def test_by_name_whatever_the_type() -> None:
    proxy = Proxy(Connection(), autowrap_names=("cursor", "current", "left", "name"))
    assert type(await proxy.cursor()) is Proxy
    assert type(proxy.current) is Proxy
    assert type(proxy.current.left) is Proxy
    assert (await proxy.current.left.pop()).number == 3
    assert type(proxy.name) is Proxy
    assert proxy.name == "connection"
    assert await proxy.name.upper() == "CONNECTION"
    assert type(await proxy()) is Cursor
    assert type(await proxy.pair()) is tuple
    one = Proxy(Connection(), autowrap_names="cursor")
    assert type(await one.cursor()) is Proxy


@pytest.mark.parametrize("name", ["__call__", "_call_"])
async def test_by_the_name_of_calling(name: str) -> None:
    proxy = Proxy(Connection(), autowrap_names=[name])
    cursor = await proxy()
    assert type(cursor) is Proxy
    assert type(await proxy.cursor()) is Cursor
    assert type(cursor.connection) is Proxy  # as it can be called, and is no function
    assert type(await cursor.connection()) is Proxy


class Point(NamedTuple):
    x: Any
    y: Any


class OwnList(list[Any]):
    pass


async def test_items_of_lists_and_tuples_on_request() -> None:
    plain = Proxy(Connection(), Cursor)
    assert [type(item) for item in await plain.pair()] == [Cursor, str, list]
    proxy = Proxy(Connection(), Cursor, autowrap_items=True)
    pair = await proxy.pair()
    assert type(pair) is tuple
    assert [type(item) for item in pair] == [Proxy, str, list]
    assert type(pair[2][0]) is Proxy
    rows = await Proxy(Cursor(Connection()), Row, autowrap_items=True).fetchall()
    assert type(rows) is list
    assert [type(row) for row in rows] == [Proxy] * 3


async def test_items_of_other_collections_stay_as_they_are() -> None:
    given: list[Any] = [Point(Row(1), Row(2)), OwnList([Row(1)]), {"a": Row(1)}]
    proxy = Proxy(types.SimpleNamespace(give=lambda: given), Row, autowrap_items=True)
    got = await proxy.give()
    assert got == given
    assert got[0] is given[0]
    assert type(got[1][0]) is type(got[2]["a"]) is Row


async def test_items_of_attributes_and_of_what_is_wrapped() -> None:
    holder = types.SimpleNamespace(rows=[Row(1)], cursor=Cursor(Connection()))
    proxy = Proxy(holder, (Row, Cursor), autowrap_items=True)
    assert type(proxy.rows[0]) is Proxy
    assert type((await proxy.cursor.fetchall())[0]) is Proxy
    assert type(holder.rows[0]) is Row


async def test_nothing_is_wrapped_twice() -> None:
    inner = Proxy(Cursor(Connection()))
    proxy = Proxy(types.SimpleNamespace(give=lambda: inner, cursor=inner, many=lambda: [inner]), Cursor)
    assert await proxy.give() is inner
    assert proxy.cursor is inner
    items = Proxy(proxy._obj, Cursor, autowrap_items=True)
    assert (await items.many())[0] is inner
    named = Proxy(proxy._obj, autowrap_names=("give", "cursor"))
    assert await named.give() is inner
    assert named.cursor is inner
    assert type(await Proxy(proxy._obj, Proxy).give()) is Proxy
    assert type(inner._obj) is Cursor


async def test_none_is_never_wrapped() -> None:
    proxy = Proxy(Connection(), (types.NoneType, object), autowrap_names=("nothing", "name"), autowrap_items=True)
    proxy._obj.name = None
    assert await proxy.nothing() is None
    assert proxy.name is None
    holder = Proxy(types.SimpleNamespace(give=lambda: [None]), types.NoneType, autowrap_items=True)
    assert await holder.give() == [None]
    assert (await holder.give())[0] is None


@pytest.mark.parametrize("autowrap", [(), Cursor])
async def test_a_method_that_returns_the_object_gives_the_proxy(autowrap: Any) -> None:
    cursor = Proxy(Cursor(Connection()), autowrap)
    assert await cursor.execute("a statement") is cursor
    assert await (await cursor.execute()).execute() is cursor
    async with cursor as entered:
        assert entered is cursor
    assert await tpool.proxy_call(cursor, lambda: cursor._obj) is cursor
    named = Proxy(cursor._obj, autowrap, autowrap_names="execute")
    assert await named.execute() is named


@pytest.mark.parametrize("autowrap", [(), Connection])
async def test_an_attribute_that_is_the_object_is_the_proxy(autowrap: Any) -> None:
    connection = Proxy(Connection(), autowrap)
    assert connection.itself is connection
    assert connection.itself.itself is connection


async def test_what_is_set_is_what_the_object_gets() -> None:
    holder = types.SimpleNamespace()
    row = Proxy(Row(1))
    proxy = Proxy(holder)
    proxy.row = row
    assert holder.row is row
    assert proxy.row is row


# What is let go of


class Big:
    def same(self, other: object) -> object:
        return other


@pytest.mark.parametrize("autowrap", [(), Big])
async def test_objects_arguments_and_results_are_let_go_of(autowrap: Any) -> None:
    obj, argument = Big(), Big()
    references: list[weakref.ref[Any]] = [weakref.ref(obj), weakref.ref(argument)]
    proxy = Proxy(obj, autowrap)
    result: Any = await proxy.same(argument)
    assert result == argument
    references.append(weakref.ref(proxy))
    references.append(weakref.ref(result))
    del result, argument
    await asyncio.sleep(0)
    assert references[1]() is references[3]() is None
    method = proxy.same
    del obj, proxy
    assert references[0]() is not None
    del method
    assert [reference() for reference in references] == [None] * 4


async def test_it_can_be_weakly_referenced_and_is_no_cycle() -> None:
    gc.disable()
    try:
        proxy = Proxy(Cursor(Connection()), (Row, Connection))
        references = [weakref.ref(proxy), weakref.ref(proxy._obj)]
        assert [row.number async for row in proxy] == [1, 2, 3]
        assert type(proxy.connection) is Proxy
        await proxy.execute()
        del proxy
        await asyncio.sleep(0)
        assert [reference() for reference in references] == [None] * 2
    finally:
        gc.enable()


async def test_a_context_manager_of_the_library_closes_it() -> None:
    connection = Connection()

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Proxy]:
        proxy = Proxy(connection)
        try:
            yield proxy
        finally:
            await proxy.close()

    async with opened() as proxy:
        assert await proxy.thread() != here()
    assert connection.closed == 1
