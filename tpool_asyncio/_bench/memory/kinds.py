"""What can be repeated: its name, how often at full size, and how it is begun on a kind of loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tpool_asyncio import green, hubs, tpool

__all__ = ["KINDS", "Kind", "async_kind", "green_kind", "kind", "load_kinds"]

NewLoop = Callable[[], asyncio.AbstractEventLoop]

Body = Callable[[int], Any]
"""Does something as many times as it is told."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that is repeated."""

    name: str
    full: int
    """How many times at full size."""
    spelling: str
    begin: Callable[[NewLoop], AbstractContextManager[Body]]
    """Gets ready, once for the process; what it gives in ``with`` does it."""
    title: str


KINDS: dict[str, Kind] = {}
"""All of them, in the order of the table."""


def load_kinds() -> dict[str, Kind]:
    """Import the modules with the programs, and return all kinds."""
    for module in ("async_kinds", "green_kinds"):
        import_module(f"tpool_asyncio._bench.memory.{module}")
    return KINDS


def kind(full: int, spelling: str) -> Callable[[Callable[[NewLoop, int], Any]], None]:
    """Make a function a kind that makes its loops by itself. Its docstring is the title."""

    def register(body: Callable[[NewLoop, int], Any]) -> None:
        @contextmanager
        def begin(new_loop: NewLoop) -> Iterator[Body]:
            yield lambda number: body(new_loop, number)

        _register(body, full, spelling, begin)

    return register


def async_kind(full: int) -> Callable[[Callable[[int], Coroutine[Any, Any, None]]], None]:
    """Make a coroutine function a kind; it runs in one loop all the time."""

    def register(body: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        @contextmanager
        def begin(new_loop: NewLoop) -> Iterator[Body]:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                yield lambda number: runner.run(_then_rest(body(number)))

        _register(body, full, "async", begin)

    return register


def green_kind(full: int) -> Callable[[Body], None]:
    """Make a function a kind; it runs as a script, with one hub all the time."""

    def register(body: Body) -> None:
        @contextmanager
        def begin(new_loop: NewLoop) -> Iterator[Body]:
            hubs.use_hub(new_loop)
            with closing(hubs.get_hub()):

                def body_and_rest(number: int) -> None:
                    body(number)
                    _rest()

                yield body_and_rest

        _register(body, full, "green", begin)

    return register


async def _then_rest(coroutine: Coroutine[Any, Any, None]) -> None:
    """Go on until outcomes have come back for which nobody has waited."""
    await coroutine
    while tpool.statistics().busy or tpool.statistics().queued:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.002)


def _rest() -> None:
    while tpool.statistics().busy or tpool.statistics().queued:
        green.sleep(0.001)
    green.sleep(0.002)


def _register(
    body: Callable[..., Any], full: int, spelling: str, begin: Callable[[NewLoop], AbstractContextManager[Body]]
) -> None:
    title = (body.__doc__ or "").partition("\n")[0].rstrip(".")
    KINDS[body.__name__] = Kind(body.__name__, full, spelling, begin, title)
