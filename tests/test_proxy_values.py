"""Proxies of numbers, strings, lists and the like: operators, comparisons, conversions, copies and pickles."""

import asyncio
import copy
import pickle
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tpool_asyncio import tpool
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.hubs import Hub


@pytest.mark.parametrize("number", [3, 3.5, 2 + 1j])
async def test_numbers_compute_as_numbers(number: Any) -> None:
    proxy = tpool.Proxy(number)
    assert await (proxy + 2) == number + 2
    assert await (2 - proxy) == 2 - number
    assert await (proxy + tpool.Proxy(2)) == number + 2
    assert await pow(proxy, 2) == number**2
    assert await (-proxy) == -number
    assert complex(proxy) == complex(number)


async def test_optional_arguments_are_handed_on() -> None:
    assert await pow(tpool.Proxy(3), 4, 5) == 1
    assert await round(tpool.Proxy(3.14159), 2) == 3.14
    rounded: Any = round(tpool.Proxy(3.14159))
    assert await rounded == 3
    assert f"{tpool.Proxy(3.14159):.2f}" == "3.14"


async def test_what_the_object_cannot_do_is_its_own_error() -> None:
    proxy = tpool.Proxy(object())
    with pytest.raises(TypeError, match=r"object of type 'object' has no len\(\)"):
        len(proxy)
    with pytest.raises(TypeError, match="'object' object is not subscriptable"):
        await proxy[0]
    with pytest.raises(TypeError, match="unsupported operand"):
        await (proxy + 1)
    with pytest.raises(TypeError, match="object is not callable"):
        await proxy()
    with pytest.raises(TypeError, match="no context manager"):
        async with proxy:
            pass
    with pytest.raises(TypeError, match="not iterable"):
        async for _ in proxy:
            pass


async def test_what_would_iterate_in_place_is_a_clear_error(pool: tpool.Pool) -> None:
    proxy: Any = tpool.Proxy([1, 2], pool=pool)
    with pytest.raises(TypeError, match="Proxy is iterated over with 'async for'"):
        list(proxy)
    with pytest.raises(TypeError, match="Proxy is iterated over with 'async for'"):
        _, _ = proxy
    assert pool.statistics().submitted == 0  # for the first futures of an endless row


async def test_an_update_in_place_keeps_the_proxy_if_the_object_stays() -> None:
    numbers = [1]
    proxy: Any = tpool.Proxy(numbers)
    before = proxy
    proxy += [2]
    assert proxy is before
    assert numbers == [1, 2]
    proxy += tpool.Proxy([3])
    assert numbers == [1, 2, 3]


async def test_an_update_of_what_cannot_change_is_wrapped_on_request() -> None:
    plain: Any = tpool.Proxy(5)
    plain += 1
    assert type(plain) is int
    wrapped: Any = tpool.Proxy(5, int)
    wrapped += 1
    assert type(wrapped) is tpool.Proxy
    assert wrapped == 6


def test_items_in_green_code(script: Hub) -> None:
    stock: Any = green_tpool.Proxy({"a": 1})
    stock["b"] = 2
    del stock["a"]
    assert stock["b"] == 2
    assert "b" in stock
    assert "a" not in stock
    assert stock == {"b": 2}
    with pytest.raises(KeyError):
        stock["a"]


def test_updates_in_green_code(script: Hub) -> None:
    numbers = [1]
    proxy: Any = green_tpool.Proxy(numbers)
    before = proxy
    proxy += green_tpool.Proxy([2])
    assert proxy is before
    assert numbers == [1, 2]


@pytest.mark.parametrize("kind", [tpool.Proxy, green_tpool.Proxy])
def test_equality_hash_and_order_are_those_of_the_objects(kind: Any) -> None:
    one, same, two = kind(1), kind(1), kind(2)
    assert one == same
    assert one == 1
    assert 1 == one  # noqa: SIM300
    assert one != two
    assert 2 != one  # noqa: SIM300
    assert hash(one) == hash(1)
    assert {one, same, 1} == {1}
    assert {1: "found"}[one] == "found"
    assert one < two
    assert one < 2
    assert 2 > one  # noqa: SIM300
    assert two >= one
    assert two >= same
    assert one <= 1
    assert sorted([two, one, 0]) == [0, 1, 2]
    assert one is not same
    with pytest.raises(TypeError):
        hash(kind([]))
    with pytest.raises(TypeError):
        assert one < "1"


@pytest.mark.parametrize("kind", [tpool.Proxy, green_tpool.Proxy])
def test_it_stands_for_its_object_where_that_is_asked_for(kind: Any, tmp_path: Path, script: Hub) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    assert [10, 20, 30][kind(1)] == 20
    assert bool(kind([])) is False
    assert len(kind("abc")) == 3
    assert str(kind(1.5)) == repr(kind(1.5)) == "1.5"
    with open(kind(path)) as file:
        assert file.read() == "text"


def spelled(kind: Any, call: Callable[[], Any]) -> Any:
    """Do something with a proxy, and await what it gives if that is the spelling."""

    async def do() -> Any:
        result = call()
        return await result if isinstance(result, Awaitable) and type(result) is not kind else result

    return asyncio.run(do()) if kind is tpool.Proxy else call()


class Recipe:
    def __init__(self, steps: list[str]) -> None:
        self.steps = steps

    def first(self) -> str:
        return self.steps[0]


@pytest.mark.parametrize("kind", [tpool.Proxy, green_tpool.Proxy])
def test_copies_are_proxies_of_copies(kind: Any, script: Hub) -> None:
    recipe = Recipe(["boil"])
    proxy = kind(recipe, autowrap_names=("steps",))
    shallow = spelled(kind, lambda: copy.copy(proxy))
    deep = spelled(kind, lambda: copy.deepcopy(proxy))
    assert type(shallow) is type(deep) is kind
    assert shallow._obj is not recipe
    assert shallow._obj.steps is recipe.steps
    assert deep._obj.steps is not recipe.steps
    assert type(deep.steps) is kind  # by the same policy
    assert spelled(kind, shallow.first) == "boil"


@pytest.mark.parametrize("kind", [tpool.Proxy, green_tpool.Proxy])
def test_pickling_is_a_clear_error(kind: Any) -> None:
    proxy = kind(Recipe(["boil"]))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"a proxy cannot be pickled, .* pickle its _obj"):
            pickle.dumps(proxy, protocol)
        with pytest.raises(TypeError, match="method of a proxy cannot be pickled"):
            pickle.dumps(proxy.first, protocol)
    with pytest.raises(TypeError, match="a proxy cannot be pickled"):
        pickle.dumps({"a": [proxy]})
    assert pickle.loads(pickle.dumps(proxy._obj)).steps == ["boil"]


class Countdown:
    def __init__(self, start: int) -> None:
        self.left = start

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


async def test_the_next_item_by_hand() -> None:
    countdown: Any = tpool.Proxy(Countdown(2))
    assert await anext(countdown) == 1
    assert await anext(countdown) == 0
    assert await anext(countdown, "the end") == "the end"


def test_the_next_item_by_hand_in_green_code(script: Hub) -> None:
    countdown: Any = green_tpool.Proxy(Countdown(2))
    assert next(countdown) == 1
    assert next(countdown) == 0
    assert next(countdown, "the end") == "the end"
    assert list(green_tpool.Proxy(Countdown(3))) == [2, 1, 0]
