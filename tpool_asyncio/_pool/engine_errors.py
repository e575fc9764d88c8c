"""What is said of calls on an engine that go wrong: by pickling, by a worker process that dies, by a cluster that goes.

An executor tells these from the errors of functions by their types only, and not always. Where that is not certain, the
error is handed on as it is, with a note.
"""

from concurrent.futures import BrokenExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from tpool_asyncio._pool.refusal import EXITING

if TYPE_CHECKING:
    from tpool_asyncio._pool.outlet import Outlet

__all__ = [
    "cancelled_by_executor",
    "forked_error",
    "not_on_an_engine",
    "not_taken_error",
    "outcome_error",
    "with_note",
]

_PICKLING = (
    "A call on an engine goes to another process: its function, arguments and result, or its exception, have to be"
    " picklable there and back. Take a function of a module that can be imported, no lambda or inner function, and"
    " plain data; what holds locks, files, sockets or loops has to be made inside the call."
)

_NEXT = {
    True: "; the next call asks the factory for a new one",
    False: "; give Pool.over a factory, such as the class of the executor, and the next call gets a new one",
}


def not_on_an_engine(what: str, why: str) -> RuntimeError:
    """Return the error for what only threads of this process can do."""
    return RuntimeError(f"{what} on an engine (Pool.over): {why}; use a Pool of threads for it")


def forked_error(name: str) -> RuntimeError:
    return RuntimeError(
        f"the executor of pool {name!r} is that of the process that this one was forked from; make the pool anew in the"
        " child, or give Pool.over a factory"
    )


def cancelled_by_executor(name: str, call: str) -> RuntimeError:
    return RuntimeError(
        f"{call} was cancelled by the executor of pool {name!r}, or by whoever shut that down; make the call again"
        " with an executor that stays"
    )


def not_taken_error(error: BaseException, outlet: "Outlet", call: str) -> BaseException:
    """Return what the caller gets of an error of ``executor.submit``."""
    engine = outlet.engine
    if isinstance(error, BrokenExecutor):
        return _broken(
            error, f"{call} has not been run: the executor of pool {engine.name!r} is broken ({error})", engine.owns
        )
    if isinstance(error, RuntimeError) and "interpreter shutdown" in str(error):
        refusal = RuntimeError(EXITING)
    elif outlet.is_over(error):
        refusal = RuntimeError(
            f"{call} has not been run: the executor of pool {engine.name!r} takes no calls any more ({error})"
            f"{_NEXT[engine.owns]}"
        )
    else:
        return _perhaps_pickling(error)
    refusal.__cause__ = error
    return refusal


def outcome_error(error: BaseException, outlet: "Outlet", call: str) -> BaseException:
    """Return what the caller gets of the error of a future, and have the engine do without a broken executor."""
    if not isinstance(error, BrokenExecutor):
        return _perhaps_pickling(error)
    if not outlet.is_over(error):
        return error  # raised by the function itself, or by a cluster that goes on
    engine = outlet.engine
    engine.do_without(outlet)
    if outlet.silent:
        return error  # of a cluster, which says what has happened
    lines = str(error.__cause__ or "").strip(" \n'\"").splitlines()
    about = f" It says: {lines[-1]}." if lines else ""
    return _broken(
        error,
        f"the executor of pool {engine.name!r} broke while it had {call}, by the death of a worker process or by what"
        f" could not be unpickled, of this call or of another one.{about} The call may have run, in part or as a whole,"
        " or not at all",
        engine.owns,
    )


def _broken(error: BrokenExecutor, message: str, owned: bool) -> BrokenExecutor:
    """Return an error of the same type, one for each caller: executors give the same object to all of them."""
    message += _NEXT[owned]
    try:
        new = type(error)(message)
    except Exception:  # a type that wants something else
        new = BrokenExecutor(message)
    new.__cause__ = error
    return new


def _perhaps_pickling(error: BaseException) -> BaseException:
    text = str(error).lower()
    by_type = any(kind.__name__ == "PicklingError" for kind in type(error).__mro__)
    if by_type or (isinstance(error, (TypeError, AttributeError)) and ("pickle" in text or "serialize" in text)):
        with_note(error, _PICKLING)
    return error


def with_note(error: BaseException, note: str) -> BaseException:
    """Return an error with a note if it takes one, but not with the same one twice."""
    with suppress(Exception):  # of an error that cannot be changed, such as a frozen dataclass
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    return error
