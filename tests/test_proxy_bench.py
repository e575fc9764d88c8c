"""The measurements of proxies: each contestant reads what it should, on tables and files too small to mean anything."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.child import output_of, run_child
from tests.test_bench import BENCHMARKS, figures_of
from tpool_asyncio._bench import proxy_lines, proxy_method, proxy_queries, proxy_rows, rounds
from tpool_asyncio._bench.child_process import BenchError, ChildProcess, MissingError, environment
from tpool_asyncio._bench.one_processor import keep_to_one_processor
from tpool_asyncio._bench.proxy_lines import LINES
from tpool_asyncio._bench.proxy_material import LINE_BYTES, check, make_table, make_text, text_path
from tpool_asyncio._bench.proxy_method import METHOD
from tpool_asyncio._bench.proxy_queries import QUERIES
from tpool_asyncio._bench.proxy_rows import ROWS
from tpool_asyncio._bench.table import render

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

ROWS_MADE = 300
LINES_MADE = 250

MODULES = {"proxy_rows": ROWS, "proxy_queries": QUERIES, "proxy_lines": LINES, "proxy_method": METHOD}
EVERY_CONTESTANT = [(module, name) for module, subject in MODULES.items() for name in subject.contestants]
READERS = [(module, name) for module, name in EVERY_CONTESTANT if module != "proxy_method"]

MEASURED = """
import json
from tpool_asyncio._bench import {module}

taken = {{}}
with {module}.CONTESTANTS[{name!r}].open(*{arguments!r}) as measure:
    for workload in {module}.{subject}.workloads.values():
        taken[workload.name] = measure(workload, {reps})
print(json.dumps(taken))
"""

TRIPS = """
from tpool_asyncio import tpool
from tpool_asyncio._bench import proxy_queries

for name in {names!r}:
    with proxy_queries.CONTESTANTS[name].open({path!r}) as measure:
        made = []
        for reps in (10, 15, 25):
            before = tpool.statistics().submitted
            measure(proxy_queries.ALONE, reps)
            made.append(tpool.statistics().submitted - before)
        print(name, (made[1] - made[0]) / 5, (made[2] - made[1]) / 10)
"""


def needs(name: str) -> None:
    """Skip the test of a contestant whose package is not installed."""
    for package in ("aiosqlite", "aiofiles"):
        if name.startswith(package) or (name == "large_chunks" and package == "aiosqlite"):
            pytest.importorskip(package)


def program(module: str, name: str, folder: Path) -> str:
    """Return the program in which a contestant does each of its workloads once, on the material in this folder."""
    arguments = {
        "proxy_rows": [str(folder / "db")],
        "proxy_queries": [str(folder / "db")],
        "proxy_lines": [str(folder)],
    }
    reps = {"proxy_rows": ROWS_MADE, "proxy_queries": 3, "proxy_lines": LINES_MADE, "proxy_method": 20}
    subject = module.removeprefix("proxy_").upper()
    return MEASURED.format(
        module=module, name=name, subject=subject, arguments=arguments.get(module, []), reps=reps[module]
    )


@pytest.fixture
def material(tmp_path: Path) -> Path:
    """A folder with what there is to read."""
    make_table(tmp_path / "db", ROWS_MADE)
    make_text(tmp_path, LINES_MADE)
    return tmp_path


@pytest.fixture
def without_peers(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find, in place of the peers, something that cannot be imported."""
    folder = tmp_path_factory.mktemp("without_peers")
    for name in ("aiosqlite", "aiofiles"):
        (folder / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


class TestMaterial:
    def test_table(self, material: Path) -> None:
        with closing(sqlite3.connect(material / "db")) as db:
            found = db.execute("select id, name, x from item").fetchall()
        assert found == [(number, f"name of {number}", number / 7) for number in range(ROWS_MADE)]

    def test_text_across_the_parts_it_is_written_in(self, tmp_path: Path) -> None:
        make_text(tmp_path, 25_001)
        lines = text_path(tmp_path, 25_001).read_text(encoding="ascii").splitlines(keepends=True)
        assert [int(line.split()[1]) for line in lines] == list(range(25_001))
        assert {len(line) for line in lines} == {LINE_BYTES}

    def test_check(self) -> None:
        check(1, 1)
        with pytest.raises(ValueError, match="the answer is 1 where it should be 2"):
            check(1, 2)


class TestContestants:
    @pytest.mark.parametrize(("module", "name"), EVERY_CONTESTANT)
    def test_does_every_workload(self, module: str, name: str, material: Path) -> None:
        needs(name)
        taken = json.loads(output_of(program(module, name, material)))
        assert list(taken) == list(MODULES[module].workloads)
        assert all(each["wall_us"] > 0 for each in taken.values())

    @pytest.mark.parametrize(("module", "name"), READERS)
    def test_a_wrong_answer_is_no_figure(self, module: str, name: str, material: Path) -> None:
        needs(name)
        with closing(sqlite3.connect(material / "db")) as db, db:
            db.execute("update item set id = -1 where id = 0")
        with open(text_path(material, LINES_MADE), "r+b") as file:
            file.truncate((LINES_MADE - 1) * LINE_BYTES)
        done = run_child(program(module, name, material))
        assert done.returncode == 1
        assert done.stdout == ""
        last = done.stderr.strip().splitlines()[-1]
        if module == "proxy_queries":  # no row is there where one should be
            assert "NoneType" in last or "not enough values" in last
        else:
            assert last.startswith("ValueError: the answer is")

    def test_makes_as_many_trips_as_it_says(self, material: Path) -> None:
        names = ["tpool", "pinned", "tpool_one", "pinned_one"]
        said = output_of(TRIPS.format(names=names, path=str(material / "db"))).splitlines()
        assert said == ["tpool 2.0 2.0", "pinned 2.0 2.0", "tpool_one 1.0 1.0", "pinned_one 1.0 1.0"]
        for name, trips in zip(names, "2211", strict=True):
            assert QUERIES.contestants[name].title.startswith(f"{trips} trip")

    def test_every_query_asks_for_another_row(self) -> None:
        assert sorted(proxy_queries._keys(ROWS_MADE, ROWS_MADE)) == list(range(ROWS_MADE))


class TestRounds:
    @pytest.mark.parametrize("module", MODULES)
    def test_every_contestant_has_every_workload(self, module: str, material: Path) -> None:
        made = {
            "proxy_rows": (proxy_rows.subject(ROWS_MADE), str(material / "db")),
            "proxy_queries": (proxy_queries.subject(200), str(material / "db")),
            "proxy_lines": (proxy_lines.subject(LINES_MADE), str(material)),
        }
        subject, *arguments = made.get(module, (METHOD,))
        for contestant in subject.contestants:
            needs(contestant)
        figures = rounds.measure(1, subject=subject, quick=module == "proxy_method", arguments=arguments)
        assert not figures.missing
        for workload in subject.workloads:
            assert set(figures.contestants(workload)) == set(subject.contestants)
        text = proxy_method.render(figures) if subject is METHOD else render(figures, subject)
        titles = [workload.title for workload in subject.workloads.values()]
        titles += [contestant.title for contestant in subject.contestants.values()]
        assert [title for title in titles if title not in text] == []

    def test_the_titles_say_how_much_there_is(self) -> None:
        subjects = (proxy_rows.subject(100_000), proxy_queries.subject(10_000), proxy_lines.subject(12_500_000))
        assert [workload.title for subject in subjects for workload in subject.workloads.values()] == [
            "100,000 rows of SQLite",
            "10,000 queries, one after another",
            "5,000 queries, 100 tasks, 4 connections",
            "12,500,000 lines, 1,000 MB",
        ]
        assert [
            workload.reps * workload.at_once for subject in subjects for workload in subject.workloads.values()
        ] == [100_000, 10_000, 5_000, 12_500_000]

    def test_a_sample_may_take_no_longer_than_was_said(self, material: Path) -> None:
        with ChildProcess("open", "asyncio", LINES.program, [str(material)], patience=1.0) as child:
            os.mkfifo(text_path(material, 7))  # nobody writes into it, so it can't even be opened
            with pytest.raises(BenchError, match="measures open ended with exit code 1"):
                child.measure(LINES.workloads["lines"], 7)

    @pytest.mark.usefixtures("without_peers")
    @pytest.mark.parametrize(
        ("module", "name"), [(module, name) for module, name in READERS if name.startswith(("aio", "large"))]
    )
    def test_missing_package(self, module: str, name: str, material: Path) -> None:
        argument = str(material if module == "proxy_lines" else material / "db")
        with pytest.raises(MissingError, match=r"no (aiosqlite|aiofiles) here"):
            ChildProcess(name, "asyncio", MODULES[module].program, [argument])

    @pytest.mark.usefixtures("without_peers")
    def test_missing_peers_are_left_out(self, material: Path) -> None:
        subject = proxy_rows.subject(ROWS_MADE)
        figures = rounds.measure(1, subject=subject, arguments=[str(material / "db")])
        assert figures.missing == {"aiosqlite": "no aiosqlite here", "large_chunks": "no aiosqlite here"}
        left_out = "aiosqlite, async for is left out: no aiosqlite here; pip install 'tpool-asyncio[bench]'"
        assert left_out in render(figures, subject)
        assert [verdict.measured is None for verdict in proxy_rows.verdicts(figures, subject)] == [True, False] * 3


class TestOneProcessor:
    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")
    def test_threads_and_processes_keep_to_it(self) -> None:
        program = """
            import os, subprocess, sys, threading
            from tpool_asyncio._bench.one_processor import keep_to_one_processor

            assert keep_to_one_processor()
            said = []
            thread = threading.Thread(target=lambda: said.append(len(os.sched_getaffinity(0))))
            thread.start()
            thread.join()
            child = "import os; print(len(os.sched_getaffinity(0)))"
            print(said, subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout)
        """
        assert output_of(program).split() == ["[1]", "1"]

    def test_says_where_it_cannot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        assert not keep_to_one_processor()


class TestTargets:
    def test_rows(self) -> None:
        figures = figures_of(
            {
                "rows": {
                    "tpool": [(1, 1)],
                    "pinned": [(2, 2)],
                    "iterate": [(1.5, 1)],
                    "aiosqlite": [(6, 6)],
                    "sqlite3": [(0.75, 1)],
                }
            }
        )
        assert [str(verdict) for verdict in proxy_rows.verdicts(figures, proxy_rows.subject(1_000))] == [
            "met      1,000 rows of SQLite, wall time: aiosqlite, async for / tpool >= 4: measured 6.00",
            "met      1,000 rows of SQLite, wall time: tpool / plain sqlite3, for <= 2: measured 1.33",
            "missed   1,000 rows of SQLite, wall time: aiosqlite, async for / pinned >= 4: measured 3.00",
            "missed   1,000 rows of SQLite, wall time: pinned / plain sqlite3, for <= 2: measured 2.67",
            "met      1,000 rows of SQLite, wall time: aiosqlite, async for / iterate >= 4: measured 4.00",
            "met      1,000 rows of SQLite, wall time: iterate / plain sqlite3, for <= 2: measured 2.00",
        ]

    def test_queries_are_held_against_those_with_as_many_trips(self) -> None:
        taken = {"tpool": 50, "pinned": 60, "aiosqlite": 60, "tpool_one": 20, "pinned_one": 40, "aiosqlite_one": 30}
        samples = {name: [(float(us), 1.0)] for name, us in taken.items()}
        figures = figures_of({"alone": samples, "crowd": samples})
        judged = proxy_queries.verdicts(figures, proxy_queries.subject(100))
        assert [(verdict.measured, verdict.met) for verdict in judged] == [
            *[(1.2, True), (1.0, True), (1.5, True), (0.75, False)],
            *[(1.2, False), (1.0, False), (1.5, True), (0.75, False)],
        ]
        for way, peer in proxy_queries.SAME_TRIPS:
            assert way.title.split(":")[0] == peer.title.split(":")[0]

    def test_lines(self) -> None:
        figures = figures_of({"lines": {"tpool": [(2, 2)], "proxy": [(3, 3)], "aiofiles": [(20, 20)]}})
        assert [str(verdict) for verdict in proxy_lines.verdicts(figures, proxy_lines.subject(125_000))] == [
            "met      125,000 lines, 10 MB, wall time: aiofiles, async for / tpool >= 10: measured 10.00",
            "missed   125,000 lines, 10 MB, wall time: aiofiles, async for / proxy >= 10: measured 6.67",
        ]

    def test_method_is_judged_by_the_difference_within_rounds(self) -> None:
        # The machine was slow in the second round; the difference of the medians would be 3.
        figures = figures_of(
            {
                "execute": {"async": [(20, 9), (50, 9), (21, 9)], "green": [(20, 9)]},
                "proxy": {"async": [(22, 9), (52, 9), (24, 9)], "green": [(22.5, 9)]},
                "autowrap": {"async": [(19, 9), (49, 9), (20, 9)]},
            }
        )
        assert proxy_method.beyond_execute(figures) == {
            "proxy": {"async": 2, "green": 2.5},
            "autowrap": {"async": -1},
        }
        assert [str(verdict) for verdict in proxy_method.verdicts(figures)] == [
            "met      await: method of a Proxy, us of wall time beyond execute <= 2: measured 2.00",
            "met      await: method of a Proxy with autowrap, us of wall time beyond execute <= 2: measured -1.00",
            "unknown  await: method of a pinned Proxy, us of wall time beyond execute <= 2: not measured",
            "missed   green: method of a Proxy, us of wall time beyond execute <= 2: measured 2.50",
            "unknown  green: method of a Proxy with autowrap, us of wall time beyond execute <= 2: not measured",
            "unknown  green: method of a pinned Proxy, us of wall time beyond execute <= 2: not measured",
        ]


class TestScript:
    @pytest.fixture
    def script(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, dict[str, Any]]]:
        """Run the script with small numbers; return what it printed, and the figures it wrote."""
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        for variable in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.setenv(variable, str(temporary))

        def run(*arguments: str) -> tuple[str, dict[str, Any]]:
            path = tmp_path / "figures.json"
            small = ("--rows", "500", "--queries", "200", "--lines-mb", "0.05", "--rounds", "1", "--json", str(path))
            command = [sys.executable, str(BENCHMARKS / "proxy.py"), *small, *arguments]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200, env=environment())
            assert (done.returncode, done.stderr) == (0, "")
            assert list(temporary.iterdir()) == []
            return done.stdout, json.loads(path.read_text())

        return run

    def test_all_tables(self, script: Callable[..., tuple[str, dict[str, Any]]]) -> None:
        output, results = script()
        titles = (
            "500 rows of SQLite",
            "200 queries, one after",
            "100 queries, 100 tasks",
            "625 lines, 0.05 MB",
            "execute",
        )
        for title in titles:
            assert title in output
        assert list(results) == ["rows", "queries", "lines", "method"]
        assert {name: len(each["targets"]) for name, each in results.items()} == {
            "rows": 6,
            "queries": 8,
            "lines": 2,
            "method": 6,
        }
        assert set(results["method"]["us_beyond_execute"]) == {"proxy", "autowrap", "pinned"}
        if all(map(find_spec, ("aiosqlite", "aiofiles"))):
            assert "not measured" not in output

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")
    def test_on_one_processor(self, script: Callable[..., tuple[str, dict[str, Any]]]) -> None:
        output, results = script("--only", "rows", "--one-processor")
        assert "All processes keep to one processor." in output
        assert results["rows"]["one_processor"]

    @pytest.mark.usefixtures("without_peers")
    def test_without_peers(self, script: Callable[..., tuple[str, dict[str, Any]]]) -> None:
        output, results = script("--only", "lines", "rows")
        assert "one processor" not in output
        assert "aiofiles, async for is left out: no aiofiles here" in output
        assert list(results) == ["rows", "lines"]
        assert results["lines"]["missing"] == {"aiofiles": "no aiofiles here"}
