"""The measuring engine, on figures that are given and on rounds too small to mean anything."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tpool_asyncio._bench import child_process, rounds
from tpool_asyncio._bench.child_process import BenchError, ChildProcess, MissingError
from tpool_asyncio._bench.contestants import ASYNCIO_FLOOR, CONTESTANTS, FLOOR, PEERS, TPOOL
from tpool_asyncio._bench.figures import Figures, Sample
from tpool_asyncio._bench.floors import raw_floor
from tpool_asyncio._bench.table import as_json, columns, render
from tpool_asyncio._bench.targets import verdicts
from tpool_asyncio._bench.workloads import AT_ONCE_20, AT_ONCE_1000, ONE_BY_ONE, WORKLOADS, Workload, run

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def figures_of(samples: Mapping[str, Mapping[str, list[tuple[float, float]]]]) -> Figures:
    figures = Figures("asyncio", 3)
    for workload, contestants in samples.items():
        for contestant, pairs in contestants.items():
            for wall, cpu in pairs:
                figures.add(workload, contestant, Sample(wall, cpu))
    return figures


@pytest.fixture
def without_anyio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find, in place of anyio, something that cannot be imported."""
    (tmp_path / "anyio.py").write_text("raise ImportError('no anyio here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


class TestFigures:
    def test_median_of_each_clock(self) -> None:
        figures = figures_of({"one_by_one": {"tpool": [(1, 30), (3, 10), (2, 20)]}})
        assert figures.median("one_by_one", "tpool") == Sample(2, 20)

    def test_ratio_is_the_median_of_the_ratios_within_rounds(self) -> None:
        # The second round found a machine ten times slower; the ratio of the medians would be 4.
        figures = figures_of(
            {"one_by_one": {"tpool": [(1, 1), (10, 10), (2, 2)], "anyio": [(3, 6), (30, 60), (8, 12)]}}
        )
        assert figures.ratio("one_by_one", "anyio", "tpool") == Sample(3, 6)
        assert figures.ratio("one_by_one", "tpool", "tpool") == Sample(1, 1)

    def test_no_ratio_without_both(self) -> None:
        figures = figures_of({"one_by_one": {"tpool": [(1, 1)]}})
        assert figures.ratio("one_by_one", "anyio", "tpool") is None
        assert figures.ratio("one_by_one", "tpool", "anyio") is None
        assert figures.ratio("at_once_20", "tpool", "anyio") is None

    def test_a_clock_that_stood_still_divides_nothing(self) -> None:
        figures = figures_of({"one_by_one": {"tpool": [(1, 0), (1, 2)], "anyio": [(2, 8), (2, 8)]}})
        assert figures.ratio("one_by_one", "anyio", "tpool") == Sample(2, 4)
        figures = figures_of({"one_by_one": {"tpool": [(1, 0)], "anyio": [(2, 8)]}})
        assert figures.ratio("one_by_one", "anyio", "tpool") is None


class TestTargets:
    def figures(self, to_thread_20: float) -> Figures:
        return figures_of(
            {
                "one_by_one": {"tpool": [(20, 20)], "to_thread": [(40, 40)], "floor": [(10, 10)]},
                "at_once_20": {"tpool": [(1, 1)], "to_thread": [(to_thread_20, 1)]},
                "at_once_1000": {"tpool": [(2, 2)], "to_thread": [(30, 28)]},
            }
        )

    def test_words(self) -> None:
        lines = [str(verdict) for verdict in verdicts(self.figures(3))]
        assert lines[0] == "met      1,000 at once, wall time: asyncio.to_thread / tpool >= 15: measured 15.00"
        assert lines[1] == "missed   1,000 at once, CPU time: asyncio.to_thread / tpool >= 15: measured 14.00"
        assert any(line.startswith("missed") and "tpool / floor" in line and "2.00" in line for line in lines)
        assert any(line.startswith("unknown") and "anyio" in line for line in lines)

    @pytest.mark.parametrize(("measured", "met"), [(5.9, False), (6, True)])
    def test_twenty_at_once(self, measured: float, met: bool) -> None:
        (verdict,) = [v for v in verdicts(self.figures(measured)) if v.target.startswith("20 at once")]
        assert verdict.measured == measured
        assert verdict.met is met

    def test_alone_is_judged_by_the_machine_and_says_how_far_it_is_from_asyncio(self) -> None:
        figures = self.figures(3)
        figures.add("one_by_one", "asyncio_floor", Sample(16, 16))
        (verdict,) = [v for v in verdicts(figures) if "tpool / floor" in v.target]
        assert not verdict.met
        assert str(verdict).endswith("<= 1.05: measured 2.00 (1.25 of the floor of asyncio)")


class TestTable:
    def test_columns(self) -> None:
        assert columns(["a", "bb"], [["long", "1"], ["x", "222"]]).splitlines() == [
            "a      bb",
            "----  ---",
            "long    1",
            "x     222",
        ]

    def test_says_ratios_and_who_is_left_out(self) -> None:
        figures = figures_of({"one_by_one": {"tpool": [(20, 30)], "to_thread": [(50, 60)], "floor": [(10, 10)]}})
        figures.missing["anyio"] = "No module named 'anyio'"
        text = render(figures)
        (line,) = [line for line in text.splitlines() if line.startswith("asyncio.to_thread")]
        assert line.split() == ["asyncio.to_thread", "50.00", "60.00", "2.50", "2.00"]
        assert "tpool / floor: lock, socket, poll: 2.00 in wall time, 3.00 in CPU time" in text
        assert "anyio.to_thread.run_sync is left out: No module named 'anyio'" in text

    def test_json(self) -> None:
        figures = figures_of({"one_by_one": {"tpool": [(20, 30)], "to_thread": [(50, 60)]}})
        answer = json.loads(json.dumps(as_json(figures)))
        to_thread = answer["workloads"]["one_by_one"]["contestants"]["to_thread"]
        assert to_thread["wall_ratio_to_tpool"] == 2.5
        assert to_thread["samples"] == [[50, 60]]


class TestWorkloads:
    @pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda workload: workload.name)
    async def test_makes_as_many_calls_as_it_says(self, workload: Workload) -> None:
        made: list[tuple[object, ...]] = []

        def submit(fn: object, *args: object) -> asyncio.Future[None]:
            made.append((fn, *args))
            future = asyncio.get_running_loop().create_future()
            future.set_result(None)
            return future

        await run(workload, submit, 2)
        assert made == [(workload.fn, *workload.args)] * (2 * workload.at_once)

    @pytest.mark.parametrize("name", [name for name in CONTESTANTS if name != "floor"])
    async def test_each_contestant_runs_the_function(self, name: str) -> None:
        contestant = CONTESTANTS[name]
        assert contestant.open is not None
        pytest.importorskip({"asgiref": "asgiref.sync"}.get(name, "asyncio"))
        workload = contestant.only or AT_ONCE_20
        async with contestant.open() as submit:
            await run(workload, submit, 2)

    def test_raw_floor_runs_the_function(self) -> None:
        calls: list[int] = []
        workload = Workload("w", "w", 1, calls.append, (7,), 1, 1)
        with raw_floor() as run_floor:
            run_floor(workload, 3)
        assert calls == [7, 7, 7]


class TestChild:
    def test_answers_positive_numbers(self) -> None:
        with ChildProcess("to_thread", "asyncio") as child:
            for workload in (ONE_BY_ONE, AT_ONCE_20):
                sample = child.measure(workload, 20)
                assert sample.wall_us > 0
                assert sample.cpu_us > 0

    @pytest.mark.usefixtures("without_anyio")
    def test_missing_package(self) -> None:
        with pytest.raises(MissingError, match="no anyio here"):
            ChildProcess("anyio", "asyncio")

    def test_a_child_that_dies_is_named(self) -> None:
        with ChildProcess("floor", "asyncio") as child:
            child._process.kill()
            child._process.wait()
            with pytest.raises(BenchError, match="measures floor ended with exit code"):
                child.measure(ONE_BY_ONE, 1)

    def test_a_child_that_hangs_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(child_process, "PATIENCE", 1.0)
        with ChildProcess("to_thread", "asyncio") as child:
            forever = Workload("sleeping_100", "", 100, len, (), 1, 1)
            # faulthandler reads the stacks of threads that run on meanwhile, and may crash over it: -11 is an end, too.
            with pytest.raises(BenchError, match=r"measures to_thread ended with exit code (1|-11)\b"):
                child.measure(forever, 10_000_000)


class TestRounds:
    def test_turns_and_results(self) -> None:
        seen: list[int] = []
        figures = rounds.measure(
            2,
            quick=True,
            workloads=(ONE_BY_ONE, AT_ONCE_20),
            contestants=(TPOOL, PEERS[0], FLOOR, ASYNCIO_FLOOR),
            on_round=seen.append,
        )
        assert seen == [0, 1, 2]
        assert set(figures.contestants("one_by_one")) == {"tpool", "to_thread", "floor", "asyncio_floor"}
        assert set(figures.contestants("at_once_20")) == {"tpool", "to_thread"}
        for taken in figures.samples.values():
            for samples in taken.values():
                assert len(samples) == 2
                assert all(sample.wall_us > 0 for sample in samples)

    @pytest.mark.usefixtures("without_anyio")
    def test_missing_peer_is_left_out(self) -> None:
        anyio = CONTESTANTS["anyio"]
        figures = rounds.measure(1, quick=True, workloads=(AT_ONCE_20,), contestants=(TPOOL, anyio))
        assert figures.missing == {"anyio": "no anyio here"}
        assert list(figures.contestants("at_once_20")) == ["tpool"]

    def test_without_tpool_there_is_nothing_to_compare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "uvloop.py").write_text("raise ImportError('no uvloop here')\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(BenchError, match="no uvloop here"):
            rounds.measure(1, loop="uvloop", workloads=(ONE_BY_ONE,), contestants=(TPOOL,))

    def test_on_uvloop(self) -> None:
        pytest.importorskip("uvloop")
        figures = rounds.measure(1, loop="uvloop", quick=True, workloads=(AT_ONCE_1000,), contestants=(TPOOL,))
        assert figures.median("at_once_1000", "tpool").wall_us > 0


class TestScripts:
    def script(self, name: str, *arguments: str) -> str:
        command = [sys.executable, str(BENCHMARKS / name), *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=200, env=child_process.environment()
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_import_time(self, tmp_path: Path) -> None:
        output = self.script("import_time.py", "--rounds", "1", "--json", str(tmp_path / "import_time.json"))
        assert "threads after import:  1 (target: 1: met)" in output
        assert "greenlet and anyio not loaded: met" in output

    def test_wakeups_without_strace_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", os.fspath(tmp_path))
        path = tmp_path / "wakeups.json"
        assert "strace is not installed" in self.script("wakeups.py", "--json", str(path))
        assert not path.exists()
