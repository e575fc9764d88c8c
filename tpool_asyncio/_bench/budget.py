"""What one call costs, step by step, in instructions and in nanoseconds.

`budget_marks` tells how steps are measured, `budget_by_hand` and `budget_green` do them one by one, `budget_threads`
does whole calls. `budget_child` is the process in which that happens, natively or under callgrind; this module runs it,
and makes figures of what it says. `budget_table` puts them into words.

Instructions are those of the process, all threads together, and not the kernel's. By hand they are the same from one
run to the next, within a few in ten thousand: hashes and addresses are not random then, and the median of some rounds
has nothing of what happens now and then, as when memory is taken from the system. Nanoseconds are the least of many
rounds.
"""

import itertools
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tpool_asyncio._bench.budget_marks import MARKED_BY
from tpool_asyncio._bench.child_process import BenchError, environment

__all__ = ["Costs", "CountError", "count", "figures_of", "parts_of", "time_steps"]

PATIENCE = 600.0
"""Seconds that one process may take."""


class CountError(BenchError):
    """Instructions cannot be counted here. The message says why."""


Costs = dict[str, float]
"""What each step costs, by its name, for one call."""


def time_steps(kind: str, each: int, rounds: int, warm_up: int) -> Costs:
    """Return the nanoseconds of each step, the least of so many rounds."""
    done = _run([], kind, each, rounds, warm_up, "time")
    return figures_of(done, [_differences(marks) for marks in done["taken"]], min)


def count(kind: str, each: int, rounds: int, warm_up: int) -> Costs:
    """Return the instructions of each step, the median of so many rounds.

    Raises:
        CountError: callgrind does not work here.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CountError("valgrind is not installed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts"
        command = [*_without_random_addresses(), valgrind, "--tool=callgrind", f"--dump-before={MARKED_BY}"]
        command += ["--combine-dumps=yes", "--fair-sched=try", f"--callgrind-out-file={path}"]
        try:
            done = _run(command, kind, each, rounds, warm_up, "callgrind")
            with path.open(encoding="utf-8", errors="replace") as lines:
                parts = parts_of(lines)
        except (BenchError, OSError) as error:
            raise CountError(f"callgrind does not work here: {error}") from error
    rest = iter(parts[1:])  # the first is all that was executed before the first mark
    sections = []
    for marks in done["taken"]:
        # Each round has one part less than marks; the one before its first mark is what lies between the rounds.
        mine = [next(rest, None) for _ in marks]
        if None in mine:
            raise CountError(f"callgrind has not seen the calls of {MARKED_BY}; is its symbol stripped?")
        sections.append([part for part in mine[:-1] if part is not None])
    return figures_of(done, sections, median)


def parts_of(lines: Iterable[str]) -> list[int]:
    """Return how many instructions each part of what callgrind has written down tells of."""
    return [int(found[1]) for line in lines if (found := re.match(r"totals: (\d+)", line))]


def figures_of(done: dict[str, Any], sections: Sequence[Sequence[int]], pick: Callable[[list[int]], float]) -> Costs:
    """Return what each step costs, its base taken away, out of what lay between the marks of each round in turn.

    A step that a scenario has several times is the sum of them.
    """
    scenarios = done["scenarios"]
    samples: dict[str, list[int]] = {}
    for number, taken in enumerate(sections):
        sums: dict[str, int] = {}
        for step, cost in zip(scenarios[number % len(scenarios)]["steps"], taken, strict=True):
            sums[step["name"]] = sums.get(step["name"], 0) + cost
        for name, cost in sums.items():
            samples.setdefault(name, []).append(cost)
    costs = {name: pick(found) for name, found in samples.items()}
    figures: Costs = {}
    for scenario in scenarios:
        for step in scenario["steps"]:
            if step["base"]:
                without = figures.get(step["name"], costs[step["name"]] / scenario["each"])
                figures[step["name"]] = without - costs[step["base"]] / scenario["each"]
    return figures


def _differences(marks: Sequence[int]) -> list[int]:
    return [after - before for before, after in itertools.pairwise(marks)]


def _without_random_addresses() -> list[str]:
    """Return the command that runs another one with addresses that are always the same, if there is one here."""
    setarch = shutil.which("setarch")
    if setarch is None:
        return []
    command = [setarch, platform.machine(), "-R"]
    works = subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
    return command if works else []


def _run(before: list[str], kind: str, each: int, rounds: int, warm_up: int, clock: str) -> dict[str, Any]:
    program = [sys.executable, "-P", "-m", "tpool_asyncio._bench.budget_child"]
    arguments = [kind, str(each), str(rounds), str(warm_up), clock]
    try:
        ended = subprocess.run(
            [*before, *program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**environment(), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"the steps of {kind} have not ended after {PATIENCE:.0f} seconds") from error
    if ended.returncode:
        last = ended.stderr.strip().splitlines()
        what = f": {last[-1]}" if last else ""
        raise BenchError(f"the process that does the steps of {kind} ended with exit code {ended.returncode}{what}")
    done: dict[str, Any] = json.loads(ended.stdout)
    return done
