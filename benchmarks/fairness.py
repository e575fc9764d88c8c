"""How long short calls wait where long ones are made, too: ours beside a `ThreadPoolExecutor` of as many threads.

``python benchmarks/fairness.py [--rounds N] [--loop asyncio|uvloop] [--quick] [--json PATH]``

Calls arrive at the same times for all, which are drawn anew for each round, from a seed. The executor takes part
twice, so that one sees how much of a difference is chance.
"""

from side_by_side import main

from tpool_asyncio._bench.fairness import FAIRNESS
from tpool_asyncio._bench.fairness_table import render, rows, verdicts

if __name__ == "__main__":
    main(
        "fairness",
        "Waiting times of short calls beside long ones.",
        FAIRNESS,
        verdicts,
        rounds=15,
        loops=True,
        tables=render,
        more=lambda figures: {"rows": rows(figures)},
    )
