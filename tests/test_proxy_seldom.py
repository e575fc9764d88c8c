"""What proxies seldom come to: attributes of their own, odd functions, ends that are met from two sides."""

import asyncio
import pickle
import time
from contextlib import ExitStack
from functools import partial
from types import MethodType
from typing import Any, NoReturn

import pytest

from tests.gate import PATIENCE, Gate
from tests.proxied import Connection
from tpool_asyncio import tpool
from tpool_asyncio._proxy import object_proxy
from tpool_asyncio._proxy.special import Once
from tpool_asyncio.green import tpool as green_tpool

Proxy = tpool.Proxy


class Slotted:
    """An object that takes no further attributes."""

    __slots__ = ("name",)

    name: str


def test_an_attribute_that_neither_takes() -> None:
    class Own(Proxy):
        pass

    note = "An attribute of the proxy itself has to be declared in its class, with a value."
    for kind, notes in ((Own, [note]), (Proxy, [])):
        with pytest.raises(AttributeError) as caught:
            kind(Slotted()).count = 1
        assert getattr(caught.value, "__notes__", []) == notes


class Unspeakable:
    """An object that can be called, and that has nothing to say about itself."""

    def __call__(self, *args: object) -> str:
        return "called"

    def __getattr__(self, name: str) -> NoReturn:
        raise LookupError(f"no {name} here")

    def __repr__(self) -> NoReturn:
        raise LookupError("no words for this")

    @property
    def __class__(self) -> Any:
        raise LookupError("no class here")

    @__class__.setter
    def __class__(self, kind: type) -> None:
        raise LookupError("no class here")


class Holder:
    odd = Unspeakable()


async def test_objects_that_fail_when_they_are_asked_what_they_are() -> None:
    holder = Holder()
    holder.method = MethodType(Unspeakable(), holder)  # type: ignore[attr-defined]
    proxy: Any = Proxy(holder)
    assert type(proxy.odd) is Proxy
    assert proxy.odd._obj is Holder.odd
    assert await proxy.odd() == "called"
    assert await proxy.method() == "called"
    assert await Proxy(Unspeakable())() == "called"


def test_the_error_for_who_pickles_does_not_depend_on_the_object() -> None:
    proxy: Any = Proxy(Unspeakable())
    with pytest.raises(TypeError, match=r"a proxy cannot be pickled, .* pickle its _obj: an unprintable Proxy"):
        pickle.dumps(proxy)
    holder = Holder()
    holder.method = MethodType(Unspeakable(), Unspeakable())  # type: ignore[attr-defined]
    proxy = Proxy(holder)
    with pytest.raises(TypeError, match=r"method of a proxy cannot be pickled; .* an unprintable method"):
        pickle.dumps(proxy.method)


def test_an_error_that_takes_no_note_is_raised_as_it_is() -> None:
    class RefusalError(AttributeError):
        def add_note(self, note: str) -> NoReturn:
            raise LookupError("no notes")

    class Refuses:
        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise RefusalError(name)

    class Own(Proxy):
        pass

    with pytest.raises(RefusalError, match="count"):
        Own(Refuses()).count = 1


async def test_a_proxy_is_ready_when_its_object_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[bool]()

    def watched(name: str) -> None:
        setter = getattr(object_proxy, name)

        def set_and_look(proxy: Any, value: object) -> None:
            setter(proxy, value)
            seen.append(proxy._tpool_is_made())

        monkeypatch.setattr(object_proxy, name, set_and_look)

    for name in ("_set_policy", "_set_items", "_set_children", "_set_anchor", "_set_obj"):
        watched(name)
    await Proxy.create(Connection, pin=True)
    assert seen == [False, False, False, False, True]  # what is seen in another thread that waits for it


def test_an_attribute_of_the_proxy_itself_is_deleted_there() -> None:
    class Counting(Proxy):
        count = 0

    obj = Slotted()
    obj.name = "object"
    proxy = Counting(obj)
    proxy.count = 1
    del proxy.count
    assert proxy.count == 0
    del proxy.name
    assert not hasattr(obj, "name")


async def test_a_method_of_something_that_has_no_code(pool: tpool.Pool) -> None:
    class Thing:
        pass

    thing: Any = Thing()
    thing.method = MethodType(partial(divmod, 7), 2)
    assert await Proxy(thing, pool=pool).method() == (3, 1)


def test_with_and_async_with_are_not_mixed() -> None:
    proxy = Proxy(Connection())
    with pytest.raises(TypeError, match="Proxy is left with 'async with'"), ExitStack() as stack:
        stack.push(proxy)


@pytest.mark.usefixtures("script")
def test_an_iteration_in_synchronous_code_keeps_to_the_options_of_its_proxy() -> None:
    gate = Gate()
    with green_tpool.Pool(1) as pool:
        proxy = green_tpool.Proxy((gate(number) for number in range(2)), pool=pool, timeout=0.01)
        with pytest.raises(TimeoutError, match=r"timeout of 0\.01"):
            next(iter(proxy))
        gate.open()


def test_what_must_be_done_once() -> None:
    done = list[int]()
    once = Once(done.append, 1)
    assert not once.has_begun()
    once()
    once()
    assert once.has_begun()
    assert done == [1]


class Held(Proxy):
    """A proxy that is held up when its object is there, and its call is not over."""

    gate = Gate()

    def _tpool_set_up(self, obj: Any, policy: Any) -> None:
        super()._tpool_set_up(obj, policy)
        self.gate()


@pytest.mark.parametrize("over", [False, True])
async def test_who_is_cancelled_when_the_object_is_there_and_nobody_has_been_told(pool: tpool.Pool, over: bool) -> None:
    # (1) The object is made in the pool. (2) The loop is about to hear of it, or the call is not quite over, when who
    # waits for it is cancelled. (3) The object must be closed.
    connection = Connection()
    Held.gate = gate = Gate()
    proxy: Any = Held.create(lambda: connection, pool=pool)

    async def use() -> None:
        async with tpool.closing(proxy):
            raise AssertionError

    task = asyncio.create_task(use())
    while not gate.calls:
        await asyncio.sleep(0)
    if over:
        gate.open()
        limit = time.monotonic() + PATIENCE
        while not pool.statistics().completed:  # and give way to nobody
            assert time.monotonic() < limit
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    await pool.killall()
    assert connection.closed == 1
