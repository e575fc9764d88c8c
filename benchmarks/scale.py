"""Whether a call costs the same from 10 to a million in flight, from 1 to 64 threads, from 1 to 16 loops.

``python benchmarks/scale.py [--rounds N] [--loop asyncio|uvloop] [--most N] [--only AXIS] [--quick] [--json PATH]``

Wall time and CPU time per call for each number, and how often the cheapest goes into the dearest. With a million calls
in flight it is checked, too, that every result is right, and how much memory each of them takes.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import add_json_option, write
from side_by_side import show_round

from tpool_asyncio._bench import flight_memory
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.flight_memory import BYTES_TARGET
from tpool_asyncio._bench.rounds import measure
from tpool_asyncio._bench.scale import Axis, render, rows, verdicts
from tpool_asyncio._bench.scale_flight import FLIGHT, WITHOUT_COLLECTOR, further
from tpool_asyncio._bench.scale_loops import LOOPS_AXIS
from tpool_asyncio._bench.scale_threads import THREADS_AXIS
from tpool_asyncio._bench.table import as_json
from tpool_asyncio._bench.targets import Verdict

AXES = {axis.key: axis for axis in (FLIGHT, THREADS_AXIS, LOOPS_AXIS)}
QUICK_MOST = 10_000
PATIENCE = 600.0


def explain_flight(figures: Figures) -> list[dict[str, Any]]:
    """Say what the costs of many and of few in flight come from, and return it."""
    found: list[dict[str, Any]] = []
    print("\nWhat each call beyond the first of a batch adds, wall us / CPU us; not judged:")
    for contestant in (FLIGHT.subject.reference, WITHOUT_COLLECTOR):
        costs = further(figures, contestant.name)
        numbers = ", ".join(f"{size:,}: {cost.wall_us:.2f} / {cost.cpu_us:.2f}" for size, cost in costs.items())
        print(f"  {contestant.title}: {numbers}")
        found += [
            {
                "contestant": contestant.name,
                "in_flight": size,
                "us_per_call": cost.wall_us,
                "cpu_us_per_call": cost.cpu_us,
            }
            for size, cost in costs.items()
        ]
    return found


def judge_memory(calls: int) -> tuple[dict[str, Any], list[Verdict]]:
    """Have so many calls in flight at once, and say what came of it."""
    memory = flight_memory.measure(calls)
    print(f"\n{memory['in_flight']:,} calls in flight at once, {memory['wrong']} wrong results")
    each = memory["bytes_per_call"]
    if memory["peak_bytes"] is not None:
        print(f"{memory['peak_bytes'] / 1e6:,.0f} MB for the whole process at its peak, with results")
    target = f"{calls:,} calls in flight: bytes for each <= {BYTES_TARGET:,}"
    return memory, [Verdict(target, each, each is not None and each <= BYTES_TARGET)]


def measure_axis(axis: Axis, arguments: argparse.Namespace, most: int) -> Figures:
    total = max(1, arguments.rounds)
    return measure(
        total,
        subject=axis.subject,
        loop=arguments.loop,
        quick=arguments.quick,
        workloads=[axis.subject.workloads[name] for name, size in axis.sizes.items() if size <= most],
        on_round=lambda done: show_round(done, total),
        patience=PATIENCE,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost per call by calls in flight, threads and loops.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="samples of each contestant (default: 5)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--most", type=int, metavar="N", help="nothing with more in flight, threads or loops than this")
    parser.add_argument("--only", choices=AXES, metavar="AXIS", help=f"one of {', '.join(AXES)}")
    parser.add_argument("--quick", action="store_true", help=f"fewer calls per sample, and --most {QUICK_MOST}")
    add_json_option(parser, "scale")
    arguments = parser.parse_args()
    most = max(10, arguments.most or (QUICK_MOST if arguments.quick else max(FLIGHT.sizes.values())))

    results: dict[str, Any] = {"benchmark": "scale", "loop": arguments.loop, "rows": [], "axes": {}}
    judged: list[Verdict] = []
    for key, axis in AXES.items():
        if arguments.only not in (None, key):
            continue
        figures = measure_axis(axis, arguments, most)
        print(render(figures, axis), flush=True)
        judged += verdicts(figures, axis)
        results["rows"] += rows(figures, axis)
        results["axes"][key] = as_json(figures, axis.subject)
        if axis is FLIGHT:
            results["axes"][key]["further"] = explain_flight(figures)
            results["memory"], of_memory = judge_memory(most)
            judged += of_memory
        print()
    print("Targets:")
    for verdict in judged:
        print(f"  {verdict}")
    results["targets"] = [asdict(verdict) for verdict in judged]
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
