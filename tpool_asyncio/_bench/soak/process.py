"""What concerns the process as a whole: forks, the size of the pool, `killall`, and what it holds of the system."""

import asyncio
import os
import threading
import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

from tpool_asyncio import tpool
from tpool_asyncio._bench.soak.ledger import WrongError
from tpool_asyncio.green import tpool as green_tpool

__all__ = ["Sample", "fork", "sample"]

PATIENCE = 60.0
"""Seconds that a child may take."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process has of the system."""

    seconds: float
    memory: int
    """The resident set, in bytes."""
    files: int
    threads: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def sample(begun: float) -> Sample:
    """Return what the process has now. On Linux."""
    with open("/proc/self/statm", encoding="ascii") as file:
        memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Sample(time.monotonic() - begun, memory, len(os.listdir("/proc/self/fd")), threading.active_count())


def fork() -> None:
    """Fork amid everything, use the pool in the child in both spellings, and wait for the child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 and later, as there are other threads
        child = os.fork()
    if child == 0:
        os._exit(_in_child())
    deadline = time.monotonic() + PATIENCE
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise WrongError(f"a forked child has not ended within {PATIENCE} s")
        time.sleep(0.005)
    if status != 0:
        raise WrongError(f"a forked child ended with status {status}")


def _in_child() -> int:
    async def ask() -> int:
        return sum([await tpool.execute(abs, -number) for number in range(10)])

    try:
        right = green_tpool.execute(abs, -7) == 7 and asyncio.run(ask()) == 45
        green_tpool.killall()
    except BaseException:
        return 2
    return 0 if right else 1
