"""All measurements as one run: which parts there are, what they are told, and what becomes of their figures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_bench import BENCHMARKS
from tpool_asyncio._bench.child_process import environment

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

NO_PARTS = {
    "all",
    "compare",
    "experiments",
    "faults",
    "figure_files",
    "memory",
    "plot_theme",
    "plots",
    "results",
    "side_by_side",
    "soak",
    "tables",
}
"""What is beside the scripts and no part: what others are made of, what has no end, and what measures nothing."""

COMMANDS = """
import json
from pathlib import Path
from all import PARTS

print(json.dumps({
    name: part.command(Path("x"), quick=True, rounds=7, loop="uvloop")[1:] for name, part in PARTS.items()
}))
"""


def run_all(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(BENCHMARKS / "all.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment())


@pytest.fixture(scope="module")
def commands() -> dict[str, list[str]]:
    """How each part is run."""
    command = [sys.executable, "-c", COMMANDS]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=BENCHMARKS, env=environment()).stdout
    found: dict[str, list[str]] = json.loads(output)
    return found


class TestParts:
    def test_every_script_that_measures_is_a_part(self, commands: dict[str, list[str]]) -> None:
        assert set(commands) == {path.stem for path in BENCHMARKS.glob("*.py")} - NO_PARTS

    def test_no_part_is_told_what_it_does_not_know(self, commands: dict[str, list[str]]) -> None:
        running = {
            name: subprocess.Popen(
                [sys.executable, script, "--help"], stdout=subprocess.PIPE, text=True, env=environment()
            )
            for name, (script, *_) in commands.items()
        }
        helps = {name: process.communicate()[0] for name, process in running.items()}
        told = {(name, option) for name, command in commands.items() for option in command if option.startswith("--")}
        assert {(name, option) for name, option in told if option not in helps[name]} == set()
        assert {name for name, option in told if option == "--loop"} == {
            name for name, said in helps.items() if "{asyncio,uvloop}" in said
        }
        assert {name for name, option in told if option == "--rounds"} == {
            name for name, said in helps.items() if "--rounds" in said
        }

    def test_what_is_said_counts_for_more_than_quick(self, commands: dict[str, list[str]]) -> None:
        assert " ".join(commands["calls"][1:]) == "--json x --quick --rounds 5 --rounds 7 --loop uvloop"


class TestRun:
    def results(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def test_one_file_with_everything(self, tmp_path: Path) -> None:
        path = tmp_path / "all.json"
        done = run_all("--only", "import_time", "bridge", "--quick", "--rounds", "1", "--json", str(path))
        assert done.returncode == 0, done.stderr
        assert "threads after import:  1" in done.stdout
        results = self.results(path)
        assert list(results["parts"]) == ["bridge", "import_time"]
        assert results["machine"]["python"] in results["parts"]["bridge"]["figures"]["machine"]["python"]
        assert {"date", "revision", "version", "packages"} < results.keys()
        assert (results["loop"], results["quick"], results["rounds"]) == ("asyncio", True, 1)
        judged = results["targets"]
        assert {target["part"] for target in judged} == {"bridge", "import_time"}
        told = {"target": "threads after import <= 1", "measured": 1, "met": True, "beside": ""}
        assert {"part": "import_time", **told} in judged
        met = sum(target["met"] for target in judged)
        assert f"==== {len(judged)} targets: {met} met, " in done.stdout
        # A part does not say where its figures are: they are gone by then.
        assert done.stdout.count("written to") == 1

    def test_another_loop_leaves_out_what_does_not_know_it(self, tmp_path: Path) -> None:
        pytest.importorskip("uvloop")
        path = tmp_path / "all.json"
        done = run_all(
            "--only", "executors", "bridge", "--loop", "uvloop", "--quick", "--rounds", "1", "--json", str(path)
        )
        assert done.returncode == 0, done.stderr
        assert "left out, since they are not measured on uvloop: bridge" in done.stdout
        results = self.results(path)
        assert list(results["parts"]) == ["executors"]
        assert {target["part"] for target in results["targets"]} == {"executors/uvloop"}

    def test_a_part_that_fails_is_told_in_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "uvloop.py").write_text("raise ImportError('no uvloop here')\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        path = tmp_path / "all.json"
        done = run_all("--only", "calls", "--loop", "uvloop", "--quick", "--rounds", "1", "--json", str(path))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "failed: calls"
        results = self.results(path)
        assert results["parts"]["calls"]["status"] == 1
        assert results["parts"]["calls"]["figures"] is None
        assert results["targets"] == []
