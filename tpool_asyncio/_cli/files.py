"""Which files there are to hash."""

import os
import stat
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tpool_asyncio._cli.errors import CommandError
from tpool_asyncio._cli.work import hash_file

__all__ = ["Inventory", "find_files", "read_once", "standard_library"]

NOT_STANDARD = frozenset({"site-packages", "dist-packages", "__pycache__"})
"""What lies in the folder of the standard library without being part of it."""


@dataclass(slots=True)
class Inventory:
    """The files of a folder."""

    folder: str
    files: list[str]
    """Paths relative to the folder, sorted."""
    skipped: int
    """Files and folders that cannot be read."""
    size: int = 0
    """The bytes of all files together."""


def standard_library() -> Path:
    """Return the folder of this interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def find_files(folder: str | None, *, limit: int | None = None) -> Inventory:
    """List the regular files of a folder and all folders in it; None stands for the standard library.

    Symbolic links are not followed, so that a loop of them ends nowhere else, and other things than files, which might
    block for ever, are left out.

    Raises:
        CommandError: The folder is missing, is no folder, or cannot be read.
    """
    root = folder if folder is not None else str(standard_library())
    left_out = NOT_STANDARD if folder is None else frozenset[str]()
    if not os.path.exists(root):
        raise CommandError(f"{root!r} does not exist; name a folder that does")
    if not os.path.isdir(root):
        raise CommandError(f"{root!r} is not a folder; name the folder that it is in")
    files: list[str] = []
    unreadable: list[OSError] = []
    for path, folders, names in os.walk(root, onerror=unreadable.append):
        folders[:] = [name for name in folders if name not in left_out]
        for name in names:
            full = os.path.join(path, name)
            try:
                if stat.S_ISREG(os.lstat(full).st_mode):
                    files.append(os.path.relpath(full, root))
            except OSError as error:
                unreadable.append(error)
    files.sort()
    if not files and unreadable:
        raise CommandError(f"nothing in {root!r} can be read; name a folder that you may read")
    if not files:
        raise CommandError(f"there is no file in {root!r}; name a folder that has some")
    return Inventory(root, files[:limit], len(unreadable))


def read_once(inventory: Inventory) -> None:
    """Read all files, so that they are in the file cache, and leave out those that cannot be read.

    Raises:
        CommandError: None of them can be read.
    """
    readable: list[str] = []
    for name in inventory.files:
        try:
            record = hash_file(inventory.folder, name)
        except OSError:
            inventory.skipped += 1
        else:
            readable.append(name)
            inventory.size += record.size
    if not readable:
        raise CommandError(f"no file in {inventory.folder!r} can be read; name a folder whose files you may read")
    inventory.files = readable
