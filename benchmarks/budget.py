"""Where the time of one call goes: each step in instructions and in nanoseconds, beside the floors of the machine.

``python benchmarks/budget.py [--quick] [--kinds KIND ...] [--json PATH]``

The steps of `tpool.execute` are done by hand, one by one, in one thread, for one call alone and for 1,000 at once; so
are those of asyncio alone, and of a call from a green thread. Below that are whole calls with real threads. What the
functions do is nothing, and the garbage collector is off, but for the line that says what it costs.

Instructions are counted by valgrind's callgrind, and do not depend on what else the machine is doing; the kernel's own
are not in them. Without valgrind there are nanoseconds only, the least of many rounds on one processor.
"""

import argparse
from pathlib import Path

from results import add_json_option, write

from tpool_asyncio._bench.budget import Costs, CountError, count, time_steps
from tpool_asyncio._bench.budget_child import KINDS
from tpool_asyncio._bench.budget_table import Measured, as_json, render
from tpool_asyncio._bench.table import machine

AT_ONCE = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description="The budget of one call, step by step.")
    parser.add_argument("--quick", action="store_true", help="few rounds, and 20 at once in place of 1,000")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="what to measure (default: all)")
    add_json_option(parser, "budget")
    arguments = parser.parse_args()

    about = machine()
    print(f"The budget of one call on {about['python']}, {about['system']}, loop asyncio.\n")
    why_not: str | None = None
    measured: dict[str, dict[int, Measured]] = {}
    for kind in arguments.kinds:
        measured[kind] = {}
        for each in (1, 20 if arguments.quick else AT_ONCE):
            warm_up, rounds = (20, 1_000) if each == 1 else (4, 50)
            instructions: Costs | None = None
            if why_not is None:
                try:
                    instructions = count(kind, each, 3 if arguments.quick else 5, warm_up)
                except CountError as error:
                    why_not = str(error)
            ns = time_steps(kind, each, 10 if arguments.quick else rounds, warm_up)
            measured[kind][each] = Measured(ns, instructions)
    print(render(measured))
    if why_not:
        print(f"\nNanoseconds only: {why_not}.")
    write(Path(arguments.json), {"machine": about, "instructions": why_not is None, "tables": as_json(measured)})


if __name__ == "__main__":
    main()
