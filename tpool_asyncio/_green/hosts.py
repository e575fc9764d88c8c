"""Greenlets of other libraries, in which synchronous code can wait just as in our own green threads.

A **host** is such a library: it runs synchronous code in a greenlet on an asyncio event loop, and has a way of its own
to wait there. What is known of each is in a module on the top floor, `tpool_asyncio.interop`. This floor knows these
modules by name only, and looks at one when its library has been imported and code that has to wait is in no green
thread. So nobody has to set anything up, and what is not there costs nothing.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Protocol

__all__ = ["Host", "current_host", "wait_of"]


class Host(Protocol):
    """Where the current code can wait."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop on which it waits. It need not run yet."""

    def await_(self, steps: Coroutine[Any, Any, Any], /) -> Any:
        """Wait for a coroutine, which is awaited in that loop; return or raise its outcome."""

    # A host can have a method ``wait`` besides, which takes a future of that loop as it is. Then calls in the pool need
    # no coroutine, and whoever is interrupted does not have to wait for the end of one. See `wait_of`.


_EDGES = {
    "sqlalchemy": "tpool_asyncio.interop.sqlalchemy",
    "awaitlet": "tpool_asyncio.interop.sqlalchemy",  # which has the same kind of greenlets
    "greenback": "tpool_asyncio.interop.greenback",
    "eventlet": "tpool_asyncio.interop.eventlet",
    "greenletio": "tpool_asyncio.interop.greenletio",  # knows its greenlets only by their being nobody else's
}
"""By the library, in the order of asking: the module whose ``host()`` returns the host of the current code, or None."""


def wait_of(host: Host) -> "Callable[[asyncio.Future[Any]], Any] | None":
    """Return the method of a host that waits for a future, None if it has none."""
    return getattr(host, "wait", None)


_asked: dict[str, Callable[[], Host | None]] = {}


def current_host() -> Host | None:
    """Return the host of the current code, which is in no green thread; None if it has none.

    Raises:
        RuntimeError: It has one that cannot wait for us, such as Eventlet on a hub without an asyncio loop.
    """
    for library, edge in _EDGES.items():
        if library in sys.modules:
            ask = _asked.get(edge)
            if ask is None:
                ask = _asked[edge] = import_module(edge).host
            if (found := ask()) is not None:
                return found
    return None
