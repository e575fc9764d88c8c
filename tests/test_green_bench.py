"""The measurements of synchronous code: each contestant does what it says, on rounds too small to mean anything."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.child import output_of
from tests.test_bench import BENCHMARKS, figures_of
from tpool_asyncio._bench import bridge, green_calls, rounds
from tpool_asyncio._bench.bridge import BRIDGES, READY, ROUND_TRIP
from tpool_asyncio._bench.child_process import BenchError, ChildProcess, MissingError, environment
from tpool_asyncio._bench.crowds import CASES, CROWDS
from tpool_asyncio._bench.green_calls import CROWD, GREEN_CALLS, SCRIPT
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.table import as_json, render

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

SUBJECTS = {"green_calls": GREEN_CALLS, "bridge": BRIDGES}

CALLS_MADE = """
import json, threading
from dataclasses import replace
from tpool_asyncio._bench.green_calls import GREEN_CALLS

made = []
contestant = GREEN_CALLS.contestants["{name}"]
answer = {{}}
with contestant.open() as measure:
    for workload in filter(contestant.takes, GREEN_CALLS.workloads.values()):
        made.clear()
        green_threads = min(workload.at_once, 30)
        taken = measure(
            replace(workload, fn=lambda: made.append(threading.get_ident()), at_once=green_threads), 3
        )
        assert taken["wall_us"] > 0
        answer[workload.name] = [green_threads, len(made), threading.get_ident() in made]
print(json.dumps(answer))
"""

AWAITS_MADE = """
import json
from dataclasses import replace
from tpool_asyncio._bench.bridge import BRIDGES

made = ended = 0

def counted(fn):
    async def awaited(make):
        global ended
        await make()
        ended += 1
    def counting():
        global made
        made += 1
        return awaited(make)
    make = fn()
    return counting

contestant = BRIDGES.contestants["{name}"]
answer = {{}}
with contestant.open() as measure:
    for workload in filter(contestant.takes, BRIDGES.workloads.values()):
        made = ended = 0
        taken = measure(replace(workload, fn=counted, args=(workload.fn,)), 7)
        assert taken["wall_us"] > 0
        answer[workload.name] = [made, ended]
print(json.dumps(answer))
"""


def needs(name: str) -> None:
    """Skip the test of a contestant whose package is not installed. Packages are not imported here, for good."""
    package = {"green": "greenlet", "tpool": "asyncio", "to_thread": "asyncio", "await": "asyncio", "tasks": "asyncio"}
    if find_spec(package.get(name, name)) is None:
        pytest.skip(f"{name} is not installed")


@pytest.fixture
def without_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find, in place of the peers, something that cannot be imported."""
    for name in ("eventlet", "gevent", "greenback", "sqlalchemy"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


class TestContestants:
    @pytest.mark.parametrize("name", GREEN_CALLS.contestants)
    def test_makes_as_many_calls_as_it_says_and_none_in_place(self, name: str) -> None:
        needs(name)
        answer = json.loads(output_of(CALLS_MADE.format(name=name)))
        expected = {"crowd": [30, 90, False], "alone": [1, 3, False], "script": [1, 3, False]}
        if not GREEN_CALLS.contestants[name].takes(SCRIPT):
            del expected["script"]
        assert answer == expected

    @pytest.mark.parametrize("name", BRIDGES.contestants)
    def test_awaits_as_often_as_it_says(self, name: str) -> None:
        needs(name)
        answer = json.loads(output_of(AWAITS_MADE.format(name=name)))
        assert answer == {workload: [7, 7] for workload in BRIDGES.workloads}

    @pytest.mark.parametrize(("name", "case"), [(name, case) for name in CROWDS for case in CROWDS[name].cases])
    def test_crowds(self, name: str, case: str) -> None:
        needs(name)
        program = f"""
            import json
            from tpool_asyncio._bench.crowds import measure
            sizes = iter((1_000, 51_000))
            print(json.dumps(measure({name!r}, {case!r}, 50, lambda: next(sizes))))
        """
        answer = json.loads(output_of(program))
        assert answer.pop("wall_us") > 0
        assert answer.pop("cpu_us") >= 0
        assert answer.pop("before_bytes") == 1_000
        waiting = {"nothing": {}, "waiting": {"bytes_each": 1_000}}
        assert answer == waiting.get(case, {"bytes_each": 1_000, "in_flight": 50, "wrong": 0})

    def test_memory_that_is_not_known_is_left_out(self) -> None:
        program = """
            from tpool_asyncio._bench.crowds import measure
            print(sorted(measure("tasks", "waiting", 5, lambda: None)))
        """
        assert output_of(program) == "['cpu_us', 'wall_us']\n"


class TestRounds:
    @pytest.mark.parametrize("name", SUBJECTS)
    def test_every_contestant_has_every_workload(self, name: str) -> None:
        subject = SUBJECTS[name]
        for contestant in subject.contestants:
            needs(contestant)
        figures = rounds.measure(1, subject=subject, quick=True)
        assert not figures.missing
        text = render(figures, subject)
        for workload in subject.workloads.values():
            takers = [contestant for contestant in subject.contestants.values() if contestant.takes(workload)]
            assert set(figures.contestants(workload.name)) == {contestant.name for contestant in takers}
            assert workload.title in text
            assert all(contestant.title in text for contestant in takers)
        answer = json.loads(json.dumps(as_json(figures, subject)))
        for taken in answer["workloads"].values():
            assert taken["contestants"]["green"]["wall_ratio_to_green"] == 1

    def test_only_calls_have_threads(self) -> None:
        for subject, said in ((GREEN_CALLS, "20 threads each, every contestant"), (BRIDGES, "\nEvery contestant")):
            figures = figures_of({next(iter(subject.workloads)): {"green": [(1, 1)]}})
            assert said in render(figures, subject)

    def test_there_is_only_one_kind_of_loop(self) -> None:
        with pytest.raises(BenchError, match="measures await ended with exit code 1"):
            ChildProcess("await", "uvloop", BRIDGES.program)

    def test_green_calls_on_uvloop(self) -> None:
        pytest.importorskip("uvloop")
        pytest.importorskip("greenlet")
        contestants = [GREEN_CALLS.contestants[name] for name in ("green", "tpool")]
        figures = rounds.measure(1, subject=GREEN_CALLS, loop="uvloop", quick=True, contestants=contestants)
        assert figures.loop == "uvloop"
        assert set(figures.contestants("crowd")) == {"green", "tpool"}

    @pytest.mark.usefixtures("without_peers")
    @pytest.mark.parametrize(
        ("subject", "name"),
        [(GREEN_CALLS, "eventlet"), (GREEN_CALLS, "gevent"), (BRIDGES, "sqlalchemy"), (BRIDGES, "greenback")],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_missing_package(self, subject: Subject, name: str) -> None:
        with pytest.raises(MissingError, match=f"no {name} here"):
            ChildProcess(name, "asyncio", subject.program)

    @pytest.mark.usefixtures("without_peers")
    def test_missing_peers_are_left_out(self) -> None:
        figures = rounds.measure(1, subject=BRIDGES, quick=True, workloads=(READY, ROUND_TRIP))
        assert set(figures.missing) == {"sqlalchemy", "greenback"}
        assert set(figures.contestants("round_trip")) == {"green", "await"}
        text = render(figures, BRIDGES)
        assert "greenback portal, await_ is left out: no greenback here; pip install 'tpool-asyncio[bench]'" in text
        assert all(verdict.measured is None for verdict in bridge.verdicts(figures))


class TestTargets:
    def test_calls(self) -> None:
        figures = figures_of(
            {
                "crowd": {"green": [(4, 4)], "eventlet": [(20, 20)], "gevent": [(19, 19)], "tpool": [(2, 2)]},
                "alone": {"green": [(20, 20)], "eventlet": [(20, 20)], "gevent": [(19, 19)]},
                "script": {"green": [(20, 20)], "eventlet": [(30, 30)]},
            }
        )
        assert [str(verdict) for verdict in green_calls.verdicts(figures)] == [
            "met      1,000 green threads, wall time: eventlet.tpool.execute / green >= 5: measured 5.00",
            "missed   1,000 green threads, wall time: gevent ThreadPool.apply / green >= 5: measured 4.75",
            "met      one green thread alone, wall time: eventlet.tpool.execute / green >= 1: measured 1.00",
            "missed   one green thread alone, wall time: gevent ThreadPool.apply / green >= 1: measured 0.95",
            "met      a script without green threads, wall time: eventlet.tpool.execute / green >= 1: measured 1.50",
            "unknown  a script without green threads, wall time: gevent ThreadPool.apply / green >= 1: not measured",
            "missed   1,000 green threads, wall time: green / await tpool.execute, in tasks <= 1.8: measured 2.00",
        ]

    def test_bridges(self) -> None:
        figures = figures_of(
            {name: {"green": [(2, 2)], "sqlalchemy": [(3, 3)], "greenback": [(1, 1)]} for name in BRIDGES.workloads}
        )
        judged = bridge.verdicts(figures)
        assert [verdict.met for verdict in judged] == [True, False] * len(BRIDGES.workloads)
        assert {verdict.measured for verdict in judged} == {1.5, 0.5}


class TestScripts:
    def script(self, name: str, folder: Path, *arguments: str) -> tuple[str, dict[str, object]]:
        """Run a script; return what it printed, and the figures it wrote."""
        path = folder / "figures.json"
        command = [sys.executable, str(BENCHMARKS / name), "--rounds", "1", "--json", str(path), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200, env=environment())
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout, json.loads(path.read_text())

    def test_green_calls(self, tmp_path: Path) -> None:
        output, results = self.script("green_calls.py", tmp_path, "--quick")
        assert f"{CROWD.title}, wall time: eventlet.tpool.execute / green >= 5" in output
        assert isinstance(results["targets"], list)
        assert len(results["targets"]) == 7

    @pytest.mark.usefixtures("without_peers")
    def test_bridge_without_peers(self, tmp_path: Path) -> None:
        output, results = self.script("bridge.py", tmp_path, "--quick")
        assert "SQLAlchemy greenlet_spawn, await_only is left out: no sqlalchemy here" in output
        assert results["missing"] == {"sqlalchemy": "no sqlalchemy here", "greenback": "no greenback here"}

    def test_green_threads(self, tmp_path: Path) -> None:
        output, results = self.script("green_threads.py", tmp_path, "--number", "200")
        assert all(title in output for title in CASES.values())
        assert "200 green threads waited for calls at once, all finished, 0 results wrong" in output
        assert results["calls"] == {"in_flight": 200, "wrong": 0, "met": True}

    @pytest.mark.usefixtures("without_peers")
    def test_green_threads_without_peers(self, tmp_path: Path) -> None:
        output, _ = self.script("green_threads.py", tmp_path, "--number", "50")
        assert "gevent.spawn is left out: no gevent here" in output
