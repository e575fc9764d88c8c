"""Exceptions that are to be raised where somebody else waits.

How an interrupt gets to where it belongs
    An interrupt is kept on the green thread that it is meant for, and the task of that green thread is cancelled. So
    whatever the green thread waits for sees a `CancelledError`, which is what asynchronous code knows how to clean up
    after; and where this error comes out of the awaitable, in the green thread that has the interrupt, the interrupt's
    own exception takes its place. Green threads can be nested in one task: the error then passes through the inner
    ones, and is only exchanged in the one that the interrupt is meant for. If it came out of the waiting of another
    library, such as greenback, it passes through the code as it is, and is exchanged at the end of the next block of a
    `Timeout`, or of the function; the next wait of our own raises the interrupt as well.

Who wins when the task has been cancelled as well
    A task counts its cancellations. An interrupt takes back the one that it has caused. If more are left than when the
    limit was set, somebody else has cancelled the task too, and only one `CancelledError` has been thrown for both:
    then that somebody wins, as with nested `asyncio.timeout`.

What if nobody raises
    Asynchronous code may swallow a `CancelledError`. The interrupt then stays, and is raised where its green thread
    waits next, unless it is withdrawn before that.
"""

from asyncio import AbstractEventLoop, CancelledError
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Awaited", "Interrupt", "Interruptible", "ScriptWait"]


class Interrupt:
    """An exception on its way to where it is to be raised."""

    __slots__ = ("base", "exception")

    def __init__(self, exception: BaseException, base: int) -> None:
        self.exception = exception
        self.base = base  # how often the task had been cancelled when the limit was set


class Interruptible(Protocol):
    """What can be interrupted: a green thread, or the script of a thread."""

    def _interrupt(self, exception: BaseException, base: int) -> Interrupt:
        """Have an exception raised where this waits now, or else waits next. From a callback of its loop."""

    def _withdraw(self, interrupt: Interrupt) -> None:
        """Take an interrupt back; nothing happens if its exception has been raised."""

    def _exchange(self, error: CancelledError) -> BaseException:
        """Return what a `CancelledError` that came out of an awaitable stands for, here."""

    def _cancellations(self) -> int:
        """Return how often the task has been cancelled so far, for `interrupt`."""


class Awaited(Protocol):
    """What a script waits for."""

    def done(self) -> bool:
        """Return whether the wait is over."""

    def cancel(self) -> object:
        """Have it be over soon."""

    def cancelled(self) -> bool:
        """Return whether that is why it is over."""


class ScriptWait:
    """The waiting of a script, which has no task."""

    def __init__(self) -> None:
        self.awaited: Awaited | None = None
        self.loop: AbstractEventLoop | None = None  # as long as the script runs it
        self.at_bell = False  # whether the script does nothing but wait on a lock
        self.ring: Callable[[], object] | None = None  # releases that lock; for any thread that wants the loop to run
        self.interrupts: list[Interrupt] = []

    def _interrupt(self, exception: BaseException, base: int = 0) -> Interrupt:
        """See `Interruptible`."""
        interrupt = Interrupt(exception, base)
        self.interrupts.append(interrupt)
        if self.awaited is not None:
            self.awaited.cancel()
        return interrupt

    def end_wait(self, awaited: Awaited) -> None:
        """Have this be over soon, if it is still what is awaited. In a callback of the loop."""
        if self.awaited is awaited:
            awaited.cancel()

    def _withdraw(self, interrupt: Interrupt) -> None:
        """See `Interruptible`."""
        if interrupt in self.interrupts:
            self.interrupts.remove(interrupt)

    def _cancellations(self) -> int:
        """See `Interruptible`."""
        return 0

    def _exchange(self, error: CancelledError) -> BaseException:
        """See `Interruptible`."""
        return self.interrupts.pop(0).exception if self.interrupts else error

    def raise_ctrl_c(self) -> None:
        """Raise a `KeyboardInterrupt` if there is one. It goes before all others, and is not left for a later wait."""
        for interrupt in self.interrupts:
            if isinstance(interrupt.exception, KeyboardInterrupt):
                self.interrupts.remove(interrupt)
                raise interrupt.exception
