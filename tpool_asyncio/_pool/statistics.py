"""What a pool tells about itself."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tpool_asyncio._pool.worker import Worker

__all__ = ["Statistics", "Tally"]


class Statistics(NamedTuple):
    """A snapshot of a pool, frozen at the time it was taken. All fields are counts.

    ``submitted == queued + busy + parked + completed + failed + cancelled`` holds in every snapshot, but for the calls
    that run in threads which a ``killall`` has given up: those count as submitted only, until they end. The snapshot
    is put together while the pool goes on, so a call that moves at that very moment may be seen on either side.

    .. versionadded:: 0.1.0
    """

    size: int
    """How many calls may run at once."""
    threads: int
    """Native threads alive, that is ``idle + busy + parked``."""
    idle: int
    """Threads that wait for a call."""
    busy: int
    """Threads that run a call, abandoned ones included."""
    parked: int
    """Threads whose call waits for its loop in `tpool_asyncio.from_thread`; they do not count against the size."""
    abandoned: int
    """Running calls, parked ones included, whose caller has gone away."""
    queued: int
    """Calls that wait for a thread."""
    submitted: int
    """Calls ever handed to the pool."""
    completed: int
    """Calls that returned."""
    failed: int
    """Calls that raised."""
    cancelled: int
    """Calls dropped from the queue; they never ran."""
    pinned: int
    """Threads that belong to pinned proxies and open iterations, idle and busy ones; they come on top of the size."""


class Tally:
    """Counts of calls that have ended. The lock of the pool guards it."""

    __slots__ = ("cancelled", "completed", "failed")

    def __init__(self) -> None:
        self.completed = 0
        self.failed = 0
        self.cancelled = 0

    def add(self, worker: "Worker") -> None:
        """Add what a worker has done, once it does no more."""
        self.completed += worker.completed
        self.failed += worker.failed
