"""What is said to users who ask for what cannot be."""

import os
import sys
from types import CoroutineType

__all__ = ["EXITING", "close_unused", "levels_to_user", "no_thread_error", "not_callable_error", "shown"]

EXITING = "the interpreter is exiting, so no further calls are taken; make the call earlier, or await it before exit"


def not_callable_error(fn: object, what: str = "") -> TypeError:
    """Return the error for who passes something else than a function; ``what`` names the function of ours, if one."""
    close_unused(fn)
    of = f" of {what}" if what else ""
    return TypeError(
        f"the first argument{of} must be callable, not {shown(fn)}; pass the function itself and its arguments"
    )


def no_thread_error(cause: Exception) -> RuntimeError:
    """Return what the caller gets of a call for which no thread could be started; never raises, whatever the cause."""
    try:
        said = str(cause)
    except Exception:  # of a class of the user's, out of an audit hook
        said = f"an unprintable {type(cause).__qualname__}"
    if "interpreter shutdown" in said:  # Python 3.12 starts no threads once the main thread has ended
        error = RuntimeError(EXITING)
    else:
        error = RuntimeError(
            f"no thread could be started for the call ({said}); end other threads or raise the limits on threads and"
            " memory, then call again"
        )
    error.__cause__ = cause
    return error


def shown(thing: object) -> str:
    """Return how a message shows what was passed in; never raises, whatever it is."""
    try:
        return repr(thing)
    except Exception:  # of a class of the user's, or of an int with more digits than Python writes
        return f"an unprintable {type(thing).__qualname__}"


def close_unused(thing: object) -> None:
    """Close a coroutine that was handed to a call that refuses it, lest it complain that nobody has."""
    if isinstance(thing, CoroutineType):
        thing.close()


def levels_to_user() -> int:
    """Return the ``stacklevel`` of a warning that our caller gives, for it to name the line that uses this package."""
    levels, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        levels, frame = levels + 1, frame.f_back
    return levels


_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
