"""The future of a call, which is at the same time the job that the pool runs.

One object for both saves an allocation, and it lets `cancel` reach the pool without a callback on every call, which
would be one of the dearest parts of it. What each thread may touch is told in
`tpool_asyncio._pool.job`; the future's own methods are called in the thread of its loop only, as with any
`asyncio.Future`.
"""

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from tpool_asyncio._loop.mailbox import Mailbox
from tpool_asyncio._pool.job import ENDED, Job

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

__all__ = ["Call"]

T = TypeVar("T")


class Call(Job, asyncio.Future[T]):
    """A call without options. Whoever makes one stores all attributes but `value`, `culprit` and `errands`."""

    __slots__ = ("args", "claim", "context", "culprit", "errands", "error", "fn", "kwargs", "mailbox", "value")

    mailbox: Mailbox
    errands: "weakref.WeakSet[asyncio.Task[Any]]"
    """The tasks started on the loop by `from_thread.run`; stored with the first."""

    @property
    def unwanted(self) -> bool:
        return self.done()  # of a job that runs, nobody but the caller can have ended the future

    def __repr__(self) -> str:
        """Name the function, where it is still known, in what asyncio says of its futures."""
        text, name = super().__repr__(), self.name
        return text if name is ENDED else text.replace("Call", f"Call {name}", 1)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the call: a queued one never runs, a running one is abandoned."""
        if self.done():
            return False
        if not self.withdraw():
            self.stop_errands()
        return super().cancel(msg)

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

    def deliver(self) -> "Callable[[], None] | None":
        """Put the outcome into the mailbox. In the thread that ran the job."""
        mailbox = self.mailbox
        mailbox.outcomes.append(self)
        return mailbox.schedule if mailbox.scheduled.acquire(False) else None

    def disown(self) -> None:  # pragma: no cover - only ever called in a fork that ends before its coverage is saved
        self.mailbox = Mailbox(self.mailbox.pool, self.get_loop())
        self.mailbox.scheduled.acquire()  # so nobody ever drains it

    def settle(self) -> None:
        """Pass the outcome on to whoever waits. In the thread of the loop."""
        try:
            if self.error is None:
                self.set_result(self.value)
                self.value = None
            else:
                self.set_exception(_presentable(self.error, self.name))
                self.error = None
        except asyncio.InvalidStateError:
            self.drop_outcome()

    def drop_outcome(self) -> None:
        """Let go of an outcome that comes too late, but not of an error without a word."""
        error, self.error, self.value = self.error, None, None
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self.get_loop().call_exception_handler(
                {
                    "message": f"{self.name} raised an exception after its caller had stopped waiting for it",
                    "exception": error,
                    "future": self,
                }
            )


def _presentable(error: BaseException, name: str) -> BaseException:
    """Return the error as a coroutine can receive it.

    A `StopIteration` would end the coroutine that awaits, and a `CancelledError` would make it look cancelled.
    """
    if isinstance(error, (StopIteration, asyncio.CancelledError)):
        wrapped = RuntimeError(f"{name} raised {type(error).__name__}, which a call cannot hand on as it is")
        wrapped.__cause__ = error
        return wrapped
    return error
