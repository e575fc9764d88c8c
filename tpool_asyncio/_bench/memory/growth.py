"""What a process holds, looked at again and again while it does the same thing, and whether that grows.

The memory of the interpreter is counted in blocks (`sys.getallocatedblocks`), which is exact, but leaves out what is
big. That is in the resident set, which is not exact, since the allocator keeps what it has got. Whatever grows, the
lowest of the last three looks is held against the lowest of the first three. So one look at a bad moment decides
nothing, nor does what is made once.
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tpool_asyncio import tpool

__all__ = ["PARTS", "Look", "grown", "growth", "look", "repeat"]

PARTS = 10
"""Looks after the warm-up. It needs six at the least."""

PATIENCE = 10.0
"""Seconds for threads to come to rest before a look."""

ALLOWED = {"blocks": 1_000, "objects": 500, "files": 0}
"""How much more there may be in the end, however often it was done: free lists, and what is made at the first need."""

ALLOWED_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Look:
    """What the process has at one moment."""

    done: int
    """Repetitions until now."""
    blocks: int
    objects: int
    """That the garbage collector knows of."""
    files: int
    threads: int
    resident: int
    """Bytes; 0 where that is not known."""

    def as_dict(self) -> dict[str, int]:
        """Return it as it is written to a file."""
        return asdict(self)


def look(done: int, threads: int) -> Look:
    """Wait until there are no more threads than so many, or for a while, then look."""
    deadline = time.monotonic() + PATIENCE
    while threading.active_count() > threads or tpool.statistics().busy:
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    for _ in range(3):
        gc.collect()
    return Look(
        done, sys.getallocatedblocks(), len(gc.get_objects()), _files(), threading.active_count(), _resident_bytes()
    )


def _files() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def repeat(body: Callable[[int], Any], number: int, threads: int) -> list[Look]:
    """Do something so many times, and a tenth of that beforehand. Return what was seen.

    Args:
        body: Does it as many times as it is told.
        number: How many times, all in all.
        threads: How many there may be when it rests.
    """
    part = max(1, number // PARTS)
    body(part)
    looks = [look(0, threads)]
    for _ in range(PARTS):
        body(part)
        looks.append(look(looks[-1].done + part, threads))
    return looks


def growth(looks: list[Look]) -> dict[str, int]:
    """Return by how much each has grown."""
    return {what: _least(looks[-3:], what) - _least(looks[:3], what) for what in (*ALLOWED, "resident")}


def _least(looks: list[Look], what: str) -> int:
    return min(int(getattr(each, what)) for each in looks)


def grown(looks: list[Look], threads: int) -> list[str]:
    """Return what has grown, or is more threads than there may be, in words; nothing if nothing has."""
    found = [f"{looks[-1].threads} threads in the end"] if looks[-1].threads > threads else []
    for what, more in growth(looks).items():
        if more > ALLOWED.get(what, ALLOWED_BYTES):
            unit = "bytes of resident memory" if what == "resident" else what
            found.append(f"{more:,} {unit} more after {looks[-1].done:,} repetitions")
    return found
