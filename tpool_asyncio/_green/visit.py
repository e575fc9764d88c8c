"""What another thread wants run in the loop of a hub, and the future that it gets for it.

A **visit** is an errand for whose outcome nobody need wait. Whoever drops it ends it: a loop that is closed forgets
what it has taken, or takes it too late, without a word to anybody, so a visit that is collected before its end, or
whose task is, tells its future. That is why nothing but the loop holds a visit: the future knows it weakly.

The state of the future is guarded by its own lock: whoever comes second, of one that ends the visit and one that
cancels, is refused. ``_ended`` and ``_watch`` belong to the thread of the loop, and to whichever thread collects what
the loop has dropped, when nobody else has it any more. The rest is as with any errand.
"""

import asyncio
import concurrent.futures
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from tpool_asyncio._loop.errand import AsyncErrand
from tpool_asyncio._loop.gate import post
from tpool_asyncio._loop.token import Token
from tpool_asyncio._pool.job import is_caught_by
from tpool_asyncio._pool.refusal import not_callable_error

if TYPE_CHECKING:
    from tpool_asyncio._green.hub import Hub

__all__ = ["visit"]

T = TypeVar("T")


class _Visit(AsyncErrand):
    """An awaitable to await in the loop of a hub."""

    def __init__(
        self,
        hub: "Hub",
        loop: asyncio.AbstractEventLoop,
        context: Context,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._ended = False
        self._watch: weakref.ref[asyncio.Task[Any]] | None = None
        self._hub = hub
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        super().__init__(Token(loop), context, fn, args, kwargs)
        stop = weakref.WeakMethod(self.withdraw)
        host = weakref.ref(loop)

        def cancelled(future: "concurrent.futures.Future[Any]") -> None:
            living, withdraw = host(), stop()
            if future.cancelled() and living is not None and withdraw is not None:
                withdraw(living)

        self.future.add_done_callback(cancelled)

    def start(self) -> None:
        if self._hub._runner_closed:  # this is one of its last turns
            self._finish(None, self._hub._closed_error())
        else:
            super().start()
            task = None if self._task is None or self._ended else self._task()
            if task is not None:
                self._watch = weakref.ref(task, self._lost)

    def _hold(self, task: "asyncio.Task[Any]") -> None:
        """Hold nothing: nobody need wait for a visit."""

    def _lost(self, watch: object = None) -> None:  # noqa: ARG002 - what a weak reference calls
        if not self._ended:
            self._finish(None, self._hub._closed_error())

    def _finish(self, value: Any, error: BaseException | None) -> None:
        self._ended = True
        self._watch = None  # it leads back to this
        future = self.future
        if is_caught_by(error, asyncio.CancelledError):
            future.cancel()
        if future.set_running_or_notify_cancel():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def __del__(self) -> None:
        self._lost()


def visit(
    hub: "Hub", fn: Callable[..., Awaitable[T]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> "concurrent.futures.Future[T]":
    """Do what `Hub.run_threadsafe` does. Any thread."""
    if not callable(fn):
        raise not_callable_error(fn)
    loop = hub._loop_for_visitors()
    errand = _Visit(hub, loop, copy_context(), fn, args, kwargs)
    future: concurrent.futures.Future[T] = errand.future
    if not post(loop, errand.start):
        raise hub._closed_error()
    del errand
    ring = hub._script.ring
    if ring is not None:
        ring()
    return future
