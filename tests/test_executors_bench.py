"""The measurement of executors: each contestant makes the calls that it says, in rounds too small to mean anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.child import output_of
from tests.test_bench import BENCHMARKS, figures_of
from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.executors import EXECUTORS, verdicts

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

CALLS_MADE = """
from dataclasses import replace
import json, threading
from tpool_asyncio._bench.executors import CONTESTANTS, EXECUTORS

made = {{}}
for name, contestant in CONTESTANTS.items():
    threads = []
    with contestant.open({kind!r}) as measure:
        for workload in EXECUTORS.workloads.values():
            threads.clear()
            taken = measure(replace(workload, fn=lambda: threads.append(threading.current_thread().name)), 2)
            assert taken["wall_us"] > 0
            assert len(threads) == 2 * workload.at_once, (name, workload.name, len(threads))
    (made[name],) = {{name.partition("-")[0].partition("_")[0] for name in threads}}
print(json.dumps(made))
"""


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_each_contestant_makes_the_calls_where_it_says(kind: str) -> None:
    pytest.importorskip(kind)
    made = json.loads(output_of(CALLS_MADE.format(kind=kind)))
    assert list(made) == list(EXECUTORS.contestants)
    assert {name for name, threads in made.items() if threads == "tpool"} == {
        "fast",
        "fast_to_thread",
        "as_default",
        "submit",
    }
    # Older releases of uvloop leave the naming of the threads to the executor.
    assert {made["stock"], made["stock_to_thread"]} <= {kind, "ThreadPoolExecutor"}
    assert made["stock_20"] == made["stock_submit"] == "ThreadPoolExecutor"
    assert made["to_thread_floor"] == "MainThread"


def test_targets() -> None:
    taken = {"fast": [(2.0, 2.0)], "stock": [(8.0, 6.0)], "fast_to_thread": [(4.0, 4.0)]}
    said = [str(verdict) for verdict in verdicts(figures_of({"at_once_1000": taken}))]
    assert said == [
        "met      1,000 at once, wall time: run_in_executor, stock loop / fast >= 4: measured 4.00",
        "missed   1,000 at once, CPU time: run_in_executor, stock loop / fast >= 4: measured 3.00",
        "unknown  1,000 at once, wall time: asyncio.to_thread, stock loop / fast_to_thread >= 4: not measured",
        "unknown  1,000 at once, CPU time: asyncio.to_thread, stock loop / fast_to_thread >= 4: not measured",
    ]


def test_the_script(tmp_path: Path) -> None:
    path = tmp_path / "executors.json"
    arguments = ["--loop", "asyncio", "--rounds", "1", "--quick", "--json", str(path)]
    command = [sys.executable, str(BENCHMARKS / "executors.py"), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200, env=environment())
    assert done.returncode == 0, done.stderr
    assert "loop asyncio." in done.stdout
    assert [one.title for one in EXECUTORS.contestants.values() if done.stdout.count(one.title) < 3] == []
    results = json.loads(path.read_text())
    assert list(results) == ["asyncio"]
    assert len(results["asyncio"]["targets"]) == 4
