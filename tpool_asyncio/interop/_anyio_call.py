"""A call that somebody made through anyio, with what anyio promises of cancellation.

anyio lets a call that runs end before it cancels who waits for it, unless it is to be abandoned; and it hands on the
outcome, for the caller may have to undo what the call has done. A call that waits for a thread is cancelled at once.
What happens is decided in `WorkerCall.cancel`, to which a cancellation comes in any case:

    queued, or to be abandoned → cancelled at once, as with any call
    running → False: "it cannot be cancelled now". The task then remembers by itself that it has been cancelled, and
              gets its `CancelledError` when the call has ended. anyio would try again in each turn of the loop until
              then; the scope around the call is shielded from that moment on, so it does not.

When the call has ended, `outcome` looks who it was. anyio, which cancels again at the next opportunity, has the
outcome handed on. A cancellation of asyncio comes only once, so it goes first, and the outcome is dropped.

All of it happens in the thread of the loop.
"""

import asyncio
import math
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from tpool_asyncio._loop.call import Call
from tpool_asyncio._loop.entrance import new_entrance
from tpool_asyncio._pool.job import new_claim

if TYPE_CHECKING:
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["WorkerCall", "outcome"]

T = TypeVar("T")


class WorkerCall(Call[T]):
    """A call that is waited for although it has been cancelled. Only `outcome` makes it."""

    __slots__ = ("_abandons", "_given_up", "_message", "_scope")

    def begin(self, scope: anyio.CancelScope, *, abandons: bool) -> None:
        """Say what cancellation does: shield this scope, or abandon the call."""
        self._scope = scope
        self._abandons = abandons
        self._given_up = False
        self._message: Any = None

    @property
    def unwanted(self) -> bool:
        return self._given_up or self.done()

    def cancel(self, msg: Any | None = None) -> bool:
        if self._abandons:
            return super().cancel(msg)
        if self.done():
            return False
        try:
            if self.withdraw():
                return asyncio.Future.cancel(self, msg)
        except BaseException:  # as in `Call.cancel`
            if self.fn is None:  # pragma: no branch - what runs ends by itself
                asyncio.Future.cancel(self, msg)
            raise
        self.stop_errands()
        self._given_up = True
        self._message = msg
        self._scope.shield = True
        return False

    def settle(self) -> None:
        if self._given_up and isinstance(self.error, asyncio.CancelledError):
            self.error = None  # it has noticed, and ended
            asyncio.Future.cancel(self, self._message)
        else:
            super().settle()


async def outcome(core: "ThreadPool", fn: Callable[..., T], args: tuple[Any, ...], *, abandons: bool) -> T:
    """Run a call in a pool, and return or raise its outcome.

    A call from a worker of the same pool is queued like any other, so there must be a thread for it.
    """
    loop = asyncio.get_running_loop()
    mailbox = core.local.mailbox
    if mailbox is None or mailbox.loop() is not loop:
        mailbox, _ = new_entrance(core, loop)
    call: WorkerCall[T] = WorkerCall(loop=loop)
    with anyio.CancelScope() as scope:
        call.begin(scope, abandons=abandons)
        call.mailbox = mailbox
        call.error = None
        call.claim = new_claim()
        call.fn = fn
        call.args = args
        call.kwargs = None
        call.context = copy_context()  # in which the worker takes back that a loop runs, see `_anyio`
        del fn, args
        try:
            core.submit(call)
            try:
                return await call
            except asyncio.CancelledError:
                if call.cancelled():
                    raise
                scope.shield = False
                if anyio.current_effective_deadline() != -math.inf:
                    if (error := call.exception()) is not None:
                        call.error = error
                    call.drop_outcome()
                    raise
            return call.result()
        finally:
            error = None
            del call
    raise AssertionError("the scope cancels nothing by itself")  # pragma: no cover
