"""What a call costs with tpool and with its peers, and which of the project's targets that meets.

``python benchmarks/calls.py [--rounds N] [--loop asyncio|uvloop] [--quick] [--json PATH]``
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from results import add_json_option, write

from tpool_asyncio._bench.rounds import measure
from tpool_asyncio._bench.table import as_json, render
from tpool_asyncio._bench.targets import verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost per call of tpool and its peers, and the targets.")
    parser.add_argument("--rounds", type=int, default=50, metavar="N", help="samples of each contestant (default: 50)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--quick", action="store_true", help="fewer calls per sample")
    add_json_option(parser, "calls")
    arguments = parser.parse_args()

    def on_round(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\rround {done} of {arguments.rounds}", end="", file=sys.stderr, flush=True)

    figures = measure(max(1, arguments.rounds), loop=arguments.loop, quick=arguments.quick, on_round=on_round)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    judged = verdicts(figures)
    print(render(figures))
    print("\nTargets, as ratios:")
    for verdict in judged:
        print(f"  {verdict}")
    results = {"benchmark": "calls", **as_json(figures)}
    results["targets"] = [asdict(verdict) for verdict in judged]
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
