"""Changes of the package's source that are held against it as it is."""

import json
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_bench import BENCHMARKS
from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.experiments import EXPERIMENTS, Edit, Experiment, change
from tpool_asyncio._bench.revisions import HERE, PACKAGE, lay_out

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiments")
    lay_out(HERE, folder)
    return folder


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_fits_the_source(name: str, laid_out: Path) -> None:
    experiment = EXPERIMENTS[name]
    modules = {edit.module: laid_out / PACKAGE.name / edit.module for edit in experiment.edits}
    before = {module: path.read_text(encoding="utf-8") for module, path in modules.items()}
    change(experiment, laid_out)
    try:
        for module, path in modules.items():
            assert path.read_text(encoding="utf-8") != before[module]
            py_compile.compile(str(path), doraise=True)
    finally:
        for module, path in modules.items():
            path.write_text(before[module], encoding="utf-8")


def test_an_experiment_that_does_not_fit_any_more_says_so(laid_out: Path) -> None:
    experiment = Experiment("old", "of old", (Edit("_pool/crew.py", "what nobody writes", ""),), ())
    with pytest.raises(ValueError, match=r"experiment old: _pool/crew\.py has no longer"):
        change(experiment, laid_out)


def script(*arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / "experiments.py"), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    return done.stdout


def test_the_script_measures_what_it_is_told(tmp_path: Path) -> None:
    path, page = tmp_path / "experiments.json", tmp_path / "experiments.md"
    options = ["--only", "wake_each", "--rounds", "1", "--quick", "--json", str(path), "--markdown", str(page)]
    printed = script(*options)
    results = json.loads(path.read_text(encoding="utf-8"))
    (found,) = results["experiments"].values()
    assert set(found) == {"1,000 at once", "20 at once", "one after another"}
    assert all(finding["ratio"] > 0 for by_clock in found.values() for finding in by_clock.values())
    assert EXPERIMENTS["wake_each"].title in printed
    table = page.read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[1] for line in table[2:]] == list(found)


def test_the_script_tells_what_there_is() -> None:
    assert [line.split()[0] for line in script("--list").splitlines()] == list(EXPERIMENTS)
