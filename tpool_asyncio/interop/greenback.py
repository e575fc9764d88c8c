"""The portals of greenback, through which synchronous code can wait.

A portal belongs to a task. All greenlets in which code of that task runs can wait through it: greenback notes which of
them did so last, and goes on there.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import greenback

__all__ = ["has_portal", "host"]


class _Host:
    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def await_(self, steps: Coroutine[Any, Any, Any], /) -> Any:
        return greenback.await_(steps)


_host = _Host()


def host() -> _Host | None:
    """Return what waits in the current task, if it has a portal that is open. Any thread."""
    loop = asyncio._get_running_loop()
    if loop is None:  # not asyncio, or a script
        return None
    task = asyncio.current_task(loop)
    return _host if task is not None and greenback.has_portal(task) else None


def has_portal(task: "asyncio.Task[Any]") -> bool:
    """Return whether the current task has a portal that is open. In its thread."""
    return greenback.has_portal(task)
