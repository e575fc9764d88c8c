"""What it costs to use a database, a file or any object through a proxy, and which of the targets that meets.

``python benchmarks/proxy.py [--only TABLE ...] [--rows N] [--queries N] [--lines-mb N] [--rounds N]
[--one-processor] [--json PATH]``

- rows: a table of SQLite is read to the last row, through ``tpool.Proxy``, ``tpool.iterate`` and aiosqlite.
- queries: queries for one row each, one after another and in 100 tasks with 4 connections, in several spellings. Those
  that take the same number of trips to another thread are held against each other.
- lines: a file of text is read line by line, through ``tpool.iterate``, ``tpool.Proxy`` and aiofiles.
- method: a method that does next to nothing, called through a proxy and with ``execute``.

With ``--one-processor``, which only Linux knows, all processes keep to the same one. Otherwise where a thread wakes up
decides over most of what a trip costs, and the system decides that differently from one moment to the next. The table
``method`` is always measured so.

Everybody reads the same table and the same file, to the end, and checks what was read. They are in a temporary folder,
which is removed in the end. ``--lines-mb 1000`` takes ten to twenty minutes for each round, almost all of it aiofiles'.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from results import add_json_option, write
from side_by_side import show_round

from tpool_asyncio._bench import proxy_lines, proxy_method, proxy_queries, proxy_rows, table
from tpool_asyncio._bench.child_process import PATIENCE
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.one_processor import keep_to_one_processor
from tpool_asyncio._bench.proxy_material import LINE_BYTES, make_table, make_text
from tpool_asyncio._bench.rounds import measure
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.targets import Verdict

ROUNDS = {"rows": 15, "queries": 5, "lines": 3, "method": 60}
"""How many samples of each contestant, unless the command line says otherwise, by table."""

PATIENCE_PER_MB = 5.0
"""Seconds that a sample may take longer for each megabyte of text."""


@dataclass(frozen=True, slots=True)
class Table:
    """One of the tables, with all that is different in it."""

    subject: Subject
    judge: Callable[[Figures], list[Verdict]]
    render: Callable[[Figures], str]
    arguments: Sequence[str] = ()
    """What its child processes have to be told."""
    patience: float = PATIENCE
    more: Callable[[Figures], dict[str, Any]] = lambda _: {}
    """What goes into the file of figures besides what is there for each table."""


def rows_table(folder: Path, rows: int) -> Table:
    database = folder / "rows.sqlite"
    make_table(database, rows)
    return _of(proxy_rows.subject(rows), proxy_rows.verdicts, (str(database),))


def queries_table(folder: Path, rows: int, queries: int) -> Table:
    database = folder / "queries.sqlite"
    make_table(database, rows)
    return _of(proxy_queries.subject(queries), proxy_queries.verdicts, (str(database),))


def lines_table(folder: Path, megabytes: float) -> Table:
    subject = proxy_lines.subject(max(1, round(megabytes * 1e6 / LINE_BYTES)))
    for workload in subject.workloads.values():
        for lines in {workload.reps, workload.quick_reps}:
            make_text(folder, lines)
    return _of(subject, proxy_lines.verdicts, (str(folder),), PATIENCE + megabytes * PATIENCE_PER_MB)


def method_table() -> Table:
    return Table(
        proxy_method.METHOD,
        proxy_method.verdicts,
        proxy_method.render,
        more=lambda figures: {"us_beyond_execute": proxy_method.beyond_execute(figures)},
    )


def _of(
    subject: Subject,
    judge: Callable[[Figures, Subject], list[Verdict]],
    arguments: Sequence[str],
    patience: float = PATIENCE,
) -> Table:
    return Table(
        subject,
        lambda figures: judge(figures, subject),
        lambda figures: table.render(figures, subject),
        arguments,
        patience,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of using objects through a proxy, and the targets.")
    parser.add_argument("--only", nargs="+", choices=ROUNDS, default=list(ROUNDS), help="these tables and no others")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="rows of the table (default: 100000)")
    parser.add_argument(
        "--queries",
        type=int,
        default=10_000,
        metavar="N",
        help="queries one after another, and half as many in 100 tasks (default: 10000)",
    )
    parser.add_argument("--lines-mb", type=float, default=10, metavar="N", help="megabytes of text (default: 10)")
    said = ", ".join(f"{number} for {name}" for name, number in ROUNDS.items())
    parser.add_argument("--rounds", type=int, metavar="N", help=f"samples of each contestant (default: {said})")
    parser.add_argument("--one-processor", action="store_true", help="keep everything to one processor")
    add_json_option(parser, "proxy")
    arguments = parser.parse_args()
    if arguments.one_processor:
        if not keep_to_one_processor():
            parser.error("this system has no way to keep a process to one processor")
        print("All processes keep to one processor.\n")
    rows, queries = max(1, arguments.rows), max(1, arguments.queries)

    tables: dict[str, Callable[[Path], Table]] = {
        "rows": lambda folder: rows_table(folder, rows),
        "queries": lambda folder: queries_table(folder, rows, queries),
        "lines": lambda folder: lines_table(folder, arguments.lines_mb),
        "method": lambda _: method_table(),
    }
    results: dict[str, Any] = {}
    for name in ROUNDS:
        if name in arguments.only:
            rounds = ROUNDS[name] if arguments.rounds is None else max(1, arguments.rounds)
            results[name] = {**run(tables[name], rounds), "one_processor": arguments.one_processor or name == "method"}
    write(Path(arguments.json), results)


def run(make: Callable[[Path], Table], rounds: int) -> dict[str, Any]:
    """Measure one table, print it with its targets, and return its figures."""
    with tempfile.TemporaryDirectory(prefix="tpool_asyncio-") as folder:
        made = make(Path(folder))
        figures = measure(
            rounds,
            subject=made.subject,
            on_round=lambda done: show_round(done, rounds),
            arguments=made.arguments,
            patience=made.patience,
        )
    judged = made.judge(figures)
    print(made.render(figures))
    print("\nTargets:")
    for verdict in judged:
        print(f"  {verdict}")
    print(flush=True)
    return {
        **table.as_json(figures, made.subject),
        **made.more(figures),
        "targets": [asdict(verdict) for verdict in judged],
    }


if __name__ == "__main__":
    main()
