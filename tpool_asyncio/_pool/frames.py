"""The frames of all threads, without the way in which asking for them can stop a process for good.

CPython up to 3.11.8 holds a lock of the interpreter while it makes the answer. If the garbage collector comes by just
then and finds a `threading.local`, the same thread asks for that lock once more, and nobody ever goes on
(python/cpython#106883). So the collector is off meanwhile; from 3.12 on it does not come in the middle of such a
function anyway.

Who may touch what
    The lock is held by the thread that has turned the collector off, until it is on again, so that nobody takes this
    for what the user wants. It may be taken twice, as a destructor may ask, too. ``off`` is written under it, and read
    in the child of a fork, which may have been made in the middle of this by another thread.

    A signal handler can raise where a function in C has just been called. From the moment the collector is off,
    whatever raises leads to the call that turns it on again, and there is no such place before that.
"""

import gc
import sys
from types import FrameType

from tpool_asyncio._pool.native import RLock

__all__ = ["after_fork_in_child", "current_frames"]

_CAN_STOP = sys.version_info < (3, 11, 9)


class _Pause:
    """What is known of the collector's being off."""

    __slots__ = ("lock", "off")

    def __init__(self) -> None:
        self.lock = RLock()
        self.off = False


_pause = _Pause()


def current_frames() -> dict[int, FrameType]:
    """Return the frame in which each thread is, by its ident. Any thread."""
    if not _CAN_STOP:
        return sys._current_frames()
    with _pause.lock:
        was_on = gc.isenabled()
        try:
            _pause.off = was_on
            gc.disable()
            return sys._current_frames()
        finally:
            if was_on:
                gc.enable()
                _pause.off = False


def after_fork_in_child() -> None:
    """Make good what another thread of the parent was about to."""
    if _pause.off:
        gc.enable()
    _pause.lock, _pause.off = RLock(), False
