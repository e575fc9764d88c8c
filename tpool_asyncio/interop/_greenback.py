"""The portals of greenback, through which synchronous code can wait.

A portal belongs to a task. All greenlets in which code of that task runs can wait through it: greenback notes which of
them did so last, and goes on there.
"""

import asyncio
from collections.abc import Container, Coroutine
from typing import Any

from greenback import _impl, await_, has_portal

__all__ = ["host", "is_watched"]


class _Host:
    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def await_(self, steps: Coroutine[Any, Any, Any], /) -> Any:
        outcome: list[Any] = []
        try:
            await_(_settle(outcome, steps))
        except BaseException:  # pragma: no cover - after a switch of greenlets
            steps.close()
            raise
        value, error = outcome
        outcome.clear()
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # or else its traceback and this frame would hold each other


async def _settle(outcome: list[Any], steps: Coroutine[Any, Any, Any]) -> None:
    """Store value and error, since greenback would make an error that goes through it lead back to itself."""
    try:
        outcome += await steps, None
    except GeneratorExit:
        raise
    except BaseException as error:
        outcome += None, error


_host = _Host()


def host() -> _Host | None:
    """Return what waits in the current task, if it has a portal that is open. Any thread."""
    loop = asyncio._get_running_loop()
    if loop is None:  # not asyncio, or a script
        return None
    task = asyncio.current_task(loop)
    return _host if task is not None and has_portal(task) else None


def is_watched(task: "asyncio.Task[Any] | None") -> bool:
    """Return whether a task has a portal, be it one that opens with its next step. In its thread."""
    return task in _portals


# Asked after each call of a green thread, so that it has to be quicker than `has_portal`.
_portals: Container[object] = _impl.task_portals
