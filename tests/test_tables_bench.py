"""The tables of measurements: what there is, in the right column, and the same each time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench_figures import figures_on, table
from tests.test_bench import BENCHMARKS
from tpool_asyncio._bench.child_process import environment

MARK = "<!-- made by benchmarks/tables.py --page; what is below is written over -->"


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(BENCHMARKS / "tables.py"), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment())


def tables(folder: Path, *files: dict[str, Any]) -> str:
    """Return what the script makes of these files."""
    paths = [folder / f"{number}.json" for number in range(len(files))]
    for path, file in zip(paths, files, strict=True):
        path.write_text(json.dumps(file), encoding="utf-8")
    done = run(*paths)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def cells(text: str, label: str) -> list[list[str]]:
    """Return what stands in the rows with this label."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row[1:] for row in rows if row[0] == label]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tables of two interpreters, of which one has missed a target and knows nothing of wake-ups."""
    old, new = figures_on("CPython 3.11.9"), figures_on("CPython 3.13.1", 2.0)
    target = {"part": "calls", "target": "1,000 at once: to_thread / tpool >= 15"}
    old["targets"] = [{**target, "measured": 14.234, "met": False}]
    new["targets"] = [
        {**target, "measured": 15.96, "met": True},
        {"part": "scale", "target": "flat", "measured": None, "met": False},
    ]
    counts = {"workers": 3.0, "in_vain": 1.25, "loop": 1.0, "drains": 1.0}
    new["parts"]["wakeups"] = {"figures": {"counts": {"1": {"tpool": {"at_once_20": counts}}}}}
    step = {"1": {"instructions": 2476.0, "ns": 163.4}, "1000": {"instructions": None, "ns": 121.775}}
    old["parts"]["budget"] = {"figures": {"tables": {"async call, by hand": {"execute: the future": step}}}}
    service = table({"1ms": "FastAPI, 1 ms"}, {"tpool": 200.0})
    service["workloads"]["1ms"]["contestants"]["tpool"]["loaded_p99_ms"] = 4.5
    new["parts"]["web"] = {"figures": {"fastapi": service}}
    crowd = table({"nothing": "spawn, run, join", "waiting": "all wait"}, {"green": 20.0})
    crowd["workloads"]["waiting"]["contestants"]["green"]["bytes_each"] = 8_800.0
    old["parts"]["green_threads"] = {"figures": crowd}
    return tables(tmp_path_factory.mktemp("tables"), old, new)


def test_a_column_for_each_file(both: str) -> None:
    assert cells(both, "1,000 at once") == [["3.11.9, asyncio", "3.13.1, asyncio"]]
    assert cells(both, "asyncio.to_thread")[:3] == [["31.0", "15.5"]] * 3


def test_targets_that_are_missed_are_bold(both: str) -> None:
    assert cells(both, "calls: 1,000 at once: to_thread / tpool >= 15") == [["**14.2**", "16.0"]]
    assert cells(both, "scale: flat") == [["-", "-"]]
    assert cells(both, "met, of how many") == [["0 of 1", "1 of 2"]]


def test_what_only_one_file_knows(both: str) -> None:
    assert cells(both, "tpool, 20 at once, 1 loop") == [["3.00"], ["1.25"], ["1.00"], ["1.00"]]
    assert cells(both, "execute: the future") == [["2,476 (163)"], ["(122)"]]


def test_services_and_how_they_answer_meanwhile(both: str) -> None:
    assert cells(both, "FastAPI, 1 ms") == [["3.11.9, asyncio", "3.13.1, asyncio"]] * 2
    assert [cell for cell in cells(both, "tpool.execute") if cell[0] == "-"] == [["-", "200"], ["-", "4.50"]]


def test_what_nobody_has_has_no_table(both: str) -> None:
    assert len(cells(both, "all wait")) == 2
    assert len(cells(both, "spawn, run, join")) == 1
    assert ["8,800", "-"] in cells(both, "green.tpool.execute")


def test_scale_fairness_and_stalls(both: str) -> None:
    assert cells(both, "1,000,000") == [["3.00", "2.00"]]
    assert cells(both, "long calls sleep") == [["3.11.9, asyncio", "3.13.1, asyncio"]]
    assert cells(both, "tpool") == [["118", "59.1"]]
    assert cells(both, "tpool.execute")[-2:] == [["3.00", "3.00"], ["3.00", "3.00"]]


def test_the_machine_is_said(both: str) -> None:
    assert both.splitlines()[0] == (
        "- CPython 3.11.9, asyncio; CPython 3.13.1, asyncio: 2030-01-02, revision abc, 2 processors (Some Processor),"
        " Linux 6.1; anyio 4.9"
    )


def test_a_page_keeps_its_head(tmp_path: Path) -> None:
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    figures.write_text(json.dumps(figures_on("CPython 3.11.9")), encoding="utf-8")
    page.write_text(f"# Head\n\n{MARK}\n\nold tables\n", encoding="utf-8")
    assert run(figures, "--page", page).returncode == 0
    first = page.read_text(encoding="utf-8")
    assert first.startswith(f"# Head\n\n{MARK}\n\n- CPython 3.11.9")
    assert "old tables" not in first
    assert run(figures, "--page", page).returncode == 0
    assert page.read_text(encoding="utf-8") == first


@pytest.mark.parametrize("text", ["no JSON", None])
def test_no_file_of_figures(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "figures.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = run(path)
    assert done.returncode == 2
    assert "not a file of figures" in done.stderr
