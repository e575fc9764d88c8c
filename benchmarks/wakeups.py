"""How often calls wake a worker and the loop, counted in what the process asks of the kernel.

``python benchmarks/wakeups.py [--loop asyncio|uvloop] [--json PATH]``

A child makes 1, 20 and 1,000 calls at once, a few times over, under strace: on one loop, and on several loops in
threads of their own, which all do so at the same time. Counted are, for each time that many calls were made on a loop,

- the times a thread went to sleep on a lock that has no time limit: it was woken as often before, and that is what
  idle workers wait on in all packages that are compared. Waits for the interpreter's lock have a time limit and do not
  count;
- the writes to the loops' self-pipes, which is how another thread wakes a loop (for uvloop's, to an ``eventfd``);
- for tpool, as it counts them itself: drains that found something to settle; workers that were woken, or started, for
  nothing, while nothing was queued; and workers that were woken in vain, since somebody else had been faster.

Being watched makes system calls some ten times slower, so that the numbers are those of a slow machine, and more
workers find time to fall asleep than would otherwise. They compare packages; they are no absolute truth. That no more
writes are made than there are drains holds for every run.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from results import add_json_option, write

from tpool_asyncio._bench.answers import watch_over
from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.contestants import CONTESTANTS, TPOOL
from tpool_asyncio._bench.table import columns
from tpool_asyncio._bench.targets import Verdict
from tpool_asyncio._bench.workloads import AT_ONCE_20, AT_ONCE_1000, ONE_BY_ONE, Workload, run

COUNTED = {
    1: ("tpool", "to_thread", "run_in_executor", "anyio"),
    4: ("tpool", "to_thread", "run_in_executor"),  # under strace, anyio does not end with four loops
}
"""Who is counted, by the number of loops."""
PATIENCE = 100.0
"""Seconds after which a child ends itself; to end strace would leave it behind."""
REPS = {ONE_BY_ONE: 50, AT_ONCE_20: 20, AT_ONCE_1000: 3}
MARK = "wakeups"

LOCK_WAIT = re.compile(r"futex\(0x[0-9a-f]+, FUTEX_WAIT_BITSET(_PRIVATE)?\|FUTEX_CLOCK_REALTIME, 0, NULL")
SELF_PIPE = re.compile(r'(send(to)?\(\d+, "\\0", 1,|write\(\d+, "\\1(\\0){7}", 8)')

Counts = dict[str, dict[str, float]]
"""What was counted, by workload and kind."""


@contextmanager
def loops_in_threads(kind: str, number: int) -> Iterator[list[asyncio.AbstractEventLoop]]:
    """Run some loops, each in a thread of its own: the main thread is in no figure."""
    loops = [import_module(kind).new_event_loop() for _ in range(number)]
    threads = [threading.Thread(target=loop.run_forever) for loop in loops]
    for thread in threads:
        thread.start()
    yield loops
    for loop, thread in zip(loops, threads, strict=True):
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def on_all(loops: list[asyncio.AbstractEventLoop], coroutines: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run one coroutine on each loop, all at the same time, and wait for all of them."""
    futures = [asyncio.run_coroutine_threadsafe(each, loop) for each, loop in zip(coroutines, loops, strict=True)]
    return [future.result() for future in futures]


async def entered(manager: Any) -> Any:
    return await manager.__aenter__()


def make_calls(name: str, kind_of_loop: str, number_of_loops: int) -> None:
    """Do the workloads, with a mark that strace sees before and after each. The child's part."""
    opener = CONTESTANTS[name].open
    assert opener is not None
    with ExitStack() as stack:
        watch = None
        if name == TPOOL.name:
            from tpool_asyncio._bench.wakeup_watch import WakeupWatch

            watch = stack.enter_context(WakeupWatch())
        loops = stack.enter_context(loops_in_threads(kind_of_loop, number_of_loops))
        managers = [opener() for _ in loops]
        submits = on_all(loops, [entered(manager) for manager in managers])
        for workload, reps in REPS.items():
            on_all(loops, [run(workload, submit, 2) for submit in submits])
            time.sleep(0.2)  # all workers have gone to sleep: what they are woken for is counted from here
            if watch is not None:
                watch.taken()
            mark(workload, "begin")
            on_all(loops, [run(workload, submit, reps) for submit in submits])
            time.sleep(0.2)
            mark(workload, "end", {} if watch is None else watch.taken())
        on_all(loops, [manager.__aexit__(None, None, None) for manager in managers])


def mark(workload: Workload, word: str, own: dict[str, int] | None = None) -> None:
    told = " ".join(f"{name}={number}" for name, number in (own or {}).items())
    os.write(2, f"{MARK} {workload.name} {word} {told}\n".encode())


def count(trace: str, main_thread: str, number_of_loops: int) -> Counts:
    """Return wake-ups of workers and of loops, for each time a workload was done on a loop."""
    counts: Counts = {}
    current: dict[str, float] | None = None
    times = {workload.name: reps * number_of_loops for workload, reps in REPS.items()}
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        if found := re.search(MARK + r" (\w+) (begin|end)([ =\w]*)", call):
            if found[2] == "begin":
                current = counts[found[1]] = {"workers": 0.0, "loop": 0.0}
            elif current is not None:
                current.update((name, float(number)) for name, number in re.findall(r"(\w+)=(\d+)", found[3]))
                for kind in current:
                    current[kind] /= times[found[1]]
                current = None
        elif current is not None and thread != main_thread:
            if LOCK_WAIT.search(call):
                current["workers"] += 1
            elif SELF_PIPE.search(call):
                current["loop"] += 1
    return counts


def trace_calls(strace: str, name: str, kind_of_loop: str, number_of_loops: int) -> Counts:
    """Run the calls of one contestant under strace and count.

    Raises:
        RuntimeError: strace does not work here, or the contestant's package is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        command = [strace, "-f", "-qq", "-e", "trace=futex,sendto,write", "-e", "signal=none", "-s", "200"]
        done = subprocess.run(
            [*command, "-o", str(path), sys.executable, __file__, "--child", name, kind_of_loop, str(number_of_loops)],
            check=False,
            capture_output=True,
            env=environment(),
            timeout=PATIENCE + 20,
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()
            raise RuntimeError(last[-1] if last else f"exit code {done.returncode}")
        return count(path.read_text(errors="replace"), done.stdout.decode().strip(), number_of_loops)


def tables(counts: dict[int, dict[str, Counts]]) -> str:
    """Return what people read."""
    kinds = {
        "workers": "worker wake-ups",
        "loop": "self-pipe writes",
        "drains": "drains",
        "for_nothing": "for nothing",
        "in_vain": "in vain",
    }
    parts = []
    for number, by_name in counts.items():
        for workload in REPS:
            title = f"{workload.title}, {number} loop{'s' * (number > 1)}"
            rows = []
            for name, found in by_name.items():
                cells = [f"{found[workload.name][kind]:.1f}" if kind in found[workload.name] else "-" for kind in kinds]
                rows.append([CONTESTANTS[name].title, *cells])
            parts.append(columns([title, *kinds.values()], rows))
    return "\n\n".join(parts)


def verdicts(counts: dict[int, dict[str, Counts]]) -> list[Verdict]:
    """Judge what tpool does, for each number of loops and workload."""
    judged = []
    for number, by_name in counts.items():
        for workload in REPS:
            own = by_name[TPOOL.name][workload.name]
            title = f"{workload.title}, {number} loop{'s' * (number > 1)}"
            for what, most, measured in (
                ("self-pipe writes for each drain", 1, own["loop"] / own["drains"]),
                ("workers woken while nothing was queued", 0, own["for_nothing"]),
                ("workers woken in vain, since somebody else was faster", 0, own["in_vain"]),
            ):
                judged.append(Verdict(f"{title}: {what} <= {most}", measured, met=measured <= most))
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description="Wake-ups of workers and of the loop per group of calls.")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="kind of loop")
    parser.add_argument("--child", nargs=3, metavar=("NAME", "KIND", "LOOPS"), help=argparse.SUPPRESS)
    add_json_option(parser, "wakeups")
    arguments = parser.parse_args()
    if arguments.child:
        watch_over(PATIENCE)()
        print(os.getpid(), flush=True)
        make_calls(arguments.child[0], arguments.child[1], int(arguments.child[2]))
        return

    strace = shutil.which("strace")
    if strace is None:
        print("wake-ups are not counted: strace is not installed")
        return
    counts: dict[int, dict[str, Counts]] = {}
    for number, names in COUNTED.items():
        counts[number] = {}
        for name in names:
            try:
                counts[number][name] = trace_calls(strace, name, arguments.loop, number)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{CONTESTANTS[name].title} is left out: {error}")
        if TPOOL.name not in counts[number]:
            print("wake-ups are not counted: strace does not work here")
            return
    print(tables(counts), end="\n\n")
    judged = verdicts(counts)
    print("Targets:")
    for verdict in judged:
        print(f"  {verdict}")
    print("\nAll slowed down by strace, see the head of this script.")
    results = {"benchmark": "wakeups", "loop": arguments.loop, "counts": counts}
    write(Path(arguments.json), {**results, "targets": [asdict(verdict) for verdict in judged]})


if __name__ == "__main__":
    main()
