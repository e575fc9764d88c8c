"""How long short calls wait where long calls are made, too.

``python -m tpool_asyncio._bench.fairness NAME LOOP PATIENCE`` measures one contestant as `child` does.

Calls arrive at random times (the gaps between them are exponentially distributed) that are drawn before the clock
starts. The n-th sample of every contestant has the same arrivals: they depend on n and on nothing else. What waits is a
short call, from the moment it is made until its function runs in a thread; the function itself does nothing but take
down the time. The long calls are of two kinds: some sleep for 20 ms, some need a processor for about as long without
holding the interpreter.

How late a call is made is told beside that: if a contestant keeps the loop busy, arrivals come late, and their waiting
time alone would not tell.

Each arrival has a turn of the loop of its own, which has timers of a millisecond; so a few calls may be made right
after one another. That is the same for everybody.
"""

import asyncio
import math
import os
import random
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import CONTESTANTS as WAYS
from tpool_asyncio._bench.contestants import PEERS, THREADS, TPOOL
from tpool_asyncio._bench.on_loop import Answer, Measure, OnLoop, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.workloads import Submit, Workload, nothing

__all__ = ["AGAIN", "CONTESTANTS", "EXECUTOR", "FAIRNESS", "PATTERNS", "Arrival", "Pattern", "arrivals", "percentile"]

LONG_SECONDS = 0.02
SHORTS_PER_SECOND = 2_000
_HALF_A_MEGABYTE = bytes(random.Random(512).choices(b"abcdefghijklmnop, .\n", k=512 * 1024))


def _sleep() -> None:
    time.sleep(LONG_SECONDS)


def _work() -> None:
    zlib.compress(_HALF_A_MEGABYTE)


@dataclass(frozen=True, slots=True)
class Pattern:
    """How calls arrive."""

    long_call: Callable[[], None]
    longs_per_second: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call that is to be made."""

    due: float
    """Seconds after the start."""
    long: bool


LIGHT = Workload("light", "long calls sleep, and take 30 % of the threads", 1, nothing, (), 2_000, 200)
BUSY = Workload("busy", "long calls sleep, and take 90 % of the threads", 1, nothing, (), 2_000, 200)
WORKING = Workload("working", "long calls need half of the processors", 1, nothing, (), 2_000, 200)
"""The number of repetitions is that of short calls."""

PATTERNS = {
    LIGHT.name: Pattern(_sleep, 0.3 * THREADS / LONG_SECONDS),
    BUSY.name: Pattern(_sleep, 0.9 * THREADS / LONG_SECONDS),
    WORKING.name: Pattern(_work, 0.5 * (os.cpu_count() or 1) / LONG_SECONDS),
}


def arrivals(pattern: Pattern, shorts: int, seed: int) -> list[Arrival]:
    """Return when calls arrive until so many of them have been short ones."""
    dice = random.Random(seed)
    rate = SHORTS_PER_SECOND + pattern.longs_per_second
    found = []
    due = 0.0
    while shorts:
        due += dice.expovariate(rate)
        long = dice.random() * rate < pattern.longs_per_second
        shorts -= not long
        found.append(Arrival(due, long))
    return found


def percentile(values: Sequence[float], part: float) -> float:
    """Return the least of the values that is not less than this part of them."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


class _Waits:
    """Takes down how long calls waited. Appending to a list is atomic, from whatever thread."""

    def __init__(self, long_call: Callable[[], None]) -> None:
        self.short: list[float] = []
        self.long: list[float] = []
        self._long_call = long_call

    def run_short(self, made: float) -> None:
        self.short.append(time.perf_counter() - made)

    def run_long(self, made: float) -> None:
        self.long.append(time.perf_counter() - made)
        self._long_call()


async def _drive(submit: Submit, seeds: "count[int]", workload: Workload, reps: int) -> Answer:
    pattern = PATTERNS[workload.name]
    coming = arrivals(pattern, reps, next(seeds))
    waits = _Waits(pattern.long_call)
    late, flying = [], []
    now = time.perf_counter
    clock = Clock()
    start = now()
    for arrival in coming:
        due = start + arrival.due
        await asyncio.sleep(max(0.0, due - now()))
        made = now()
        late.append(made - due)
        flying.append(asyncio.ensure_future(submit(waits.run_long if arrival.long else waits.run_short, made)))
    for call in flying:
        await call
    return {
        **clock.per_call(len(coming)),
        "p50_us": percentile(waits.short, 0.5) * 1e6,
        "p99_us": percentile(waits.short, 0.99) * 1e6,
        "worst_us": max(waits.short) * 1e6,
        "long_p99_us": percentile(waits.long, 0.99) * 1e6 if waits.long else None,
        "late_p99_us": percentile(late, 0.99) * 1e6,
        "short_calls": len(waits.short),
        "long_calls": len(waits.long),
    }


@asynccontextmanager
async def _open(way: str) -> AsyncIterator[Measure]:
    opener = WAYS[way].open
    assert opener is not None
    async with opener() as submit:
        yield partial(_drive, submit, count())


def _contestant(way: str) -> OnLoop:
    return OnLoop(way, WAYS[way].title, partial(_open, way))


REFERENCE = _contestant(TPOOL.name)
EXECUTOR = _contestant("run_in_executor")
AGAIN = OnLoop("again", "loop.run_in_executor, once more", partial(_open, EXECUTOR.name))
"""The same as the executor, so that one sees how much two that are the same differ."""

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        REFERENCE,
        EXECUTOR,
        AGAIN,
        # asgiref is left out: it wraps functions that are known beforehand.
        *(_contestant(peer.name) for peer in PEERS if peer.name not in (EXECUTOR.name, "asgiref")),
    )
}

FAIRNESS = Subject(
    "How long short calls wait beside long ones,",
    "tpool_asyncio._bench.fairness",
    REFERENCE,
    CONTESTANTS,
    {workload.name: workload for workload in (LIGHT, BUSY, WORKING)},
)

if __name__ == "__main__":
    serve(CONTESTANTS, FAIRNESS.workloads, *sys.argv[1:])
