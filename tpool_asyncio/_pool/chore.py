"""A job of the pool itself, for which nobody waits: to close what was dropped, or to mark a place in a queue."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.job import Job, new_claim

if TYPE_CHECKING:
    from contextvars import Context

    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["Chore"]


class Chore(Job):
    """A job that the statistics do not show, and whose error is logged. Made and submitted in any thread."""

    __slots__ = ("args", "claim", "context", "culprit", "done", "error", "fn", "kwargs", "pool", "value")

    def __init__(
        self,
        pool: "ThreadPool",
        fn: Callable[..., object],
        *args: Any,
        context: "Context | None" = None,
        done: Callable[[], object] | None = None,
    ) -> None:
        self.pool = pool
        self.fn = fn
        self.args = args
        self.kwargs = None
        self.context = context
        self.done = done  # called at the end, in the thread that ran it
        self.error = None
        self.claim = new_claim()

    def deliver(self) -> Callable[[], object] | None:
        error, self.error, self.value = self.error, None, None
        with self.pool.lock:
            if error is None:
                self.pool.tally.completed -= 1
            else:
                self.pool.tally.failed -= 1
        if error is not None:
            complain("%s raised an exception for which nobody waits", self.name, error=error)
        done, self.done = self.done, None  # it may lead back to this chore
        return done
