"""What a call costs with so many threads in the pool: from one to 64.

``python -m tpool_asyncio._bench.scale_threads NAME LOOP PATIENCE`` measures one contestant as `child` does.

Each size has a pool of its own, all of whose threads are started before the clock is: by as many calls at once as there
are threads, none of which ends before all of them run. Then 1,000 calls at a time are made that do nothing.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.on_loop import Answer, Measure, OnLoop, serve
from tpool_asyncio._bench.scale import Axis
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.workloads import Submit, Workload, nothing, run

__all__ = ["THREADS_AXIS"]

SIZES = (1, 2, 4, 8, 16, 32, 64)
AT_ONCE = 1_000
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(f"threads_{size}", f"{size} threads, 1,000 at once", AT_ONCE, nothing, (), reps=10, quick_reps=1)
        for size in SIZES
    )
}
_SIZE_OF = dict(zip(WORKLOADS, SIZES, strict=True))


class _Opener(Protocol):
    async def __call__(self, stack: AsyncExitStack, threads: int) -> Submit:
        """Open a pool of so many threads, to be closed by the stack."""


@asynccontextmanager
async def _open(opener: _Opener) -> AsyncIterator[Measure]:
    pools: dict[str, Submit] = {}

    async def measure(workload: Workload, reps: int) -> Answer:
        submit = pools.get(workload.name)
        if submit is None:
            threads = _SIZE_OF[workload.name]
            submit = pools[workload.name] = await opener(stack, threads)
            all_run = threading.Barrier(threads)
            await asyncio.gather(*[submit(all_run.wait) for _ in range(threads)])
        clock = Clock()
        await run(workload, submit, reps)
        return clock.per_call(reps * workload.at_once)

    async with AsyncExitStack() as stack:
        yield measure


async def _pool(stack: AsyncExitStack, threads: int) -> Submit:
    from tpool_asyncio.tpool import Pool

    pool = await stack.enter_async_context(Pool(threads))
    return pool.execute


async def _executor(stack: AsyncExitStack, threads: int) -> Submit:
    executor = stack.enter_context(ThreadPoolExecutor(threads))
    return partial(asyncio.get_running_loop().run_in_executor, executor)


REFERENCE = OnLoop("tpool", "Pool(n).execute", partial(_open, _pool))
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        REFERENCE,
        OnLoop("run_in_executor", "loop.run_in_executor", partial(_open, _executor)),
    )
}

THREADS_AXIS = Axis(
    "threads",
    "threads",
    Subject("Cost per call", "tpool_asyncio._bench.scale_threads", REFERENCE, CONTESTANTS, WORKLOADS, threads=None),
    _SIZE_OF,
    (REFERENCE.name,),
)

if __name__ == "__main__":
    serve(CONTESTANTS, WORKLOADS, *sys.argv[1:])
