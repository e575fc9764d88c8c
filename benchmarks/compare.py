"""Two revisions of the package, held against each other: faster, slower, or no difference beyond noise.

``python benchmarks/compare.py BASE [--head REVISION] [--only COURSE ...] [--rounds N] [--quick] [--loop asyncio|uvloop]
[--json PATH]``

BASE is any revision that git knows; it is held against the files as they are, or against another revision. The package
of each is laid out in a temporary folder, and the measurements of now drive both, in processes of their own that take
turns. What the last column says is told at the head of `tpool_asyncio/_bench/comparison.py`; ``HEAD --head HEAD`` shows
whether to believe it on this machine.

What BASE cannot do, since it is too old for it, is left out, and said so.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import add_json_option, circumstances, write
from side_by_side import show_round

from tpool_asyncio._bench.child_process import BenchError
from tpool_asyncio._bench.comparison import CLOCKS, FALSE_ALARMS, LEAST, SIDES, Comparison, Finding, compare, judge
from tpool_asyncio._bench.courses import COURSES
from tpool_asyncio._bench.revisions import HERE, RevisionError, describe, lay_out
from tpool_asyncio._bench.table import columns

TITLES = {"wall": "wall time", "cpu": "CPU time"}

Judged = dict[tuple[str, str], dict[str, Finding]]


def tables(judged: Judged, comparison: Comparison) -> str:
    """Return a table for each clock, and what is left out."""
    parts = []
    for clock in CLOCKS:
        rows = []
        for (course, workload), findings in judged.items():
            if finding := findings.get(clock):
                between = "-" if finding.bounds is None else "{:.3f} to {:.3f}".format(*finding.bounds)
                rows.append(
                    [
                        f"{COURSES[course].title}: {COURSES[course].subject.workloads[workload].title}",
                        f"{finding.base_us:.2f}",
                        f"{finding.head_us:.2f}",
                        f"{finding.ratio:.3f}",
                        between,
                        finding.verdict,
                    ]
                )
        parts.append(columns([TITLES[clock], "base us", "head us", "head / base", "between", "head is"], rows))
    parts += [
        f"{COURSES[course].title} is left out, base cannot do it: {reason}"
        for course, reason in comparison.left_out.items()
    ]
    return "\n\n".join(parts)


def as_json(judged: Judged, comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Return the findings and all samples, by course and workload."""
    courses: dict[str, dict[str, Any]] = {}
    for (course, workload), pairs in comparison.pairs.items():
        findings = judged.get((course, workload), {})
        courses.setdefault(course, {})[workload] = {
            **{clock: {**asdict(finding), "verdict": finding.verdict} for clock, finding in findings.items()},
            "samples": [[[side.wall_us, side.cpu_us] for side in pair] for pair in pairs],
        }
    return courses


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold two revisions of the package against each other.")
    parser.add_argument("base", metavar="BASE", help="a revision")
    parser.add_argument("--head", metavar="REVISION", default=HERE, help="another (default: the files as they are)")
    parser.add_argument("--only", nargs="+", choices=COURSES, metavar="COURSE", help=f"some of: {', '.join(COURSES)}")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="pairs of processes (default: 20)")
    parser.add_argument("--quick", action="store_true", help="fewer calls per sample")
    parser.add_argument(
        "--loop", choices=("asyncio", "uvloop"), default="asyncio", help="with uvloop, only courses that know it"
    )
    add_json_option(parser, "compare")
    arguments = parser.parse_args()
    rounds, loop = max(1, arguments.rounds), arguments.loop
    courses = [
        course
        for course in COURSES.values()
        if (arguments.only is None or course.name in arguments.only) and (course.loops or loop == "asyncio")
    ]
    if not courses:
        parser.error(f"none of these courses is measured on {loop}")

    revisions = dict(zip(SIDES, (arguments.base, arguments.head), strict=True))
    with tempfile.TemporaryDirectory(prefix="tpool_asyncio-") as folder:
        roots = {side: Path(folder) / side for side in SIDES}  # of the same length: it is in every process's memory
        try:
            said = {side: describe(revisions[side]) for side in SIDES}
            for side, root in roots.items():
                root.mkdir()
                lay_out(revisions[side], root)
        except RevisionError as error:
            parser.exit(2, f"{error}\n")
        for side in SIDES:
            print(f"{side}: {said[side]}")
        about = circumstances()
        try:
            comparison = compare(
                roots,
                courses,
                rounds,
                loop=loop,
                quick=arguments.quick,
                material=Path(folder),
                on_round=lambda done: show_round(done, rounds),
            )
        except BenchError as error:
            parser.exit(1, f"{error}\n")

    judged = judge(comparison)
    print(
        f"\nMedians of {rounds} rounds, each with fresh processes, loop {loop}. With a chance of {1 - FALSE_ALARMS:.0%}"
        f" all medians of\nhead / base lie between what is said. A difference of less than {LEAST:.0%} is none.\n"
    )
    print(tables(judged, comparison))
    results = {
        "benchmark": "compare",
        **about,
        **said,
        "loop": loop,
        "rounds": rounds,
        "quick": arguments.quick,
        "left_out": comparison.left_out,
        "courses": as_json(judged, comparison),
    }
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
