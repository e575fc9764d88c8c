"""What becomes of something that a call refuses."""

from types import CoroutineType

__all__ = ["close_unused", "not_callable_error"]


def not_callable_error(fn: object) -> TypeError:
    close_unused(fn)
    return TypeError(f"the first argument must be callable, not {fn!r}; pass the function itself and its arguments")


def close_unused(thing: object) -> None:
    """Close a coroutine that was handed to a call that refuses it, lest it complain that nobody has."""
    if isinstance(thing, CoroutineType):
        thing.close()
