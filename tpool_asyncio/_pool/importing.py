"""Calls that are made while a module is imported, and that import that very module.

The importing thread holds the lock of the module and waits for the call; the call waits for the lock. Python notices
two threads that wait for each other's modules, but not this. So whoever waits looks, now and then, whether the worker
stands at the lock of a module that the waiting thread is importing. That is the one case in which waiting on is of no
use, and the caller gets an error in place of its outcome.

The locks, and which thread waits for which, are no part of what Python documents. Where they are not found, nothing is
noticed, and nothing else changes. Both are read by single operations, and the owner of a lock at last: as long as that
is this thread, which is busy here, whoever was seen to wait for it still does.
"""

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.native import get_ident

if TYPE_CHECKING:
    from tpool_asyncio._pool.job import Job
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = [
    "LOOK_AGAIN",
    "blocking_on",
    "import_error",
    "importing",
    "locks_waited_for_by",
    "module_locks",
    "stuck_in_import",
]

LOOK_AGAIN = 1.0
"""Seconds after which somebody who waits looks again."""

_machinery: Any = getattr(importlib, "_bootstrap", None)

module_locks: dict[str, Any] = getattr(_machinery, "_module_locks", {})
"""Weak references to the locks of the modules that are being imported, in any thread; mostly empty."""

blocking_on: Any = getattr(_machinery, "_blocking_on", None)
"""By the ident of a thread: the lock that it waits for; a list of them from Python 3.12 on."""


def importing() -> bool:
    """Return whether this thread is in the middle of an import."""
    thread = get_ident()
    return any(getattr(reference(), "owner", None) == thread for reference in list(module_locks.values()))


def stuck_in_import(pool: "ThreadPool") -> Iterator[tuple["Job", str]]:
    """Tell which jobs of a pool wait for modules that this very thread is importing."""
    if not module_locks:
        return
    thread = get_ident()
    for worker in pool.workers():
        for lock in locks_waited_for_by(worker.ident):
            job = worker.job
            if job is not None and getattr(lock, "owner", None) == thread:
                yield job, getattr(lock, "name", "?")


def locks_waited_for_by(thread: int | None) -> list[Any]:
    """Return the locks of modules at which a thread waits."""
    found = None if blocking_on is None else blocking_on.get(thread)
    if found is None:
        return []
    return list(found) if isinstance(found, list) else [found]


def import_error(name: str, module: str) -> RuntimeError:
    """Return what the caller of a job that is stuck gets."""
    return RuntimeError(
        f"{name} imports the module {module!r}, which waits for {name} in the middle of its own import;"
        " make the call when the module has been imported, or have it use nothing of that module"
    )
