"""The greenthreads of Eventlet, in which synchronous code can wait.

A greenthread waits as all of Eventlet waits: it switches to the hub, and only this greenthread waits. What it waits for
belongs to the event loop that Eventlet's **asyncio hub** runs. No other hub of Eventlet's runs one.

Who can wait, by the greenlet
    - A greenthread, and any greenlet below the hub's: on the asyncio hub it waits there, on another hub it is an error.
    - The greenlet of the hub itself runs the loop, so code in it is async code, or a callback, like any other.
    - The main greenlet of a thread waits as the greenthreads do if its thread has an asyncio hub. On another hub it is
      an error if that hub has been started or has something to do, since greenthreads would stand still.
    - A thread in which nobody has used Eventlet is none of Eventlet's business, although it may have been imported. But
      whoever has chosen the asyncio hub, by EVENTLET_HUB for the main thread or by ``use_hub`` for this one, wants it.
    - A thread of a pool may block, so code in its main greenlet does, if its hub has no loop.

How an exception ends the wait
    `eventlet.Timeout` and ``kill`` throw an exception in where the greenthread waits. (1) What it waits for is
    cancelled. (2) If that was a call in the pool, it is done with that, and the exception goes on its way at once, with
    no switch in between. A coroutine may have to clean up: the greenthread waits until it has ended, unless another
    exception is thrown in meanwhile. (3) What comes out of a coroutine that was cancelled, and is no cancellation, goes
    before the exception, as what comes out of a ``finally`` block does. If (0) the outcome was there already, and the
    greenthread was about to be woken, it is lost.
"""

import asyncio
import os
import sys
from asyncio import AbstractEventLoop
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import eventlet.hubs  # type: ignore[import-untyped]
from greenlet import getcurrent, greenlet

from tpool_asyncio._green.ctrl_c import MAIN_THREAD
from tpool_asyncio._green.waiting import carry_back
from tpool_asyncio._pool.native import get_ident
from tpool_asyncio._pool.worker import current_worker

__all__ = ["host"]


class _Host:
    """A hub of Eventlet's with an event loop, for the greenlets of its thread."""

    __slots__ = ("_hub", "_loop")

    def __init__(self, hub: Any, loop: AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop

    def get_loop(self) -> AbstractEventLoop:
        """Return the loop of the hub, which runs as soon as something waits."""
        return self._loop

    def await_(self, steps: Coroutine[Any, Any, Any], /) -> Any:
        """Wait for a coroutine, in a task. Context variables that it sets are set afterwards."""
        context = copy_context()
        try:
            task = self._loop.create_task(steps, context=context)
        except BaseException:
            steps.close()
            raise
        try:
            return self.wait(task)
        finally:
            del task, steps  # an error's traceback leads here, and must not lead back to it
            carry_back(context)

    def wait(self, future: "asyncio.Future[Any]", /) -> Any:
        """Wait for a future of the loop. See the top of this module."""
        if future.get_loop() is not self._loop:
            raise RuntimeError(
                f"{future!r} belongs to another loop than that of this thread's Eventlet hub, which would wait for it"
                " for ever; await it in that loop, or make it in this one: asyncio.get_running_loop()"
            )
        hub = self._hub
        waiting = _Waiting(hub)
        try:
            future.add_done_callback(waiting.end)
            try:
                while not future.done():  # and not if somebody else switches here
                    hub.switch()
            except BaseException:  # pragma: no cover - after a switch of greenlets
                if future.done():
                    raise
                future.cancel()
                while not future.done() and not hub.greenlet.dead:  # which it is after Ctrl-C or `SystemExit`
                    hub.switch()
                if future.done() and not future.cancelled() and (error := future.exception()) is not None:
                    raise error  # noqa: B904 - in the context of what has ended it
                raise
            return future.result()  # pragma: no cover - after a switch of greenlets
        finally:  # pragma: no cover - after a switch of greenlets
            waiting.greenlet = None
            future.remove_done_callback(waiting.end)
            error = None
            del future  # as above


class _Waiting:
    """A greenlet that waits; None when it does not any more."""

    __slots__ = ("_hub", "greenlet")

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self.greenlet: greenlet | None = getcurrent()

    def end(self, _future: "asyncio.Future[Any]") -> None:
        """Have the greenlet go on, here and now. In a callback of the loop.

        To have the hub switch to it, as Eventlet does, would take several turns of the loop. But what comes out of a
        greenthread at its end is handed to the hub: it prints errors, and it has to end with `SystemExit` in order.
        """
        waiting, self.greenlet = self.greenlet, None
        if waiting is None:
            return
        hub = self._hub
        try:
            waiting.switch()
        except hub.SYSTEM_EXCEPTIONS as error:  # pragma: no cover - after a switch of greenlets
            hub.schedule_call_global(0, _raise, error)
        except BaseException:  # pragma: no cover - after a switch of greenlets
            hub.squelch_generic_exception(sys.exc_info())


def _raise(error: BaseException) -> None:
    try:
        raise error
    finally:
        del error


def host() -> _Host | None:
    """Return what waits in the current greenlet, if that is Eventlet; raise an error if it cannot. Any thread."""
    hub = _hub()
    if hub is None:
        return None
    main: greenlet | None = getcurrent()
    green = False
    while main is not None and not green:
        green = main is hub.greenlet
        main = main.parent
    loop = getattr(hub, "loop", None)
    if not isinstance(loop, AbstractEventLoop):
        if green or (current_worker() is None and _is_in_use(hub)):
            raise _other_hub_error(hub)
        return None
    if getcurrent() is hub.greenlet:
        return None
    running = asyncio._get_running_loop()
    if running is not loop:
        if not green and running is not None:
            return None  # async code, next to which the hub stands still
        _set_running_loop(hub)
    return _Host(hub, loop)


def _hub() -> Any:
    """Return the hub of this thread, None if nobody has made one, nor chosen which one is to be made."""
    known = eventlet.hubs._threadlocal
    hub = getattr(known, "hub", None)
    if hub is not None or asyncio._get_running_loop() is not None:
        return hub
    if hasattr(known, "Hub") or (get_ident() == MAIN_THREAD and os.environ.get("EVENTLET_HUB") in _ASYNCIO_HUB):
        return eventlet.hubs.get_hub()
    return None


_ASYNCIO_HUB = ("asyncio", "eventlet.hubs.asyncio", "eventlet.hubs.asyncio:Hub")


def _is_in_use(hub: Any) -> bool:
    return bool(hub.running or hub.get_timers_count() or hub.get_readers() or hub.get_writers())


def _other_hub_error(hub: Any) -> RuntimeError:
    return RuntimeError(
        f"the Eventlet hub of this thread, {type(hub).__module__}, runs no asyncio event loop, so nothing here can wait"
        " for a thread of a pool or for async code; use Eventlet's asyncio hub: set the environment variable"
        " EVENTLET_HUB=asyncio, or call eventlet.hubs.use_hub('asyncio') in the thread before anything else of Eventlet"
    )


def _after_fork_in_child() -> None:
    """Repair the loop of the hub, which Eventlet has go on in the child."""
    hub = getattr(eventlet.hubs._threadlocal, "hub", None)
    loop: Any = getattr(hub, "loop", None)
    if hub is None or not isinstance(loop, asyncio.SelectorEventLoop) or loop.is_closed():
        return
    _set_running_loop(hub)
    hub.schedule_call_global(0, _set_running_loop, hub)  # once more, after what other hubs have registered to be done
    _separate(loop)


def _set_running_loop(hub: Any) -> None:
    """Have the loop of the hub known as the running one of this thread, if it runs.

    After a fork it is not: up to Eventlet 0.37 there is none, and later it is that of the hub that was made last, be it
    in another thread.
    """
    if hub.running:
        asyncio._set_running_loop(hub.loop)


def _separate(loop: Any) -> None:
    """Give a loop a selector and a wake-up socket that are not those of the parent.

    With these the two processes would take wake-ups from each other.
    """
    old = loop._selector
    new = loop._selector = type(old)()
    wake_up = loop._ssock
    for key in list(old.get_map().values()):
        if key.fd != wake_up.fileno():
            with suppress(OSError, ValueError):  # somebody has closed it without telling
                new.register(key.fileobj, key.events, key.data)
    wake_up.close()
    loop._csock.close()
    loop._internal_fds -= 1
    loop._make_self_pipe()
    with suppress(OSError):  # a kqueue is not there after a fork
        old.close()  # without a word to it about any file, since it is the parent's as well


if hasattr(os, "register_at_fork"):  # pragma: no branch - the suite runs where processes fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
