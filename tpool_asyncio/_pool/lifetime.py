"""Fork and exit: the one registry of all pools in the process, and the hooks that need it.

A pool is registered by a weak reference for as long as it lives; a pool with threads lives, since its workers hold
it. The registry is a plain dict that is only changed by single atomic operations, so that a fork in any thread at any
moment finds it whole; a copy of it, which is one such operation too, is what is looked through.

At exit
    The hook runs when the main thread has ended and all non-daemon threads have been joined. Further calls are
    refused, what is queued and running goes on for the grace time of its pool, and then the interpreter goes on to
    exit whatever still runs, since workers are daemon threads.
"""

import atexit
import os
import threading
import time
import warnings
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["register"]

_pools: "dict[int, weakref.ref[ThreadPool]]" = {}


def register(pool: "ThreadPool") -> None:
    """Include a pool in what happens at fork and exit."""
    key = id(pool)
    _pools[key] = weakref.ref(pool, lambda _: _pools.pop(key, None))


def _living() -> "list[ThreadPool]":
    return [pool for reference in _pools.copy().values() if (pool := reference()) is not None]


def _after_fork_in_child() -> None:
    for pool in _living():
        pool.after_fork_in_child()


def _at_exit() -> None:
    error = RuntimeError(
        "the interpreter is exiting, so no further calls are taken; make the call earlier, or await it before exit"
    )
    farewells = []
    for pool in _living():
        ended = threading.Event()
        farewells.append((pool, pool.close(error, ended.set), ended))
    begun = time.monotonic()
    impatient = False
    left_over = []
    for pool, farewell, ended in farewells:
        grace = 0.0 if impatient else pool.exit_grace
        try:
            in_time = ended.wait(None if grace is None else max(0.0, begun + grace - time.monotonic()))
        except KeyboardInterrupt:  # somebody does not want to wait
            impatient = True
            in_time = ended.is_set()
        if not in_time:
            left_over += pool.detach(farewell)
    if left_over:
        names = "\n".join(str(call) for call in left_over)
        warnings.warn(
            f"{len(left_over)} call(s) still ran when their grace time at exit was over, and are given up;"
            " cancel them earlier or await killall(), or make them in a Pool(exit_grace=...) of their own (seconds, or"
            f" None for ever):\n{names}",
            RuntimeWarning,
            stacklevel=1,
        )


if hasattr(os, "register_at_fork"):  # pragma: no branch - the suite runs where processes fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
