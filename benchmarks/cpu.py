"""How many calls per second that hold the processor, and which part of what bare threads do.

``python benchmarks/cpu.py [--rounds N] [--loop asyncio|uvloop] [--quick] [--json PATH]``

The calls hash 64 KB with sha256, or compress 64 KB with zlib. Both let go of the interpreter while they work, so they
run on as many processors as there are. All calls of a sample are made at once. The floor is as many bare threads as
each contestant has, which do the same work and nothing else.
"""

from side_by_side import main

from tpool_asyncio._bench.cpu import CPU, render, rows, verdicts

if __name__ == "__main__":
    main(
        "cpu",
        "Calls per second that hold the processor.",
        CPU,
        verdicts,
        rounds=30,
        loops=True,
        tables=render,
        more=lambda figures: {"rows": rows(figures)},
    )
