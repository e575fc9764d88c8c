"""Blocking calls in a pool of native threads, for asyncio.

``await tpool.execute(fn, ...)`` runs ``fn`` in a thread while only the awaiting coroutine waits. The modules are
`tpool_asyncio.tpool` (the calls and the pools) and `tpool_asyncio.from_thread` (from such a thread back to the loop).
"""

from tpool_asyncio import from_thread, tpool

__all__ = ["__version__", "from_thread", "tpool"]

__version__ = "0.1.0"
