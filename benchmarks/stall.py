"""How long the loop is held up while 100,000 calls pass through, beside an idle one and with the peers.

``python benchmarks/stall.py [--rounds N] [--loop asyncio|uvloop] [--quick] [--json PATH]``

The file has one series of heartbeats for each contestant and each way of making the calls.
"""

from side_by_side import main

from tpool_asyncio._bench.stall import STALL
from tpool_asyncio._bench.stall_table import render, series, verdicts

if __name__ == "__main__":
    main(
        "stall",
        "Stalls of the loop while 100,000 calls pass through.",
        STALL,
        verdicts,
        rounds=5,
        loops=True,
        tables=render,
        more=lambda figures: {"series": series(figures)},
        patience=600.0,
    )
