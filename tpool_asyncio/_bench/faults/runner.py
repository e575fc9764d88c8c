"""Has cases run in processes of their own, with a time limit, some at a time."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.faults.case import Case
from tpool_asyncio._bench.faults.verdicts import PATIENCE, PATIENCE_VARIABLE
from tpool_asyncio._bench.faults.ways import WAYS

__all__ = ["Cell", "Results", "run_all", "run_here"]


class Cell(NamedTuple):
    """What came of one case with one contestant."""

    verdict: str
    """ok, wrong, hangs, differs or n/a."""
    detail: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.verdict}: {self.detail}" if self.verdict not in ("ok", "n/a") and self.detail else self.verdict


Results = dict[tuple[str, str], Cell]
"""By case and contestant."""


def run_here(
    cases: Sequence[str],
    contestant: str,
    loop: str,
    *,
    quick: bool,
    patience: float = PATIENCE,
    limit: float | None = None,
) -> dict[str, Cell]:
    """Run cases in one process, one after another, and return what came of each.

    A case that hangs takes those behind it with it.

    Args:
        cases: Their names.
        contestant: The word for it on the command line.
        loop: On which kind of loop.
        quick: With fewer calls in storms.
        patience: Seconds after which something that should come at once is said to hang.
        limit: Seconds after which the process is killed; four times the patience by default.
    """
    limit = 4 * patience if limit is None else limit
    command = [sys.executable, "-P", "-W", "ignore", "-m", "tpool_asyncio._bench.faults", contestant, loop]
    begun = time.monotonic()
    hangs = ""
    # Without measuring coverage, which an exception out of a signal handler strikes as well as anything else.
    environ = {name: value for name, value in environment().items() if not name.startswith("COVERAGE_")}
    environ[PATIENCE_VARIABLE] = str(patience)
    if quick:
        environ["TPOOL_FAULTS_QUICK"] = "1"
    process = subprocess.Popen(
        [*command, *(["--quick"] if quick else []), *cases],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        hangs = f"killed after {limit:g} s"
        process.kill()
        stdout, stderr = process.communicate()
    seconds = time.monotonic() - begun
    cells: dict[str, Cell] = {}
    for line in stdout.splitlines():
        if line.startswith('{"case"'):
            answer = json.loads(line)
            cells[answer["case"]] = Cell(answer["verdict"], answer["detail"], seconds / len(cases))
    last = stderr.strip().rpartition("\n")[2]
    lost = Cell("hangs", hangs, seconds) if hangs else Cell("wrong", f"exit code {process.returncode}: {last}", seconds)
    documented = WAYS[contestant].documented
    for case in cases:
        cell = cells.setdefault(case, lost)
        if cell.verdict in ("wrong", "hangs") and case in documented:
            cells[case] = Cell("differs", documented[case], cell.seconds)
    return cells


def run_all(
    cases: Iterable[Case],
    contestants: Sequence[str],
    loop: str,
    *,
    quick: bool = False,
    patience: float = PATIENCE,
    at_once: int = 3,
    on_done: Callable[[str, str, Cell], object] = lambda *_: None,
) -> Results:
    """Run each case with each contestant in a process of its own, so many at once."""
    results: Results = {}

    def run(case: str, contestant: str) -> None:
        cell = run_here([case], contestant, loop, quick=quick, patience=patience)[case]
        results[case, contestant] = cell
        on_done(case, contestant, cell)

    with ThreadPoolExecutor(at_once) as executor:
        futures = [executor.submit(run, case.name, contestant) for case in cases for contestant in contestants]
        for future in futures:
            future.result()
    return results
