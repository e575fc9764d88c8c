"""What an engine tells about itself, and what it refuses."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NoReturn, Self

from tpool_asyncio._pool.engine_errors import not_on_an_engine
from tpool_asyncio._pool.job import Job
from tpool_asyncio._pool.native import RLock
from tpool_asyncio._pool.parting import Parting
from tpool_asyncio._pool.statistics import Statistics, Tally
from tpool_asyncio._pool.ticket import Ticket
from tpool_asyncio._pool.worker import Worker

if TYPE_CHECKING:
    from tpool_asyncio._pool.outlet import Outlet

__all__ = ["EngineFace"]


class EngineFace:
    """The part of an `Engine` that changes nothing of it. Any thread may call any method."""

    name: str
    lock: RLock
    tally: Tally
    _source: Executor | Callable[[], Executor]
    _waiting: deque[Job | Parting]
    _in_hand: Job | None
    _outlet: "Outlet | None"
    _outlets: "dict[Outlet, None]"

    @property
    def home(self) -> Self:
        """The engine itself; see `Lane.home`."""
        return self

    @property
    def size(self) -> int | None:
        """How many calls may run at once; None as long as that is not known."""
        outlet = self._outlet
        if outlet is not None:
            return outlet.size()
        size = getattr(self._source, "_max_workers", None)
        return size if isinstance(size, int) else None

    def serves(self, worker: Worker) -> bool:  # noqa: ARG002
        """Return False: no worker of this process runs what an engine is given."""
        return False

    def workers(self) -> list[Worker]:
        """Return none: the calls run elsewhere; see `ThreadPool.workers`."""
        return []

    def check_keeps(self, what: str) -> NoReturn:
        """Refuse what uses objects of this process."""
        raise not_on_an_engine(what, "objects stay in this process, and its calls run in another one")

    def check_context(self) -> NoReturn:
        raise not_on_an_engine(
            "options(context=...) cannot be kept", "context variables stay in this process; pass values as arguments"
        )

    def resize(self, size: int) -> NoReturn:  # noqa: ARG002
        """Refuse: the executor has a size of its own."""
        its_own = "" if self.size is None else f" ({self.size})"
        raise not_on_an_engine(
            f"pool {self.name!r} cannot be resized",
            f"its size is that of its executor{its_own}; give Pool.over an executor with another max_workers",
        )

    def count_waiting(self, before: Parting | None = None) -> tuple[int, int]:
        """Return how many calls wait to be handed over, and how many (0 or 1) are being handed over just now."""
        job = self._in_hand
        items = list(self._waiting)
        if before in items:
            items = items[: items.index(before)]
        waiting = sum(not isinstance(item, Parting) and bool(item.claim) for item in items)
        if job is None or job.fn is None or isinstance(job.claim, Ticket):
            return waiting, 0
        return (waiting + 1, 0) if job.claim else (waiting, 1)

    def statistics(self) -> Statistics:
        """Return a snapshot."""
        with self.lock:
            waiting, handed = self.count_waiting()
            tickets = [ticket for outlet in self._outlets for ticket in outlet.tickets if ticket]
            completed, failed, cancelled = self.tally.completed, self.tally.failed, self.tally.cancelled
        running = [job for ticket in tickets if ticket.runs() and (job := ticket.job) is not None]
        queued = waiting + len(tickets) - len(running)
        busy = len(running) + handed
        return Statistics(
            size=self.size or 0,
            threads=0,
            idle=0,
            busy=busy,
            parked=0,
            abandoned=sum(job.unwanted for job in running),
            queued=queued,
            submitted=queued + busy + completed + failed + cancelled,
            completed=completed,
            failed=failed,
            cancelled=cancelled,
            pinned=0,
        )
