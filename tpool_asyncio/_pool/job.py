"""One call inside the pool.

Who may touch a job
    A job is *claimed* by taking its work out of `Job.work`, a list that holds one item or none. ``list.pop`` is one
    atomic operation (under the GIL as well as under the per-list lock of free-threaded Python), so exactly one of the
    two rivals gets the work: the worker that wants to run it, or the caller that no longer wants it. The other sees
    an `IndexError`. Whoever holds the work also holds the only reference that the job has to the function and its
    arguments, so dropping a queued job lets go of both at once, although the empty job still stands in the queue.

    After the claim only the claiming worker writes `running`, `value` and `error`, until it calls `deliver`; from
    then on only the receiving side touches them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from contextvars import Context

__all__ = ["Job", "Work", "call_name"]

Work: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Context]"


class Job:
    """What the pool knows of a call: its work, and where its outcome goes.

    The attributes are declared here and stored by the subclass, which may be any class, a future for instance.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    work: list[Work]
    """The function, its arguments and its context; empty once the job is claimed."""

    running: Callable[..., Any] | None
    """The function, while it runs."""

    value: Any
    """What the function returned."""

    error: BaseException | None
    """What the function raised; None if it returned."""

    culprit: str
    """The name of the function, once it has raised; not there before."""

    @property
    def name(self) -> str:
        """What messages call this job."""
        if (fn := self.running) is None:
            try:
                fn = self.work[0][0]
            except IndexError:
                return getattr(self, "culprit", "a call that has ended")
        return call_name(fn)

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
