"""What is read through proxies: a table in a SQLite database, and files of text.

The parent makes them once, in a folder that it removes afterwards; the child processes are told where they are. What
they hold follows from the number of a row or a line, so that each contestant can check what it has read.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

__all__ = ["LINE_BYTES", "SELECT_ALL", "SELECT_ONE", "check", "make_table", "make_text", "text_path"]

LINE_BYTES = 80
"""The length of each line, its end included; all characters are ASCII."""

SELECT_ALL = "select id, name, x from item"
SELECT_ONE = "select id, name, x from item where id = ?"

_CHUNK = 10_000


def make_table(path: Path, rows: int) -> None:
    """Make a database with a table of this many rows, whose ids begin with 0."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table item (id integer primary key, name text not null, x real not null)")
        numbers = range(rows)
        connection.executemany(
            "insert into item values (?, ?, ?)", ((number, f"name of {number}", number / 7) for number in numbers)
        )


def text_path(folder: Path, lines: int) -> Path:
    """Return where the file of this many lines is."""
    return folder / f"{lines}.txt"


def make_text(folder: Path, lines: int) -> None:
    """Write a file of this many lines, a part at a time: it may be greater than the memory."""
    with open(text_path(folder, lines), "wb") as file:
        for start in range(0, lines, _CHUNK):
            file.write(b"".join(_lines(start, min(start + _CHUNK, lines))))


def _lines(start: int, stop: int) -> Iterator[bytes]:
    for number in range(start, stop):
        yield b"line %d " % number + b"." * (LINE_BYTES - len(b"line %d \n" % number)) + b"\n"


def check(found: object, expected: object) -> None:
    """Hold an answer against the right one.

    Raises:
        ValueError: They differ; a contestant that reads something else is not measured.
    """
    if found != expected:
        raise ValueError(f"the answer is {found!r} where it should be {expected!r}")
