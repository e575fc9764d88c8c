"""The code in the pages does what the pages say: every block marked ``python`` is a whole program, and runs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    ended = subprocess.run(
        [sys.executable, "-W", "error", script],
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
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "Warning" not in ended.stderr, ended.stderr
