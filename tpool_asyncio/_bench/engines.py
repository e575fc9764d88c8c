"""What a call on a pool of processes costs, through an engine and through asyncio alone.

Both use the same executor, so that what is left of the difference is what the engine adds: a thread that hands calls
over, and a mailbox that brings outcomes back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from statistics import median

from tpool_asyncio import tpool
from tpool_asyncio._bench.table import columns

__all__ = ["as_json", "measure", "render"]

Execute = Callable[[int], Awaitable[int]]

WAYS = ("Pool.over", "run_in_executor")
CROWDS = (1, 20, 1000)


async def _cost_us(execute: Execute, at_once: int, calls: int) -> float:
    """Return the microseconds per call, with so many in flight at once."""
    started = time.perf_counter()
    for first in range(0, calls, at_once):
        numbers = range(first, first + at_once)
        assert list(await asyncio.gather(*map(execute, numbers))) == [*numbers]
    return (time.perf_counter() - started) / max(calls, at_once) * 1e6


async def measure(calls: int, rounds: int) -> dict[str, dict[int, float]]:
    """Return the microseconds per call by way and number of calls at once, medians of interleaved rounds."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as executor:
        async with tpool.Pool.over(executor) as pool:
            ways: dict[str, Execute] = {
                "Pool.over": lambda number: pool.execute(abs, number),
                "run_in_executor": lambda number: loop.run_in_executor(executor, abs, number),
            }
            for execute in ways.values():
                await _cost_us(execute, 1, 1)  # the first call starts the processes
            samples: dict[str, dict[int, list[float]]] = {way: {crowd: [] for crowd in CROWDS} for way in WAYS}
            for number in range(rounds):
                for crowd in CROWDS:
                    for way in WAYS if number % 2 else WAYS[::-1]:
                        samples[way][crowd].append(await _cost_us(ways[way], crowd, calls))
    return {way: {crowd: median(taken) for crowd, taken in by_crowd.items()} for way, by_crowd in samples.items()}


def render(costs: dict[str, dict[int, float]]) -> str:
    """Return the costs as a table in plain text."""
    headers = ["us per call", *(f"{crowd} at once" for crowd in CROWDS)]
    return columns(headers, [[way, *(f"{costs[way][crowd]:.0f}" for crowd in CROWDS)] for way in WAYS])


def as_json(costs: dict[str, dict[int, float]]) -> dict[str, object]:
    """Return the same as something to write as JSON."""
    return {
        "workloads": {
            str(crowd): {
                "title": f"{crowd:,} at once",
                "contestants": {
                    way: {
                        "title": way,
                        "wall_us": costs[way][crowd],
                        f"wall_ratio_to_{WAYS[0]}": costs[way][crowd] / costs[WAYS[0]][crowd],
                    }
                    for way in WAYS
                },
            }
            for crowd in CROWDS
        }
    }
