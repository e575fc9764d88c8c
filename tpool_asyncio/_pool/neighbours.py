"""Other libraries that want to know the threads of a pool.

What each of them needs is in a module on the top floor, `tpool_asyncio.interop`, which this floor knows by name only.
It is looked at before the first job of a thread that finds the library there, or when an engine is given an executor of
that library. So what is not there costs nothing, nobody has to set anything up, and it does not matter whether the
library or the thread was first.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from tpool_asyncio._pool.complaint import complain

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from tpool_asyncio._pool.worker import Worker

__all__ = ["adapted", "greet"]


_EDGES = {"anyio": "tpool_asyncio.interop._anyio"}
"""By the library: the module whose ``greet(worker)`` prepares a thread, in that thread; a second time does no harm."""

_ENGINE_EDGES = {"distributed": "tpool_asyncio.interop._dask"}
"""By the library: the module whose ``adapted(executor)`` makes a complete executor of one that leaves something out."""


def adapted(executor: "Executor") -> "Executor":
    """Return an executor as an engine can use it, mostly itself."""
    edge = _ENGINE_EDGES.get(type(executor).__module__.partition(".")[0])
    if edge is None:
        return executor
    adapt: Callable[[Executor], Executor] = import_module(edge).adapted
    return adapt(executor)


def greet(worker: "Worker") -> None:
    """Prepare this thread, which is that of a worker, for the libraries that have been imported by now."""
    for library, edge in _EDGES.items():
        if sys.modules.get(library) is not None:
            try:
                import_module(edge).greet(worker)
            except BaseException:  # of which the thread would die, with a job in its hands
                complain("a thread goes on without support for %s", library)
