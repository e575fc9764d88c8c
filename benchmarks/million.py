"""A million calls in flight at once: right results, memory for each, and cost beside that of a thousand at once.

``python benchmarks/million.py [--calls N] [--rounds N] [--json PATH]``

Memory and cost are measured in processes of their own, since what one leaves behind would be in the other's way.

Memory is what the package needs for a call in flight: while 20 gate-keepers hold all workers, the calls are made, and
the growth of the resident set is divided by their number. That is the future, the entry in the queue, the arguments'
tuple and dictionary, and the context. The list that holds the futures and the arguments themselves are there before,
because they are the caller's. Then the gate opens, and each result is checked.

Cost is the time from the first call made to the last result checked, all calls being made before the first is awaited,
for a million and for a thousand in turn. Nothing is held back there; but as the loop does not run while the calls are
made, none of them ends before all are in flight. The garbage collector is left as it is by default; the cost with it
off is printed beside that, because much of the difference is its work.
"""

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from results import add_json_option, write

from tpool_asyncio import tpool
from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.targets import Verdict

THOUSAND = 1_000
BYTES_TARGET = 1_024
COST_TARGET = 1.5


def same(number: int) -> int:
    """The call: its result tells which one it was."""
    return number


def resident_bytes() -> int | None:
    """Return the memory this process has in use, or at most had where only that is known; None where neither is."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int | None:
    """Return the most memory this process ever had in use, None where that is not known."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def measure_memory(calls: int) -> dict[str, Any]:
    """Make the calls while all workers are held, and see what the process has grown by."""
    tpool.set_num_threads(THREADS)
    gate = threading.Event()
    keepers = [tpool.execute(gate.wait) for _ in range(THREADS)]
    numbers = list(range(calls))
    futures: list[asyncio.Future[int] | None] = [None] * calls
    gc.collect()
    before = resident_bytes()
    execute = tpool.execute
    for number in numbers:
        futures[number] = execute(same, number)
    after = resident_bytes()
    in_flight = tpool.statistics().queued
    gate.set()
    wrong = await count_wrong(futures)
    await asyncio.gather(*keepers)
    return {
        "in_flight": in_flight,
        "wrong": wrong,
        "bytes_per_call": None if before is None or after is None else (after - before) / calls,
        "peak_bytes": peak_bytes(),
    }


async def count_wrong(futures: list[Any]) -> int:
    """Await the futures in order and let go of each; return how many results are not their number."""
    wrong = 0
    for number in range(len(futures)):
        if await futures[number] != number:
            wrong += 1
        futures[number] = None
    return wrong


async def cost_us(calls: int) -> float:
    """Return the microseconds per call for this many calls at once."""
    execute = tpool.execute
    gc.collect()
    started = time.perf_counter()
    futures = [execute(same, number) for number in range(calls)]
    wrong = await count_wrong(futures)
    taken = time.perf_counter() - started
    assert wrong == 0, f"{wrong} results of {calls} are wrong"
    return taken / calls * 1e6


async def measure_cost(calls: int, rounds: int) -> dict[str, Any]:
    """Measure a million and a thousand at once in turn, with the garbage collector on, and then off."""
    tpool.set_num_threads(THREADS)
    await cost_us(THOUSAND)
    costs: dict[str, Any] = {}
    for collector in ("on", "off"):
        if collector == "off":
            gc.disable()
        pairs = []
        for _ in range(rounds):
            thousand = median([await cost_us(THOUSAND) for _ in range(100)])
            pairs.append((await cost_us(calls), thousand))
        costs[f"collector_{collector}"] = {
            "us_per_call": median(pair[0] for pair in pairs),
            "us_per_call_thousand": median(pair[1] for pair in pairs),
            "ratio": median(pair[0] / pair[1] for pair in pairs),
        }
    return costs


def in_a_child(kind: str, calls: int, rounds: int) -> dict[str, Any]:
    """Run one of the measures in a process of its own."""
    command = [sys.executable, __file__, "--child", kind, "--calls", str(calls), "--rounds", str(rounds)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment()).stdout
    answer: dict[str, Any] = json.loads(output)
    return answer


def met(condition: bool) -> str:
    return "met" if condition else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and cost of a million calls in flight at once.")
    parser.add_argument("--calls", type=int, default=1_000_000, metavar="N", help="calls at once (default: 1000000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="samples of the cost (default: 3)")
    parser.add_argument("--child", choices=("memory", "cost"), help=argparse.SUPPRESS)
    add_json_option(parser, "million")
    arguments = parser.parse_args()
    calls = max(1, arguments.calls)
    rounds = max(1, arguments.rounds)
    if arguments.child == "memory":
        print(json.dumps(asyncio.run(measure_memory(calls))))
        return
    if arguments.child == "cost":
        print(json.dumps(asyncio.run(measure_cost(calls, rounds))))
        return

    memory = in_a_child("memory", calls, rounds)
    print(f"{memory['in_flight']:,} calls in flight at once, {memory['wrong']} wrong results")
    each = memory["bytes_per_call"]
    if each is None:
        print("memory: this system does not tell; not measured")
    else:
        print(
            f"memory: {each:.0f} bytes per call in flight (target: at most {BYTES_TARGET}: {met(each <= BYTES_TARGET)})"
        )
        print(f"        {memory['peak_bytes'] / 1e6:,.0f} MB for the whole process at its peak, with results")
    cost = in_a_child("cost", calls, rounds)
    on, off = cost["collector_on"], cost["collector_off"]
    print(
        f"cost:   {on['us_per_call']:.2f} us per call, {on['us_per_call_thousand']:.2f} us at {THOUSAND:,} at once:"
        f" {on['ratio']:.2f} times (target: at most {COST_TARGET}: {met(on['ratio'] <= COST_TARGET)})"
    )
    print(
        f"        with the garbage collector off: {off['us_per_call']:.2f} us and {off['us_per_call_thousand']:.2f} us:"
        f" {off['ratio']:.2f} times"
    )
    judged = [
        Verdict("wrong results <= 0", memory["wrong"], met=memory["wrong"] == 0),
        Verdict(f"bytes per call in flight <= {BYTES_TARGET}", each, met=each is not None and each <= BYTES_TARGET),
        Verdict(
            f"{calls:,} at once / {THOUSAND:,} at once, wall time <= {COST_TARGET}",
            on["ratio"],
            met=on["ratio"] <= COST_TARGET,
        ),
    ]
    results = {"calls": calls, "memory": memory, "cost": cost, "targets": [asdict(verdict) for verdict in judged]}
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
