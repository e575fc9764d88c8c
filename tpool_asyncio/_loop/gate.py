"""The one place where other threads reach into a loop."""

from asyncio import AbstractEventLoop
from collections.abc import Callable

__all__ = ["post"]


def post(loop: AbstractEventLoop, callback: Callable[[], object]) -> bool:
    """Have a loop run a callback; return False if the loop is closed. Any thread.

    A loop can be closed at any moment, so asking it first would prove nothing: the attempt is made, and its refusal
    is told from other errors afterwards.
    """
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if loop.is_closed():
            return False
        raise
    return True
