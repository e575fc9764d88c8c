"""Calls inside calls, by every way that this package has from a worker to another call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from importlib import import_module
from itertools import product
from typing import Any

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.verdicts import check
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []

Fn = Callable[[], Any]


_MAY_REFUSE = ("a green thread", "a loop of its own", "an executor")
"""Inside these, some of the others are refused: a loop runs in the very thread, or there is none to go back to."""


@case("pool", "pool")
def every_reentry_at_size_1(way: Way) -> None:
    """Every way from inside a call to another one, and each inside each, in a pool of one thread.

    A call makes another as a script, with a time limit, in a green thread, in a loop of its own, through the loop that
    made it, through an executor, by a proxy, pinned or not, by an iteration, or by reading from an async iterator whose
    items are calls. Each gets its value, also when the second call makes a third in any of these ways; or a
    RuntimeError, where a loop runs in the very thread, or there is none to go back to.
    """
    shared: Any = import_module(way.module)
    shared.set_num_threads(1)
    vars(way)["pool"] = shared.default_pool()  # which both spellings have in common
    ways = _ways()

    def chain(names: tuple[str, ...]) -> Any:
        return ways[names[0]](lambda: chain(names[1:])) if names else "bottom"

    async def main() -> None:
        for names in [*((name,) for name in ways), *product(ways, repeat=2)]:
            words = " and ".join(names)
            try:
                value = await way.within(way.call(chain, names), f"a call by {words}")
            except RuntimeError as error:
                check(len(names) == 2 and names[0] in _MAY_REFUSE, f"a call by {words}: {error}")
            else:
                check(value == "bottom", f"a wrong value by {words}")

    way.run(main)


class _Box:
    def __init__(self, fn: Fn) -> None:
        self._fn = fn

    def open(self) -> Any:
        return self._fn()


def _ways() -> dict[str, Callable[[Fn], Any]]:
    """Return them by name; each makes a call of a function from inside a call."""
    from tpool_asyncio import from_thread, green, tpool
    from tpool_asyncio.green import tpool as green_tpool

    async def ask(fn: Fn) -> Any:
        return await tpool.execute(fn)

    async def items(fn: Fn) -> AsyncIterator[Any]:
        yield await tpool.execute(fn)

    def by_loop(fn: Fn) -> Any:
        with closing(ask(fn)) as coroutine:
            return asyncio.run(coroutine)

    def one_item(fn: Fn) -> Iterator[Any]:
        yield fn()

    def by_proxy(fn: Fn, pin: bool = False) -> Any:
        box: Any = green_tpool.Proxy(_Box(fn), pin=pin)
        return box.open()

    return {
        "a script": green_tpool.execute,
        "a time limit": green_tpool.options(timeout=60).execute,
        "a green thread": lambda fn: green.spawn(green_tpool.execute, fn).wait(),
        "a loop of its own": by_loop,
        "its loop": lambda fn: from_thread.run(ask, fn),
        "an executor": lambda fn: tpool.executor().submit(fn).result(),
        "a proxy": by_proxy,
        "a pinned proxy": lambda fn: by_proxy(fn, pin=True),
        "an iteration": lambda fn: next(iter(green_tpool.iterate(one_item, fn))),
        "an async iterator": lambda fn: next(from_thread.iterate(items(fn))),
    }
