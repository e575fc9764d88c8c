"""The same calls in threads, in processes, and on a cluster: only the line that makes the pool is another one."""

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

from tpool_asyncio import tpool


def count_primes(first: int, last: int) -> tuple[int, int]:
    """Count primes the slow way; return the number, and which process has done it."""
    primes = sum(all(number % low for low in range(2, math.isqrt(number) + 1)) for number in range(max(2, first), last))
    return primes, os.getpid()


async def work(where: str, make_pool: Callable[[], tpool.Pool]) -> None:
    async with make_pool() as pool:
        parts = await asyncio.gather(*(pool.execute(count_primes, n, n + 1000) for n in range(0, 8000, 1000)))
        statistics = pool.statistics()
    primes = sum(part[0] for part in parts)
    others = {part[1] for part in parts} - {os.getpid()}
    print(f"{where:12} {primes} primes below 8000, {statistics.completed} calls, other processes: {bool(others)}")
    assert primes == 1007


def main() -> None:
    asyncio.run(work("threads:", lambda: tpool.Pool(2)))
    asyncio.run(work("processes:", lambda: tpool.Pool.over(lambda: ProcessPoolExecutor(2))))
    with ExitStack() as stack:
        try:
            import distributed
        except ImportError:
            print("Dask is not installed: pip install distributed")
            return
        # In earnest this is Client("tcp://scheduler:8786"), and the workers are on other machines.
        dask: Any = distributed
        cluster = stack.enter_context(dask.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0"))
        client = stack.enter_context(dask.Client(cluster))
        asyncio.run(work("cluster:", lambda: tpool.Pool.over(client.get_executor)))


if __name__ == "__main__":  # the worker processes import this file
    main()
