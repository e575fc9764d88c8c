"""A program: whether what took part in a call is let go of, by every way to make one, without the garbage collector.

``python -m tests.memory_references LOOP`` says what is kept, and in the last line how many ways there are.
"""

import asyncio
import gc
import sys
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

__all__ = ["main"]


class Thing:
    """A function, an argument, or a value."""

    def __call__(self, argument: object) -> "Thing":
        return Thing()

    def fail(self, argument: object) -> None:
        raise MineError(self, argument)

    def later(self, argument: object) -> "Thing":
        time.sleep(0.001)
        return Thing()

    def items(self) -> "Iterator[Thing]":
        yield Thing()


class MineError(Exception):
    pass


references: list[weakref.ref[Any]] = []


def seen(*things: object) -> None:
    references.extend(weakref.ref(thing) for thing in things)


async def outcome_of(make: Callable[[], Awaitable[object]]) -> None:
    """Await what this makes; what is awaited is held by nobody here, as its error would lead to this frame."""
    try:
        seen(await make())
    except MineError as error:
        seen(error)
    except (asyncio.CancelledError, TimeoutError):
        pass


async def ask(fn: Thing, argument: Thing) -> Thing:
    return fn(argument)


async def cancelled(fn: Thing, argument: Thing) -> None:
    call = tpool.execute(fn.later, argument)
    await asyncio.sleep(0.0005)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


async def never_collected(fn: Thing, argument: Thing) -> None:
    tpool.execute(fn.later, argument)


async def iteration(fn: Thing, argument: Thing) -> None:
    async with tpool.iterate(fn.items) as items:
        async for item in items:
            seen(item)
            del item


def in_executor(fn: Thing, argument: Thing) -> Awaitable[object]:
    return asyncio.get_running_loop().run_in_executor(tpool.executor(), fn, argument)


def by_proxy(fn: Thing, argument: Thing) -> Awaitable[object]:
    proxy: Any = tpool.Proxy(fn, pin=True)
    later: Awaitable[object] = proxy.later(argument)
    return later


MAKES: dict[str, Callable[[Thing, Thing], Awaitable[object]]] = {
    "execute": lambda fn, argument: tpool.execute(fn, argument),
    "options": lambda fn, argument: tpool.options(timeout=30).execute(fn, argument),
    "in waiting": lambda fn, argument: tpool.options(on_cancel="wait").execute(fn, argument),
    "error": lambda fn, argument: tpool.execute(fn.fail, argument),
    "error with options": lambda fn, argument: tpool.options(timeout=30).execute(fn.fail, argument),
    "timed out": lambda fn, argument: tpool.options(timeout=0).execute(fn.later, argument),
    "from a thread": lambda fn, argument: tpool.execute(from_thread.run, ask, fn, argument),
    "executor": in_executor,
    "proxy": by_proxy,
    "cancelled": cancelled,
    "never collected": never_collected,
    "iteration": iteration,
}
"""How async code makes a call; the outcome is looked after, if there is one."""


def killed(fn: Thing, argument: Thing) -> None:
    thread = green.spawn(green_tpool.execute, fn.later, argument)
    seen(thread)
    green.sleep(0)
    thread.kill()
    del thread  # from Python 3.12 on, the traceback of what has killed it leads to the script that has run the loop


def killed_before_it_begins(fn: Thing, argument: Thing) -> None:
    thread = green.spawn(fn, argument)
    seen(thread)
    thread.kill()


def time_limit(fn: Thing, argument: Thing) -> None:
    with suppress(green.Timeout), green.Timeout(0):
        green_tpool.execute(fn.later, argument)


def proxy_error(fn: Thing, argument: Thing) -> None:
    proxy: Any = green_tpool.Proxy(fn)
    proxy.fail(argument)


def another_hub(fn: Thing, argument: Thing) -> Thing:
    hub, new_loop = hubs.get_hub(), asyncio.new_event_loop
    seen(hub)
    hub.close()
    hubs.use_hub(new_loop)
    return green_tpool.execute(fn, argument)


GREEN_MAKES: dict[str, Callable[[Thing, Thing], Any]] = {
    "script": lambda fn, argument: green_tpool.execute(fn, argument),
    "error in a script": lambda fn, argument: green_tpool.execute(fn.fail, argument),
    "green thread": lambda fn, argument: green.spawn(green_tpool.execute, fn, argument).wait(),
    "error in a green thread": lambda fn, argument: green.spawn(green_tpool.execute, fn.fail, argument).wait(),
    "killed": killed,
    "killed before it begins": killed_before_it_begins,
    "time limit": time_limit,
    "error of a proxy": proxy_error,
    "another hub": another_hub,
}
"""How synchronous code does."""


def green_outcome_of(make: Callable[[Thing, Thing], Any]) -> None:
    fn, argument = Thing(), Thing()
    seen(fn, argument)
    try:
        value = make(fn, argument)
    except MineError as error:
        seen(error)
    else:
        if value is not None:
            seen(value)


async def begin(make: Callable[[Thing, Thing], Awaitable[object]]) -> None:
    fn, argument = Thing(), Thing()
    seen(fn, argument)

    async def made() -> object:
        return await make(fn, argument)

    with suppress(TypeError):  # of what returns nothing that can be referred to
        await outcome_of(made)


async def await_death(name: str) -> None:
    """Wait until nothing is left, for some seconds."""
    for _ in range(2_000):
        if not any(reference() for reference in references):
            break
        await asyncio.sleep(0.001)
    else:
        print(f"{name} keeps", *(type(each()).__name__ for each in references if each() is not None))
    references.clear()


def main(loop: str) -> None:
    """Be the program."""
    new_loop = import_module(loop).new_event_loop
    gc.collect()
    gc.disable()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        for name, make in MAKES.items():
            runner.run(begin(make))
            runner.run(await_death(name))
    hubs.use_hub(new_loop)
    for name, make in GREEN_MAKES.items():
        green_outcome_of(make)
        green.await_(await_death(name))
    hubs.get_hub().close()
    print(len(MAKES) + len(GREEN_MAKES), "done")


if __name__ == "__main__":
    main(sys.argv[1])
