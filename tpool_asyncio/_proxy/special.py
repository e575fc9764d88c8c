"""What runs in the pool for a statement that names no method."""

from _thread import allocate_lock
from typing import Any

__all__ = ["END", "Leaving", "enter", "leave"]

END: Any = object()
"""What ``next`` gives at the end, since a call cannot hand on a `StopIteration`."""


def enter(obj: Any) -> Any:
    """Do what ``with`` does at its beginning."""
    _check_manager(obj)
    return type(obj).__enter__(obj)


def leave(obj: Any, *failure: Any) -> Any:
    """Do what ``with`` does at its end."""
    return type(obj).__exit__(obj, *failure)


class Leaving:
    """Does what ``with`` does at its end, once, however often and in whatever threads it is called."""

    def __init__(self, obj: Any, *failure: Any) -> None:
        self._obj = obj
        self._failure: tuple[Any, ...] = failure
        self._begun = allocate_lock()

    def has_begun(self) -> bool:
        return self._begun.locked()

    def __call__(self) -> Any:
        if self._begun.acquire(False):
            try:
                return leave(self._obj, *self._failure)
            finally:
                self._obj, self._failure = None, ()
        return None


def _check_manager(obj: Any) -> None:
    for name in ("__enter__", "__exit__"):
        if not hasattr(type(obj), name):
            raise TypeError(f"{type(obj).__qualname__!r} object is no context manager (it has no {name})")
