"""What a call costs with so many of them in flight: from one to a million at once.

``python -m tpool_asyncio._bench.scale_flight NAME LOOP PATIENCE`` measures one contestant as `child` does.

All calls of a batch are made before the first is awaited, and none ends before all are made, since the loop does not
run in between. Small batches follow one another until some `CALLS` calls have been made.

Three contestants are there to explain the others. The **collector off** is ours without the garbage collector's share,
which grows with the number of objects that are alive. With `RARE` as its threshold it is ours as a program can have it
that has very many calls in flight. **Plain futures** of the loop, which the loop itself resolves,
show what futures cost without any pool, the collector's share of them included: no package that returns futures
costs less.

A call alone costs what it takes to wake a thread and then the loop. A batch cannot do with less, so that each of 10
calls bears a tenth of it, and each of 1,000 nothing that can be seen. `further` is what is left: what each call beyond
the first one adds.
"""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import PEERS, PLAIN_FUTURES, TPOOL
from tpool_asyncio._bench.figures import Figures, Sample
from tpool_asyncio._bench.on_loop import Answer, Measure, OnLoop, serve, through
from tpool_asyncio._bench.scale import Axis
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.workloads import Submit, Workload, nothing, run

__all__ = ["FLIGHT", "WITHOUT_COLLECTOR", "further"]

CALLS = 20_000
"""How many calls a sample has, or the number in flight if that is more."""

RARE = 10_000
"""How many new objects the garbage collector lets pass before it looks at them, in place of 700 or 2,000."""

SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


def _workload(size: int) -> Workload:
    # With one at a time there is a hand-over for each call, so fewer of them do.
    reps, quick_reps = (1_000, 100) if size == 1 else (CALLS // size, CALLS // 10 // size)
    return Workload(f"in_flight_{size}", f"{size:,} at once", size, nothing, (), max(1, reps), max(1, quick_reps))


WORKLOADS = {workload.name: workload for workload in map(_workload, SIZES)}
_ALONE = WORKLOADS["in_flight_1"]
_TOO_MANY = tuple(workload for workload in WORKLOADS.values() if workload.at_once > 100_000)


async def _drive(submit: Submit, workload: Workload, reps: int) -> Answer:
    clock = Clock()
    await run(workload, submit, reps)
    return clock.per_call(reps * workload.at_once)


@asynccontextmanager
async def _without_collector() -> AsyncIterator[Measure]:
    async with REFERENCE.open() as measure:
        gc.disable()
        yield measure
        gc.enable()


@asynccontextmanager
async def _with_rare_collector() -> AsyncIterator[Measure]:
    thresholds = gc.get_threshold()
    async with REFERENCE.open() as measure:
        gc.set_threshold(RARE, *thresholds[1:])
        yield measure
        gc.set_threshold(*thresholds)


REFERENCE = through(TPOOL, _drive)
WITHOUT_COLLECTOR = OnLoop("tpool_without_gc", "tpool.execute, collector off", _without_collector)
WITH_RARE_COLLECTOR = OnLoop("tpool_rare_gc", f"tpool.execute, gc.set_threshold({RARE:_})", _with_rare_collector)
PLAIN = through(PLAIN_FUTURES, _drive, (_ALONE,))
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        REFERENCE,
        WITHOUT_COLLECTOR,
        WITH_RARE_COLLECTOR,
        PLAIN,
        # A million of the peers' would take gigabytes and minutes; asgiref is left out for the same reason.
        *(through(peer, _drive, _TOO_MANY) for peer in PEERS if peer.name != "asgiref"),
    )
}

FLIGHT = Axis(
    "in_flight",
    "calls in flight",
    Subject("Cost per call", "tpool_asyncio._bench.scale_flight", REFERENCE, CONTESTANTS, WORKLOADS),
    {workload.name: workload.at_once for workload in WORKLOADS.values()},
    (REFERENCE.name,),
    from_size=10,
)


def further(figures: Figures, contestant: str) -> dict[int, Sample]:
    """Return what each call beyond the first of a batch adds, by the number in flight: medians over the rounds."""
    alone = figures.samples.get(_ALONE.name, {}).get(contestant, [])
    found = {}
    for size, workload in FLIGHT.measured(figures, contestant).items():
        if size >= FLIGHT.from_size:
            pairs = list(zip(figures.samples[workload][contestant], alone, strict=True))
            found[size] = Sample(
                median((size * many.wall_us - one.wall_us) / (size - 1) for many, one in pairs),
                median((size * many.cpu_us - one.cpu_us) / (size - 1) for many, one in pairs),
            )
    return found


if __name__ == "__main__":
    serve(CONTESTANTS, WORKLOADS, *sys.argv[1:])
