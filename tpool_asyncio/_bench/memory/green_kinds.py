"""What synchronous code repeats: in green threads, and in a script."""

import asyncio
import threading
from contextlib import closing, suppress
from typing import Any, NoReturn

from tpool_asyncio import green, hubs
from tpool_asyncio import tpool as async_tpool
from tpool_asyncio._bench.memory.kinds import NewLoop, green_kind, kind
from tpool_asyncio.green import tpool

__all__: list[str] = []


def _fail(number: int) -> NoReturn:
    raise LookupError(number)


def _in_crowds(number: int, each: Any, calls: int) -> None:
    """Have a hundred green threads at once make so many calls each."""
    for _ in range(max(1, number // (100 * calls))):
        for thread in [green.spawn(each, calls) for _ in range(100)]:
            thread.wait()


@green_kind(10_000_000)
def green_calls(number: int) -> None:
    """Calls in green threads, a hundred at once."""

    def each(calls: int) -> None:
        for index in range(calls):
            if tpool.execute(abs, -index) != index:
                raise AssertionError(index)

    _in_crowds(number, each, 100 if number >= 10_000 else 1)


@green_kind(200_000)
def script_calls(number: int) -> None:
    """Calls in a script, and every tenth of them raises."""
    for index in range(number):
        fn: Any = _fail if index % 10 == 0 else abs
        with suppress(LookupError):
            tpool.execute(fn, index)


@green_kind(1_000_000)
def green_errors(number: int) -> None:
    """Calls that raise in green threads, a hundred at once."""

    def each(calls: int) -> None:
        for index in range(calls):
            with suppress(LookupError):
                tpool.execute(_fail, index)

    _in_crowds(number, each, 10 if number >= 1_000 else 1)


@green_kind(100_000)
def green_threads(number: int) -> None:
    """Green threads with a call each, a hundred at once."""
    _in_crowds(number, lambda _: tpool.execute(int), 1)


@green_kind(100_000)
def killed(number: int) -> None:
    """Green threads that are killed: before they begin, while their call waits, or runs, or is over."""
    for turn in range(max(1, number // 100)):
        threads = [green.spawn(tpool.execute, abs, each) for each in range(100)]
        for _ in range(turn % 3):
            green.sleep(0)
        for thread in threads:
            thread.kill()
            with suppress(green.GreenletExit):
                thread.wait()


@green_kind(100_000)
def green_limits(number: int) -> None:
    """Calls under a Timeout, which is over for every second one."""
    for index in range(number):
        with suppress(green.Timeout), green.Timeout(index % 2 * 30):
            tpool.execute(int)


@green_kind(100_000)
def green_iterations(number: int) -> None:
    """Iterations in a script, every second of which is left in the middle."""
    for turn in range(number):
        with tpool.iterate(range, 50) as items:
            for item in items:
                if item == 10 and turn % 2:
                    break


@green_kind(50_000)
def green_proxies(number: int) -> None:
    """Proxies in a script, every tenth with a thread of its own."""
    for turn in range(number):
        items: Any = tpool.Proxy([], pin=turn % 10 == 0)
        items.append(turn)
        with suppress(IndexError):
            items.pop(5)


@kind(100_000, "green")
def made_hubs(new_loop: NewLoop, number: int) -> None:
    """Hubs made and closed, with a call and a green thread each."""
    for _ in range(number):
        hubs.use_hub(new_loop)
        with closing(hubs.get_hub()):
            tpool.execute(int)
            green.spawn(int).wait()


@kind(20_000, "both")
def threads(new_loop: NewLoop, number: int) -> None:
    """Threads that come and go, with a loop or a hub each."""

    def loop() -> None:
        async def ask() -> int:
            return await async_tpool.execute(int)

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(ask())

    def hub() -> None:
        hubs.use_hub(new_loop)
        tpool.execute(int)

    for turn in range(number):
        thread = threading.Thread(target=hub if turn % 2 else loop)
        thread.start()
        thread.join()
