"""A large file, line by line, while the loop goes on: ``async for`` over a blocking source, and the way back.

`tpool.iterate` reads a file, or what a function or generator gives, in the pool: many lines by each trip of a few
milliseconds, the next ones being read ahead. `from_thread.iterate` is the opposite: code in the pool consumes what an
async source gives, here to compress it.
"""

import asyncio
import gzip
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tpool_asyncio import from_thread, tpool

LINES = 400_000


class Heartbeat:
    """A task that wants to run every few milliseconds, and notes how long it was kept waiting."""

    def __init__(self) -> None:
        self.beats = 0
        self.longest_pause = 0.0

    async def beat(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.002)
            self.beats += 1
            self.longest_pause = max(self.longest_pause, time.perf_counter() - before)


def generate(path: Path) -> None:
    """Write a log of some size. Blocks."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(
            f"2024-01-01T{number % 24:02}:00 host{number % 7} {'ERROR' if number % 1000 == 0 else 'INFO'} request"
            f" {number} took {number * 31 % 977} ms\n"
            for number in range(LINES)
        )


def errors_in(path: Path) -> Iterator[str]:
    """Find lines in a compressed log. Blocks; it runs in one thread from beginning to end."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            if " ERROR " in line:
                yield line


async def slowest_request(path: Path) -> tuple[int, int]:
    """Read every line in async code."""
    count = slowest = 0
    async for line in tpool.iterate(path.open, encoding="utf-8"):
        count += 1
        slowest = max(slowest, int(line.rsplit(" ", 2)[1]))
        if count % 1_000 == 0:
            await asyncio.sleep(0)  # lines that are there already need no waiting, so let others have a turn
    return count, slowest


async def download(path: Path) -> AsyncIterator[bytes]:
    """Stand for an async source, such as the body of a response."""
    async for chunk in tpool.iterate(chunks_of, path, batch=4):
        await asyncio.sleep(0)
        yield chunk


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 16):
            yield chunk


def compress(source: AsyncIterator[bytes], path: Path) -> str:
    """Compress what comes from the loop, and return its hash. Blocks."""
    digest = hashlib.sha256()
    with gzip.open(path, "wb", compresslevel=1) as file:
        for chunk in from_thread.iterate(source, batch=16):  # at most 16 chunks are in memory
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


async def main(folder: Path) -> None:
    plain, packed = folder / "log", folder / "log.gz"
    await tpool.execute(generate, plain)
    size = plain.stat().st_size / 1e6

    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.beat())
    begun = time.perf_counter()
    count, slowest = await slowest_request(plain)
    seconds = time.perf_counter() - begun
    print(f"{count} lines, {size:.0f} MB, read in {seconds:.2f} s; the slowest request took {slowest} ms")
    assert (count, slowest) == (LINES, 976)

    # The other way round: the loop is the source, a thread the consumer.
    digest = await tpool.execute(compress, download(plain), packed)
    print(f"compressed to {packed.stat().st_size / 1e6:.0f} MB in a thread of the pool")
    assert digest == await tpool.execute(lambda: hashlib.sha256(plain.read_bytes()).hexdigest())

    # A generator is left early: it is closed in the pool, and so is its file.
    async with tpool.iterate(errors_in, packed) as errors:
        first = [line async for line in take(errors, 3)]
    print(*first, sep="", end="")
    assert [line.split()[4] for line in first] == ["0", "1000", "2000"]

    beating.cancel()
    print(f"{heartbeat.beats} heartbeats meanwhile, never more than {heartbeat.longest_pause * 1000:.0f} ms apart")
    assert heartbeat.beats > 20, "the loop was blocked"


async def take(source: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    for _ in range(count):
        yield await anext(source)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
