"""Channels between worlds: an async task, a green thread and a thread of the pool pass items by queues of culsans and
aiologic."""

import asyncio

import aiologic
import culsans

from tpool_asyncio import green, tpool

ITEMS = 5
END = "end"


def read(raw: "culsans.Queue[str]") -> None:
    """Blocking code, in a thread of the pool: the synchronous side of a queue of culsans."""
    for number in range(ITEMS):
        raw.sync_q.put(f"line {number}")  # waits while the queue is full
    raw.sync_q.put(END)


def legacy(raw: "culsans.Queue[str]", cooked: "aiologic.Queue[str]") -> None:
    """Synchronous code in a green thread: only the async side leaves the loop running, by way of `green.await_`."""
    while (line := green.await_(raw.async_q.get())) != END:
        green.await_(cooked.async_put(line.upper()))
    green.await_(cooked.async_put(END))


def write(done: "aiologic.Queue[str]") -> int:
    """Blocking code, in a thread of the pool: what aiologic calls green is synchronous, and blocks the thread."""
    written = 0
    while done.green_get() != END:
        written += 1
    return written


async def main() -> None:
    raw: culsans.Queue[str] = culsans.Queue(2)
    cooked: aiologic.Queue[str] = aiologic.Queue(2)
    done: aiologic.Queue[str] = aiologic.Queue(2)

    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    ticking = asyncio.create_task(tick())
    reading = tpool.execute(read, raw)
    handling = asyncio.create_task(green.run(legacy, raw, cooked))
    writing = tpool.execute(write, done)
    while (line := await cooked.async_get()) != END:
        print(f"  {line}")
        await done.async_put(line)
    await done.async_put(END)
    await asyncio.gather(reading, handling)
    assert await writing == ITEMS
    ticking.cancel()
    assert turns, "the loop has stood still"
    await tpool.killall()


if __name__ == "__main__":
    print("from a thread, through a green thread and an async task, to a thread:")
    asyncio.run(main())
