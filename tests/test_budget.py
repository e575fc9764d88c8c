"""The budget of one call and the counts of wake-ups, with sizes too small to mean anything."""

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tpool_asyncio._bench import budget
from tpool_asyncio._bench.budget import CountError, count, figures_of, parts_of, time_steps
from tpool_asyncio._bench.budget_by_hand import ByHand, asyncio_by_hand
from tpool_asyncio._bench.budget_marks import Scenario, Step, take_rounds
from tpool_asyncio._bench.budget_table import TABLES, Measured, Row, as_json, render
from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.wakeup_watch import WakeupWatch
from tpool_asyncio._bench.workloads import nothing
from tpool_asyncio._loop.mailbox import TURN
from tpool_asyncio._loop.pool import Pool

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


class TestMarks:
    async def test_rounds_take_turns(self) -> None:
        seen: list[str] = []

        def scenario(name: str) -> Scenario:
            async def run(mark: Callable[[], None]) -> None:
                mark()
                seen.append(name)
                mark()

            return Scenario(name, 1, (Step(name),), run)

        taken = await take_rounds([scenario("a"), scenario("b")], 2, 1, counted=False)
        assert "".join(seen) == "ab" + "abab"
        assert len(taken) == 4
        assert all(before <= after for before, after in taken)

    async def test_a_scenario_without_its_marks_is_refused(self) -> None:
        async def run(mark: Callable[[], None]) -> None:
            mark()

        with pytest.raises(AssertionError, match="lazy has set 1 marks"):
            await take_rounds([Scenario("lazy", 1, (Step("step"),), run)], 1, 0, counted=False)

    def test_bases_are_taken_away_and_calls_divided_by(self) -> None:
        scenarios = [
            {"name": "bases", "each": 10, "steps": [{"name": "mark", "base": ""}]},
            {"name": "two", "each": 10, "steps": [{"name": "x", "base": "mark"}, {"name": "y", "base": "mark"}]},
        ]
        sections = [[7], [107, 57], [5], [205, 45]]
        assert figures_of({"scenarios": scenarios}, sections, min) == {"x": 10.2, "y": 4.0}

    def test_a_step_that_comes_twice_is_a_sum(self) -> None:
        bases = {"name": "bases", "each": 2, "steps": [{"name": "mark", "base": ""}]}
        steps = [{"name": name, "base": "mark"} for name in ("x", "y", "x")]
        done = {"scenarios": [bases, {"name": "thrice", "each": 2, "steps": steps}]}
        assert figures_of(done, [[4], [24, 14, 6]], min) == {"x": 11.0, "y": 5.0}

    def test_parts_of_what_callgrind_writes(self) -> None:
        lines = ["part: 1\n", "summary: 9\n", "fn=(1) f\n", "0 5\n", "totals: 12\n", "totals: 345\n"]
        assert parts_of(lines) == [12, 345]


class TestByHand:
    @pytest.mark.parametrize("each", [1, 3, TURN + 1, TURN + 2])
    async def test_every_scenario_leaves_all_as_it_was(self, each: int) -> None:
        by_hand = ByHand(each)
        scenarios = by_hand.scenarios()
        for _ in range(2):
            for scenario in scenarios:
                gc.disable()  # as it is around all of them
                try:
                    await take_rounds([scenario], 1, 0, counted=False)
                finally:
                    gc.enable()
                assert not by_hand.hand.crew.queue
                assert list(by_hand.hand.crew.idle) == [by_hand.hand.worker]
                assert not by_hand.hand.mailbox.outcomes
                assert not by_hand.hand.mailbox.scheduled.locked()
                assert by_hand.core.submit == by_hand.hand.crew.submit
        by_hand.close()

    async def test_the_whole_runs_the_calls(self) -> None:
        by_hand = ByHand(3)
        completed = by_hand.hand.worker.completed
        (whole,) = [scenario for scenario in by_hand.scenarios() if scenario.name == "whole"]
        await take_rounds([whole], 2, 0, counted=False)
        assert by_hand.hand.worker.completed == completed + 6
        by_hand.close()

    async def test_asyncio_alone(self) -> None:
        taken = await take_rounds(asyncio_by_hand(2), 1, 0, counted=False)
        assert len(taken[0]) == 5


class TestTable:
    def test_rows_name_what_is_measured(self) -> None:
        for kind in {table.kind for table in TABLES}:
            pytest.importorskip("greenlet" if kind == "green" else "asyncio")
            costs = time_steps(kind, 2, 1, 1) | time_steps(kind, 1, 1, 1)
            for table in TABLES:
                if table.kind == kind:
                    assert all(row.cost(costs) is not None for row in table.rows)

    def test_a_row_adds_and_takes_away(self) -> None:
        assert Row("r", ("a", "b"), ("c",)).cost({"a": 5, "b": 3, "c": 1}) == 7
        assert Row("r", ("a", "b")).cost({"a": 5}) is None

    def test_the_steps_by_hand_are_all_of_the_sum(self) -> None:
        names = {name for table in TABLES[:1] for row in table.rows for name in (*row.plus, *row.minus)}
        costs = {name: float(3**number) for number, name in enumerate(sorted(names))}
        *steps, total, _ = TABLES[0].rows
        assert sum(row.cost(costs) or 0.0 for row in steps) == total.cost(costs)

    def test_words(self) -> None:
        measured = {"green": {1: Measured({"green: work": 1.0, "green: drain": 2.4}, None)}}
        text = render(measured)
        (line,) = [line for line in text.splitlines() if line.startswith("sum")]
        assert line.split() == ["sum", "-", "3"]
        (rows,) = as_json(measured).values()
        assert rows["sum"] == {"1": {"instructions": None, "ns": 3.4}}  # type: ignore[index]


class TestCounting:
    @pytest.mark.timeout(180)  # valgrind makes everything fifty times slower
    @pytest.mark.skipif(shutil.which("valgrind") is None, reason="callgrind is part of valgrind")
    def test_counts_each_step(self) -> None:
        counted = count("threads", 1, 1, 1)
        assert counted["tpool"] > counted["floor of asyncio"] > counted["lock, socket, poll"] > 0

    def test_without_valgrind(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", os.fspath(tmp_path))
        with pytest.raises(CountError, match="valgrind is not installed"):
            count("by_hand", 1, 1, 1)

    def test_a_valgrind_that_does_not_work(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        stand_in = tmp_path / "valgrind"
        stand_in.write_text("#!/bin/sh\necho no such tool >&2\nexit 1\n")
        stand_in.chmod(0o755)
        monkeypatch.setattr(budget.shutil, "which", {"valgrind": os.fspath(stand_in)}.get)  # type: ignore[attr-defined]
        with pytest.raises(CountError, match="no such tool"):
            count("by_hand", 1, 1, 1)


class TestWakeupWatch:
    async def test_counts_drains_and_wake_ups(self) -> None:
        with WakeupWatch() as watch:
            pool = Pool(1)
            await pool.execute(nothing)
            watch.taken()
            for _ in range(5):
                await pool.execute(nothing)
            await pool.killall()
            counted = watch.taken()
        assert counted["drains"] == 5
        assert counted["woken"] <= 6  # one more for the end of the worker
        assert counted["for_nothing"] == 0


class TestScripts:
    def script(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(BENCHMARKS / name), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environment(),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_nanoseconds_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", os.fspath(tmp_path))
        path = tmp_path / "budget.json"
        output = self.script("budget.py", "--quick", "--kinds", "by_hand", "threads", "--json", str(path))
        assert "Nanoseconds only: valgrind is not installed." in output
        figures = json.loads(path.read_text())
        assert figures["instructions"] is False
        assert figures["tables"]["async call, by hand"]["sum"]["20"]["ns"] > 0
        assert "call from a green thread, by hand" not in figures["tables"]
