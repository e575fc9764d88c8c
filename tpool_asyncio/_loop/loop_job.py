"""A job whose outcome goes to a loop, whatever waits for it there."""

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any

from tpool_asyncio._loop.mailbox import Mailbox
from tpool_asyncio._pool.job import Job, is_caught_by

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

__all__ = ["TOLD_TO_STOP", "LoopJob", "outcome_of", "presentable"]

TOLD_TO_STOP = (asyncio.CancelledError, concurrent.futures.CancelledError)
"""What a call raises that has found out that nobody waits for it; the other one is from the functions of anyio."""


class LoopJob(Job):
    """What all jobs have in common that are made in the thread of a loop.

    Whoever makes one stores all attributes but `value`, `culprit` and `errands`.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    mailbox: Mailbox

    errands: "weakref.WeakSet[asyncio.Task[Any]]"
    """The tasks started on the loop by `from_thread.run`; stored with the first."""

    if TYPE_CHECKING:

        def get_loop(self) -> asyncio.AbstractEventLoop:
            """Return the loop. Any thread."""

    def deserted(self) -> bool:
        """Return whether nobody can get the outcome any more. Any thread."""
        return self.unwanted or self.get_loop().is_closed()

    def settle(self) -> None:
        """Pass the outcome on to whoever waits. In the thread of the loop; a second time does no harm."""
        raise NotImplementedError

    def withdraw(self) -> bool:
        """Take the call out of the queue; return False if it runs already, or has run."""
        if not self.drop():
            return False
        self.mailbox.pool.dropped()
        return True

    def stop_errands(self) -> None:
        """Cancel what the running call waits for in the loop."""
        for task in list(getattr(self, "errands", ())):
            task.cancel()

    def deliver(self) -> "Callable[[], object] | None":
        """Put the outcome into the mailbox. In the thread that ran the job."""
        mailbox = self.mailbox
        mailbox.outcomes.append(self)
        if mailbox.scheduled.locked() or not mailbox.scheduled.acquire(False):  # to ask first is cheaper
            return None
        return mailbox.schedule

    def disown(self) -> None:  # pragma: no cover - only ever called in a fork that ends before its coverage is saved
        self.mailbox = Mailbox(self.mailbox.pool, self.get_loop())
        self.mailbox.scheduled.acquire()  # so nobody ever drains it

    def drop_outcome(self) -> None:
        """Let go of an outcome that comes too late, but not of an error without a word."""
        error, self.error, self.value = self.error, None, None
        if error is not None and not is_caught_by(error, TOLD_TO_STOP):
            self.get_loop().call_exception_handler(
                {
                    "message": f"{self.name} raised an exception after its caller had stopped waiting for it",
                    "exception": error,
                    "future" if isinstance(self, asyncio.Future) else "call": self,
                }
            )


def presentable(error: BaseException, name: str) -> BaseException:
    """Return the error as a coroutine can receive it.

    A `StopIteration` would end the coroutine that awaits, and a `CancelledError` would make it look cancelled.
    """
    if is_caught_by(error, (StopIteration, asyncio.CancelledError)):
        wrapped = RuntimeError(f"{name} raised {type(error).__name__}, which a call cannot hand on as it is")
        wrapped.__cause__ = error
        return wrapped
    return error


def outcome_of(job: Job) -> Any:
    """Return or raise the outcome of a job that has ended, to a caller who has waited for it."""
    error, name = job.error, job.name
    value = job.value if error is None else None
    job.error = job.value = None
    del job
    if error is None:
        return value
    try:
        raise presentable(error, name)
    finally:
        del error  # or else its traceback and this frame would hold each other
