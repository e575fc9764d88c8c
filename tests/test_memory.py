"""Nothing is left in memory: nothing grows, and nothing is left for the garbage collector.

`benchmarks/memory.py` does the same some million times; here each kind is done up to two thousand times, in a process
of its own. That is enough to see what each repetition leaves behind.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.child import output_of
from tpool_asyncio._bench.memory.growth import Look, grown, growth, look, repeat
from tpool_asyncio._bench.memory.kinds import load_kinds

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

KINDS = load_kinds()
MOST = 1_000
"""Threads, for those who do not count them."""


@pytest.mark.parametrize(
    ("kind", "loop"),
    [*((kind, "asyncio") for kind in KINDS), *((kind, "uvloop") for kind in ("calls", "loops", "made_hubs"))],
)
def test_it_does_not_grow(kind: str, loop: str) -> None:
    number = min(2_000, KINDS[kind].full // 20)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-m", "tpool_asyncio._bench.memory", kind, loop, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["grown"] == []
    assert found["looks"][-1]["done"] == number


class TestItWouldBeFound:
    """What `repeat` and `grown` say of programs that leave something behind."""

    def test_nothing(self) -> None:
        assert grown(repeat(lambda number: [[] for _ in range(number)], 2000, MOST), MOST) == []

    def test_one_object_each_time(self) -> None:
        kept: list[object] = []
        looks = repeat(lambda number: kept.extend([] for _ in range(number)), 2000, MOST)
        assert looks[-1].done == 2000
        assert growth(looks)["objects"] > 1500
        assert len(grown(looks, MOST)) == 2  # blocks and objects

    def test_blocks_that_the_collector_does_not_know_of(self) -> None:
        kept: list[float] = []
        looks = repeat(lambda number: kept.extend(index / 7 for index in range(number)), 2000, MOST)
        assert "blocks" in grown(looks, MOST)[0]

    def test_what_is_big(self) -> None:
        # Not by allocating: in a process that has run other tests, the allocator may have enough.
        looks = [Look(number, 0, 0, 0, 1, number * 2**21) for number in range(11)]
        assert grown(looks, MOST) == ["16,777,216 bytes of resident memory more after 10 repetitions"]

    @pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell in this way")
    def test_the_resident_memory_is_seen(self) -> None:
        assert look(0, MOST).resident > 2**20

    def test_a_file(self, tmp_path: Path) -> None:
        kept = []
        try:
            looks = repeat(lambda _: kept.append((tmp_path / "file").open("w")), 10, MOST)
        finally:
            for file in kept:
                file.close()
        assert "files more after 10 repetitions" in grown(looks, MOST)[0]

    def test_a_thread(self) -> None:
        threads = threading.active_count()
        looks = [Look(10, 0, 0, 0, threads + 1, 0)] * 6
        assert grown(looks, threads) == [f"{threads + 1} threads in the end"]
        assert grown(looks, threads + 1) == []


# In processes of their own, since what other tests leave behind is no matter here.


def said_by(program: str, loop: str) -> list[str]:
    """Run one of the programs beside this file; return its lines."""
    return output_of(f"from tests.{program} import main; main({loop!r})").splitlines()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left_for_the_garbage_collector(loop: str) -> None:
    assert said_by("memory_cycles", loop) == ["38 done"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_weak_references_die_without_the_collector(loop: str) -> None:
    assert said_by("memory_references", loop) == ["21 done"]


def test_the_script(tmp_path: Path) -> None:
    script = [sys.executable, str(Path(__file__).parent.parent / "benchmarks" / "memory.py")]
    figures = tmp_path / "memory.json"
    arguments = ["--kind", "script_calls", "--loop", "asyncio", "--number", "1000", "--json", str(figures)]
    done = subprocess.run([*script, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:3] for line in done.stdout.splitlines()][2] == ["script_calls", "asyncio", "1,000"]
    assert json.loads(figures.read_text())["kinds"]["script_calls"]["asyncio"]["grown"] == []
    listed = subprocess.run([*script, "--list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == len(KINDS)
