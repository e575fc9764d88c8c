"""Calls in code written for anyio: its task groups, scopes and limiters around them, its `from_thread` inside them."""

import time
import zlib

import anyio
import anyio.from_thread
from anyio.streams.memory import MemoryObjectSendStream

from tpool_asyncio import tpool


def compress(name: str, send: MemoryObjectSendStream[str]) -> int:
    """Blocking code that was written for `anyio.to_thread.run_sync`. Runs in a thread of the pool."""
    size = 0
    for number in range(3):
        anyio.from_thread.check_cancelled()
        size += len(zlib.compress(f"{name} {number} ".encode() * 100_000))
        anyio.from_thread.run(send.send, f"{name}: part {number}")  # waits in the loop while the stream is full
    return size


async def progress() -> None:
    send, receive = anyio.create_memory_object_stream[str](1)
    limiter = anyio.CapacityLimiter(2)
    sizes = {}

    async def call(name: str) -> None:
        sizes[name] = await tpool.options(limiter=limiter).execute(compress, name, send)

    async def calls() -> None:
        async with send, anyio.create_task_group() as group:
            for name in ("spam", "eggs", "ham"):
                group.start_soon(call, name)

    seen = []
    async with anyio.create_task_group() as group, receive:
        group.start_soon(calls)
        async for line in receive:
            print(f"  {line}")
            seen.append(line)
    assert len(seen) == 9
    assert sorted(sizes) == ["eggs", "ham", "spam"]


def search(found: list[str]) -> None:
    """A call without an end, which asks now and then whether anybody still waits for it."""
    try:
        while True:
            anyio.from_thread.check_cancelled()
            time.sleep(0.005)
    finally:
        found.append("tidied up")


async def time_limit() -> None:
    found: list[str] = []
    begun = time.process_time()
    with anyio.move_on_after(0.5) as scope:
        await tpool.options(on_cancel="wait").execute(search, found)
    print(
        f"  given up after 0.5 s, and the thread has {found[0]}; {time.process_time() - begun:.3f} s of processor time"
    )
    assert scope.cancelled_caught
    assert found == ["tidied up"]


async def main() -> None:
    print("three calls, two at a time, send what they do:")
    await progress()
    print("a call that a scope has cancelled:")
    await time_limit()
    await tpool.killall()


if __name__ == "__main__":
    anyio.run(main)
