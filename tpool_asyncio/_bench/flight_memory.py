"""What a call in flight needs of memory, and whether every result of very many is right.

``python -m tpool_asyncio._bench.flight_memory CALLS`` measures it in this process, which has done nothing else, and
prints one line of JSON.

While 20 gate-keepers hold all workers, the calls are made, and the growth of the resident set is divided by their
number. That is the future, the entry in the queue, the arguments' tuple and dictionary, and the context. The list that
holds the futures and the arguments themselves are there before, because they are the caller's. Then the gate opens, and
each result is checked.
"""

import asyncio
import gc
import json
import subprocess
import sys
import threading
from typing import Any

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.resident import peak_bytes, resident_bytes

__all__ = ["BYTES_TARGET", "measure"]

BYTES_TARGET = 1_024
"""How many bytes a call in flight may take."""


def measure(calls: int) -> dict[str, Any]:
    """Measure so many calls in a process of its own.

    Returns:
        ``in_flight`` calls there were at once, how many results were ``wrong``, ``bytes_per_call`` and ``peak_bytes``
        of the whole process, both None where the system does not tell.
    """
    command = [sys.executable, "-P", "-m", __name__, str(calls)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment()).stdout
    answer: dict[str, Any] = json.loads(output)
    return answer


def _same(number: int) -> int:
    """Return the number of the call, so that a result tells which one it was."""
    return number


async def _measure(calls: int) -> dict[str, Any]:
    from tpool_asyncio import tpool

    tpool.set_num_threads(THREADS)
    gate = threading.Event()
    keepers = [tpool.execute(gate.wait) for _ in range(THREADS)]
    while tpool.statistics().busy < THREADS:
        await asyncio.sleep(0.001)
    numbers = list(range(calls))
    futures: list[asyncio.Future[int] | None] = [None] * calls
    gc.collect()
    before = resident_bytes()
    execute = tpool.execute
    for number in numbers:
        futures[number] = execute(_same, number)
    after = resident_bytes()
    in_flight = tpool.statistics().queued
    gate.set()
    wrong = 0
    for number in numbers:
        future = futures[number]
        futures[number] = None
        assert future is not None
        wrong += await future != number
    await asyncio.gather(*keepers)
    await tpool.killall()
    return {
        "in_flight": in_flight,
        "wrong": wrong,
        "bytes_per_call": None if before is None or after is None else (after - before) / calls,
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(int(sys.argv[1])))))
