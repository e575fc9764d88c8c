"""How often calls wake a worker and the loop, counted in what the process asks of the kernel.

``python benchmarks/wakeups.py [--json PATH]``

A child makes 20 and then 1,000 calls at once, a few times over, under strace. Counted are

- the times a worker went to sleep on a lock that has no time limit: it was woken as often before, and that is what
  idle workers wait on both in tpool and in `ThreadPoolExecutor`. Waits for the interpreter's lock have a time limit
  and do not count;
- the bytes sent through the loop's self-pipe, which is how another thread wakes it.

Being watched makes system calls some ten times slower, so that the numbers are those of a slow machine, and more
workers find time to fall asleep than would otherwise. They compare the two; they are no absolute truth.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from results import add_json_option, write

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.contestants import CONTESTANTS
from tpool_asyncio._bench.table import columns
from tpool_asyncio._bench.workloads import AT_ONCE_20, AT_ONCE_1000, Workload, run

COUNTED = ("tpool", "run_in_executor")
REPS = {AT_ONCE_20: 50, AT_ONCE_1000: 5}
MARK = "wakeups"

LOCK_WAIT = re.compile(r"futex\(0x[0-9a-f]+, FUTEX_WAIT_BITSET(_PRIVATE)?\|FUTEX_CLOCK_REALTIME, 0, NULL")
SELF_PIPE = re.compile(r'(sendto\(\d+, "\\0", 1,|send\(\d+, "\\0", 1,)')


async def calls(name: str) -> None:
    """Do the workloads, with a mark that strace sees before and after each. The child's part."""
    opener = CONTESTANTS[name].open
    assert opener is not None
    async with opener() as submit:
        for workload, reps in REPS.items():
            await run(workload, submit, 2)
            await asyncio.sleep(0.2)  # all workers have gone to sleep: what they are woken for is counted from here
            mark(workload, "begin")
            await run(workload, submit, reps)
            await asyncio.sleep(0.2)
            mark(workload, "end")


def mark(workload: Workload, word: str) -> None:
    os.write(2, f"{MARK} {workload.name} {word}\n".encode())


def count(trace: str, main_thread: str) -> dict[str, dict[str, float]]:
    """Return wake-ups of workers and of the loop, for each time a workload was done."""
    counts: dict[str, dict[str, float]] = {}
    current: dict[str, float] | None = None
    reps = {workload.name: number for workload, number in REPS.items()}
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        if found := re.search(MARK + r" (\w+) (begin|end)", call):
            if found[2] == "begin":
                current = counts[found[1]] = {"workers": 0.0, "loop": 0.0}
            elif current is not None:
                for kind in current:
                    current[kind] /= reps[found[1]]
                current = None
        elif current is not None and thread != main_thread and LOCK_WAIT.search(call):
            current["workers"] += 1
        elif current is not None and SELF_PIPE.search(call):
            current["loop"] += 1
    return counts


def trace_calls(strace: str, name: str) -> dict[str, dict[str, float]]:
    """Run the calls of one contestant under strace and count.

    Raises:
        RuntimeError: strace does not work here.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        command = [strace, "-f", "-qq", "-e", "trace=futex,sendto,write", "-e", "signal=none", "-o", str(path)]
        done = subprocess.run(
            [*command, sys.executable, __file__, "--child", name],
            check=False,
            capture_output=True,
            env=environment(),
            timeout=120,
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()
            raise RuntimeError(last[-1] if last else f"exit code {done.returncode}")
        return count(path.read_text(errors="replace"), done.stdout.decode().strip())


def main() -> None:
    parser = argparse.ArgumentParser(description="Wake-ups of workers and of the loop per group of calls.")
    parser.add_argument("--child", choices=COUNTED, help=argparse.SUPPRESS)
    add_json_option(parser, "wakeups")
    arguments = parser.parse_args()
    if arguments.child:
        print(os.getpid(), flush=True)
        asyncio.run(calls(arguments.child))
        return

    strace = shutil.which("strace")
    if strace is None:
        print("wake-ups are not counted: strace is not installed")
        return
    counts = {}
    for name in COUNTED:
        try:
            counts[name] = trace_calls(strace, name)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"wake-ups are not counted: strace does not work here: {error}")
            return
    for workload in REPS:
        rows = [
            [CONTESTANTS[name].title, f"{found['workers']:.1f}", f"{found['loop']:.1f}"]
            for name in COUNTED
            if (found := counts[name].get(workload.name))
        ]
        print(columns([workload.title, "worker wake-ups", "self-pipe writes"], rows), end="\n\n")
    print("Both slowed down by strace, see the head of this script.")
    write(Path(arguments.json), counts)


if __name__ == "__main__":
    main()
