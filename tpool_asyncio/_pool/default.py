"""The pool that the whole process shares, whatever the spelling of the call."""

import os

from tpool_asyncio._pool.size import parse_size
from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["DEFAULT_SIZE", "SIZE_VARIABLE", "get_num_threads", "set_num_threads", "setup", "shared_pool"]

DEFAULT_SIZE = 20
"""Eventlet's default, see the docs of `eventlet.tpool`."""

SIZE_VARIABLE = "EVENTLET_THREADPOOL_SIZE"


def _make(text: str | None) -> ThreadPool:
    """Make the pool; a bad size in the variable makes no import fail, it is raised by the first call."""
    if text is None:
        return ThreadPool(DEFAULT_SIZE)
    try:
        return ThreadPool(parse_size(SIZE_VARIABLE, text))
    except ValueError as error:
        pool = ThreadPool(DEFAULT_SIZE)
        pool.refuse(error)
        return pool


shared_pool = _make(os.environ.get(SIZE_VARIABLE))


def set_num_threads(nthreads: int) -> None:
    """Set how many threads the default pool may have.

    Before the first call any size takes effect at once. Later an increase takes effect at once, and a lower size when
    the existing threads are gone, that is after ``killall``. To change the size at once both ways, use
    ``default_pool().resize()``.

    Args:
        nthreads: The number of threads, a whole number of 1 or more. With 0 there are no threads: calls then run in,
            and block, the thread that makes them, and the first one gives a `RuntimeWarning`.

    Raises:
        ValueError: ``nthreads`` is negative or no whole number; the pool stays as it was.

    May be called from any thread. The name and the meaning are those of `eventlet.tpool.set_num_threads`.

    .. versionadded:: 0.1.0
    """
    shared_pool.set_size(nthreads)


def get_num_threads() -> int:
    """Return how many threads the default pool may have: what was last set, or else the default.

    The default is 20, or the value of the environment variable ``EVENTLET_THREADPOOL_SIZE`` at import.
    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    return shared_pool.size


def setup() -> None:
    """Start all threads of the default pool now, so that no call has to wait for a thread to start.

    Nobody needs to call it: without it threads start on demand. It blocks until they have started, and does nothing
    where they are there already. May be called from any thread.

    Raises:
        RuntimeError: The operating system refuses to start a thread; the pool works on with those it has.

    .. versionadded:: 0.1.0
    """
    shared_pool.start_all()
