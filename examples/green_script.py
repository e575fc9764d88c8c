"""A script of plain synchronous code in which several things wait at once.

`Archive` stands for code that knows nothing of asyncio. Its blocking work goes to the pool, and only the green thread
that asked for it waits. No event loop is to be seen: the hub of the thread runs one while the script waits.
"""

import email
import hashlib
import time
import zlib
from pathlib import Path

from tpool_asyncio import green
from tpool_asyncio.green import tpool

FOLDER = Path(email.__file__).parent
"""Something to read that every Python has."""


def pack(path: Path) -> tuple[bytes, str]:
    """Read and compress a file, and say what was in it. Blocks."""
    content = path.read_bytes()
    return zlib.compress(content, 9), hashlib.sha256(content).hexdigest()


class Archive:
    """Synchronous code, such as there is already."""

    def __init__(self) -> None:
        self.packed: dict[str, bytes] = {}

    def add(self, path: Path) -> str:
        data, digest = tpool.execute(pack, path)
        self.packed[path.name] = data  # no lock: the green threads of a thread take turns
        return digest


def count_turns(turns: list[int]) -> None:
    """Show that others go on while the script waits."""
    while True:
        turns[0] += 1
        green.sleep(0.001)


def main() -> None:
    archive = Archive()
    paths = sorted(FOLDER.glob("*.py"))

    # One call: the script waits for it, as it would for the function itself.
    digest = archive.add(paths[0])
    assert digest == hashlib.sha256(paths[0].read_bytes()).hexdigest()

    # Many at once: each green thread waits for its own call.
    turns = [0]
    counter = green.spawn(count_turns, turns)
    green_threads = [green.spawn(archive.add, path) for path in paths]
    digests = [green_thread.wait() for green_thread in green_threads]
    counter.kill()
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert turns[0] > 0, "nothing else went on"
    read = sum(path.stat().st_size for path in paths)
    packed = sum(map(len, archive.packed.values()))
    print(f"{len(paths)} files of {read} bytes packed into {packed}, by {tpool.statistics().threads} threads")

    # A time limit, where the code waits. The call itself goes on; a thread cannot be stopped.
    try:
        with green.Timeout(0.05):
            tpool.execute(time.sleep, 1)
    except green.Timeout as limit:
        print(f"Given up after {limit}")
    else:
        raise AssertionError("no time limit struck")
    assert green.with_timeout(0.05, green.sleep, 10, timeout_value="too late") == "too late"


if __name__ == "__main__":
    main()
