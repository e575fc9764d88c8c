"""One call inside the pool.

Who may touch a job
    `Job.claim` is a byte array of one byte. Whoever takes that byte has *claimed* the job: ``claim.pop()`` is one
    atomic operation (under the GIL as well as under the per-object lock that byte arrays have in free-threaded Python
    from 3.14 on; before that a list has to do) and fails on an empty array, so of two rivals exactly one gets the byte:
    the worker that wants to run the job, or the caller that no longer wants it. Dropping a queued job therefore lets go
    of its function and arguments at once, although the empty job still stands in the queue.

    After the claim only the claimer touches the job, until it calls `deliver`; from then on only the receiving side
    does. In between others may look, by one load each, and what they see may be old at once: `fn` and `culprit` for a
    `name`, `fn` for whether the job has ended, and whatever `unwanted` looks at.

Why a byte array, and why the context may be None
    The garbage collector looks at neither. What a million calls in flight cost above a thousand is its time, and that
    goes by the number of objects it has to look at.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar

if TYPE_CHECKING:
    from contextvars import Context

__all__ = ["ENDED", "SPENT", "Claim", "Job", "Wrapper", "call_name", "is_caught_by", "new_claim"]

E = TypeVar("E", bound=BaseException)

ENDED = "a call that has ended"
"""What messages call a job whose function has been let go of."""

new_claim = bytearray(1).copy
"""Makes the claim of a new job. Copying costs half of what constructing does."""

if sys.version_info[:2] == (3, 13) and not sys._is_gil_enabled():  # pragma: no cover - no build that is tested
    new_claim = [0].copy

SPENT = bytearray()
"""A claim that nobody can take any more."""


class Claim(Protocol):
    """What a job's claim has to do: a byte array of one byte, or a `Ticket` when an executor has the call."""

    def pop(self) -> int:
        """Take the claim; raise an `IndexError` if it is taken."""

    def __len__(self) -> int:
        """Return 0 if it is taken."""


class Job:
    """What the pool knows of a call: what to call, and where the outcome goes.

    The attributes are declared here and stored by the subclass, which may be any class, a future for instance.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    claim: Claim
    """Not empty as long as the job may still be claimed."""

    fn: Callable[..., Any] | None
    """What to call; None when the job is over or has been dropped, as are the next three."""

    args: tuple[Any, ...] | None
    kwargs: dict[str, Any] | None

    context: "Context | None"
    """The context to run in; None stands for an empty one."""

    value: Any
    """What the function returned."""

    error: BaseException | None
    """What the function raised; None if it returned."""

    culprit: str
    """The name of the function, once it has raised; not there before."""

    def drop(self) -> bool:
        """Claim the job in order not to run it; return False if it has been claimed already. Any thread."""
        try:
            self.claim.pop()
        except IndexError:
            return False
        self.fn = self.args = self.kwargs = self.context = None
        return True

    @property
    def name(self) -> str:
        """What messages call this job."""
        fn = self.fn
        return getattr(self, "culprit", ENDED) if fn is None else call_name(fn)

    @property
    def unwanted(self) -> bool:
        """True when nobody waits for the outcome any more."""
        return False

    @property
    def waits(self) -> bool:
        """True when the caller does not go on before a job that runs has ended."""
        return False

    @property
    def minds_start(self) -> bool:
        """True when the job has to have started within a certain time."""
        return False

    def deliver(self) -> Callable[[], object] | None:
        """Put the outcome where the caller finds it. Called once, from the thread that ran the job.

        Returns what is to be called to wake the caller, if that is necessary. It is called when the worker has let go
        of the job, so that the caller may be the last to hold it, and runs no code of the user. What it returns is
        dropped as soon as the worker is not in the way of others.
        """
        raise NotImplementedError

    def disown(self) -> None:
        """Keep the outcome from the caller: this process is a fork, and the caller is in its parent."""


class Wrapper:
    """A callable of this package around a function of the user's, by whose name messages call it."""

    if not TYPE_CHECKING:
        __slots__ = ()

    func: Callable[..., Any]


def call_name(fn: object) -> str:
    """Return the name of a function as messages show it, such as ``hashlib.sha256``; never raises, whatever it is."""
    try:
        while isinstance(fn, (partial, Wrapper)):
            fn = fn.func
        name, module = fn.__qualname__, getattr(fn, "__module__", None)  # type: ignore[attr-defined]
    except Exception:  # an object that has no names, or that raises whatever it likes when it is asked for something
        name = module = None
    if type(name) is not str:
        name, module = type(fn).__qualname__, type(fn).__module__
    return f"{module}.{name}" if type(module) is str and module != "builtins" else name


def is_caught_by(error: BaseException | None, kinds: type[E] | tuple[type[E], ...]) -> TypeGuard[E]:
    """Return whether an ``except`` with these kinds would catch an error; never raises, whatever the error is.

    `isinstance` asks the error itself for its ``__class__``, which may be a property of the user's that fails. In the
    middle of handing over an outcome, that would leave the caller waiting for ever, and others with him.
    """
    return issubclass(type(error), kinds)
