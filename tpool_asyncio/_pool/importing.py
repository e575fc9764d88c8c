"""Calls that are made while a module is imported, and that import that very module.

The importing thread holds the lock of the module and waits for the call; the call waits for the lock. Python notices
two threads that wait for each other's modules, but not this. So whoever waits looks, now and then, whether the worker
stands at the lock of a module that the waiting thread is importing. That is the one case in which waiting on is of no
use, and the caller gets an error in place of its outcome.

The locks are no part of what Python documents. Where they are not found, nothing is noticed, and nothing else changes.
"""

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.frames import current_frames
from tpool_asyncio._pool.native import get_ident

if TYPE_CHECKING:
    from tpool_asyncio._pool.job import Job
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["LOOK_AGAIN", "import_error", "importing", "module_locks", "stuck_in_import"]

LOOK_AGAIN = 1.0
"""Seconds after which somebody who waits looks again."""

_machinery: Any = getattr(importlib, "_bootstrap", None)

module_locks: dict[str, Any] = getattr(_machinery, "_module_locks", {})
"""Weak references to the locks of the modules that are being imported, in any thread; mostly empty."""

_waiting_code = getattr(getattr(getattr(_machinery, "_ModuleLock", None), "acquire", None), "__code__", None)


def importing() -> bool:
    """Return whether this thread is in the middle of an import."""
    thread = get_ident()
    return any(getattr(reference(), "owner", None) == thread for reference in list(module_locks.values()))


def stuck_in_import(pool: "ThreadPool") -> Iterator[tuple["Job", str]]:
    """Tell which jobs of a pool wait for modules that this very thread is importing."""
    if not module_locks:
        return
    thread = get_ident()
    frames = current_frames()
    for worker in pool.workers():
        frame = frames.get(worker.ident or 0)
        if frame is not None and frame.f_code is _waiting_code:
            lock = frame.f_locals.get("self")
            job = worker.job
            if job is not None and getattr(lock, "owner", None) == thread:
                yield job, getattr(lock, "name", "?")


def import_error(name: str, module: str) -> RuntimeError:
    """Return what the caller of a job that is stuck gets."""
    return RuntimeError(
        f"{name} imports the module {module!r}, which waits for {name} in the middle of its own import;"
        " make the call when the module has been imported, or have it use nothing of that module"
    )
