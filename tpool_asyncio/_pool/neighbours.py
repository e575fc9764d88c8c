"""Other libraries that want to know the threads of a pool.

What each of them needs is in a module on the top floor, `tpool_asyncio.interop`, which this floor knows by name only.
It is looked at before the first job of a thread that finds the library there. So what is not there costs nothing,
nobody has to set anything up, and it does not matter whether the library or the thread was first.
"""

import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tpool_asyncio._pool.worker import Worker

__all__ = ["greet"]

_logger = logging.getLogger("tpool_asyncio")

_EDGES = {"anyio": "tpool_asyncio.interop._anyio"}
"""By the library: the module whose ``greet(worker)`` prepares a thread, in that thread; a second time does no harm."""


def greet(worker: "Worker") -> None:
    """Prepare this thread, which is that of a worker, for the libraries that have been imported by now."""
    for library, edge in _EDGES.items():
        if sys.modules.get(library) is not None:
            try:
                import_module(edge).greet(worker)
            except Exception:
                _logger.exception("a thread goes on without support for %s", library)
