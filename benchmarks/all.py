"""All measurements, one after another, with the targets they are held against, and one file with all figures.

``python benchmarks/all.py [--only PART ...] [--quick] [--rounds N] [--loop asyncio|uvloop] [--json PATH]``

Each part is one of the scripts beside this one, and runs in a process of its own. What fails does not keep the others
from running; it is said in the end, and then the exit status is 1. A target that is missed is no failure.

The name of the file tells interpreter and loop, so that those of several are kept side by side: `plots.py` draws them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import PART, RESULTS, circumstances, write

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.targets import Verdict

__all__ = ["PARTS", "Part"]

LOOPS = ("asyncio", "uvloop")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the scripts, and what it can be told."""

    name: str
    """That of the script, and of its figures."""
    quick: tuple[str, ...]
    """What has it take few and small samples."""
    rounds: bool = True
    """Whether it knows ``--rounds``."""
    loop: bool = False
    """Whether it knows ``--loop``; if not, it measures on asyncio's own."""

    def command(self, path: Path, *, quick: bool, rounds: int | None, loop: str) -> list[str]:
        """Return how to run it so that its figures are in a file."""
        command = [sys.executable, str(Path(__file__).with_name(f"{self.name}.py")), "--json", str(path)]
        if quick:
            command += self.quick
        if rounds is not None and self.rounds:
            command += ["--rounds", str(rounds)]
        if self.loop:
            command += ["--loop", loop]
        return command


PARTS = {
    part.name: part
    for part in (
        Part("calls", ("--quick", "--rounds", "5"), loop=True),
        Part("green_calls", ("--quick", "--rounds", "5"), loop=True),
        Part("scale", ("--quick", "--rounds", "2"), loop=True),
        Part("fairness", ("--quick", "--rounds", "3"), loop=True),
        Part("cpu", ("--quick", "--rounds", "3"), loop=True),
        Part("stall", ("--quick", "--rounds", "2"), loop=True),
        Part("bridge", ("--quick", "--rounds", "5")),
        Part("proxy", ("--rows", "10000", "--queries", "500", "--lines-mb", "1", "--rounds", "2")),
        Part("executors", ("--quick", "--rounds", "5"), loop=True),
        Part("engines", ("--calls", "200", "--rounds", "2")),
        Part("web", ("--scale", "0.1", "--rounds", "1"), loop=True),
        Part("green_threads", ("--number", "5000", "--rounds", "1")),
        Part("import_time", ("--rounds", "5")),
        Part("wakeups", (), rounds=False, loop=True),
        Part("budget", ("--quick",), rounds=False),
    )
}


def run(part: Part, *, quick: bool, rounds: int | None, loop: str) -> dict[str, Any]:
    """Run one part, whose output goes where ours goes; return its figures, None if it made none, and what it took."""
    with tempfile.TemporaryDirectory(prefix="tpool_asyncio-") as folder:
        path = Path(folder) / f"{part.name}{PART}"
        started = time.perf_counter()
        done = subprocess.run(part.command(path, quick=quick, rounds=rounds, loop=loop), check=False, env=environment())
        seconds = round(time.perf_counter() - started, 1)
        figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return {"seconds": seconds, "status": done.returncode, "figures": figures}


def targets(figures: object, path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield all targets in the figures of a part, however deep, each with the part and table it is from."""
    if isinstance(figures, dict):
        for name, inner in figures.items():
            if name == "targets":
                yield from ({"part": "/".join(path), **target} for target in inner)
            else:
                yield from targets(inner, (*path, name))


def summary(judged: list[dict[str, Any]]) -> str:
    """Return all targets, those that are missed first."""
    known = [target for target in judged if target["measured"] is not None]
    met = sum(target["met"] for target in known)
    lines = [
        f"{len(judged)} targets: {met} met, {len(known) - met} missed, {len(judged) - len(known)} not measured",
        *(
            f"  {target['part']}: {Verdict(target['target'], target['measured'], target['met'])}"
            for target in sorted(judged, key=lambda target: bool(target["met"]))
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="All measurements, the targets, and one file with all figures.")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="few and small samples, for a rough answer")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="samples of each contestant, in the parts that have any"
    )
    parser.add_argument(
        "--loop", choices=LOOPS, default="asyncio", help="with uvloop, only the parts run that know several loops"
    )
    name = f"all-{sys.version_info.major}.{sys.version_info.minor}-LOOP.json"
    parser.add_argument("--json", metavar="PATH", help=f"where to write the figures (default: results/{name})")
    arguments = parser.parse_args()
    quick, rounds, loop = arguments.quick, arguments.rounds, arguments.loop

    chosen = [part for part in PARTS.values() if arguments.only is None or part.name in arguments.only]
    running = [part for part in chosen if part.loop or loop == "asyncio"]
    left_out = [part.name for part in chosen if part not in running]
    results: dict[str, Any] = {"benchmark": "all", **circumstances(), "loop": loop, "quick": quick, "rounds": rounds}
    parts: dict[str, dict[str, Any]] = {}
    for part in running:
        print(f"==== {part.name}\n", flush=True)
        parts[part.name] = run(part, quick=quick, rounds=rounds, loop=loop)
        print(flush=True)
    judged = [target for name, part in parts.items() for target in targets(part["figures"], (name,))]
    print(f"==== {summary(judged)}")
    if left_out:
        print(f"\nleft out, since they are not measured on {loop}: {', '.join(left_out)}")
    write(Path(arguments.json or RESULTS / name.replace("LOOP", loop)), {**results, "parts": parts, "targets": judged})
    failed = [name for name, part in parts.items() if part["status"]]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
