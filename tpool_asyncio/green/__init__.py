"""Synchronous code that waits like a coroutine: green threads, the bridge to async code, and what legacy code expects.

.. code-block:: python

    from tpool_asyncio import green
    from tpool_asyncio.green import tpool

    def fetch(path):                                   # synchronous code, unchanged
        return tpool.execute(hash_file, path)          # only this green thread waits

    threads = [green.spawn(fetch, path) for path in paths]
    digests = [thread.wait() for thread in threads]    # in a script ...

    digest = await green.run(fetch, path)              # ... or from async code

The names are Eventlet's where Eventlet has them; `tpool_asyncio.green.tpool` takes the place of ``eventlet.tpool``.
"""

from greenlet import GreenletExit

from tpool_asyncio._green.bridge import aiter, async_, iter_, run, sync, with_  # noqa: A004 - used as green.aiter
from tpool_asyncio._green.event import Event
from tpool_asyncio._green.green_map import GreenMap
from tpool_asyncio._green.green_pile import GreenPile
from tpool_asyncio._green.green_pool import GreenPool
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.queues import Empty, Full, LifoQueue, LightQueue, PriorityQueue, Queue
from tpool_asyncio._green.semaphore import BoundedSemaphore, Semaphore
from tpool_asyncio._green.spawning import getcurrent, kill, sleep, spawn, spawn_after, spawn_after_local, spawn_n
from tpool_asyncio._green.timeouts import Timeout, with_timeout
from tpool_asyncio._green.waiting import await_
from tpool_asyncio.green import corolocal, tpool

__all__ = [
    "BoundedSemaphore",
    "Empty",
    "Event",
    "Full",
    "GreenMap",
    "GreenPile",
    "GreenPool",
    "GreenThread",
    "GreenletExit",
    "LifoQueue",
    "LightQueue",
    "PriorityQueue",
    "Queue",
    "Semaphore",
    "Timeout",
    "aiter",
    "async_",
    "await_",
    "corolocal",
    "getcurrent",
    "iter_",
    "kill",
    "run",
    "sleep",
    "spawn",
    "spawn_after",
    "spawn_after_local",
    "spawn_n",
    "sync",
    "tpool",
    "with_",
    "with_timeout",
]
