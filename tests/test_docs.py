"""The pages say what is so: every block marked ``python`` is a whole program, and runs; the API page has every name."""

import importlib
import pkgutil
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


# From one of these directives to the next, names are those of one module.
MODULE = re.compile(r"^\.\. (?:current)?module:: (\S+)$", re.MULTILINE)
# A name has a directive of its own, or the text says that it is the same as elsewhere.
NAME = re.compile(r"^\.\. (?:auto)?(?:class|exception|function):: (\w+)|``(\w+)``", re.MULTILINE)


def public_modules(package: str = "tpool_asyncio") -> Iterator[str]:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            yield module.name
            if module.ispkg:
                yield from public_modules(module.name)


def names_on_the_api_page() -> set[str]:
    _, *parts = MODULE.split((ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    names = set()
    for module, text in zip(parts[::2], parts[1::2], strict=True):
        names.add(module)
        names |= {f"{module}.{own or same}" for own, same in NAME.findall(text)}
    return names


def test_the_api_page_has_every_public_name() -> None:
    modules = list(public_modules())
    assert "tpool_asyncio.green.corolocal" in modules
    public = {f"{module}.{name}" for module in modules for name in importlib.import_module(module).__all__}
    there = names_on_the_api_page()
    assert {*modules, *public} - there == set()
