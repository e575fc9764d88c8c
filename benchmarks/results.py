"""Where the scripts beside this one leave their figures."""

import argparse
import json
from pathlib import Path

__all__ = ["add_json_option", "write"]


def add_json_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--json PATH``, by default a file of this name in ``results``."""
    path = Path(__file__).parent / "results" / f"{name}.json"
    parser.add_argument(
        "--json", default=str(path), metavar="PATH", help=f"where to write the figures (default: results/{name}.json)"
    )


def write(path: Path, results: object) -> None:
    """Write the figures and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")
