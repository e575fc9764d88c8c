"""The greenlets of SQLAlchemy and awaitlet, in which synchronous code can wait.

Both mark their greenlets in the same way, and both await what such a greenlet hands to its parent.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from greenlet import getcurrent

__all__ = ["host"]


class _Host:
    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def await_(self, steps: Coroutine[Any, Any, Any], /) -> Any:
        parent = getcurrent().parent
        assert parent is not None
        return parent.switch(steps)


_host = _Host()


def host() -> _Host | None:
    """Return what waits in the current greenlet, if it is one of theirs. Any thread.

    In a fork the greenlet is there as well, but no loop runs that would await anything.
    """
    marked = getattr(getcurrent(), "__sqlalchemy_greenlet_provider__", False)
    return _host if marked and asyncio._get_running_loop() is not None else None
