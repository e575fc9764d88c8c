"""The table of what works together: what is written down, and what is made of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".ci" / "combinations.py"

TESTS = """\
import pytest

@pytest.mark.combination(caller="async code", library="tea")
async def test_on_each_loop():
    pass

@pytest.mark.combination(caller="script", library="tea")
def test_without_a_loop():
    pass

@pytest.mark.combination(caller="script", library="coffee", loop="uvloop")
def test_with_a_loop_of_its_own():
    pass

@pytest.mark.combination(caller="script", library="water")
def test_that_fails():
    assert False

@pytest.mark.combination(caller="script", library="milk")
def test_that_is_skipped():
    pytest.skip("no milk")

def test_without_a_mark():
    pass
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of these tests writes down."""
    folder = tmp_path_factory.mktemp("combinations")
    (folder / "test_it.py").write_text(TESTS)
    file = folder / "seen.json"
    arguments = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--combinations", str(file)]
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *arguments, str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "1 failed" in run.stdout, run.stdout + run.stderr
    return file


def test_what_has_passed_is_written_down(seen: Path) -> None:
    rows = [(row["caller"], row["library"], row["loop"]) for row in json.loads(seen.read_text())]
    assert rows == [
        ("async code", "tea", "asyncio"),
        ("async code", "tea", "uvloop"),
        ("script", "coffee", "uvloop"),
        ("script", "tea", "asyncio"),
    ]


def check(seen: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), str(seen), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_page_that_says_something_else_is_found_out(seen: Path) -> None:
    result = check(seen)
    assert result.returncode == 1
    assert "+ | script | coffee |  | ✓ |" in result.stderr
    assert "make combinations" in result.stderr
