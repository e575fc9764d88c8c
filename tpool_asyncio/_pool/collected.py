"""How a generator of ours finds out that it is the garbage collector that ends it.

The collector may strike at any point, also in the middle of our own code and while its thread holds a lock of ours. A
generator that it finds must not wait there: the loop it waits for may want that lock, or take the wait for another one.
Nothing tells such an end from that by ``close``, or by the end of a ``for`` loop that was left early, where waiting is
what is wanted; but the collector clears the weak references to all that it has found before it runs any destructor, and
those with callbacks do not outlive that in any version of Python. So a `Witness` that nobody but the generator holds
has lost its reference if, and only if, the collector has found both.
"""

import weakref

__all__ = ["Witness"]


class Witness:
    """Tells the generator that holds it, in a variable and nowhere else, whether the garbage collector has found it."""

    def __init__(self) -> None:
        self._here = weakref.ref(self, _nothing)

    def is_collected(self) -> bool:
        return self._here() is None


def _nothing(_: object) -> None:
    """Be the callback that has a weak reference cleared early."""
