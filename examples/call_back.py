"""From a blocking call back to the loop: progress into an `asyncio.Queue`, results of coroutines, and cancellation."""

import asyncio
import time

from tpool_asyncio import from_thread, tpool

PARTS = 5


async def price(part: str) -> int:
    """Something that only exists as a coroutine."""
    await asyncio.sleep(0.01)
    return len(part)


def assemble(progress: "asyncio.Queue[str | None]") -> int:
    """Blocking code that needs the loop now and then. Runs in a thread of the pool."""
    total = 0
    for number in range(1, PARTS + 1):
        part = "x" * number
        total += from_thread.run(price, part)  # waits for the coroutine
        from_thread.run(progress.put, f"part {number} of {PARTS}")  # waits while the queue is full
    from_thread.run(progress.put, None)
    return total


async def show_progress() -> None:
    progress: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2)
    call = tpool.execute(assemble, progress)
    shown = []
    while (line := await progress.get()) is not None:
        print(f"  {line}")
        shown.append(line)
    assert len(shown) == PARTS
    assert await call == sum(range(1, PARTS + 1))


def search(started: asyncio.Event, stopped: asyncio.Event) -> None:
    """A call without an end, which asks now and then whether anybody still waits for it."""
    from_thread.run_sync(started.set)  # a plain function, in the thread of the loop
    try:
        while True:
            time.sleep(0.005)  # a slice of the work
            from_thread.check_cancelled()
    finally:
        from_thread.run_sync(stopped.set)  # works also when the caller has gone away


async def cancel_a_call() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    task = asyncio.ensure_future(tpool.execute(search, started, stopped))
    await started.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("  the caller went on at once")
    else:
        raise AssertionError("the call was not cancelled")
    await asyncio.wait_for(stopped.wait(), 10)
    print("  the thread noticed, and is free again")


async def main() -> None:
    print("Progress:")
    await show_progress()
    print("Cancellation:")
    await cancel_a_call()
    await tpool.killall()
    assert tpool.statistics().threads == 0


if __name__ == "__main__":
    asyncio.run(main())
