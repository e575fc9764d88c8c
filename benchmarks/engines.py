"""What a call on a pool of processes costs, through `Pool.over` and through `loop.run_in_executor`.

``python benchmarks/engines.py [--calls N] [--rounds N] [--json PATH]``

Nothing is judged: the executor itself costs most of it.
"""

import argparse
import asyncio
from pathlib import Path

from results import add_json_option, write

from tpool_asyncio._bench.engines import as_json, measure, render


def main() -> None:
    parser = argparse.ArgumentParser(description="A call on a pool of processes, with and without an engine.")
    parser.add_argument("--calls", type=int, default=2_000, metavar="N", help="calls per sample (default: 2000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="samples of each (default: 5)")
    add_json_option(parser, "engines")
    arguments = parser.parse_args()
    costs = asyncio.run(measure(max(1, arguments.calls), max(1, arguments.rounds)))
    print(render(costs))
    write(Path(arguments.json), {"calls": arguments.calls, **as_json(costs)})


if __name__ == "__main__":
    main()
