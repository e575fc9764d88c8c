"""Where the scripts beside this one leave their figures, and what those depend on."""

import argparse
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tpool_asyncio
from tpool_asyncio._bench.table import machine

__all__ = ["PART", "RESULTS", "add_json_option", "circumstances", "write"]

RESULTS = Path(__file__).parent / "results"

PART = ".part"
"""How the name of a file ends that goes into a greater one: nobody has to be told where it is."""

PACKAGES = ("aiofiles", "aiosqlite", "anyio", "asgiref", "eventlet", "gevent", "greenlet", "greenback", "uvloop")
"""The packages whose versions the figures depend on."""


def add_json_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--json PATH``, by default a file of this name in ``results``."""
    path = RESULTS / f"{name}.json"
    parser.add_argument(
        "--json", default=str(path), metavar="PATH", help=f"where to write the figures (default: results/{name}.json)"
    )


def write(path: Path, results: object) -> None:
    """Write the figures and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if path.suffix != PART:
        print(f"\nwritten to {path}")


def circumstances() -> dict[str, object]:
    """Return when, where and of what figures are that are taken now."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(Path(tpool_asyncio.__file__).parent),
        "version": tpool_asyncio.__version__,
        "machine": {**machine(), "processor": _processor(), "release": platform.release()},
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def revision(package: Path) -> str | None:
    """Return the revision of a package, with ``-dirty`` if it was changed since; None if git does not know it."""
    git = ["git", "-C", str(package)]
    try:
        # An installed package may be in somebody else's repository.
        subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], check=True, capture_output=True)
        described = [*git, "describe", "--always", "--abbrev=12", "--dirty"]
        return subprocess.run(described, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return what the system calls the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.processor())
