"""Blocking calls in a pool of native threads, for asyncio.

``await tpool.execute(fn, ...)`` runs ``fn`` in a thread while only the awaiting coroutine waits. The modules for async
code are `tpool_asyncio.tpool` (the calls and the pools) and `tpool_asyncio.from_thread` (from such a thread back to the
loop). ``asyncio.run(main(), loop_factory=tpool_asyncio.new_event_loop)`` sends what asyncio and other libraries do in
threads the same way.

Synchronous code has `tpool_asyncio.green`, `tpool_asyncio.green.tpool` and `tpool_asyncio.hubs`; other libraries,
`tpool_asyncio.interop`. Import these by name: they need greenlet or the library, which async code does not.
"""

from tpool_asyncio import from_thread, tpool
from tpool_asyncio._loop.event_loop import new_event_loop

__all__ = ["__version__", "from_thread", "new_event_loop", "tpool"]

__version__ = "0.1.0"
