"""Event loops that notice when an outcome is delivered in the wrong thread.

A future that is settled by the thread of another loop has its own loop go on with whoever awaits it, so nobody there
notices anything. But it does so by `call_soon`, there and then; and that is for the thread of the loop only.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

from tpool_asyncio._bench.soak.ledger import Ledger

__all__ = ["watched"]

NewLoop = Callable[[], asyncio.AbstractEventLoop]


def watched(new_loop: NewLoop, ledger: Ledger) -> NewLoop:
    """Return what makes the same loops, each of which tells the ledger. They belong to the thread that makes them."""
    kinds: dict[type, type] = {}

    def make() -> asyncio.AbstractEventLoop:
        loop = new_loop()
        kind = type(loop)
        if kind not in kinds:
            kinds[kind] = _watching(kind, ledger)
        vars(loop)["owner"] = threading.get_ident()
        loop.__class__ = kinds[kind]
        return loop

    return make


def _watching(kind: type[Any], ledger: Ledger) -> type:
    class Watching(kind):  # type: ignore[misc]
        __slots__ = ()

        def call_soon(
            self, callback: Callable[..., object], *args: Any, context: Context | None = None
        ) -> asyncio.Handle:
            if threading.get_ident() != self.owner:
                ledger.blame(f"{callback!r} was given to a loop by the thread {threading.current_thread().name}")
            handle: asyncio.Handle = super().call_soon(callback, *args, context=context)
            return handle

    return Watching
