"""How an object is kept on one thread, and how that thread becomes free.

A `Pin` is held by all proxies of a family, and by the calls in flight: with the last of them it goes, and releases the
lane. An `Anchor` is held by one proxy: when that goes, it has the object itself dropped in the lane, since what may be
used by one thread only may well want to be destroyed there.
"""

from typing import Any

from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["Anchor", "Pin"]


class Pin:
    """One thread of a pool, for as long as this lives or until it is released.

    ``released`` becomes true once, by one store of any thread, and is read by one load. Two threads that release at the
    same time, or a release that comes with the end of the pin, do no harm: the lane takes a second one for none.
    """

    __slots__ = ("__weakref__", "lane", "released")

    def __init__(self, pool: ThreadPool) -> None:
        self.released = True  # until there is something to release
        self.lane = Lane(pool)
        self.released = False

    def release(self) -> None:
        """Let the thread go when it has done what it has been given so far. Any thread."""
        self.released = True
        self.lane.release()

    def __del__(self) -> None:
        if not self.released:
            self.release()


class Anchor:
    """Has a pinned object dropped in its own thread, if nobody else holds it."""

    __slots__ = ("_box", "_pin")

    def __init__(self, pin: Pin, obj: Any) -> None:
        self._pin = pin
        self._box = [obj]

    def __del__(self) -> None:
        lane = self._pin.lane
        if lane.has_thread():
            lane.discard(self._box)
