"""The files that `all.py` has written, for what makes plots and tables of them. Nothing is measured here."""

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["File", "Titles", "add_files", "figures", "read", "where"]

File = dict[str, Any]


def add_files(parser: argparse.ArgumentParser) -> None:
    """Have a program take such files."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file that all.py has written")


def read(parser: argparse.ArgumentParser, paths: list[Path]) -> list[File]:
    """Return what is in the files; end the program if that is nothing of ours."""
    try:
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    except (OSError, ValueError) as error:
        parser.exit(2, f"not a file of figures: {error}\n")


def figures(file: File, part: str) -> Any:
    """Return the figures of a part, None without. A file may have all parts or just that one."""
    if "parts" in file:
        return file["parts"].get(part, {}).get("figures")
    return file if file.get("benchmark") == part else None


def where(file: File) -> str:
    """Return on what a file's figures were taken, in a few words."""
    found = [str(file.get("machine", {}).get("python", "")), file.get("loop", "")]
    return ", ".join(word for word in found if word)


class Titles(dict[str, str]):
    """What people read for each contestant in some figures, however deep they are."""

    def __init__(self, found: object) -> None:
        super().__init__()
        self._look(found)

    def _look(self, found: object) -> None:
        if isinstance(found, dict):
            for name, inner in found.items():
                if isinstance(inner, dict) and "wall_us" in inner and "title" in inner:
                    self[name] = inner["title"]
                else:
                    self._look(inner)

    def __missing__(self, name: str) -> str:
        return name.replace("_", " ")
