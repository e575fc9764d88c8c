"""Values of which each coroutine has its own."""

import asyncio
import copy
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.test_green_event import in_a_thread
from tpool_asyncio import green, hubs
from tpool_asyncio._green.corolocal import local


@pytest.fixture(autouse=True)
def hub_closed() -> Iterator[None]:
    yield
    if asyncio._get_running_loop() is None:
        hubs.get_hub().close()


class Thing:
    pass


def each_has_its_own() -> None:
    values = local()
    values.name = "outside"

    def work(name: str) -> str:
        with pytest.raises(AttributeError, match="no attribute 'name'"):
            _ = values.name
        values.name = name
        green.sleep(0)
        return str(values.name)

    threads = [green.spawn(work, name) for name in "abc"]
    assert [thread.wait() for thread in threads] == ["a", "b", "c"]
    assert values.name == "outside"


def test_in_a_script() -> None:
    each_has_its_own()


async def test_in_a_green_thread() -> None:
    await green.run(each_has_its_own)


async def test_tasks_have_their_own_and_green_run_shares_that_of_its_task() -> None:
    values = local()

    async def work(number: int) -> int:
        values.number = number
        await asyncio.sleep(0)
        return await green.run(lambda: int(values.number))

    assert await asyncio.gather(*map(work, range(3))) == [0, 1, 2]
    await green.run(setattr, values, "number", 9)
    assert values.number == 9


async def test_a_callback_has_those_of_its_thread() -> None:
    values = local()
    values.name = "task"
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: done.set_result(vars(values)))
    assert await done == {}


def test_threads_have_their_own() -> None:
    values = local()
    values.name = "here"

    def use() -> str:
        assert not hasattr(values, "name")
        values.name = "there"
        green.spawn(setattr, values, "name", "green").wait()
        hubs.get_hub().close()
        return str(values.name)

    assert in_a_thread(use) == "there"
    assert values.name == "here"


def test_threads_at_once() -> None:
    values = local()
    both = threading.Barrier(4)
    wrong = []

    def use(name: str) -> None:
        both.wait(20)
        for number in range(2_000):
            values.value = (name, number)
            if values.value != (name, number):
                wrong.append(name)

    threads = [threading.Thread(target=use, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert wrong == []


def test_init_is_called_once_per_coroutine_with_the_arguments() -> None:
    calls = []

    class Sub(local):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            calls.append((args, kwargs))
            self.items = [*args]

    values = Sub(1, 2, key=3)
    assert len(calls) == 1
    values.items.append(4)
    assert green.spawn(lambda: values.items + values.items).wait() == [1, 2, 1, 2]
    assert in_a_thread(lambda: values.items) == [1, 2]
    assert calls == [((1, 2), {"key": 3})] * 3
    assert values.items == [1, 2, 4]


def test_an_init_that_fails_is_called_again() -> None:
    fail = False

    class Sub(local):
        def __init__(self) -> None:
            self.half = True
            if fail:
                raise ZeroDivisionError
            self.whole = True

    values = Sub()
    fail = True

    def use() -> bool:
        nonlocal fail
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                _ = values.whole
        fail = False
        return bool(values.whole)

    assert green.spawn(use).wait()


def test_arguments_need_an_init() -> None:
    make: Any = local
    with pytest.raises(TypeError, match="define an __init__"):
        make(1)
    with pytest.raises(TypeError, match="takes no arguments"):
        make(key=1)


def test_attributes_as_of_any_object() -> None:
    class Sub(local):
        shared = "class"
        __slots__ = ("slot",)

        @property
        def double(self) -> int:
            return int(self.number) * 2

        @double.setter
        def double(self, value: int) -> None:
            self.number = value // 2

        def method(self) -> int:
            return int(self.number)

        def __getattr__(self, name: str) -> str:
            if name.startswith("made_"):
                return name
            raise AttributeError(name)

    values = Sub()
    values.number = 3
    assert values.double == 6
    values.double = 10
    assert vars(values) == {"number": 5}
    assert values.method() == 5
    assert values.shared == "class"
    values.shared = "mine"
    assert values.shared == "mine"
    del values.shared
    assert values.shared == "class"
    values.slot = 1
    assert green.spawn(lambda: values.slot).wait() == 1  # slots are shared, as in `threading.local`
    del values.slot
    assert values.made_up == "made_up"
    assert "number" in dir(values)
    with pytest.raises(AttributeError):
        del values.double


def test_attribute_errors() -> None:
    values = local()
    for use in (lambda: values.missing, lambda: delattr(values, "missing")):
        with pytest.raises(AttributeError, match="'local' object has no attribute 'missing'") as caught:
            use()
        assert caught.value.name == "missing"
        assert caught.value.obj is values
    for use in (lambda: setattr(values, "__dict__", {}), lambda: delattr(values, "__dict__")):
        with pytest.raises(AttributeError, match="'__dict__' is read-only"):
            use()
    vars(values).update(a=1)
    assert values.a == 1
    assert copy.copy(vars(values)) == {"a": 1}


def test_the_values_of_a_green_thread_end_with_it() -> None:
    values = local()
    kept = []

    def use() -> None:
        values.thing = Thing()
        values.myself = green.getcurrent()
        values.task = asyncio.current_task()
        kept.append(weakref.ref(values.thing))

    thread = green.spawn(use)
    thread.wait()
    green.sleep(0)
    assert kept[0]() is None  # although somebody holds the green thread
    assert thread.dead


def test_the_values_of_a_thread_end_with_it() -> None:
    values = local()

    def use() -> "weakref.ref[Thing]":
        values.thing = Thing()
        return weakref.ref(values.thing)

    reference = in_a_thread(use)
    gc.collect()
    assert reference() is None


async def test_the_values_end_with_the_object() -> None:
    values = local()
    values.thing = Thing()
    reference = weakref.ref(values.thing)
    del values
    gc.collect()
    assert reference() is None
    await asyncio.sleep(0)


async def test_it_keeps_no_task_alive() -> None:
    values = local()

    async def use() -> None:
        values.thing = 1

    task = asyncio.create_task(use())
    await task
    await asyncio.sleep(0)  # in this step the loop holds it
    reference = weakref.ref(task)
    del task
    gc.collect()
    assert reference() is None
    assert not hasattr(values, "thing")
