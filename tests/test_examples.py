"""Every example runs, as a reader would run it, and ends well."""

from pathlib import Path

import pytest

from tests.child import run_as_reader

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.py"))


def test_there_are_examples() -> None:
    assert EXAMPLES


def test_the_readme_lists_every_example() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in EXAMPLES if f"({name})" not in readme] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    assert run_as_reader(FOLDER / name, tmp_path, "-X", "dev").strip(), "it prints nothing"
    assert list(tmp_path.iterdir()) == [], "it leaves files behind"
