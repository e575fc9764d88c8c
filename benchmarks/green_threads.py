"""What 100,000 green threads cost: time and memory, beside those of other packages and asyncio's tasks.

``python benchmarks/green_threads.py [--number N] [--rounds N] [--json PATH]``

- spawn, run, join: each does nothing. They are all spawned, then joined one after another.
- all wait for one event: they are all started, and when the last of them waits, the event lets all go on.
- all wait for a call in the pool: 20 others hold all threads of the pool until all calls have been made; then each
  result is checked. Only green threads of this package do that.

The time is that from the first spawn to the last join, divided by the number. "Peak" is the growth of the most memory
that the process ever had in use, "waiting" that of its resident set while all of them wait. Every measure has a process
of its own, and in each round all contestants take turns.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from results import add_json_option, write
from side_by_side import show_round

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.crowds import CASES, CROWDS, GREEN, measure
from tpool_asyncio._bench.figures import Figures, Sample
from tpool_asyncio._bench.resident import peak_bytes, resident_bytes
from tpool_asyncio._bench.table import columns, costs_as_json, machine
from tpool_asyncio._bench.targets import Verdict

PATIENCE = 120
"""Seconds after which a child that has not answered is ended, and this script with it."""

KINDS = ("bytes_each", "peak_bytes_each")

Memory = dict[str, dict[str, dict[str, list[float]]]]
"""By case, contestant and kind: bytes per green thread, in the order of the rounds."""


def in_this_process(name: str, case: str, number: int) -> Mapping[str, object]:
    """Run one case, with what the process has grown by. The child's part."""
    try:
        reading = measure(name, case, number, resident_bytes)
    except ImportError as error:
        return {"missing": str(error)}
    peak = peak_bytes()
    if peak is not None and "before_bytes" in reading:
        reading["peak_bytes_each"] = (peak - reading["before_bytes"]) / number
    return reading


def in_a_child(name: str, case: str, number: int) -> dict[str, Any]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--child", name, case, "--number", str(number)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment(), timeout=PATIENCE).stdout
    answer: dict[str, Any] = json.loads(output)
    return answer


def run_rounds(number: int, rounds: int) -> tuple[Figures, Memory, list[dict[str, Any]]]:
    """Return times, memory, and the answers of the green threads that make calls."""
    figures = Figures("asyncio", rounds)
    memory: Memory = {}
    calls = []
    running = list(CROWDS.values())
    show_round(0, rounds)
    for done in range(rounds):
        turn = done % len(running)
        for case in CASES:
            for crowd in running[turn:] + running[:turn]:
                if case not in crowd.cases or crowd.name in figures.missing:
                    continue
                answer = in_a_child(crowd.name, case, number)
                if "missing" in answer:
                    figures.missing[crowd.name] = answer["missing"]
                    continue
                figures.add(case, crowd.name, Sample(answer["wall_us"], answer["cpu_us"]))
                for kind in KINDS:
                    if kind in answer:
                        memory.setdefault(case, {}).setdefault(crowd.name, {}).setdefault(kind, []).append(answer[kind])
                if case == "calls":
                    calls.append(answer)
        show_round(done + 1, rounds)
    return figures, memory, calls


def tables(figures: Figures, memory: Memory, number: int) -> str:
    """Return all tables, with what is left out and why."""
    about = machine()
    heading = (
        f"{number:,} green threads on {about['python']}, {about['system']}, {about['processors']} processors.\n"
        f"Time and memory for each, medians of {figures.rounds} rounds, every measure in a process of its own.\n"
        '"x green" says how often the time of green.spawn goes into it, as the median of that ratio within each round.'
    )
    parts = [heading]
    for case, title in CASES.items():
        rows = []
        for name in [name for name in CROWDS if name in figures.contestants(case)]:
            taken = figures.median(case, name)
            ratio = figures.ratio(case, name, GREEN.name)
            sizes = memory.get(case, {}).get(name, {})
            rows.append(
                [
                    CROWDS[name].title,
                    f"{taken.wall_us:.2f}",
                    f"{taken.cpu_us:.2f}",
                    f"{ratio.wall_us:.2f}" if ratio else "-",
                    *(f"{median(sizes[kind]):.0f}" if kind in sizes else "-" for kind in KINDS),
                ]
            )
        parts.append(columns([title, "wall us", "CPU us", "wall x green", "bytes waiting", "bytes at peak"], rows))
    for name, reason in figures.missing.items():
        parts.append(f"{CROWDS[name].title} is left out: {reason}; pip install 'tpool-asyncio[bench]'")
    return "\n\n".join(parts)


def workloads_as_json(figures: Figures, memory: Memory) -> dict[str, object]:
    workloads: dict[str, object] = {}
    for case, title in CASES.items():
        titles = {name: crowd.title for name, crowd in CROWDS.items() if name in figures.contestants(case)}
        costs = costs_as_json(figures, case, titles, GREEN.name)
        for name, sizes in memory.get(case, {}).items():
            costs[name].update((kind, median(taken)) for kind, taken in sizes.items())
        workloads[case] = {"title": title, "contestants": costs}
    return workloads


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of great numbers of green threads.")
    parser.add_argument("--number", type=int, default=100_000, metavar="N", help="green threads (default: 100000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="samples of each (default: 3)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    add_json_option(parser, "green_threads")
    arguments = parser.parse_args()
    number = max(1, arguments.number)
    if arguments.child:
        name, case = arguments.child
        print(json.dumps(in_this_process(name, case, number)))
        return

    figures, memory, calls = run_rounds(number, max(1, arguments.rounds))
    print(tables(figures, memory, number))
    in_flight = min(answer["in_flight"] for answer in calls)
    wrong = sum(answer["wrong"] for answer in calls)
    met = in_flight >= number and not wrong
    print(
        f"\n{in_flight:,.0f} green threads waited for calls at once, all finished, {wrong:.0f} results wrong"
        f" (target: {number:,} at once, none wrong: {'met' if met else 'missed'})"
    )
    results = {
        "machine": machine(),
        "number": number,
        "rounds": figures.rounds,
        "missing": figures.missing,
        "workloads": workloads_as_json(figures, memory),
        "calls": {"in_flight": in_flight, "wrong": wrong, "met": met},
        "targets": [
            asdict(Verdict(f"green threads waiting for calls at once, none wrong >= {number}", in_flight, met))
        ],
    }
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
