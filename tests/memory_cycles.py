"""A program: what is left for the garbage collector by calls of every kind, which has to be nothing.

``python -m tests.memory_cycles LOOP`` says what there is, and in the last line how many kinds there are.
"""

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

__all__ = ["main"]

TIMES = 50

NEW_LOOP: list[Callable[[], asyncio.AbstractEventLoop]] = []


def fail() -> NoReturn:
    raise LookupError


async def ask() -> int:
    return await tpool.execute(int)


async def fail_there() -> NoReturn:
    raise LookupError


async def at_once() -> None:
    await asyncio.gather(*(tpool.execute(int) for _ in range(3)))


async def cancelled() -> None:
    for way in (tpool.options(), tpool.options(on_cancel="wait")):
        call = way.execute(time.sleep, 0)
        await asyncio.sleep(0)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call


async def closed() -> None:
    running = green.run(green.sleep, 60)
    running.send(None)
    running.close()


async def proxies() -> None:
    for pin in (False, True):
        items: Any = tpool.Proxy([], pin=pin)
        await items.append(1)
        await items.pop()
        await items.pop()


async def iterations() -> None:
    for last in (9, 3):
        async with tpool.iterate(range, 10) as items:
            async for item in items:
                if item == last:
                    break


class RefusingExecutor(Executor):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> NoReturn:
        raise LookupError


REFUSES = tpool.Pool.over(RefusingExecutor())
HAS_NO_EXECUTOR = tpool.Pool.over(fail)

KINDS: dict[str, Callable[[], Awaitable[object]]] = {
    "a call": lambda: tpool.execute(int),
    "at once": at_once,
    "options": lambda: tpool.options(timeout=30, name="x").execute(int),
    "in waiting": lambda: tpool.options(on_cancel="wait").execute(int),
    "error": lambda: tpool.execute(fail),
    "error with options": lambda: tpool.options(timeout=30, on_cancel="wait").execute(fail),
    "cancelled": cancelled,
    "timed out": lambda: tpool.options(timeout=0).execute(int),
    "timed out in the queue": lambda: tpool.options(queue_timeout=0).execute(int),
    "waited for": lambda: asyncio.wait_for(tpool.execute(int), 0),
    "back": lambda: tpool.execute(from_thread.run, ask),
    "back at once": lambda: tpool.execute(from_thread.run_sync, int),
    "error there": lambda: tpool.execute(from_thread.run, fail_there),
    "nested": lambda: tpool.execute(green_tpool.execute, int),
    "from a green thread": lambda: green.run(green_tpool.execute, int),
    "closed in a green thread": closed,
    "error in a green thread": lambda: green.run(green_tpool.execute, fail),
    "proxies": proxies,
    "iterations": iterations,
    "refused by an executor": lambda: REFUSES.execute(int),
    "without an executor": lambda: HAS_NO_EXECUTOR.execute(int),
    "executor": lambda: asyncio.get_running_loop().run_in_executor(tpool.executor(), int),
}
"""What async code does."""


def nobody_waits() -> None:
    green.spawn_n(green_tpool.execute, int)
    green.sleep(0.001)


def killed(fn: Callable[..., Any], *args: Any) -> None:
    thread = green.spawn(fn, *args)
    green.sleep(0)
    thread.kill()
    with suppress(green.GreenletExit):
        thread.wait()
    del thread  # it has the error, whose traceback leads here


def killed_before_it_begins() -> None:
    green.spawn(green.sleep, 5).kill()
    green.sleep(0)


def killed_by_a_green_thread() -> None:
    green.spawn(killed, green_tpool.execute, time.sleep, 0).wait()


def time_limit() -> None:
    with suppress(green.Timeout), green.Timeout(0):
        green_tpool.execute(time.sleep, 0.001)


def green_proxy() -> None:
    items: Any = green_tpool.Proxy([])
    items.append(1)
    items.pop()
    items.pop()


def green_iterations() -> None:
    with green_tpool.iterate(range, 10) as items:
        list(items)
    with green_tpool.iterate(range, 1_000) as items:
        next(iter(items))


def primitives() -> None:
    event, queue, pool = green.Event(), green.Queue[Any](), green.GreenPool(2)
    pool.spawn(event.send, 1)
    pool.spawn_n(queue.put, event.wait())
    queue.get()
    pool.waitall()


def another_hub() -> None:
    hubs.get_hub().close()
    hubs.use_hub(NEW_LOOP[0])
    green_tpool.execute(int)


GREEN_KINDS: dict[str, Callable[[], object]] = {
    "a script": lambda: green_tpool.execute(int),
    "options in a script": lambda: green_tpool.options(timeout=30).execute(int),
    "error in a script": lambda: green_tpool.execute(fail),
    "green thread": lambda: green.spawn(green_tpool.execute, int).wait(),
    "error in a green thread": lambda: green.spawn(green_tpool.execute, fail).wait(),
    "green thread for which nobody waits": nobody_waits,
    "killed in a call": lambda: killed(green_tpool.execute, time.sleep, 0),
    "killed asleep": lambda: killed(green.sleep, 5),
    "killed before it begins": killed_before_it_begins,
    "killed by a green thread": killed_by_a_green_thread,
    "time limit": time_limit,
    "awaits": lambda: green.await_(ask()),
    "proxy": green_proxy,
    "iterations": green_iterations,
    "primitives": primitives,
    "another hub": another_hub,
}
"""What synchronous code does."""


def count(name: str, what: Callable[[int], object]) -> None:
    """Do something often, and say what the collector would have to do after it."""
    what(5)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    what(TIMES)
    gc.collect()
    gc.set_debug(0)
    if gc.garbage:
        print(name, len(gc.garbage), Counter(type(each).__qualname__ for each in gc.garbage).most_common(5))
    gc.garbage.clear()
    gc.enable()


async def repeat(make: Callable[[], Awaitable[object]], number: int) -> None:
    for _ in range(number):
        with suppress(LookupError, TimeoutError):
            await make()
    while tpool.statistics().busy:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.002)


def green_repeat(make: Callable[[], object], number: int) -> None:
    for _ in range(number):
        with suppress(LookupError):
            make()
    while tpool.statistics().busy:
        green.sleep(0.001)
    green.sleep(0.002)


def main(loop: str) -> None:
    """Be the program."""
    NEW_LOOP.append(import_module(loop).new_event_loop)
    with asyncio.Runner(loop_factory=NEW_LOOP[0]) as runner:
        for name, make in KINDS.items():
            count(name, lambda number, make=make: runner.run(repeat(make, number)))  # type: ignore[misc]
    hubs.use_hub(NEW_LOOP[0])
    for name, green_make in GREEN_KINDS.items():
        count(name, lambda number, make=green_make: green_repeat(make, number))  # type: ignore[misc]
    hubs.get_hub().close()
    print(len(KINDS) + len(GREEN_KINDS), "done")


if __name__ == "__main__":
    main(sys.argv[1])
