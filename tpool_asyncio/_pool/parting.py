"""How far an engine has come in ending what it was given."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tpool_asyncio._pool.engine import Engine
    from tpool_asyncio._pool.outlet import Outlet
    from tpool_asyncio._pool.thread_pool import Farewell
    from tpool_asyncio._pool.ticket import Ticket

__all__ = ["Parting"]


class Parting:
    """Stands among the waiting jobs; then waits for what had been handed over when the feeder came to it.

    To an engine it is what a `Farewell` is to a pool of threads. The lock of the engine guards it.
    """

    __slots__ = ("_engine", "done", "farewell", "outlets", "reached", "tickets", "waited_for")

    def __init__(self, engine: "Engine", done: Callable[[], object]) -> None:
        self._engine = engine
        self.done = done
        self.waited_for = True  # as with a `Farewell`; nobody asks
        self.reached = False  # whether the feeder has come to it
        self.tickets: set[Ticket] = set()  # calls that have not ended
        self.outlets: set[Outlet] = set()  # executors that have not been shut down
        self.farewell: Farewell | None = None  # of the threads of the engine

    def complete(self) -> bool:
        """Tell, under the lock, whether there is nothing left to wait for."""
        return not (self.tickets or self.outlets)

    def ending(self) -> bool:
        """Tell, once ``done`` has been called, whether there is a thread that has not quite ended yet."""
        return self.farewell is None or self.farewell.ending()

    def queued(self) -> int:
        """Return how many calls have not been started."""
        waiting = 0 if self.reached else sum(self._engine.count_waiting(self))
        return waiting + sum(bool(ticket) and not ticket.runs() for ticket in self.tickets.copy())
