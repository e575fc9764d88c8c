"""The part that is the same in scripts that hold contestants against each other: options, rounds, tables, targets."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from results import add_json_option, write

from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.rounds import measure
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.table import as_json, render
from tpool_asyncio._bench.targets import Verdict

__all__ = ["main", "show_round"]


def show_round(done: int, total: int) -> None:
    """Say how far it has come, where somebody is looking."""
    if sys.stderr.isatty():
        print(f"\rround {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main(
    name: str,
    description: str,
    subject: Subject,
    judge: Callable[[Figures], list[Verdict]],
    *,
    rounds: int,
    loops: bool = False,
    tables: Callable[[Figures], str] | None = None,
    more: Callable[[Figures], Mapping[str, object]] = lambda _: {},
    patience: float | None = None,
) -> None:
    """Be the script of this name.

    Args:
        name: What the file with the figures is called.
        description: What ``--help`` says.
        subject: What is measured.
        judge: Holds the figures against the targets.
        rounds: How many samples of each contestant, unless the command line says otherwise.
        loops: Whether there is a choice of loops.
        tables: Returns the figures for people, None for `render`.
        more: Returns what comes into the file beside `as_json`.
        patience: Seconds that one sample may take, None for those of `child_process`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help=f"samples of each contestant (default: {rounds})"
    )
    parser.add_argument("--quick", action="store_true", help="fewer calls per sample")
    if loops:
        parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    add_json_option(parser, name)
    arguments = parser.parse_args()
    total = max(1, arguments.rounds)

    figures = measure(
        total,
        subject=subject,
        loop=arguments.loop if loops else "asyncio",
        quick=arguments.quick,
        on_round=lambda done: show_round(done, total),
        patience=patience,
    )
    judged = judge(figures)
    print(render(figures, subject) if tables is None else tables(figures))
    print("\nTargets, as ratios:")
    for verdict in judged:
        print(f"  {verdict}")
    results = {"benchmark": name, **as_json(figures, subject), **more(figures)}
    results["targets"] = [asdict(verdict) for verdict in judged]
    write(Path(arguments.json), results)
