"""What a call costs when so many loops make calls at the same time: from one to 16, each in a thread of its own.

``python -m tpool_asyncio._bench.scale_loops NAME LOOP PATIENCE`` measures one contestant as `child` does.

All loops of a sample start together, when each of them has made its first calls, and the clock runs until the last of
them is done. The number of calls is the same for any number of loops, 1,000 at a time on each. The pool is one for all
of them, or each loop has its own.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.on_loop import Answer, Measure, OnLoop, serve
from tpool_asyncio._bench.scale import Axis
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.workloads import Submit, Workload, nothing, run

__all__ = ["LOOPS_AXIS"]

SIZES = (1, 2, 4, 8, 16)
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(f"loops_{size}", f"{size} loops, 1,000 at once on each", 1_000, nothing, (), reps=32, quick_reps=4)
        for size in SIZES
    )
}
"""The number of repetitions is that of all loops together."""

_SIZE_OF = dict(zip(WORKLOADS, SIZES, strict=True))

Way = Callable[[], AbstractAsyncContextManager[Submit]]
"""Opens the way to make calls on the loop that runs."""


def _on_each_loop(way: Way, new_loop: Callable[[], asyncio.AbstractEventLoop], workload: Workload, reps: int) -> Answer:
    """Have as many threads as the workload says run a loop each. Blocks until all are done."""
    loops = _SIZE_OF[workload.name]
    each = max(1, reps // loops)
    clock: Clock | None = None
    taken: dict[str, float] = {}

    def begin() -> None:
        nonlocal clock
        clock = Clock()

    def end() -> None:
        assert clock is not None
        taken.update(clock.per_call(loops * each * workload.at_once))

    start, finish = threading.Barrier(loops, begin), threading.Barrier(loops, end)

    async def calls() -> None:
        async with way() as submit:
            await run(workload, submit, 1)
            start.wait()
            await run(workload, submit, each)
            finish.wait()

    def serve_loop() -> None:
        with asyncio.Runner(debug=False, loop_factory=new_loop) as runner:
            runner.run(calls())

    threads = [threading.Thread(target=serve_loop) for _ in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def _measured(way: Way) -> Measure:
    new_loop = type(asyncio.get_running_loop())  # the kind on which the contestant itself is

    async def measure(workload: Workload, reps: int) -> Answer:
        return _on_each_loop(way, new_loop, workload, reps)

    return measure


@asynccontextmanager
async def _shared() -> AsyncIterator[Measure]:
    from tpool_asyncio.tpool import Pool

    async with Pool(THREADS) as pool:

        @asynccontextmanager
        async def way() -> AsyncIterator[Submit]:
            yield pool.execute

        yield _measured(way)


@asynccontextmanager
async def _own() -> AsyncIterator[Measure]:
    from tpool_asyncio.tpool import Pool

    @asynccontextmanager
    async def way() -> AsyncIterator[Submit]:
        async with Pool(THREADS) as pool:
            yield pool.execute

    yield _measured(way)


@asynccontextmanager
async def _executor() -> AsyncIterator[Measure]:
    with ThreadPoolExecutor(THREADS) as executor:

        @asynccontextmanager
        async def way() -> AsyncIterator[Submit]:
            yield partial(asyncio.get_running_loop().run_in_executor, executor)

        yield _measured(way)


REFERENCE = OnLoop("tpool", "Pool.execute, one pool for all loops", _shared)
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        REFERENCE,
        OnLoop("own_pools", "Pool.execute, a pool for each loop", _own),
        OnLoop("run_in_executor", "loop.run_in_executor, one for all", _executor),
    )
}

LOOPS_AXIS = Axis(
    "loops",
    "loops",
    Subject("Cost per call", "tpool_asyncio._bench.scale_loops", REFERENCE, CONTESTANTS, WORKLOADS),
    _SIZE_OF,
    (REFERENCE.name,),
)

if __name__ == "__main__":
    serve(CONTESTANTS, WORKLOADS, *sys.argv[1:])
