"""The greenlets of greenletio, in which synchronous code can wait.

They carry no mark. But whoever has switched to one is a function of greenletio, and so that is what the parent of the
greenlet is in the middle of.

In a script greenletio runs its own loop in a greenlet beside the script, which it calls the bridge, from the first time
that the script waits. From then on the script waits there.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import greenletio.core  # type: ignore[import-untyped]
from greenlet import getcurrent

__all__ = ["host"]


class _Host:
    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def await_(self, steps: Coroutine[Any, Any, Any], /) -> Any:
        return greenletio.core.await_(steps)


_host = _Host()
_names = vars(greenletio.core)


def host() -> _Host | None:
    """Return what waits in the current greenlet, if it is one of theirs, or a script with their bridge. Any thread."""
    if asyncio._get_running_loop() is None:
        return None
    current = getcurrent()
    parent = current.parent
    if parent is None:
        bridge = greenletio.core.bridge.bridge_greenlet
        return _host if bridge is not None and bridge.parent is current else None
    frame = parent.gr_frame
    return _host if frame is not None and frame.f_globals is _names else None
