"""Hash and compress a folder of files: file work in the pool, while the loop goes on.

`hashlib` and `gzip` let go of the interpreter lock while they work on large blocks, so the calls also share the
processors of the machine.
"""

import asyncio
import gzip
import hashlib
import random
import shutil
import tempfile
from pathlib import Path

from tpool_asyncio import tpool

FILES = 24
SIZE = 1_000_000  # bytes


def make_file(path: Path, seed: int) -> None:
    """Write a file of hexadecimal digits. Blocks, as everything here that is not ``async``."""
    path.write_text(random.Random(seed).randbytes(SIZE // 2).hex())


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compress(path: Path) -> Path:
    packed = path.with_suffix(".gz")
    with path.open("rb") as source, gzip.open(packed, "wb") as target:
        shutil.copyfileobj(source, target)
    return packed


def hash_packed(path: Path) -> str:
    with gzip.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def pack(path: Path) -> tuple[str, int, int]:
    """Compress one file, prove that nothing was lost, and return its hash and its two sizes."""
    digest, packed = await asyncio.gather(tpool.execute(hash_file, path), tpool.execute(compress, path))
    assert await tpool.execute(hash_packed, packed) == digest, f"{packed} differs from {path}"
    return digest, path.stat().st_size, packed.stat().st_size


async def count_turns(done: asyncio.Event) -> int:
    """Count how often the loop gets round while the pool is at work."""
    turns = 0
    while not done.is_set():
        await asyncio.sleep(0.005)
        turns += 1
    return turns


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number:02}.txt") for number in range(FILES)]
        done = asyncio.Event()
        counter = asyncio.create_task(count_turns(done))
        await asyncio.gather(*(tpool.execute(make_file, path, seed) for seed, path in enumerate(paths)))
        packed = await asyncio.gather(*(pack(path) for path in paths))
        done.set()
        turns = await counter

        for path, (digest, before, after) in zip(paths[:3], packed, strict=False):
            print(f"{path.name}  {digest[:16]}...  {before:>9,} -> {after:>9,} bytes")
        total_before = sum(before for _, before, _ in packed)
        total_after = sum(after for _, _, after in packed)
        print(f"{FILES} files in all, {total_before:,} -> {total_after:,} bytes")
        print(f"The loop went round {turns} times meanwhile.")
        assert total_after < total_before
        assert turns > 3, "the loop stood still"


if __name__ == "__main__":
    asyncio.run(main())
