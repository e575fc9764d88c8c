"""What runs in the pool for a statement that names no method."""

from typing import Any

__all__ = ["END", "enter", "leave"]

END: Any = object()
"""What ``next`` gives at the end, since a call cannot hand on a `StopIteration`."""


def enter(obj: Any) -> Any:
    """Do what ``with`` does at its beginning."""
    _check_manager(obj)
    return type(obj).__enter__(obj)


def leave(obj: Any, *failure: Any) -> Any:
    """Do what ``with`` does at its end."""
    return type(obj).__exit__(obj, *failure)


def _check_manager(obj: Any) -> None:
    for name in ("__enter__", "__exit__"):
        if not hasattr(type(obj), name):
            raise TypeError(f"{type(obj).__qualname__!r} object is no context manager (it has no {name})")
