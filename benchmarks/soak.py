"""Everything at once for some minutes: no call lost, none doubled, nothing left over.

``python benchmarks/soak.py [--minutes M] [--calls N] [--seed N] [--json PATH]``

Several threads run one event loop after another, asyncio's and uvloop's, several others one hub after another. All of
them make calls of every kind in the default pool and in pools of their own: crowds of a thousand, cancelled ones, ones
with time limits, calls back to the loop, iterations, pinned proxies, green threads that are killed. Meanwhile the main
thread forks, changes the size of the pool, and ends its threads. Each call is accounted for. At the end threads and
file descriptors have to be as many as at the beginning, the memory must not have grown, and the pool's own counts must
be exact. It ends with status 1 if anything is wrong.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from results import add_json_option, write

from tpool_asyncio._bench.soak.soak import soak


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    """Return what makes the event loops."""
    factories: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
    try:
        import uvloop
    except ImportError:
        print("without uvloop, which is not installed")
    else:
        factories.append(uvloop.new_event_loop)
    return factories


def main() -> None:
    """Soak, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, metavar="M", help="how long at the least (default: 1)")
    parser.add_argument("--calls", type=int, default=0, metavar="N", help="how many calls at the least (default: 0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the dice (default: 0)")
    add_json_option(parser, "soak")
    options = parser.parse_args()
    found = soak(options.minutes * 60, calls=options.calls, seed=options.seed, loops=loops(), tell=print)
    print()
    for kind, number in found["totals"].items():
        print(f"{number:>14,}  {kind}")
    for wrong in found["wrong"]:
        print(f"\nWRONG: {wrong}")
    write(Path(options.json), found)
    if found["wrong"]:
        sys.exit(1)
    print(f"\nIn {found['seconds']:.0f} s every call is accounted for, and nothing is left over.")


if __name__ == "__main__":
    main()
