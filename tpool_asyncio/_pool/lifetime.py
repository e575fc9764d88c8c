"""Fork and exit: the one registry of all pools in the process, and the hooks that need it.

A pool is registered by a weak reference for as long as it lives; a pool with threads lives, since its workers hold
it. The registry is a plain dict that is only changed by single atomic operations, so that a fork in any thread at any
moment finds it whole; a copy of it, which is one such operation too, is what is looked through.

At exit
    The hook runs when the main thread has ended and all non-daemon threads have been joined. Further calls are
    refused, what is queued and running goes on for the grace time of its pool, and then the interpreter goes on to
    exit whatever still runs, since workers are daemon threads. What a signal handler raises meanwhile, Ctrl-C or the
    `SystemExit` of one for SIGTERM, ends the grace time of all pools; the interpreter would only print it.

    Executors of processes have to be ended sooner. Before any hook is called, the interpreter waits for their calls,
    however long these take, in functions that `threading` calls when the main thread has ended, the last one first.
    So when a factory has made an executor, `come_before` registers such a function behind that of the executor's
    module. It gives the calls their grace time, and then ends the worker processes. An executor that was given is its
    owner's to end, and the interpreter waits for it.
"""

import atexit
import os
import threading
import time
import warnings
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.job import is_caught_by
from tpool_asyncio._pool.native import LockType, allocate_lock
from tpool_asyncio._pool.refusal import EXITING
from tpool_asyncio._pool.worker import current_worker, forget_worker_in_children

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tpool_asyncio._pool.engine import Engine
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["come_before", "register", "unregister"]

_pools: "dict[int, weakref.ref[ThreadPool | Engine]]" = {}

_preceded: set[str] = set()  # modules of executors


def register(pool: "ThreadPool | Engine") -> None:
    """Include a pool in what happens at fork and exit."""
    key = id(pool)
    _pools[key] = weakref.ref(pool, lambda _: _pools.pop(key, None))


def unregister(pool: "ThreadPool") -> None:
    """Leave a pool to whoever has it."""
    del _pools[id(pool)]


def come_before(module: str) -> None:
    """Have engines end before the interpreter waits for the executors of a module, which has been imported."""
    call_at_end = getattr(threading, "_register_atexit", None)
    if call_at_end is not None and module not in _preceded:
        _preceded.add(module)
        with suppress(RuntimeError):  # at exit
            call_at_end(_before_threads)


def _living() -> "list[ThreadPool | Engine]":
    return [pool for reference in _pools.copy().values() if (pool := reference()) is not None]


def _after_fork_in_child() -> None:
    left = [pool.after_fork_in_child() for pool in _living()]
    del left  # when all of them have started afresh
    if current_worker() is not None:
        forget_worker_in_children()  # if it is multiprocessing that has forked, it is about to look what to forget


def _before_threads() -> None:
    """End those engines for whose executors the interpreter is about to wait."""
    _end([pool for pool in _living() if pool.ends_before_threads()])


def _at_exit() -> None:
    _end(_living())


def _end(pools: "Sequence[ThreadPool | Engine]") -> None:
    error = RuntimeError(EXITING)
    farewells: list[tuple[ThreadPool | Engine, Any, LockType]] = []
    for pool in pools:
        bell = allocate_lock()
        bell.acquire()
        farewells.append((pool, pool.close(error, bell.release), bell))
    begun = time.monotonic()
    impatient = False
    left_over = []
    for pool, farewell, bell in farewells:
        grace = 0.0 if impatient else pool.exit_grace
        try:
            in_time = bell.acquire(True, -1 if grace is None else max(0.0, begun + grace - time.monotonic()))
        except BaseException as blow:  # out of a signal handler: somebody does not want to wait
            impatient = True
            in_time = not bell.locked()
            if not is_caught_by(blow, (KeyboardInterrupt, SystemExit)):
                complain("a signal handler raised an exception at exit, which ends the grace time of calls")
        if not in_time:
            left_over += pool.detach(farewell)
            pool.kill()
        else:
            pool.join()
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
