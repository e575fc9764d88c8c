"""Time limits, admission, and a pool of one's own: what can be said about a call besides its function."""

import asyncio
import threading
import time
from collections.abc import Awaitable

import anyio

from tpool_asyncio import from_thread, tpool


async def expect_timeout(call: Awaitable[object]) -> str:
    """Return what the `TimeoutError` of a call says."""
    try:
        await call
    except TimeoutError as error:
        return str(error)
    raise AssertionError("no time limit struck")


def until_unwanted() -> None:
    """Run until nobody waits any more."""
    while True:
        from_thread.check_cancelled()
        time.sleep(0.005)


async def time_limit() -> None:
    """``timeout`` covers queueing and running; the call is abandoned and can find out."""
    quick = tpool.options(timeout=0.05, name="an endless call")
    print("timeout:      ", await expect_timeout(quick.execute(until_unwanted)))


async def time_limit_in_the_queue() -> None:
    """``queue_timeout`` covers queueing only: a call that has started may take as long as it likes."""
    release = threading.Event()
    async with tpool.Pool(1, name="narrow") as pool:
        blocker = pool.execute(release.wait)
        patient = pool.options(queue_timeout=0.05, name="a call in the queue")
        print("queue_timeout:", await expect_timeout(patient.execute(print, "never printed")))
        release.set()
        assert await blocker


async def wait_for_the_end() -> None:
    """With ``on_cancel="wait"`` nobody goes on before the call has really ended, here under `asyncio.timeout`."""
    ended = []

    def slow() -> None:
        time.sleep(1)
        ended.append(True)

    try:
        async with asyncio.timeout(0.05):
            await tpool.options(on_cancel="wait").execute(slow)
    except TimeoutError:
        assert ended, "the caller went on too early"
        print("on_cancel:     the caller went on after the call had ended")
    else:
        raise AssertionError("no time limit struck")


async def admission() -> None:
    """A limiter admits two of many calls at a time, whatever the size of the pool."""
    counting = threading.Lock()
    running = most = 0

    def count() -> None:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with counting:
            running -= 1

    limited = tpool.options(limiter=anyio.CapacityLimiter(2))
    await asyncio.gather(*(limited.execute(count) for _ in range(10)))
    print(f"limiter:       at most {most} of 10 calls ran at once")
    assert most <= 2


async def own_pool() -> None:
    """A pool for calls that should not share the default one; its threads are gone at the end of the block."""
    async with tpool.Pool(3, name="reports", idle_timeout=30) as pool:
        names = await asyncio.gather(*(pool.execute(lambda: threading.current_thread().name) for _ in range(20)))
        print(f"Pool:          20 calls by {', '.join(sorted(set(names)))}")
        assert len(set(names)) <= 3
        assert all(name.startswith("reports-") for name in names)
    assert pool.statistics().threads == 0


async def main() -> None:
    await time_limit()
    await time_limit_in_the_queue()
    await wait_for_the_end()
    await admission()
    await own_pool()


if __name__ == "__main__":
    asyncio.run(main())
