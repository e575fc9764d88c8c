"""Run blocking calls in native threads: the spelling for synchronous code, in green threads and scripts.

.. code-block:: python

    from tpool_asyncio.green import tpool

    digest = tpool.execute(hash_file, path)

The functions of this module are those of the default pool, which all loops and threads of the process share, with
`tpool_asyncio.tpool` too.
"""

from tpool_asyncio import tpool as _async_tpool
from tpool_asyncio._green.iteration import Iteration
from tpool_asyncio._green.pool import Options, Pool, handle_on
from tpool_asyncio._green.proxy import Proxy, closing, nonblocking, proxy_call
from tpool_asyncio._green.token import current_token
from tpool_asyncio._loop.token import Token
from tpool_asyncio._pool.default import get_num_threads, set_num_threads, setup
from tpool_asyncio._pool.executor import Executor
from tpool_asyncio._pool.statistics import Statistics
from tpool_asyncio._pool.still_running import RunningCall, StillRunningError

__all__ = [
    "Executor",
    "Iteration",
    "Options",
    "Pool",
    "Proxy",
    "RunningCall",
    "Statistics",
    "StillRunningError",
    "Token",
    "closing",
    "current_token",
    "default_pool",
    "execute",
    "executor",
    "get_num_threads",
    "iterate",
    "killall",
    "nonblocking",
    "options",
    "proxy_call",
    "set_num_threads",
    "setup",
    "statistics",
]

_default = handle_on(_async_tpool.default_pool())

execute = _default.execute
executor = _async_tpool.executor
iterate = _default.iterate
options = _default.options
killall = _default.killall
statistics = _default.statistics


def default_pool() -> Pool:
    """Return the pool whose methods the functions of this module are. May be called from any thread.

    .. versionadded:: 0.1.0
    """
    return _default
