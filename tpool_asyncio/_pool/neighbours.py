"""Other libraries that want to know the threads of a pool.

What each of them needs is in a module on the top floor, `tpool_asyncio.interop`, which this floor knows by name only.
It is looked at when a thread starts and the library is there already. So what is not there costs nothing, and nobody
has to set anything up.
"""

import logging
import sys
from importlib import import_module

__all__ = ["greet"]

_logger = logging.getLogger("tpool_asyncio")

_EDGES = {"anyio": "tpool_asyncio.interop.anyio"}
"""By the library: the module whose ``greet()`` is to be called at the start of each thread, in that thread."""


def greet() -> None:
    """Prepare this thread, which has just started, for other libraries."""
    for library, edge in _EDGES.items():
        if library in sys.modules:
            try:
                import_module(edge).greet()
            except Exception:
                _logger.exception("a thread starts without support for %s", library)
