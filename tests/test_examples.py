"""Every example runs, as a reader would run it, and ends well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.py"))


def test_there_are_examples() -> None:
    assert EXAMPLES


def test_the_readme_lists_every_example() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in EXAMPLES if f"({name})" not in readme] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", FOLDER / name],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},  # not to be measured
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.strip(), "it prints nothing"
    assert "Exception" not in ended.stderr, ended.stderr
    assert "Warning" not in ended.stderr, ended.stderr
    assert list(tmp_path.iterdir()) == [], "it leaves files behind"
