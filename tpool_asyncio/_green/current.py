"""Which hub is that of this thread, and how hubs end with their thread, with the process, and in a fork.

Of each thread there is at most one hub with a loop of its own; it serves the thread's script. Besides there is one for
each loop that runs in this thread by other means. All are kept in a thread-local, so nothing here needs a lock.

The end of a thread
    A thread-local is cleared when its thread ends, in that thread. So an object in it that has a ``__del__`` is the
    hook that `threading` does not offer. The main thread is not cleared before the interpreter is half gone: for it
    there is an `atexit` hook, which runs before the one of the pools, whose threads the green threads may need.
"""

import asyncio
import atexit
import os
import sys
import warnings
import weakref
from asyncio import CancelledError
from contextlib import ExitStack
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet

from tpool_asyncio._green.ctrl_c import give_back_after_fork
from tpool_asyncio._green.driven import Driven
from tpool_asyncio._green.hub import Hub, LoopFactory
from tpool_asyncio._green.interrupts import Interrupt
from tpool_asyncio._pool.native import current_thread, get_ident, local
from tpool_asyncio._pool.refusal import levels_to_user, shown

__all__ = ["get_hub", "use_hub"]


class _ThreadHubs:
    """The hubs of one thread, which end with it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.thread = get_ident()
        self.owner = current_thread()  # at the end of the thread, `threading` does not know it any more
        self.factory: LoopFactory = asyncio.new_event_loop
        self.own: Hub | None = None
        self.others: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()

    def find(self, running: asyncio.AbstractEventLoop | None) -> Hub:
        """Return the hub over this loop, or the one that has its own if no loop runs; make it if there is none."""
        own = self.own
        if running is None:
            if own is not None and own._closed:
                self.own = None
                own._end_without_loop()  # its green threads may come here as well
            if self.own is None:
                self.own = Hub(None, self.factory, self.owner)
            return self.own
        if own is not None and own._loop() is running:
            return own
        hub = self.others.get(running)
        if hub is None:
            self._sweep()
            if own is not None and not own._closed and (left := own.green_threads):
                names = ", ".join(sorted({green.name for green in left}))
                warnings.warn(
                    f"{len(left)} green thread(s) of this thread's script do not run while another loop runs, as in"
                    f" asyncio.run: {names}; spawn them in there",
                    RuntimeWarning,
                    stacklevel=levels_to_user(),
                )
            hub = self.others.get(running)  # which a green thread that was ended just now may have asked for
            if hub is None:
                hub = self.others[running] = Hub(running, self.factory, self.owner)
        return hub

    def _sweep(self) -> None:
        """End what closed loops have left; the green threads there keep their loops from being collected."""
        for loop, hub in list(self.others.items()):
            if loop.is_closed() and self.others.pop(loop, None) is not None:  # its green threads may come here as well
                hub._end_without_loop()

    def end(self) -> None:
        """Close all hubs, at the end of the thread, when thread-locals may be gone already."""
        ending = any(hub._greens for hub in self._all())
        if ending:
            _local.hubs = self  # the green threads look there for their hub
        try:
            with ExitStack() as closing:  # which closes all, whatever one of them raises
                closing.callback(self._end_own)  # the last, as what others end may ask for it
                for hub in self.others.values():
                    closing.callback(hub._end)
        finally:
            self.own = None
            self.others.clear()
            if ending:
                _local.hubs = _local.hub = None

    def _end_own(self) -> None:
        while (own := self.own) is not None:
            own._end()
            if self.own is own:  # pragma: no branch - or one was asked for meanwhile, at the end of a thread
                self.own = None

    def _all(self) -> list[Hub]:
        return [*self.others.values(), *([] if self.own is None else [self.own])]

    def _abandon(self) -> None:
        """Leave everything as it is, since its thread is not here."""
        for hub in self._all():
            hub._abandon()
        self.own = None

    def __del__(self) -> None:
        if self.process == os.getpid() and self.thread == get_ident():
            self.end()
        else:  # left by a thread that this fork has not got, or by a daemon thread at the exit of the interpreter
            self._abandon()


class _Local(local):
    hub: Hub | None = None
    """The hub that was asked for last in this thread."""

    hubs: _ThreadHubs | None = None


_local = _Local()


def _thread_hubs() -> _ThreadHubs:
    hubs = _local.hubs
    if hubs is None:
        hubs = _local.hubs = _ThreadHubs()
    return hubs


def get_hub() -> Hub:
    """Return the hub of this thread: over the loop that runs here, or else with a loop of its own.

    A loop of its own is made when the hub's ``loop`` is first asked for or something first waits, and runs only while
    a script waits. It is closed with the hub, at the end of the thread.

    May be called from any thread; each has its own.

    .. versionadded:: 0.1.0
    """
    running = asyncio._get_running_loop()
    hub = _local.hub
    if running is None or hub is None or hub._loop() is not running:
        hub = _local.hub = _thread_hubs().find(running)
    return hub


def use_hub(hub: "asyncio.AbstractEventLoop | LoopFactory | str | None" = None) -> None:
    """Choose the event loop for the hub that this thread's scripts use, before it is started.

    Args:
        hub: ``"asyncio"`` or ``"uvloop"``, a function without arguments that makes a loop, or a loop, which the hub
            then closes at its end. None for what `asyncio.new_event_loop` makes.

    Raises:
        RuntimeError: The hub is started already; close it first.
        ValueError: There is no loop of that name, or the loop is closed or runs already.
        ImportError: ``"uvloop"`` is not installed.
        TypeError: It is none of these.

    May be called from any thread, for itself. The loop that `asyncio.run` runs is chosen there, not here.

    .. versionadded:: 0.1.0
    """
    factory = _factory(hub)
    hubs = _thread_hubs()
    own = hubs.own
    if own is not None and own._started and not own._closed:
        raise RuntimeError("the hub of this thread has been started; call get_hub().close() before use_hub()")
    hubs.own = None
    _local.hub = None
    hubs.factory = factory
    if own is not None and own._started:
        own._end_without_loop()  # its green threads may ask for the next hub


def _factory(hub: Any) -> LoopFactory:
    if hub is None:
        return asyncio.new_event_loop
    if isinstance(hub, str):
        return _named_factory(hub)
    if isinstance(hub, asyncio.AbstractEventLoop):
        if hub.is_closed() or hub.is_running():
            raise ValueError(f"a hub needs a loop that is neither closed nor running, not {shown(hub)}")
        return partial(_given, hub)
    if callable(hub):
        return hub  # type: ignore[no-any-return]
    raise TypeError(f"use_hub takes 'asyncio', 'uvloop', a loop or a function that makes one, not {shown(hub)}")


def _given(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    if loop.is_closed():
        raise RuntimeError(
            "the loop that use_hub() was given is closed, and with it the hub that had it; call use_hub() for the next"
        )
    return loop


def _named_factory(name: str) -> LoopFactory:
    if name == "asyncio":
        if sys.platform == "win32":  # pragma: no cover - the suite runs on POSIX systems
            return asyncio.ProactorEventLoop
        return asyncio.SelectorEventLoop
    if name == "uvloop":
        try:
            import uvloop
        except ImportError:
            raise ImportError("use_hub('uvloop') needs uvloop; install it, or use_hub('asyncio')") from None
        return uvloop.new_event_loop
    raise ValueError(f"there is no event loop named {name!r}; use_hub knows 'asyncio' and 'uvloop'")


def _end_main_thread() -> None:
    hubs = _local.hubs
    if hubs is not None:
        hubs.end()


def _after_fork_in_child() -> None:
    here: greenlet | None = getcurrent()
    while here is not None:
        if isinstance(here, Driven):
            # Its driver would run the parent's loop. With an interrupt it does not take the fast path to it.
            here._hub._forked = True
            here._interrupts = (Interrupt(CancelledError(), 0),)
            here.__sqlalchemy_greenlet_provider__ = False
        here = here.parent
    hubs = _local.hubs
    _local.hub = _local.hubs = None
    if hubs is not None:
        hubs._abandon()
    give_back_after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch - the suite runs where processes fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_end_main_thread)
