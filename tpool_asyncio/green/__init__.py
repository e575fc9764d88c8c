"""Synchronous code that waits like a coroutine."""

from greenlet import GreenletExit

from tpool_asyncio._green.bridge import aiter, async_, iter_, run, sync, with_
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.spawning import getcurrent, kill, sleep, spawn, spawn_after, spawn_after_local, spawn_n
from tpool_asyncio._green.timeouts import Timeout, with_timeout
from tpool_asyncio._green.waiting import await_
from tpool_asyncio.green import tpool
