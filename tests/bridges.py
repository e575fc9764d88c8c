"""Other libraries in whose greenlets synchronous code can wait, for the tests of what these have in common."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import awaitlet  # type: ignore[import-untyped]
import greenback
import greenletio  # type: ignore[import-untyped]
import pytest
from sqlalchemy.util import await_only, greenlet_spawn

from tpool_asyncio import green


@dataclass(frozen=True)
class Bridge:
    """How a library runs synchronous code that waits."""

    caller: str
    run: Callable[..., Coroutine[Any, Any, Any]]
    """An async function that calls a synchronous one, with its arguments, where that can wait."""
    await_: Callable[[Awaitable[Any]], Any]
    """How the synchronous code waits."""


async def _in_ensured_portal(fn: Callable[..., Any], /, *args: Any) -> Any:
    await greenback.ensure_portal()
    return fn(*args)


async def _in_greenletio(fn: Callable[..., Any], /, *args: Any) -> Any:
    return await greenletio.async_(fn, with_context=True)(*args)


SQLALCHEMY = Bridge("SQLAlchemy greenlet", greenlet_spawn, await_only)
AWAITLET = Bridge("awaitlet greenlet", awaitlet.async_def, awaitlet.awaitlet)
GREENBACK = Bridge("greenback portal", greenback.with_portal_run_sync, greenback.await_)
ENSURED = Bridge("greenback portal", _in_ensured_portal, greenback.await_)
GREENLETIO = Bridge("greenletio greenlet", _in_greenletio, greenletio.await_)
GREEN = Bridge("green thread", green.run, green.await_)

OTHERS = {
    "sqlalchemy": SQLALCHEMY,
    "awaitlet": AWAITLET,
    "greenback": GREENBACK,
    "ensured": ENSURED,
    "greenletio": GREENLETIO,
}
ALL = {"green": GREEN, **OTHERS}


def others(library: str) -> list[Any]:
    """Return the bridges but our own, as parameters of a test that shows how one works together with ``library``."""
    return [
        pytest.param(bridge, id=name, marks=pytest.mark.combination(caller=bridge.caller, library=library))
        for name, bridge in OTHERS.items()
    ]
