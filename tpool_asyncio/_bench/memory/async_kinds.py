"""What async code repeats."""

import asyncio
import time
from contextlib import suppress
from typing import Any, NoReturn

from tpool_asyncio import from_thread, tpool
from tpool_asyncio._bench.memory.kinds import NewLoop, async_kind, kind

__all__: list[str] = []

CROWD = 1_000


def _fail(number: int) -> NoReturn:
    raise LookupError(number)


@async_kind(10_000_000)
async def calls(number: int) -> None:
    """Calls, a thousand at once, and every thousandth alone."""
    for _ in range(max(1, number // (CROWD + 1))):
        for index, call in enumerate([tpool.execute(abs, -each) for each in range(CROWD)]):
            if await call != index:
                raise AssertionError(index)
        await tpool.execute(int)


@async_kind(1_000_000)
async def errors(number: int) -> None:
    """Calls that raise, a hundred at once."""
    for _ in range(max(1, number // 100)):
        for call in [tpool.execute(_fail, each) for each in range(100)]:
            with suppress(LookupError):
                await call


@async_kind(1_000_000)
async def cancelled(number: int) -> None:
    """Calls that are cancelled, queued or running or over."""
    for turn in range(max(1, number // 100)):
        made = [tpool.execute(abs, each) for each in range(100)]
        for _ in range(turn % 3):
            await asyncio.sleep(0)
        for call in made:
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call


@async_kind(500_000)
async def limits(number: int) -> None:
    """Calls with time limits, some of which are over, with names and in waiting until the end."""
    ways = (
        tpool.options(timeout=30, name="in time"),
        tpool.options(timeout=0),
        tpool.options(queue_timeout=0),
        tpool.options(timeout=0.0001, on_cancel="wait"),
    )
    for _ in range(max(1, number // 100)):
        for call in [ways[each % 4].execute(time.sleep, 0) for each in range(100)]:
            with suppress(TimeoutError):
                await call


@async_kind(200_000)
async def callbacks(number: int) -> None:
    """Calls that ask their loop for a coroutine, or a function."""

    async def inside() -> int:
        return await tpool.execute(int)

    for _ in range(max(1, number // 20)):
        made: list[Any] = [tpool.execute(from_thread.run, inside) for _ in range(10)]
        made += [tpool.execute(from_thread.run_sync, int) for _ in range(10)]
        for call in made:
            await call


@async_kind(100_000)
async def iterations(number: int) -> None:
    """Iterations, every second of which is left in the middle."""
    for turn in range(number):
        async with tpool.iterate(range, 50) as items:
            async for item in items:
                if item == 10 and turn % 2:
                    break


@async_kind(50_000)
async def proxies(number: int) -> None:
    """Proxies with some calls each, every tenth with a thread of its own."""
    for turn in range(number):
        items: Any = tpool.Proxy([], pin=turn % 10 == 0)
        await items.append(turn)
        if await items.index(turn) != 0:
            raise AssertionError(turn)
        with suppress(IndexError):
            await items.pop(5)


@async_kind(20_000)
async def pools(number: int) -> None:
    """Pools with some calls each, every second of which is ended, and the others forgotten."""
    for turn in range(number):
        pool = tpool.Pool(2, idle_timeout=0.01)
        for call in [pool.execute(int) for _ in range(4)]:
            await call
        if turn % 2:
            await pool.killall()


@kind(100_000, "async")
def loops(new_loop: NewLoop, number: int) -> None:
    """Loops made and closed, with a call each, every tenth closed while a call waits."""

    async def main(leaves: bool) -> None:
        await tpool.execute(int)
        if leaves:
            tpool.execute(int)

    for turn in range(number):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main(turn % 10 == 0))
