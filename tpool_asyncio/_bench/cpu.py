"""Calls that hold the processor and let go of the interpreter: hashing and compression of 64 KB.

``python -m tpool_asyncio._bench.cpu NAME LOOP PATIENCE`` measures one contestant as `child` does.

How many of them are done in a second is up to the processors, as long as nothing is in their way. The **floor** is as
many bare threads as a pool has, which take one piece of work after another from one iterator until there are none:
no queue, no future, no loop. They are started before the clock, and the thread that started them sleeps meanwhile. A
second floor has one bare thread for each processor, so that one sees what the number of threads does.

What a pool needs for a call itself comes on top of the work. The shorter the work, the larger a part of it that is; so
the processor time that each call takes beyond the floor is told, too.
"""

import asyncio
import hashlib
import os
import random
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import PEERS, THREADS, TPOOL
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.on_loop import Answer, Measure, OnLoop, serve, through
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.table import columns, heading
from tpool_asyncio._bench.targets import Verdict, faster
from tpool_asyncio._bench.workloads import Submit, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CPU", "PART_OF_FLOOR", "render", "rows", "verdicts"]

PART_OF_FLOOR = 0.97
"""Which part of what bare threads do in a second is aimed at."""

_LETTERS = b"abcdefghijklmnop, .\n"
_PIECE = bytes(random.Random(64).choices(_LETTERS, k=64 * 1024))  # the same in every process


def _hash() -> bytes:
    return hashlib.sha256(_PIECE).digest()


def _compress() -> bytes:
    return zlib.compress(_PIECE)


SHA256 = Workload("sha256", "sha256 of 64 KB", 200, _hash, (), reps=20, quick_reps=1)
COMPRESS = Workload("compress", "zlib.compress of 64 KB", 20, _compress, (), reps=10, quick_reps=1)


async def _in_calls(submit: Submit, workload: Workload, reps: int) -> Answer:
    """Make all calls at once, so that no thread ever waits for the loop to make the next one."""
    calls = reps * workload.at_once
    clock = Clock()
    flying = [asyncio.ensure_future(submit(workload.fn, *workload.args)) for _ in range(calls)]
    for call in flying:
        await call
    return clock.per_call(calls)


async def _in_bare_threads(number: int, workload: Workload, reps: int) -> Answer:
    calls = reps * workload.at_once
    pieces = iter(range(calls))
    start = threading.Barrier(number + 1)
    threads = [threading.Thread(target=_work, args=(workload.fn, workload.args, pieces, start)) for _ in range(number)]
    for thread in threads:
        thread.start()
    while start.n_waiting < number:
        await asyncio.sleep(0.001)
    clock = Clock()
    start.wait()
    for thread in threads:
        thread.join()
    return clock.per_call(calls)


def _work(
    fn: Callable[..., object], args: tuple[object, ...], pieces: "Iterator[int]", start: threading.Barrier
) -> None:
    start.wait()
    for _ in pieces:
        fn(*args)


@asynccontextmanager
async def _bare_threads(number: int) -> AsyncIterator[Measure]:
    yield partial(_in_bare_threads, number)


_PROCESSORS = os.cpu_count() or 1

FLOOR = OnLoop("floor", f"floor: {THREADS} bare threads", partial(_bare_threads, THREADS))
PROCESSORS_FLOOR = OnLoop(
    "floor_processors", f"floor: {_PROCESSORS} bare threads, one per processor", partial(_bare_threads, _PROCESSORS)
)
REFERENCE = through(TPOOL, _in_calls)
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        REFERENCE,
        # asgiref is left out: it is made for functions that are known beforehand, and its way is that of an executor.
        *(through(peer, _in_calls) for peer in PEERS if peer.name != "asgiref"),
        FLOOR,
        PROCESSORS_FLOOR,
    )
}

CPU = Subject(
    "Calls that hold the processor,",
    "tpool_asyncio._bench.cpu",
    REFERENCE,
    CONTESTANTS,
    {workload.name: workload for workload in (SHA256, COMPRESS)},
)


def rows(figures: Figures) -> list[dict[str, object]]:
    """Return the figures, one row for each contestant and workload."""
    found: list[dict[str, object]] = []
    for workload in CPU.workloads:
        for name in (name for name in CONTESTANTS if name in set(figures.contestants(workload))):
            taken = figures.median(workload, name)
            part = figures.ratio(workload, FLOOR.name, name)
            found.append(
                {
                    "contestant": name,
                    "work": workload,
                    "calls_per_second": 1e6 / taken.wall_us,
                    "part_of_floor": part and part.wall_us,
                    "us_per_call": taken.wall_us,
                    "cpu_us_per_call": taken.cpu_us,
                }
            )
    return found


def render(figures: Figures) -> str:
    """Return the tables."""
    explained = (
        '"of the floor" is the median of that ratio within each round; more is better.\n'
        '"CPU us beyond" is what a call takes of the processors beyond what it takes in bare threads.'
    )
    parts = [f"{heading(figures, CPU)}\n{explained}"]
    for workload in CPU.workloads.values():
        lines = []
        for contestant in CONTESTANTS.values():
            if contestant.name not in set(figures.contestants(workload.name)):
                continue
            taken = figures.median(workload.name, contestant.name)
            part = figures.ratio(workload.name, FLOOR.name, contestant.name)
            beyond = figures.apart(workload.name, contestant.name, FLOOR.name)
            lines.append(
                [
                    contestant.title,
                    f"{1e6 / taken.wall_us:,.0f}",
                    f"{part.wall_us:.3f}" if part else "-",
                    f"{taken.cpu_us:.2f}",
                    f"{beyond.cpu_us:+.2f}" if beyond else "-",
                ]
            )
        parts.append(columns([workload.title, "calls/s", "of the floor", "CPU us", "CPU us beyond"], lines))
    for name, reason in figures.missing.items():
        parts.append(f"{CONTESTANTS[name].title} is left out: {reason}; pip install 'tpool-asyncio[bench]'")
    return "\n\n".join(parts)


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the targets: time of the floor by time of ours is calls of ours by calls of the floor."""
    return [
        faster(figures, workload, floor.name, PART_OF_FLOOR, subject=CPU)
        for workload in CPU.workloads
        for floor in (FLOOR, PROCESSORS_FLOOR)
    ]


if __name__ == "__main__":
    serve(CONTESTANTS, CPU.workloads, *sys.argv[1:])
