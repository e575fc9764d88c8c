"""Greenlets of other libraries, in which synchronous code can wait just as in our own green threads.

A **host** is such a library: it runs synchronous code in a greenlet on an asyncio event loop, and has a way of its own
to wait there. What is known of each is in a module on the top floor, `tpool_asyncio.interop`. This floor knows these
modules by name only, and looks at one when its library has been imported and code that has to wait is in no green
thread. So nobody has to set anything up, and what is not there costs nothing.

A green thread goes before any host: code that is in both waits as the green thread does. So do greenlets of other
libraries that were started inside a green thread, as `tpool_asyncio._green.waiting` tells.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Protocol

from tpool_asyncio._pool.complaint import complain

__all__ = ["Host", "current_host", "is_watched", "wait_of"]


class Host(Protocol):
    """Where the current code can wait."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop on which it waits. It need not run yet."""

    def await_(self, steps: Coroutine[Any, Any, Any], /) -> Any:
        """Wait for a coroutine, which is awaited in that loop; return or raise its outcome."""

    # A host can have a method ``wait`` besides, which takes a future of that loop as it is. Then calls in the pool need
    # no coroutine, and whoever is interrupted does not have to wait for the end of one. See `wait_of`.


_EDGES = {
    "sqlalchemy": "tpool_asyncio.interop._sqlalchemy",
    "awaitlet": "tpool_asyncio.interop._sqlalchemy",  # which has the same kind of greenlets
    "greenback": "tpool_asyncio.interop._greenback",
    "eventlet": "tpool_asyncio.interop._eventlet_host",
    "greenletio": "tpool_asyncio.interop._greenletio",
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
        if sys.modules.get(library) is not None:
            ask = _asked.get(library)
            if ask is None:
                ask = _asked[library] = _function_of(library, edge, "host", _nobody)
            if (found := ask()) is not None:
                return found
    return None


def is_watched(task: "asyncio.Task[Any] | None") -> bool:
    """Return whether each step of a task goes through a portal of greenback, which has been imported.

    Such a portal goes on with that greenlet of the task which was the last to wait through it. So it has to be there
    for each step, and green threads of the task may not be switched to past it.
    """
    if not _watchers:
        _watchers.append(_function_of("greenback", _EDGES["greenback"], "is_watched", _never))
    return _watchers[0](task)


_watchers: "list[Callable[[asyncio.Task[Any] | None], bool]]" = []


def _function_of(library: str, edge: str, name: str, substitute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of an edge, or the substitute if the library is not what we know by that name."""
    try:
        function: Callable[..., Any] = getattr(import_module(edge), name)
    except (ImportError, AttributeError):
        complain("synchronous code cannot wait in the greenlets of %s", library)
        return substitute
    return function


def _nobody() -> None:
    return None


def _never(_: object) -> bool:
    return False
