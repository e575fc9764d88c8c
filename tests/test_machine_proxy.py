"""Proxies against the objects they stand for: whatever is done to both has the same result, or the same error.

One object is used through a proxy, in either spelling, and a twin of it directly. ``TPOOL_TESTS=long`` searches a
hundred times as long.
"""

import asyncio
import copy
import gc
import inspect
import math
import operator
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.effort import LONG, few_examples
from tpool_asyncio import tpool
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.hubs import Hub


class Shelf:
    """A list of numbers with everything that an object can have."""

    label = "shelf"

    def __init__(self, items: list[int]) -> None:
        self.items = items
        self.inner = Box(items)

    def add(self, *items: int, at: int | None = None) -> int:
        for item in items:
            self.items.insert(len(self.items) if at is None else at, item)
        return len(self.items)

    def take(self, index: int) -> int:
        return self.items.pop(index)

    def box(self) -> "Box":
        return self.inner

    def itself(self) -> Self:
        return self

    def numbers(self) -> Iterator[int]:
        yield from self.items
        if len(self.items) > 3:
            raise OverflowError("too many")

    def __getitem__(self, key: Any) -> Any:
        return self.items[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.items[key]

    def __contains__(self, item: object) -> bool:
        return item in self.items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)

    def __reversed__(self) -> Iterator[int]:
        return reversed(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shelf) and self.items == other.items

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: "Shelf") -> bool:
        return self.items < other.items

    def __add__(self, other: Any) -> Any:
        return [*self.items, other] if isinstance(other, int) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return [other, *self.items] if isinstance(other, int) else NotImplemented

    def __iadd__(self, other: Any) -> Self:
        self.items.append(operator.index(other))
        return self

    def __neg__(self) -> list[int]:
        return [-item for item in self.items]

    def __round__(self, digits: int | None = None) -> Any:
        return digits

    def __int__(self) -> int:
        return sum(self.items)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (args, kwargs, len(self.items))

    def __enter__(self) -> int:
        self.items.append(0)
        return len(self.items)

    def __exit__(self, *failure: object) -> bool:
        self.items.append(1)
        return failure[0] is KeyError

    def __repr__(self) -> str:
        return f"Shelf({self.items})"


class Box:
    """What is wrapped as well."""

    def __init__(self, items: list[int]) -> None:
        self.items = items
        self.threads: set[int] = set()

    def count(self, item: int) -> int:
        self.threads.add(threading.get_ident())
        return self.items.count(item)


numbers = st.integers(-2, 4)
keys = st.one_of(numbers, st.slices(4), st.just("no key"))
names = st.sampled_from(["label", "missing", "extra", "items", "_obj_of_mine"])


class ProxyMachine(RuleBasedStateMachine):
    """Each rule does the same to the proxy and to the twin. Subclasses say how to wait for what a proxy gives."""

    proxy_type: Any
    iterate_over: Any
    pin = False

    def __init__(self) -> None:
        super().__init__()
        self.real = Shelf([1, 2])
        self.proxy: Any = self.proxy_type(self.real, autowrap=Box, pin=self.pin)
        self.twin = Shelf([1, 2])

    def now(self, made: Callable[[], Any]) -> Any:
        """Make something of a proxy, and wait for it if that has to be waited for."""
        raise NotImplementedError

    def items_of(self, proxy: Any) -> Any:
        raise NotImplementedError

    def within(self, error: type[Exception] | None) -> Any:
        raise NotImplementedError

    def same(self, of_proxy: Callable[[Any], Any], of_twin: Callable[[Any], Any] | None = None) -> None:
        """Do this to both, and compare."""
        expected = outcome_of(lambda: (of_twin or of_proxy)(self.twin))
        found = outcome_of(lambda: self.now(lambda: of_proxy(self.proxy)))
        assert found == expected

    @rule(items=st.lists(numbers, max_size=3), at=st.one_of(st.none(), numbers, st.just("nowhere")))
    def call_methods(self, items: list[int], at: Any) -> None:
        self.same(lambda shelf: shelf.add(*items, at=at))

    @rule(index=numbers)
    def take(self, index: int) -> None:
        self.same(lambda shelf: shelf.take(index))

    @rule(args=st.lists(numbers, max_size=2), keyword=st.sampled_from(["self", "timeout", "fn", "name"]))
    def call(self, args: list[int], keyword: str) -> None:
        self.same(lambda shelf: shelf(*args, **{keyword: 1}))

    @rule(key=keys)
    def get_item(self, key: Any) -> None:
        self.same(lambda shelf: shelf[key])

    @rule(key=st.one_of(numbers, st.just("no key")), value=numbers)
    def set_item(self, key: Any, value: int) -> None:
        self.in_place_unless_pinned(lambda shelf: operator.setitem(shelf, key, value))

    @rule(key=st.one_of(numbers, st.just("no key")))
    def delete_item(self, key: Any) -> None:
        self.in_place_unless_pinned(lambda shelf: operator.delitem(shelf, key))

    @rule(item=numbers)
    def contains(self, item: int) -> None:
        self.in_place_unless_pinned(lambda shelf: item in shelf)

    @rule()
    def to_int(self) -> None:
        self.in_place_unless_pinned(int)

    @rule(item=st.one_of(numbers, st.just("no number")))
    def add_in_place(self, item: Any) -> None:
        def add(shelf: Any) -> bool:
            before = shelf
            shelf += item
            return shelf is before

        self.in_place_unless_pinned(add)

    def in_place_unless_pinned(self, step: Callable[[Any], Any]) -> None:
        self.same(step)

    @rule(name=names, value=numbers)
    def set_attribute(self, name: str, value: int) -> None:
        if name == "items":
            return
        self.same(lambda shelf: setattr(shelf, name, value))

    @rule(name=names)
    def get_attribute(self, name: str) -> None:
        self.same(lambda shelf: getattr(shelf, name))
        self.same(lambda shelf: getattr(shelf, name, "default"))
        self.same(lambda shelf: hasattr(shelf, name))

    @rule(name=names)
    def delete_attribute(self, name: str) -> None:
        if name != "items":
            self.same(lambda shelf: delattr(shelf, name))

    @rule(other=st.one_of(numbers, st.just("text")))
    def operate(self, other: Any) -> None:
        self.same(lambda shelf: shelf + other)
        self.same(lambda shelf: other + shelf)
        self.same(operator.neg)
        self.same(lambda shelf: round(shelf, 3))

    @rule()
    def what_there_is_no_such_thing_of(self) -> None:
        self.same(lambda shelf: shelf * 2)
        self.same(operator.invert)
        self.same(lambda shelf: shelf @ shelf)
        self.same(math.ceil)
        self.same(lambda shelf: hash(shelf))
        self.same(lambda shelf: shelf.missing())

    @rule(items=st.lists(numbers, max_size=3))
    def compare(self, items: list[int]) -> None:
        other = Shelf(items)
        for compare in (operator.eq, operator.ne, operator.lt, operator.gt):
            self.same(partial(swapped, compare, other))
            self.same(partial(compare, other))
        self.same(lambda shelf: shelf == 3)
        self.same(lambda shelf: shelf < 3)

    @rule()
    def look(self) -> None:
        for step in (len, bool, repr, str, format):
            self.same(step)
        assert isinstance(self.proxy, Shelf)
        obj: Any = self.proxy
        assert obj._obj is self.real

    @rule()
    def copy(self) -> None:
        for how in (copy.copy, copy.deepcopy):
            made = self.now(partial(how, self.proxy))
            assert type(made) is type(self.proxy)
            assert made._obj is not self.real
            assert made == self.twin
            assert (made._obj.items is self.real.items) == (how is copy.copy)

    @rule(item=numbers)
    def use_what_is_wrapped(self, item: int) -> None:
        self.same(lambda shelf: shelf.inner.count(item))
        box = self.now(lambda: self.proxy.box())
        assert type(box) is type(self.proxy)
        assert self.proxy.inner is self.proxy.inner
        assert box == self.proxy.inner
        assert self.now(lambda: box.count(item)) == self.twin.box().count(item)
        assert threading.get_ident() not in self.real.inner.threads
        assert self.now(lambda: self.proxy.itself()) is self.proxy

    @rule()
    def iterate(self) -> None:
        self.same(self.items_of, list)
        self.same(lambda proxy: self.items_of(self.iterate_over(proxy.numbers)), lambda twin: list(twin.numbers()))

    @rule(error=st.sampled_from([None, KeyError, IndexError]))  # of which the first is swallowed
    def enter(self, error: type[Exception] | None) -> None:
        def use(twin: Shelf) -> Any:
            with twin as value:
                if error is not None:
                    raise error("in the block")
                return value
            return None

        self.same(lambda _: self.within(error), use)

    @invariant()
    def both_are_the_same(self) -> None:
        assert self.real.items == self.twin.items
        ours = {name: value for name, value in vars(self.real).items() if name != "inner"}
        assert ours == {name: value for name, value in vars(self.twin).items() if name != "inner"}

    def teardown(self) -> None:
        self.proxy = None


@pytest.fixture
def pins_let_go() -> Iterator[None]:
    """Have proxies collected that errors hold in cycles, since they hold their threads."""
    yield
    gc.collect()


def swapped(compare: Callable[[Any, Any], Any], other: Any, shelf: Any) -> Any:
    return compare(shelf, other)


def outcome_of(step: Callable[[], Any]) -> Any:
    """Return the value of a step, or what tells its error."""
    try:
        return step()
    except Exception as error:
        return type(error), str(error)


class GreenProxyMachine(ProxyMachine):
    """Proxies of synchronous code, in a script."""

    proxy_type = green_tpool.Proxy
    iterate_over = staticmethod(green_tpool.iterate)

    def now(self, made: Callable[[], Any]) -> Any:
        return made()

    def items_of(self, proxy: Any) -> Any:
        return list(proxy)

    def within(self, error: type[Exception] | None) -> Any:
        with self.proxy as value:
            if error is not None:
                raise error("in the block")
            return value
        return None


class PinnedGreenProxyMachine(GreenProxyMachine):
    """All calls in one thread."""

    pin = True


class AsyncProxyMachine(ProxyMachine):
    """Proxies of async code."""

    proxy_type = tpool.Proxy
    iterate_over = staticmethod(tpool.iterate)
    runner: asyncio.Runner

    def now(self, made: Callable[[], Any]) -> Any:
        async def wait() -> Any:
            value = made()
            if type(value) is not self.proxy_type and inspect.isawaitable(value):
                value = await value
            return value

        return self.runner.run(wait())

    async def items_of(self, proxy: Any) -> Any:
        return [item async for item in proxy]

    async def within(self, error: type[Exception] | None) -> Any:
        async with self.proxy as value:
            if error is not None:
                raise error("in the block")
            return value
        return None


class PinnedAsyncProxyMachine(AsyncProxyMachine):
    """All calls in one thread, and what can't be awaited is refused."""

    pin = True

    def in_place_unless_pinned(self, step: Callable[[Any], Any]) -> None:
        with pytest.raises(RuntimeError, match="proxy_call"):
            self.now(lambda: step(self.proxy))


@pytest.mark.timeout(3_600 if LONG else 60)
@pytest.mark.usefixtures("pins_let_go")
@pytest.mark.parametrize("machine", [GreenProxyMachine, PinnedGreenProxyMachine])
def test_green_proxies_do_what_their_objects_do(machine: Any, script: Hub) -> None:
    run_state_machine_as_test(machine, settings=few_examples(40, steps=25))


@pytest.mark.timeout(3_600 if LONG else 60)
@pytest.mark.usefixtures("pins_let_go")
@pytest.mark.parametrize("machine", [AsyncProxyMachine, PinnedAsyncProxyMachine])
def test_proxies_do_what_their_objects_do(machine: Any) -> None:
    with asyncio.Runner() as runner:
        machine.runner = runner
        run_state_machine_as_test(machine, settings=few_examples(40, steps=25))
