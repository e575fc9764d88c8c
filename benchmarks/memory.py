"""What is left when the same has been done ten million times: calls, loops, hubs, green threads, errors and others.

``python benchmarks/memory.py [--kind NAME] [--loop NAME] [--number N] [--list] [--json PATH]``

Each kind has a process of its own, on asyncio's loop and on uvloop's. After a tenth of the repetitions as a warm-up it
looks ten times, each time after another tenth, at what the process holds when everything has come to rest: blocks of
the interpreter's memory, objects that the garbage collector knows of, open files, threads, and the resident set. What
is printed is the lowest of the last three looks less the lowest of the first three. It ends with status 1 if anything
has grown: by more than 1,000 blocks, 500 objects or 8 MB, or by a single file, however many repetitions there were.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from platform import python_version
from typing import Any

from results import add_json_option, write

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.memory.kinds import load_kinds

LOOPS = ("asyncio", "uvloop")


def in_a_child(kind: str, loop: str, number: int) -> dict[str, Any]:
    """Do one kind in a process of its own; return what it tells."""
    command = [sys.executable, "-P", "-m", "tpool_asyncio._bench.memory", kind, loop, str(number)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment()).stdout
    answer: dict[str, Any] = json.loads(output)
    return answer


def show(kind: str, loop: str, found: dict[str, Any]) -> None:
    """Print one line of the table, and below it what is wrong."""
    last, growth = found["looks"][-1], found["growth"]
    print(
        f"{kind:<16} {loop:<8}{last['done']:>12,}{growth['blocks']:>8,}{growth['objects']:>8,}{growth['files']:>6}"
        f"{last['threads']:>8}{growth['resident'] / 2**20:>8.1f}{found['seconds']:>9.0f}",
        flush=True,
    )
    for line in found["grown"]:
        print(f"    GROWN: {line}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Be the script."""
    kinds = load_kinds()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", action="append", choices=kinds, metavar="NAME", help="one of them; may be repeated")
    parser.add_argument("--loop", action="append", choices=LOOPS, help="on which loop (default: both)")
    parser.add_argument("--number", type=int, metavar="N", help="at most so many repetitions of each, at least 1,000")
    parser.add_argument("--list", action="store_true", help="say what is repeated, and how often, and end")
    add_json_option(parser, "memory")
    options = parser.parse_args(arguments)
    if options.list:
        for kind in kinds.values():
            print(f"{kind.name:<16}{kind.full:>12,}  {kind.title}")
        return
    results: dict[str, Any] = {}
    print(f"CPython {python_version()}")
    print(
        f"{'kind':<16} {'loop':<8}{'repeated':>12}{'blocks':>8}{'objects':>8}{'files':>6}"
        f"{'threads':>8}{'MB':>8}{'seconds':>9}"
    )
    for name in options.kind or kinds:
        for loop in options.loop or LOOPS:
            if not find_spec(loop):
                print(f"without {loop}, which is not installed")
                continue
            number = kinds[name].full if options.number is None else min(kinds[name].full, max(1_000, options.number))
            results.setdefault(name, {})[loop] = found = in_a_child(name, loop, number)
            show(name, loop, found)
    write(Path(options.json), {"python": python_version(), "kinds": results})
    if any(found["grown"] for loops in results.values() for found in loops.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
