"""Whole calls with real threads, and the floors beside them: what the steps by hand have to add up to.

All threads are in the figures. With real threads there is more to a call than its steps: who sleeps on a lock has to be
woken, and the interpreter's lock changes hands.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tpool_asyncio._bench.budget_marks import Mark, Scenario, Step
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.floors import asyncio_floor, lock_floor, raw_floor
from tpool_asyncio._bench.workloads import AT_ONCE_1000, ONE_BY_ONE, Submit, Workload, run
from tpool_asyncio._loop.pool import Pool

__all__ = ["ALONE", "with_threads"]

ALONE = 50
"""How many calls are made, one after another, between two marks."""


@asynccontextmanager
async def with_threads(each: int) -> AsyncIterator[list[Scenario]]:
    """Open the threads, and yield the scenarios: of calls alone, with the floors; or of many calls at once."""
    pool = Pool(THREADS, name="budget")
    try:
        if each == 1:
            with lock_floor() as locks, raw_floor() as raw, asyncio_floor() as bare:
                yield [
                    _in_script("locks", locks),
                    _in_script("lock, socket, poll", raw),
                    _on_loop("floor of asyncio", ONE_BY_ONE, bare, ALONE),
                    _on_loop("tpool", ONE_BY_ONE, pool.execute, ALONE),
                ]
        else:
            at_once = Workload(AT_ONCE_1000.name, "", each, AT_ONCE_1000.fn, AT_ONCE_1000.args, 1, 1)
            yield [_on_loop("tpool", at_once, pool.execute, 1)]
    finally:
        await pool.killall()


def _in_script(name: str, call: Callable[[Workload, int], None]) -> Scenario:
    async def take(mark: Mark) -> None:
        mark()
        call(ONE_BY_ONE, ALONE)
        mark()

    return Scenario(name, ALONE, (Step(name),), take)


def _on_loop(name: str, workload: Workload, submit: Submit, reps: int) -> Scenario:
    async def take(mark: Mark) -> None:
        mark()
        await run(workload, submit, reps)
        mark()

    return Scenario(name, reps * workload.at_once, (Step(name),), take)
