"""What calls cost that go through the default executor of a loop or through an executor, and the targets.

``python benchmarks/executors.py [--loop asyncio|uvloop ...] [--rounds N] [--quick] [--json PATH]``

The same lines, ``loop.run_in_executor(None, fn)`` and ``asyncio.to_thread(fn)``, on a loop of
``tpool_asyncio.new_event_loop`` and on a stock loop with its own default executor, for both kinds of loops; and
``submit`` of ``tpool.executor()`` and of a `ThreadPoolExecutor`, each result waited for in turn.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from results import add_json_option, write
from side_by_side import show_round

from tpool_asyncio._bench.executors import EXECUTORS, verdicts
from tpool_asyncio._bench.rounds import measure
from tpool_asyncio._bench.table import as_json, render

KINDS = ("asyncio", "uvloop")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of calls through executors, and the targets.")
    parser.add_argument("--loop", nargs="+", choices=KINDS, default=KINDS, help="these kinds of loops and no others")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="samples of each contestant (default: 30)")
    parser.add_argument("--quick", action="store_true", help="fewer calls per sample")
    add_json_option(parser, "executors")
    arguments = parser.parse_args()
    total = max(1, arguments.rounds)

    results = {}
    for kind in arguments.loop:
        figures = measure(
            total,
            subject=EXECUTORS,
            quick=arguments.quick,
            on_round=lambda done: show_round(done, total),
            arguments=(kind,),
        )
        figures.loop = kind
        judged = verdicts(figures)
        print(render(figures, EXECUTORS))
        print("\nTargets, as ratios:")
        for verdict in judged:
            print(f"  {verdict}")
        print(flush=True)
        results[kind] = {**as_json(figures, EXECUTORS), "targets": [asdict(verdict) for verdict in judged]}
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
