"""What takes the place of anyio's own way to run a function in a thread.

Whatever goes through ``anyio.to_thread.run_sync`` calls one class method of anyio's asyncio backend. It is replaced as
long as there is a loop that needs it, and looks which route the running loop has. Where there is none, and under Trio,
everything is as it was.
"""

import asyncio
import inspect
import os
import weakref
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from anyio._backends._asyncio import AsyncIOBackend

from tpool_asyncio._pool.native import allocate_lock
from tpool_asyncio.interop._anyio_route import Route

__all__ = ["switch"]

_METHOD = "run_sync_in_worker_thread"
_PARAMETERS = ["cls", "func", "args", "abandon_on_cancel", "limiter"]


class _Switch:
    """What takes the place of anyio's method, and to which route it sends the calls of which loop.

    What is chosen is guarded by a lock; each call reads it without. In the child of a fork the lock is another one, as
    a thread of the parent may have had it; `_replace` and `_restore` can begin again wherever that thread was.
    """

    def __init__(self) -> None:
        self.unlock()
        self._everywhere: Route | None = None
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Route, ...]]
        self._by_loop = weakref.WeakKeyDictionary()
        self._original: Any = None  # as it stood in the class
        self._ours: Any = None

    def unlock(self) -> None:
        """Take a lock that nobody has: at first, and in the child of a fork."""
        self._lock = allocate_lock()

    def route(self, loop: asyncio.AbstractEventLoop) -> Route | None:
        """Return where the calls of a loop go; None for anyio's own threads."""
        routes = self._by_loop.get(loop)
        return routes[-1] if routes else self._everywhere

    def install(self, route: Route | None) -> None:
        with self._lock:
            old = self._everywhere
            if route is not None and route.serves_the_same(old):
                return
            if route is not None:
                self._replace()
            self._everywhere = route
            self._restore()
        if old is not None:
            old.close()

    def enter(self, loop: asyncio.AbstractEventLoop, route: Route) -> None:
        with self._lock:
            self._replace()
            self._by_loop[loop] = (*self._by_loop.get(loop, ()), route)

    def leave(self, loop: asyncio.AbstractEventLoop, route: Route) -> None:
        with self._lock:
            left = tuple(other for other in self._by_loop.get(loop, ()) if other is not route)
            if left:
                self._by_loop[loop] = left
            else:
                self._by_loop.pop(loop, None)
            self._restore()
        route.close()

    def _replace(self) -> None:
        """Put our method into the class, under the lock, unless it is there."""
        found = vars(AsyncIOBackend).get(_METHOD)
        if self._ours is not None:
            if found is self._original:  # somebody has put it back
                setattr(AsyncIOBackend, _METHOD, self._ours)
            return  # it is there, or called by what somebody else has put over it
        if not isinstance(found, classmethod) or list(inspect.signature(found.__func__).parameters) != _PARAMETERS:
            raise RuntimeError(
                f"anyio {version('anyio')} starts its worker threads in another way than the versions that"
                " tpool_asyncio.interop.starlette knows; do without it, or install a version that knows this anyio"
            )
        self._original = found
        self._ours = classmethod(self._method(found.__func__))
        setattr(AsyncIOBackend, _METHOD, self._ours)

    def _restore(self) -> None:
        """Put anyio's own method back, under the lock, if there is nothing to do for ours.

        If somebody has put another one over it meanwhile, ours stays, and hands everything on.
        """
        if self._ours is None or self._everywhere is not None or self._by_loop:
            return
        if vars(AsyncIOBackend).get(_METHOD) is self._ours:
            setattr(AsyncIOBackend, _METHOD, self._original)
            self._ours = self._original = None

    def _method(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def run_sync_in_worker_thread(
            cls: type[AsyncIOBackend],
            func: Callable[..., Any],
            args: tuple[Any, ...],
            abandon_on_cancel: bool = False,
            limiter: Any = None,
        ) -> Any:
            route = self.route(asyncio.get_running_loop())
            if route is None:
                return await original(cls, func, args, abandon_on_cancel, limiter)
            return await route.run(cls, func, args, abandon_on_cancel, limiter)

        return run_sync_in_worker_thread


switch = _Switch()

if hasattr(os, "register_at_fork"):  # pragma: no branch - the suite runs where processes fork
    os.register_at_fork(after_in_child=switch.unlock)
