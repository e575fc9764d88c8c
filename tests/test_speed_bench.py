"""The measurements of speed under load: each contestant does what it says, on rounds too small to mean anything."""

import gc
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.test_bench import BENCHMARKS, figures_of
from tpool_asyncio._bench import (
    cpu,
    fairness,
    fairness_table,
    flight_memory,
    rounds,
    scale,
    stall,
    stall_table,
)
from tpool_asyncio._bench.child_process import ChildProcess, MissingError, environment
from tpool_asyncio._bench.fairness import FAIRNESS, PATTERNS, arrivals, percentile
from tpool_asyncio._bench.figures import Figures, Sample
from tpool_asyncio._bench.scale_flight import FLIGHT, further
from tpool_asyncio._bench.scale_loops import LOOPS_AXIS
from tpool_asyncio._bench.scale_threads import THREADS_AXIS
from tpool_asyncio._bench.stall import STALL, Heartbeat
from tpool_asyncio._bench.workloads import Workload

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

FEW = 3
SUBJECTS = {
    "cpu": cpu.CPU,
    "fairness": FAIRNESS,
    "stall": STALL,
    "scale_flight": FLIGHT.subject,
    "scale_threads": THREADS_AXIS.subject,
    "scale_loops": LOOPS_AXIS.subject,
}


def every(*modules: str) -> list[tuple[str, str]]:
    return [(module, name) for module in modules for name in SUBJECTS[module].contestants]


async def calls_made(module: str, name: str, workload: Workload, reps: int) -> tuple[Mapping[str, Any], int]:
    """Have a contestant do a workload in this process; return what it says, and how often it has called."""
    if name == "anyio" and find_spec("anyio") is None:
        pytest.skip("anyio is not installed")
    made: list[None] = []
    contestant = importlib.import_module(f"tpool_asyncio._bench.{module}").CONTESTANTS[name]
    async with contestant.open() as measure:
        answer = await measure(replace(workload, fn=lambda: made.append(None)), reps)
    assert gc.isenabled()
    assert answer["wall_us"] > 0
    assert answer["cpu_us"] >= 0
    return answer, len(made)


def told(contestants: Mapping[str, Sequence[Mapping[str, float]]], workload: str) -> Figures:
    """Return figures in which contestants have told something beside the cost."""
    figures = Figures("asyncio", 1)
    for name, rounds_of_it in contestants.items():
        for more in rounds_of_it:
            figures.add(workload, name, Sample(1, 1, more))
    return figures


class TestContestants:
    @pytest.mark.parametrize("workload", cpu.CPU.workloads)
    @pytest.mark.parametrize(("module", "name"), every("cpu"))
    async def test_work_is_done_as_often_as_it_says(self, module: str, name: str, workload: str) -> None:
        few = replace(cpu.CPU.workloads[workload], at_once=FEW)
        assert (await calls_made(module, name, few, 7))[1] == 7 * FEW
        assert few.fn() == few.fn() != b""

    @pytest.mark.parametrize("workload", STALL.workloads)
    @pytest.mark.parametrize(("module", "name"), every("stall"))
    async def test_calls_pass_while_the_heart_beats(self, module: str, name: str, workload: str) -> None:
        calls = 1_234  # neither a multiple of the tasks nor of the chunks
        answer, made = await calls_made(module, name, STALL.workloads[workload], calls)
        assert made == (0 if name == stall.IDLE.name else calls)
        assert len(answer["t_ms"]) == len(answer["stall_ms"]) > 0
        assert answer["t_ms"] == sorted(answer["t_ms"])
        assert answer["worst_ms"] >= answer["p99_ms"] >= 0
        if name == stall.WITHOUT_COLLECTOR.name:
            assert answer["collector_ms"] == 0

    @pytest.mark.parametrize("pattern", PATTERNS)
    @pytest.mark.parametrize(("module", "name"), every("fairness"))
    async def test_short_and_long_calls_wait(self, module: str, name: str, pattern: str) -> None:
        answer, _ = await calls_made(module, name, FAIRNESS.workloads[pattern], 30)
        expected = arrivals(PATTERNS[pattern], 30, 0)
        assert answer["short_calls"] == 30
        assert answer["long_calls"] == len(expected) - 30
        assert 0 < answer["p50_us"] <= answer["p99_us"] <= answer["worst_us"]

    @pytest.mark.parametrize(("module", "name"), every("scale_flight"))
    async def test_so_many_in_flight(self, module: str, name: str) -> None:
        workload = replace(FLIGHT.subject.workloads["in_flight_10"], at_once=FEW)
        assert (await calls_made(module, name, workload, 4))[1] == 4 * FEW

    @pytest.mark.parametrize("threads", [1, 4])
    @pytest.mark.parametrize(("module", "name"), every("scale_threads"))
    async def test_so_many_threads(self, module: str, name: str, threads: int) -> None:
        workload = replace(THREADS_AXIS.subject.workloads[f"threads_{threads}"], at_once=FEW)
        assert (await calls_made(module, name, workload, 4))[1] == 4 * FEW

    @pytest.mark.parametrize("loops", [1, 4])
    @pytest.mark.parametrize(("module", "name"), every("scale_loops"))
    async def test_so_many_loops(self, module: str, name: str, loops: int) -> None:
        workload = replace(LOOPS_AXIS.subject.workloads[f"loops_{loops}"], at_once=FEW)
        assert (await calls_made(module, name, workload, 8))[1] == (loops + 8) * FEW  # the first ones are not timed


class TestParts:
    def test_arrivals_depend_on_the_seed_only(self) -> None:
        for pattern in PATTERNS.values():
            drawn = arrivals(pattern, 100, 5)
            assert drawn == arrivals(pattern, 100, 5) != arrivals(pattern, 100, 6)
            assert sum(not arrival.long for arrival in drawn) == 100
            assert [arrival.due for arrival in drawn] == sorted({arrival.due for arrival in drawn})

    def test_arrivals_have_the_rates_that_they_should(self) -> None:
        pattern = PATTERNS["busy"]
        drawn = arrivals(pattern, 20_000, 1)
        longs = sum(arrival.long for arrival in drawn)
        assert longs / drawn[-1].due == pytest.approx(pattern.longs_per_second, rel=0.1)
        assert 20_000 / drawn[-1].due == pytest.approx(fairness.SHORTS_PER_SECOND, rel=0.1)

    def test_percentile(self) -> None:
        values = [float(value) for value in range(100, 0, -1)]
        assert [percentile(values, part) for part in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
        assert percentile([7.0], 0.99) == 7

    async def test_a_stall_is_seen(self) -> None:
        heart = Heartbeat()
        time.sleep(0.05)  # the stall
        await heart.stop()
        assert max(heart.stalls) > 0.04
        assert len(heart.times) == len(heart.stalls) == len(heart.own_work)

    def test_memory_and_results_of_calls_in_flight(self) -> None:
        memory = flight_memory.measure(2_000)
        assert (memory["in_flight"], memory["wrong"]) == (2_000, 0)


class TestTargets:
    def test_cpu(self) -> None:
        figures = figures_of({"sha256": {"tpool": [(100, 41)], "floor": [(96, 40)]}})
        assert [str(verdict) for verdict in cpu.verdicts(figures)] == [
            "missed   sha256 of 64 KB, wall time: floor: 20 bare threads / tpool >= 0.97: measured 0.96",
            f"unknown  sha256 of 64 KB, wall time: {cpu.PROCESSORS_FLOOR.title} / tpool >= 0.97: not measured",
            "unknown  zlib.compress of 64 KB, wall time: floor: 20 bare threads / tpool >= 0.97: not measured",
            f"unknown  zlib.compress of 64 KB, wall time: {cpu.PROCESSORS_FLOOR.title} / tpool >= 0.97: not measured",
        ]
        row, _ = cpu.rows(figures)
        assert row["calls_per_second"] == 10_000
        assert row["part_of_floor"] == 0.96
        assert "+1.00" in cpu.render(figures)

    def test_fairness(self) -> None:
        waits = {"tpool": (9, 50, 30), "run_in_executor": (10, 100, 20), "again": (11, 90, 22)}
        keys = ("p50_us", "worst_us", "long_p99_us", "late_p99_us")
        contestants = {
            name: [{"p99_us": p99, **dict.fromkeys(keys, 1.0)} for p99 in taken] for name, taken in waits.items()
        }
        figures = told(contestants, "light")
        verdict, missing, _ = fairness_table.verdicts(figures)
        assert verdict.met  # the ratios are 0.9, 0.5 and 1.5
        assert str(verdict).endswith("<= 1: measured 0.90 (the executor beside itself: 1.10)")
        assert missing.measured is None
        assert "0.90" in fairness_table.render(figures)
        assert [row["p99_to_executor"] for row in fairness_table.rows(figures)] == [0.9, 1, 1.1]

    @pytest.mark.parametrize(("worst", "met"), [(9.0, True), (9.5, False)])
    def test_stall(self, worst: float, met: bool) -> None:
        def beats(worst_ms: float) -> dict[str, Any]:
            keys = ("p99_ms", "own_work_ms", "collector_ms")
            return {
                "calls": 500,
                "worst_ms": worst_ms,
                **dict.fromkeys(keys, 0.0),
                "t_ms": [0.0],
                "stall_ms": [worst_ms],
            }

        figures = told({"idle": [beats(4.0)], "tpool": [beats(worst)], "tpool_without_gc": [beats(6.0)]}, "tasks")
        verdict, unknown = stall_table.verdicts(figures)
        assert verdict.met is met
        assert verdict.measured == worst - 4
        assert verdict.target == "500 calls from 1,000 tasks: worst stall, ms beyond idle <= 5"
        assert verdict.beside == "2.00 with the garbage collector off"
        assert unknown.measured is None
        assert f"+{worst - 4:.1f}" in stall_table.render(figures)
        assert [line["stall_ms"] for line in stall_table.series(figures)] == [[4.0], [worst], [6.0]]

    def test_flat(self) -> None:
        figures = figures_of(
            {
                "in_flight_1": {"tpool": [(20, 20)]},
                "in_flight_10": {"tpool": [(4, 4)]},
                "in_flight_1000": {"tpool": [(2, 3.5)]},
            }
        )
        wall, cpu_time = scale.verdicts(figures, FLIGHT)
        assert str(wall) == (
            "missed   10 to 1,000 calls in flight, wall time of tpool.execute: dearest / cheapest <= 1.3: measured 2.00"
        )
        assert cpu_time.met
        assert [row["in_flight"] for row in scale.rows(figures, FLIGHT)] == [1, 10, 1_000]
        assert further(figures, "tpool")[10].wall_us == pytest.approx((40 - 20) / 9)
        assert all(verdict.measured is None for verdict in scale.verdicts(figures, THREADS_AXIS))


class TestRounds:
    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_on_both_loops(self, loop: str) -> None:
        pytest.importorskip(loop)
        workload = replace(stall.TASKS, quick_reps=200)
        contestants = [STALL.contestants[name] for name in ("idle", "tpool")]
        figures = rounds.measure(1, subject=STALL, loop=loop, quick=True, workloads=[workload], contestants=contestants)
        assert len(figures.told("tasks", "tpool", "worst_ms")) == 1
        assert f"loop {loop}." in stall_table.render(figures)

    @pytest.mark.parametrize("module", SUBJECTS)
    def test_missing_package(self, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "uvloop.py").write_text("raise ImportError('no uvloop here')\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(MissingError, match="no uvloop here"):
            ChildProcess("tpool", "uvloop", SUBJECTS[module].program)


class TestScripts:
    def script(self, name: str, folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
        """Run a script; return what it printed, and the figures it wrote."""
        path = folder / "figures.json"
        command = [sys.executable, str(BENCHMARKS / name), "--rounds", "1", "--quick", "--json", str(path), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment())
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout, json.loads(path.read_text())

    def test_cpu(self, tmp_path: Path) -> None:
        output, results = self.script("cpu.py", tmp_path)
        assert output.count("floor: 20 bare threads") >= 2
        assert {row["work"] for row in results["rows"]} == {"sha256", "compress"}

    def test_fairness(self, tmp_path: Path) -> None:
        output, results = self.script("fairness.py", tmp_path)
        assert "the executor beside itself" in output
        assert len(results["targets"]) == len(PATTERNS)

    def test_stall(self, tmp_path: Path) -> None:
        output, results = self.script("stall.py", tmp_path)
        assert "beyond idle" in output
        assert {line["way"] for line in results["series"]} == {"tasks", "chunks", "at_once"}
        assert all(len(line["t_ms"]) == len(line["stall_ms"]) for line in results["series"])

    @pytest.mark.parametrize("axis", ["in_flight", "threads", "loops"])
    def test_scale(self, axis: str, tmp_path: Path) -> None:
        output, results = self.script("scale.py", tmp_path, "--only", axis, "--most", "10")
        assert "max/min" in output
        sizes = {1, 10} if axis == "in_flight" else {1, 2, 4, 8}
        assert {row[axis] for row in results["rows"]} == sizes
        assert ("memory" in results) is (axis == "in_flight")
