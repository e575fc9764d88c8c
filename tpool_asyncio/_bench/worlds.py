"""The packages that have green threads, brought down to what the measurements need of them.

A package is imported when its world is opened and not before, so that a process knows only its own.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

__all__ = ["WORLDS", "Signal", "World"]

Signal = tuple[Callable[[], object], Callable[[], object]]
"""How to wait for something that happens once, and how to say that it has happened."""


@dataclass(frozen=True, slots=True)
class World:
    """Green threads of one package. The code that measures is a plain script to it, not one of its green threads."""

    spawn: Callable[[Callable[[], object]], Any]
    join: Callable[[Any], object]
    """Wait for the end of what ``spawn`` returned."""
    new_signal: Callable[[], Signal]
    """Make what any number of green threads can wait for, by the cheapest means the package has."""
    end: Callable[[], object] = tuple
    """Make this a script again in which no green thread has ever been, if the package knows the difference."""


def _green() -> World:
    from tpool_asyncio import green
    from tpool_asyncio.hubs import get_hub

    def new_signal() -> Signal:
        loop = get_hub().loop
        loop.set_debug(False)  # whatever the environment says, or else it would be that which is measured
        future: Any = loop.create_future()
        return partial(green.await_, future), partial(future.set_result, None)

    return World(green.spawn, green.GreenThread.wait, new_signal, lambda: get_hub().close())


def _eventlet() -> World:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises against itself at each import
        eventlet = import_module("eventlet")
        new_event = import_module("eventlet.event").Event

    def new_signal() -> Signal:
        event = new_event()
        return event.wait, event.send

    return World(eventlet.spawn, import_module("eventlet.greenthread").GreenThread.wait, new_signal)


def _gevent() -> World:
    gevent = import_module("gevent")
    new_event = import_module("gevent.event").Event

    def new_signal() -> Signal:
        event = new_event()
        return event.wait, event.set

    return World(gevent.spawn, gevent.Greenlet.join, new_signal)


WORLDS: dict[str, Callable[[], World]] = {"green": _green, "eventlet": _eventlet, "gevent": _gevent}
"""How to open each; raises `ImportError` if the package is missing."""
