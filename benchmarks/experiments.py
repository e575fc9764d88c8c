"""Other ways to do what the package does, each held against it as it is: what has been tried, and what it would cost.

``python benchmarks/experiments.py [--only NAME ...] [--list] [--rounds N] [--quick] [--loop asyncio|uvloop]
[--markdown PATH] [--json PATH]``

An experiment is a change of the source, see `tpool_asyncio/_bench/experiments.py`. The package is laid out with it and
without, and both are measured as `compare.py` measures two revisions. A ratio above 1 says that the change makes calls
dearer.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from results import add_json_option, circumstances, write
from side_by_side import show_round

from tpool_asyncio._bench.child_process import BenchError
from tpool_asyncio._bench.comparison import CLOCKS, SIDES, Finding, compare, judge
from tpool_asyncio._bench.experiments import EXPERIMENTS, Experiment, change
from tpool_asyncio._bench.revisions import HERE, lay_out
from tpool_asyncio._bench.table import columns

Findings = dict[str, dict[str, Finding]]
"""By workload and clock."""


def try_out(experiment: Experiment, rounds: int, *, loop: str, quick: bool) -> Findings:
    """Measure one experiment."""
    with tempfile.TemporaryDirectory(prefix="tpool_asyncio-") as folder:
        roots = {side: Path(folder) / side for side in SIDES}
        for root in roots.values():
            root.mkdir()
            lay_out(HERE, root)
        change(experiment, roots["head"])
        courses = [course for course in experiment.courses if course.loops or loop == "asyncio"]
        comparison = compare(roots, courses, rounds, loop=loop, quick=quick, material=Path(folder))
    return {
        next(course for course in courses if course.name == name).subject.workloads[workload].title: findings
        for (name, workload), findings in judge(comparison).items()
    }


def row(workload: str, findings: dict[str, Finding]) -> list[str]:
    """Return what a table says of one workload."""
    cells = [workload]
    for clock in CLOCKS:
        finding = findings[clock]
        between = "" if finding.bounds is None else " ({:.2f} to {:.2f})".format(*finding.bounds)
        cells.append(f"{finding.ratio:.2f}{between}")
    return cells


def markdown(found: dict[str, Findings]) -> str:
    """Return one table with everything."""
    lines = ["| changed | workload | wall time | CPU time |", "|---|---|---|---|"]
    for name, findings in found.items():
        title = EXPERIMENTS[name].title
        for workload, by_clock in findings.items():
            lines.append(f"| {title} | {' | '.join(row(workload, by_clock))} |")
            title = ""
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold other ways to do things against the package as it is.")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, metavar="NAME", help="these experiments")
    parser.add_argument("--list", action="store_true", help="say which there are, and end")
    parser.add_argument("--rounds", type=int, default=12, metavar="N", help="pairs of processes each (default: 12)")
    parser.add_argument("--quick", action="store_true", help="fewer calls per sample")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--markdown", metavar="PATH", help="write the table as Markdown, too")
    add_json_option(parser, "experiments")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{experiment.name:18} {experiment.title}" for experiment in EXPERIMENTS.values()))
        return
    rounds = max(1, arguments.rounds)
    chosen = [EXPERIMENTS[name] for name in arguments.only or EXPERIMENTS]
    about = circumstances()
    print(
        f"Changed / as it is, medians of {rounds} rounds with fresh processes, loop {arguments.loop};"
        " in brackets between which the true\nmedian lies.\n"
    )
    found: dict[str, Findings] = {}
    for number, experiment in enumerate(chosen):
        show_round(number, len(chosen))
        try:
            findings = try_out(experiment, rounds, loop=arguments.loop, quick=arguments.quick)
        except BenchError as error:
            parser.exit(1, f"{experiment.name}: {error}\n")
        found[experiment.name] = findings
        print(f"{experiment.name}: {experiment.title}")
        print(columns(["", "wall time", "CPU time"], [row(*item) for item in findings.items()]), end="\n\n")
    if arguments.markdown:
        Path(arguments.markdown).write_text(markdown(found), encoding="utf-8")
    results = {
        "benchmark": "experiments",
        **about,
        "loop": arguments.loop,
        "rounds": rounds,
        "quick": arguments.quick,
        "experiments": {
            name: {
                workload: {
                    clock: {**asdict(finding), "verdict": finding.verdict} for clock, finding in by_clock.items()
                }
                for workload, by_clock in findings.items()
            }
            for name, findings in found.items()
        },
    }
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
