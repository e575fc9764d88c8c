"""Other libraries that want to know the threads of a pool.

What each of them needs is in a module on the top floor, `tpool_asyncio.interop`, which this floor knows by name only.
It is looked at when a thread starts and the library is there already, or when an engine is given an executor of that
library. So what is not there costs nothing, and nobody
has to set anything up.
"""

import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

__all__ = ["adapted", "greet"]

_logger = logging.getLogger("tpool_asyncio")

_EDGES = {"anyio": "tpool_asyncio.interop.anyio"}
"""By the library: the module whose ``greet()`` is to be called at the start of each thread, in that thread."""

_ENGINE_EDGES = {"distributed": "tpool_asyncio.interop.dask"}
"""By the library: the module whose ``adapted(executor)`` makes a complete executor of one that leaves something out."""


def adapted(executor: "Executor") -> "Executor":
    """Return an executor as an engine can use it, mostly itself."""
    edge = _ENGINE_EDGES.get(type(executor).__module__.partition(".")[0])
    if edge is None:
        return executor
    adapt: Callable[[Executor], Executor] = import_module(edge).adapted
    return adapt(executor)


def greet() -> None:
    """Prepare this thread, which has just started, for other libraries."""
    for library, edge in _EDGES.items():
        if library in sys.modules:
            try:
                import_module(edge).greet()
            except Exception:
                _logger.exception("a thread starts without support for %s", library)
