"""Which workers wait for the code that runs here and now: the chain of calls that wait, one for another.

The chain is a tuple in a context, which nobody changes. ``Asker.worker`` is written once more, by the worker when it
waits no longer, and read by one load in any thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING

from tpool_asyncio._pool.worker import Worker, current_worker

if TYPE_CHECKING:
    from tpool_asyncio._pool.crew import Crew

__all__ = ["Asker", "askers", "asking", "asking_workers", "is_waited_for_by", "waiting_workers"]


class Asker:
    """A worker that waits for what runs in a context, as long as it does."""

    __slots__ = ("worker",)

    def __init__(self, worker: Worker) -> None:
        self.worker: Worker | None = worker

    def ask_in(self, context: Context) -> None:
        """Have the worker known in a context, until `answered`."""
        context.run(_asking.set, (*(other for other in _asking.get() if other.worker is not None), self))

    def answered(self) -> None:
        """Note that the worker waits no more."""
        self.worker = None


_asking: ContextVar[tuple[Asker, ...]] = ContextVar("tpool_asyncio._asking", default=())

askers = _asking.get
"""Returns what there is of them here and now, mostly nothing."""


@contextmanager
def asking(worker: Worker) -> Iterator[None]:
    """Have a worker known as waiting in all that is called from here."""
    asker = Asker(worker)
    token = _asking.set((*_asking.get(), asker))
    try:
        yield
    finally:
        asker.answered()
        _asking.reset(token)


def waiting_workers() -> list[Worker]:
    """Return the workers that wait, one for another, for what runs here and now."""
    return [worker for asker in _asking.get() if (worker := asker.worker) is not None]


def is_waited_for_by(crew: "Crew") -> bool:
    """Return whether a worker of a crew waits for what runs here and now."""
    return any((worker := asker.worker) is not None and worker.crew is crew for asker in askers())


def asking_workers() -> list[Worker]:
    """Return these and the worker whose thread this is; ``killall`` must wait for none of them."""
    workers = waiting_workers()
    if (worker := current_worker()) is not None:
        workers.append(worker)
    return workers
