"""The plots of measurements: drawn from what there is, the same each time, and readable on light and dark pages."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bench_figures import figures_on
from tests.test_bench import BENCHMARKS
from tpool_asyncio._bench.child_process import environment

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

if find_spec("matplotlib") is None:
    pytest.skip("matplotlib is not installed", allow_module_level=True)

EVERY_PLOT = {"cost-by-concurrency", "cost-by-peer", "cost-by-peer-green", "cost-by-interpreter", "loop-stall"}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where matplotlib keeps what it has found out about fonts."""
    return tmp_path_factory.mktemp("matplotlib")


def draw(settings: Path, folder: Path, *files: dict[str, Any]) -> str:
    """Draw what is in these files, and return what the script said."""
    folder.mkdir()
    paths = [folder / f"{number}.json" for number in range(len(files))]
    for path, file in zip(paths, files, strict=True):
        path.write_text(json.dumps(file))
    command = [sys.executable, str(BENCHMARKS / "plots.py"), *map(str, paths), "--folder", str(folder)]
    env = {**environment(), "MPLCONFIGDIR": str(settings)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def texts(path: Path) -> list[str]:
    return [str(element.text) for element in ET.parse(path).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def drawn(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all plots."""
    folder = tmp_path_factory.mktemp("plots") / "drawn"
    draw(settings, folder, figures_on("CPython 3.11.9"), figures_on("CPython 3.13.1", 1.2))
    return folder


def test_every_plot_is_there(drawn: Path) -> None:
    assert {path.stem for path in drawn.glob("*.svg")} == EVERY_PLOT


def test_axes_have_units(drawn: Path) -> None:
    for name in EVERY_PLOT:
        said = texts(drawn / f"{name}.svg")
        assert [text for text in said if "µs per call" in text or text.endswith(", ms")], name
    assert {"calls in flight", "threads of the pool", "loops, a thread each", "1M"} <= set(
        texts(drawn / "cost-by-concurrency.svg")
    )
    assert "s since the first call" in texts(drawn / "loop-stall.svg")


def test_contestants_and_figures_are_named(drawn: Path) -> None:
    assert {"tpool.execute", "asyncio.to_thread", "31", "CPU time"} <= set(texts(drawn / "cost-by-peer.svg"))
    assert {"green.tpool.execute", "eventlet.tpool.execute"} <= set(texts(drawn / "cost-by-peer-green.svg"))
    assert {"3.11.9", "3.13.1"} <= set(texts(drawn / "cost-by-interpreter.svg"))
    said = texts(drawn / "loop-stall.svg")
    assert {"idle", "tpool.execute", "asyncio.to_thread", "in 1,000 tasks", "chunks"} <= set(said)


def test_a_short_stall_is_not_lost_among_many_beats(drawn: Path) -> None:
    path = drawn / "loop-stall.svg"
    assert path.stat().st_size < 100_000
    assert "100" in texts(path)  # how far the axis goes is decided by one beat of 110 ms


def test_every_colour_has_another_for_dark_pages(drawn: Path) -> None:
    for name in EVERY_PLOT:
        text = (drawn / f"{name}.svg").read_text()
        root = ET.fromstring(text)
        title = root.find(f"{SVG}title")
        assert title is not None
        assert title.text
        light = set(re.findall(r'\[style\*="fill: (#\w+)"\]', text))
        used = set(
            re.findall(r"(?:fill|stroke): (#\w+)[;\"]", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))
        )
        assert len(used) > 3
        assert used <= light, name


def test_only_what_has_figures_is_drawn_and_the_same_each_time(drawn: Path, settings: Path, tmp_path: Path) -> None:
    file = figures_on("CPython 3.11.9")
    stall = {**file.pop("parts")["stall"]["figures"], "machine": file["machine"], "loop": file["loop"]}
    said = draw(settings, tmp_path / "again", stall)
    assert "cost-by-peer is left out: no figures for it" in said
    assert "cost-by-interpreter is left out: no figures for it" in said
    (path,) = (tmp_path / "again").glob("*.svg")
    assert path.read_bytes() == (drawn / "loop-stall.svg").read_bytes()
