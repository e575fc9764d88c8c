"""What runs in the pool for a statement that names no method."""

from collections.abc import Callable
from typing import Any

from tpool_asyncio._pool.job import Wrapper
from tpool_asyncio._pool.native import allocate_lock

__all__ = ["END", "Entering", "Once"]

END: Any = object()
"""What ``next`` gives at the end, since a call cannot hand on a `StopIteration`."""


class Entering(Wrapper):
    """Does what ``with`` does at its beginning, and takes it back if nobody waits for it any more."""

    def __init__(self, obj: Any) -> None:
        kind = type(obj)
        for name in ("__enter__", "__exit__"):
            if not hasattr(kind, name):
                raise TypeError(f"{kind.__qualname__!r} object is no context manager (it has no {name})")
        self.func = kind.__enter__
        self._obj = obj
        self._lock = allocate_lock()
        self._entered = False
        self._given_up = False

    def __call__(self) -> Any:
        obj, self._obj = self._obj, None  # who waits for this must not be the last to hold it
        value = self.func(obj)
        with self._lock:
            self._entered = True
            given_up = self._given_up
        if given_up:
            type(obj).__exit__(obj, None, None, None)
        return value

    def give_up(self) -> bool:
        """Have the object left again; return whether it is there already, and the caller has to see to that."""
        with self._lock:
            self._given_up = True
            return self._entered


class Once(Wrapper):
    """A call that must be made, and only once, however often and in whatever threads this is called."""

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        self.func = fn
        self._args: tuple[Any, ...] = args
        self._begun = allocate_lock()

    def has_begun(self) -> bool:
        return self._begun.locked()

    def __call__(self) -> Any:
        if self._begun.acquire(False):
            try:
                return self.func(*self._args)
            finally:
                self._args = ()
        return None
