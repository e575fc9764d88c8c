"""Where each special method of a proxied object runs: in both spellings as the table in docs/proxy.md says."""

import asyncio
import copy
import inspect
import math
import operator
import os
import pickle
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tpool_asyncio import green, tpool
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.hubs import Hub

PAGE = Path(__file__).parent.parent / "docs" / "proxy.md"

AWAITED, POOLED, IN_PLACE, NEVER = "in the pool, awaited", "in the pool", "in place", "not at all"

PLUMBING = {
    "__annotations__",
    "__class__",
    "__delattr__",
    "__doc__",
    "__firstlineno__",
    "__getattr__",
    "__init__",
    "__module__",
    "__qualname__",
    "__setattr__",
    "__slots__",
    "__static_attributes__",
    "__weakref__",
}
"""What makes up a class, and the access to attributes, which the test of `test_proxy` has."""


class Row(NamedTuple):
    """What the table says of a special method."""

    name: str
    in_async_code: str
    in_green_code: str


def table() -> list[Row]:
    """The table of the documentation, one row for each special method."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Special methods\n")[2].partition("\n## ")[0]
    rows: list[Row] = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) >= 3 and (names := re.findall(r"`(__\w+__)`", cells[0])):
            rows.extend(Row(name, cells[1], cells[2]) for name in names)
    return rows


ROWS = table()


# The object


class Visit(NamedTuple):
    """One call of a special method."""

    name: str
    args: tuple[Any, ...]
    thread: int


ANSWERS: dict[str, Any] = {
    "__bool__": False,
    "__bytes__": b"bytes",
    "__complex__": 1j,
    "__contains__": True,
    "__delitem__": None,
    "__dir__": ["a_name"],
    "__enter__": "what as names",
    "__exit__": None,
    "__float__": 2.5,
    "__format__": "a format",
    "__fspath__": "/a/path",
    "__hash__": 11,
    "__index__": 6,
    "__instancecheck__": True,
    "__int__": 4,
    "__len__": 3,
    "__next__": "the next",
    "__repr__": "a repr",
    "__setitem__": None,
    "__str__": "a str",
    "__subclasscheck__": True,
}
"""What special methods return that cannot return just anything."""

BINARY = ["add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "lshift", "rshift", "and", "or", "xor"]

COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]


def operation(name: str) -> Callable[[Any, Any], Any]:
    """The function of `operator` for ``name``, which may be a keyword."""
    function: Callable[[Any, Any], Any] = getattr(operator, f"__{name}__")
    return function


def before_5(operation: Callable[[Any, Any], Any], proxy: Any) -> Any:
    return operation(proxy, 5)


def after_5(operation: Callable[[Any, Any], Any], proxy: Any) -> Any:
    return operation(5, proxy)


async def entered(proxy: Any) -> Any:
    async with proxy as value:
        return value


async def items_of(proxy: Any) -> list[Any]:
    return [item async for item in proxy]


async def awaited(proxy: Any) -> Any:
    return await proxy


def green_entered(proxy: Any) -> Any:
    with proxy as value:
        return value


USES: dict[str, Callable[[Any], Any]] = {
    **{f"__{name}__": partial(before_5, operation(name)) for name in BINARY + COMPARISONS},
    **{f"__r{name}__": partial(after_5, operation(name)) for name in BINARY},
    **{f"__i{name}__": partial(before_5, operation(f"i{name}")) for name in [*BINARY, "pow"]},
    "__abs__": abs,
    "__aenter__": entered,
    "__aexit__": entered,
    "__aiter__": items_of,
    "__anext__": lambda p: p.__anext__(),
    "__await__": awaited,
    "__bool__": bool,
    "__bytes__": bytes,
    "__call__": lambda p: p(5),
    "__ceil__": math.ceil,
    "__complex__": complex,
    "__contains__": lambda p: 5 in p,
    "__copy__": copy.copy,
    "__deepcopy__": copy.deepcopy,
    "__delitem__": lambda p: operator.delitem(p, 5),
    "__dir__": dir,
    "__divmod__": lambda p: divmod(p, 5),
    "__enter__": green_entered,
    "__exit__": green_entered,
    "__float__": float,
    "__floor__": math.floor,
    "__format__": lambda p: format(p, "spec"),
    "__fspath__": os.fspath,
    "__getitem__": lambda p: p[5],
    "__hash__": hash,
    "__index__": operator.index,
    "__instancecheck__": lambda p: isinstance(5, p),
    "__int__": int,
    "__invert__": operator.invert,
    "__iter__": list,
    "__len__": len,
    "__neg__": operator.neg,
    "__next__": next,
    "__pos__": operator.pos,
    "__pow__": lambda p: p**5,
    "__rdivmod__": lambda p: divmod(5, p),
    "__reduce_ex__": pickle.dumps,
    "__repr__": repr,
    "__reversed__": reversed,
    "__round__": round,
    "__rpow__": lambda p: 5**p,
    "__setitem__": lambda p: operator.setitem(p, 5, 6),
    "__str__": str,
    "__subclasscheck__": lambda p: issubclass(int, p),
    "__trunc__": math.trunc,
}
"""A statement for each special method."""

STANDS_FOR = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
"""The special method of the object that one of the proxy is about."""

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "__call__": (5,),
    "__contains__": (5,),
    "__delitem__": (5,),
    "__divmod__": (5,),
    "__exit__": (None, None, None),
    "__format__": ("spec",),
    "__getitem__": (5,),
    "__instancecheck__": (5,),
    "__pow__": (5,),
    "__rdivmod__": (5,),
    "__rpow__": (5,),
    "__setitem__": (5, 6),
    "__subclasscheck__": (int,),
    **{f"__{prefix}{name}__": (5,) for name in [*BINARY, "pow"] for prefix in ("", "r", "i")},
    **{f"__{name}__": (5,) for name in COMPARISONS},
}


def spied(name: str) -> Callable[..., Any]:
    """A special method that notes where it runs; what it returns shows by which arguments it was called."""

    def method(self: Any, *args: Any) -> Any:
        object.__getattribute__(self, "visits").append(Visit(name, args, threading.get_ident()))
        if name in ("__copy__", "__deepcopy__"):
            return Probe()
        if name == "__iter__":
            return iter(["an item"])
        return ANSWERS.get(name, (name, *args))

    return method


class Bare:
    def __init__(self) -> None:
        self.visits: list[Visit] = []


Probe: Any = type(
    "Probe",
    (Bare,),
    {
        STANDS_FOR.get(name, name): spied(STANDS_FOR.get(name, name))
        for name in USES.keys() - {"__reduce_ex__", "__await__"}
    },
)
"""A class with every special method there is in the table."""


def result_of(name: str) -> Any:
    """What a statement with a special method is to give."""
    if name in ("__aenter__", "__aexit__", "__enter__", "__exit__"):
        return ANSWERS["__enter__"]
    if name in ("__iter__", "__aiter__"):
        return ["an item"]
    name = STANDS_FOR.get(name, name)
    return ANSWERS.get(name, (name, *ARGUMENTS.get(name, ())))


def visits(probe: Any, name: str) -> list[Visit]:
    return [visit for visit in probe.visits if visit.name == STANDS_FOR.get(name, name)]


def check(name: str, probe: Any, result: Any, kind: Any, *, here: bool) -> None:
    """Check what a statement has given, and where the method of the object has run."""
    if name in ("__copy__", "__deepcopy__"):
        assert type(result) is kind
        assert type(result._obj) is Probe
        assert result._obj is not probe
    elif name == "__await__":
        assert result._obj is probe
    else:
        assert type(result) is not kind
        assert result == result_of(name)
    if name != "__await__":
        (visit,) = visits(probe, name)
        assert (visit.thread == threading.get_ident()) is here
        if name != "__deepcopy__":
            assert visit.args == ARGUMENTS.get(STANDS_FOR.get(name, name), ())


def check_not_at_all(name: str, probe: Any, proxy: Any) -> None:
    """Check that a proxy has no such special method, or one that refuses."""
    use = USES[name]
    with pytest.raises((TypeError, AttributeError)):
        asyncio.run(use(proxy)) if inspect.iscoroutinefunction(use) else use(proxy)
    assert not visits(probe, name)


# The table


def test_the_page_has_the_table() -> None:
    assert len(ROWS) > 50
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.in_async_code for row in ROWS} == {AWAITED, IN_PLACE, NEVER}
    assert {row.in_green_code for row in ROWS} == {POOLED, IN_PLACE, NEVER}


def test_the_table_has_all_special_methods_and_no_others() -> None:
    defined = {
        name
        for kind in (*tpool.Proxy.__mro__, *green_tpool.Proxy.__mro__)
        if kind is not object
        for name in vars(kind)
        if name.startswith("__") and name.endswith("__")
    }
    assert {row.name for row in ROWS} - PLUMBING == defined - PLUMBING


def rows_of(*, green_code: bool) -> list[Any]:
    rows = [row for row in ROWS if row.name not in PLUMBING]
    return [pytest.param(row.name, row[2 if green_code else 1], id=row.name) for row in rows]


@pytest.mark.parametrize(("name", "place"), rows_of(green_code=False))
async def test_in_async_code(name: str, place: str) -> None:
    probe = Probe()
    proxy = tpool.Proxy(probe)
    if place == NEVER:
        await asyncio.to_thread(check_not_at_all, name, probe, proxy)
        return
    result: Any = USES[name](proxy)
    assert inspect.isawaitable(result) is (place == AWAITED)
    if inspect.isawaitable(result):
        result = await result
    check(name, probe, result, tpool.Proxy, here=place == IN_PLACE)


@pytest.mark.parametrize(("name", "place"), rows_of(green_code=True))
def test_in_green_code(name: str, place: str, script: Hub) -> None:
    def use(kind: type = green_tpool.Proxy) -> None:
        probe = Probe()
        proxy = green_tpool.Proxy(probe)
        if place == NEVER:
            check_not_at_all(name, probe, proxy)
        else:
            check(name, probe, USES[name](proxy), kind, here=place == IN_PLACE)

    use()
    if place != NEVER:
        green.spawn(use).wait()


class WithProperty:
    """Keeps in which threads an attribute is read, set and deleted."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    @property
    def value(self) -> None:
        self.threads.append(threading.get_ident())

    @value.setter
    def value(self, new: object) -> None:
        self.threads.append(threading.get_ident())

    @value.deleter
    def value(self) -> None:
        self.threads.append(threading.get_ident())


@pytest.mark.parametrize("kind", [tpool.Proxy, green_tpool.Proxy])
def test_attributes_are_used_in_place(kind: Any) -> None:
    proxy = kind(WithProperty())
    assert proxy.value is None
    proxy.value = 1
    del proxy.value
    assert proxy.threads == [threading.get_ident()] * 3
    assert {row[1:] for row in ROWS if row.name in PLUMBING} == {(IN_PLACE, IN_PLACE)}
