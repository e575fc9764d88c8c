"""One call inside the pool.

Who may touch a job
    `Job.work` is a list of the function, its arguments, its keywords and, as the fourth item, its context. Whoever
    takes the fourth item has *claimed* the job: ``work.pop(3)`` is one atomic operation (under the GIL as well as
    under the per-list lock of free-threaded Python) and fails on a list that is shorter, so of two rivals exactly one
    gets the context: the worker that wants to run the job, or the caller that no longer wants it. The winner alone
    touches the list from then on, and empties it when it is done. So dropping a queued job lets go of its function
    and arguments at once, although the empty job still stands in the queue. (One list serves as the claim, as the
    record of the call and as the sign that it still runs. Each further object per call would cost its share of the
    garbage collector's time, which is what a million calls in flight mostly cost.)

    After the claim only the claiming worker writes `value`, `error` and `culprit`, until it calls `deliver`; from then
    on only the receiving side touches them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__all__ = ["Job", "call_name"]


class Job:
    """What the pool knows of a call: its work, and where its outcome goes.

    The attributes are declared here and stored by the subclass, which may be any class, a future for instance.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    work: list[Any]
    """The function, its arguments, its keywords and its context; three items while it runs, none when it is over."""

    value: Any
    """What the function returned."""

    error: BaseException | None
    """What the function raised; None if it returned."""

    culprit: str
    """The name of the function, once it has raised; not there before."""

    def drop(self) -> bool:
        """Claim the job in order not to run it; return False if it has been claimed already. Any thread."""
        try:
            self.work.pop(3)
        except IndexError:
            return False
        self.work.clear()
        return True

    @property
    def name(self) -> str:
        """What messages call this job."""
        try:
            return call_name(self.work[0])
        except IndexError:
            return getattr(self, "culprit", "a call that has ended")

    @property
    def unwanted(self) -> bool:
        """True when nobody waits for the outcome any more."""
        return False

    def deliver(self) -> None:
        """Hand the outcome to the caller. Called once, from the thread that ran the job."""
        raise NotImplementedError

    def disown(self) -> None:
        """Keep the outcome from the caller: this process is a fork, and the caller is in its parent."""


def call_name(fn: Callable[..., Any]) -> str:
    """Return the name of a function as messages show it, such as ``hashlib.sha256``; never raises."""
    while (inner := getattr(fn, "func", None)) is not None and callable(inner):
        fn = inner
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    module = getattr(fn, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else str(name)
