"""Run blocking calls in native threads: the spelling for async code.

.. code-block:: python

    from tpool_asyncio import tpool

    digest = await tpool.execute(hash_file, path)

The functions of this module are those of the default pool, which all loops and threads of the process share.
"""

import typing

from tpool_asyncio._loop.iteration import Iteration
from tpool_asyncio._loop.options import Options
from tpool_asyncio._loop.pool import Pool, handle_on
from tpool_asyncio._loop.proxy import Proxy, closing, nonblocking, proxy_call
from tpool_asyncio._loop.token import Token, current_token
from tpool_asyncio._pool.default import get_num_threads, set_num_threads, setup, shared_pool
from tpool_asyncio._pool.statistics import Statistics
from tpool_asyncio._pool.still_running import RunningCall, StillRunningError

if typing.TYPE_CHECKING:
    from tpool_asyncio._pool.executor import Executor, PoolHandle

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

_default = handle_on(shared_pool)

execute = _default.execute
iterate = _default.iterate
options = _default.options
killall = _default.killall
statistics = _default.statistics


def default_pool() -> Pool:
    """Return the pool whose methods the functions of this module are. May be called from any thread.

    .. versionadded:: 0.1.0
    """
    return _default


def executor(pool: "PoolHandle | None" = None) -> "Executor":
    """Return a `concurrent.futures.Executor` that runs calls in a pool, for libraries that take one.

    ``loop.set_default_executor``, ``loop.run_in_executor`` and whatever takes an executor accept it. Each has its own
    `Executor.shutdown`, which leaves the pool alone; so ask for a new one for each use, it costs next to nothing.

    Args:
        pool: A `Pool` of this spelling or the other, None for the default pool.

    Raises:
        TypeError: ``pool`` is not a pool.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    from tpool_asyncio._pool.executor import Executor  # asyncio imports no executor before one is used, nor do we

    return Executor(pool)


def __getattr__(name: str) -> object:
    if name == "Executor":
        from tpool_asyncio._pool.executor import Executor

        globals()[name] = Executor
        return Executor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
