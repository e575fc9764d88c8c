"""What cases about processes have in common: calls that have to work."""

import asyncio

from tpool_asyncio._bench.faults.verdicts import check
from tpool_asyncio._bench.faults.ways import Ended, Way

__all__ = ["ended_well", "some_calls", "works"]


async def some_calls(way: Way) -> None:
    """Make calls one after another and, where that can be done, at once."""
    for number in range(4):
        check(await way.within(way.call(pow, 2, number), "a call") == 2**number, "a wrong value")
    if "tasks" in way.has:
        values = await way.within(asyncio.gather(*(way.start(pow, 2, n) for n in range(8))), "calls at once")
        check(values == [2**number for number in range(8)], "wrong values")


def works(way: Way) -> None:
    """Check that calls work in a loop of their own."""
    way.run(lambda: some_calls(way))


def ended_well(ended: Ended) -> None:
    """Check that a process has ended by itself and without a word."""
    last = ended.stderr.strip().rpartition("\n")[2]
    check(ended.code == 0 and not ended.stderr, f"exit code {ended.code}: {last}")
