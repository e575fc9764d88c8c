"""What came of the demo, for people and for programs."""

import platform
import sys
from collections.abc import Sequence

from tpool_asyncio._bench.table import columns
from tpool_asyncio._cli.contest import TASKS, Outcome
from tpool_asyncio._cli.files import Inventory

__all__ = ["as_json", "print_result", "same_digest"]

HEADERS = ("blocking calls", "files/s", "MB/s", "stall, ms", "threads", "digest")


def same_digest(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether all ways have found the same files and digests."""
    return len({(outcome.files, outcome.digest) for outcome in outcomes}) == 1


def print_result(inventory: Inventory, outcomes: Sequence[Outcome]) -> None:
    """Print the table; as plain text unless a terminal shows it. Needs rich."""
    megabytes = inventory.size / 1e6
    rows = [
        (
            outcome.name,
            f"{outcome.files / outcome.seconds:,.0f}",
            f"{megabytes / outcome.seconds:,.1f}",
            f"{outcome.worst_stall * 1e3:,.1f}",
            str(outcome.threads),
            outcome.digest[:12],
        )
        for outcome in outcomes
    ]
    skipped = f", {inventory.skipped:,} skipped as unreadable" if inventory.skipped else ""
    # A name that is no text must not end the command where the output cannot show it.
    folder = inventory.folder.encode(sys.stdout.encoding or "utf-8", "backslashreplace").decode(errors="replace")
    lines = [
        f"{len(inventory.files):,} files, {megabytes:,.1f} MB in {folder}{skipped}, {TASKS} tasks at a time.",
        "All files were read once beforehand, so each of the three found them in the file cache.",
        "Stall: the longest time that the event loop stood still, and with it all else on it. Digest: over all files.",
    ]
    if not sys.stdout.isatty():
        print("\n".join([*lines, "", columns(HEADERS, rows)]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for number, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    for line in lines:
        console.print(line, markup=False, highlight=False)
    console.print(table)


def as_json(inventory: Inventory, outcomes: Sequence[Outcome], *, size: int) -> dict[str, object]:
    """Return the same as something to write as JSON."""
    return {
        "python": platform.python_version(),
        "folder": inventory.folder,
        "files": len(inventory.files),
        "bytes": inventory.size,
        "skipped": inventory.skipped,
        "size": size,
        "tasks": TASKS,
        "same_digest": same_digest(outcomes),
        "contestants": [
            {
                "name": outcome.name,
                "seconds": outcome.seconds,
                "files_per_second": outcome.files / outcome.seconds,
                "megabytes_per_second": inventory.size / 1e6 / outcome.seconds,
                "worst_stall_ms": outcome.worst_stall * 1e3,
                "threads": outcome.threads,
                "files": outcome.files,
                "digest": outcome.digest,
            }
            for outcome in outcomes
        ],
    }
