"""The code in the pages does what the pages say: every block marked ``python`` is a whole program, and runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.child import run_as_reader

ROOT = Path(__file__).parent.parent
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]

# A block that is to be shown only is marked ``{code-block} python``, or has another language.
BLOCK = re.compile(r"^```python[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[object]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(1))
            yield pytest.param("\n" * line + match[1], id=f"{page.name}:{line}")


def test_there_are_pages() -> None:
    assert {"index.md", "tutorial.md", "howto.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("code", list(blocks()))
def test_block(code: str, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(code, encoding="utf-8")
    run_as_reader(script, tmp_path)
