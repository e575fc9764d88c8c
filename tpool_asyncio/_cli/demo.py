"""The command ``demo``."""

import asyncio
import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tpool_asyncio._cli.contest import WAYS, Outcome, run
from tpool_asyncio._cli.errors import CommandError
from tpool_asyncio._cli.files import Inventory, find_files, read_once
from tpool_asyncio._cli.result import as_json, print_result, same_digest

__all__ = ["demo"]


def demo(folder: str | None, *, size: int, limit: int | None, json_wanted: bool) -> int:
    """Hash a folder in three ways and compare them; return the exit code."""
    if not json_wanted:
        try:
            import rich  # noqa: F401
        except ImportError:
            raise CommandError("the table needs rich; run pip install 'tpool-asyncio[cli]', or use --json") from None
    inventory = find_files(folder, limit=limit)
    read_once(inventory)
    outcomes = _contest(inventory, size=size, shown=not json_wanted and sys.stderr.isatty())
    if json_wanted:
        print(json.dumps(as_json(inventory, outcomes, size=size)))
    else:
        print_result(inventory, outcomes)
    if not same_digest(outcomes):
        raise CommandError(
            "the three have not found the same digests; if nobody changed the files meanwhile, please report this"
            " as a bug",
            code=1,
        )
    return 0


def _contest(inventory: Inventory, *, size: int, shown: bool) -> list[Outcome]:
    outcomes = []
    # SQLite has files open here until the very end, which Windows would not delete.
    with tempfile.TemporaryDirectory(prefix="tpool_asyncio-", ignore_cleanup_errors=True) as databases:
        for way in WAYS:
            with _progress_bar(way.name, len(inventory.files), shown=shown) as on_progress:
                try:
                    outcomes.append(asyncio.run(run(way, inventory, databases, size=size, on_progress=on_progress)))
                except (OSError, sqlite3.Error, ExceptionGroup) as error:
                    raise _explained(error) from error
    return outcomes


def _explained(error: Exception) -> Exception:
    """Return what to tell the user about an error in the middle of the work."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, sqlite3.Error):
        return CommandError(
            f"the database cannot be written ({error}); make room in {tempfile.gettempdir()!r}, or set TMPDIR", code=1
        )
    if isinstance(error, OSError):
        return CommandError(
            f"a file can no longer be read ({error}); run it again when nobody changes the folder", code=1
        )
    return error


@contextmanager
def _progress_bar(name: str, total: int, *, shown: bool) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on the terminal. It costs each of the three the same."""
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:17}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5, transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)
