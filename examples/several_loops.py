"""Several OS threads, each with a running loop of its own, share one pool.

Every outcome comes back to the loop that asked for it, so each coroutine goes on in the thread in which it began.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tpool_asyncio import tpool

LOOPS = 4
CALLS = 50


def blocking_work(number: int) -> tuple[int, str]:
    """Square a number, slowly, and say which thread did it."""
    time.sleep(0.002)
    return number * number, threading.current_thread().name


async def ask(number: int) -> str:
    """Make one call and check that the outcome came to where it belongs; return the name of the thread that ran it."""
    loop, home = asyncio.get_running_loop(), threading.current_thread()
    square, worker = await tpool.execute(blocking_work, number)
    assert square == number * number
    assert asyncio.get_running_loop() is loop
    assert threading.current_thread() is home
    assert worker != home.name
    return worker


async def ask_all() -> set[str]:
    return set(await asyncio.gather(*(ask(number) for number in range(CALLS))))


def run_a_loop(together: threading.Barrier) -> tuple[str, set[str]]:
    """The body of each OS thread: start with the others, then run a loop."""
    together.wait()
    return threading.current_thread().name, asyncio.run(ask_all())


def main() -> None:
    together = threading.Barrier(LOOPS)
    with ThreadPoolExecutor(LOOPS, thread_name_prefix="loop") as threads:
        answers = list(threads.map(run_a_loop, [together] * LOOPS))

    served: set[str] = set()
    for home, workers in answers:
        print(f"{home}: {CALLS} outcomes came back, from {len(workers)} threads of the pool")
        served |= workers
    statistics = tpool.statistics()
    print(f"{statistics.completed} calls of {LOOPS} loops, by {len(served)} threads of at most {statistics.size}")
    assert len(served) <= statistics.size, "the loops did not share one pool"
    assert statistics.completed == LOOPS * CALLS
    assert statistics.failed == statistics.queued == 0


if __name__ == "__main__":
    main()
