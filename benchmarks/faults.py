"""What ours and the packages beside it do when things go wrong, in the same cases for all of them.

Each case runs with each contestant in a process of its own, which is killed when its time is over. A cell says ``ok``,
``wrong`` (and below the table, what), ``hangs``, ``differs`` where the package promises something else and keeps it, or
``n/a`` where it has nothing of the kind or is not installed. What a case demands is said by ``--list``.
"""

import argparse
import json
import sys
from pathlib import Path

from results import add_json_option, write

from tpool_asyncio._bench.faults.child import load_cases
from tpool_asyncio._bench.faults.report import as_json, as_markdown, elsewhere, render
from tpool_asyncio._bench.faults.runner import Cell, Results, run_all
from tpool_asyncio._bench.faults.verdicts import PATIENCE
from tpool_asyncio._bench.faults.ways import LOOPS, WAYS


def show(case: str, contestant: str, cell: Cell) -> None:
    """Say how far it has come, where somebody is looking."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{case}, {contestant}: {cell.verdict}", end="", file=sys.stderr, flush=True)


def from_files(paths: list[str]) -> Results:
    """Return what came of earlier runs with this interpreter on this loop; of a cell, what the last one has."""
    results: Results = {}
    for path in paths:
        for name, case in json.loads(Path(path).read_text(encoding="utf-8"))["cases"].items():
            results |= {(name, contestant): Cell(**cell) for contestant, cell in case["results"].items()}
    return results


def main() -> None:
    """Be the script."""
    every = load_cases()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="CASE", help="a case or a group of cases; may be repeated")
    parser.add_argument("--contestant", action="append", choices=WAYS, help="one of them; may be repeated")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="on which loop (default: asyncio)")
    parser.add_argument("--quick", action="store_true", help="fewer calls in storms")
    parser.add_argument("--at-once", type=int, default=3, metavar="N", help="how many processes at once (default: 3)")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="S",
        help=f"seconds until it hangs (default: {PATIENCE:g})",
    )
    parser.add_argument("--list", action="store_true", help="say what each case demands, and end")
    parser.add_argument("--markdown", metavar="PATH", help="a page of the documentation whose table is to be made anew")
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="PATH",
        help="figures of another run, for the page; may be repeated, and a later one goes before an earlier one",
    )
    parser.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="PATH",
        help="run nothing, take the figures of runs; as --beside",
    )
    add_json_option(parser, "faults")
    arguments = parser.parse_args()
    only = arguments.only or list(every)
    cases = [case for case in every.values() if case.name in only or case.group in only]
    if not cases:
        parser.error(f"there is no such case or group; cases are {', '.join(every)}")
    if arguments.list:
        for case in cases:
            print(f"{case.group}: {case.name}\n    {case.title}. {case.criterion}")
        return
    contestants = arguments.contestant or list(WAYS)
    if arguments.given:
        results = from_files(arguments.given)
        cases = [case for case in cases if all((case.name, name) in results for name in contestants)]
    else:
        results = run_all(
            cases,
            contestants,
            arguments.loop,
            quick=arguments.quick,
            patience=arguments.patience,
            at_once=max(1, arguments.at_once),
            on_done=show,
        )
    print(render(cases, contestants, results))
    figures = as_json(cases, contestants, results, arguments.loop, arguments.patience)
    if arguments.markdown:
        page = Path(arguments.markdown)
        head = page.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
        others = [json.loads(Path(path).read_text(encoding="utf-8")) for path in arguments.beside]
        table = as_markdown(cases, contestants, results, arguments.loop, arguments.patience).rstrip()
        page.write_text(f"{head}\n\n{MARK}\n\n{elsewhere([figures, *others])}\n{table}\n", encoding="utf-8")
    write(Path(arguments.json), figures)


MARK = "<!-- made by benchmarks/faults.py --markdown; what is below is written over -->"

if __name__ == "__main__":
    main()
