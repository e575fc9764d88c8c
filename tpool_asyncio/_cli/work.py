"""The blocking calls of the demo. None of this knows about asyncio."""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Database", "Record", "hash_file"]

CHUNK = 1 << 18
"""Bytes to read at a time."""


class Record(NamedTuple):
    """What is filed of one file."""

    path: bytes
    """Relative to the folder, as the file system has it: not every name is text."""
    size: int
    digest: str


def hash_file(folder: str, name: str, unwanted: Callable[[], bool] = bool) -> Record:
    """Read a file in chunks and return its record.

    Args:
        folder: Where the file is.
        name: Its path from there.
        unwanted: Asked before each chunk, in this thread; once it says True, nobody wants the record any more, and what
            is returned is worth nothing. Without it a large file would hold up the end of the program.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    with open(os.path.join(folder, name), "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            if unwanted():
                break
            digest.update(chunk)
            size += len(chunk)
    return Record(os.fsencode(name), size, digest.hexdigest())


class Database:
    """Digests in an SQLite database. Its methods block, and may be called from any thread.

    One connection serves all threads. SQLite takes no calls from two threads at once on one connection, so that a
    lock is held as long as a transaction lasts.
    """

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        with self._connection:
            self._connection.execute("CREATE TABLE digests (path BLOB PRIMARY KEY, size INTEGER, digest TEXT)")

    def file(self, records: Sequence[Record]) -> None:
        """Add some records, in one transaction."""
        with self._lock, self._connection:
            self._connection.executemany("INSERT INTO digests VALUES (?, ?, ?)", records)

    def combined(self) -> tuple[int, str]:
        """Return how many files are in the database, and one digest over all that is filed of them."""
        digest = hashlib.sha256()
        count = 0
        with self._lock:
            for path, size, file_digest in self._connection.execute("SELECT * FROM digests ORDER BY path"):
                digest.update(b"%d %b %d %b\n" % (len(path), path, size, file_digest.encode()))
                count += 1
        return count, digest.hexdigest()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()
