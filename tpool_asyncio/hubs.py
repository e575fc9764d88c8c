"""The hub of a thread: its green threads, over its event loop.

.. code-block:: python

    hub = hubs.get_hub()                 # of this thread
    hub.loop.call_soon(function)         # an ordinary event loop of asyncio
    print(hub.thread.name, len(hub.green_threads))
"""

from tpool_asyncio._green.current import get_hub, use_hub
from tpool_asyncio._green.hub import Hub
from tpool_asyncio._green.trampoline import trampoline

__all__ = ["Hub", "get_hub", "trampoline", "use_hub"]
