"""The future of a call with options: time limits, a limiter, and callers that wait for the real end.

The life of such a call, all of it in the thread of the loop except for the running itself:

    admission (only with a limiter) → queue → running → settled

`withdraw` ends it in admission and in the queue. When it runs already and the caller is to wait, `ending` remembers
what the caller gets once the job has really ended. The future itself then stays pending: that is what makes
`asyncio.wait_for`, `asyncio.timeout` and every other waiter wait, without any of them knowing about it. The cancel
scopes of anyio have to know, see `tpool_asyncio.interop._anyio`, which this floor knows by name only.
"""

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tpool_asyncio._loop.call import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from tpool_asyncio._pool.job import Job

__all__ = ["Limiter", "OptionCall"]

T = TypeVar("T")


class Limiter(Protocol):
    """What is used of an `anyio.CapacityLimiter`."""

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for a token and take it."""

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give the token back."""


class Shelter(Protocol):
    """What keeps others from cancelling the tasks that wait for a call, again and again."""

    def enter(self) -> None:
        """Take in those that wait now. In a callback of the loop."""

    def leave(self) -> None:
        """Let all of them go, when the call has ended. In a callback of the loop."""


class OptionCall(Call[T]):
    """A call with options. Only `tpool_asyncio._loop.options` makes it."""

    __slots__ = (
        "_admission",
        "_borrower",
        "_ending",
        "_label",
        "_limiter",
        "_message",
        "_minds_start",
        "_shelter",
        "_timers",
        "_waits",
    )

    _ending: TimeoutError | asyncio.CancelledError | None
    _limiter: Limiter
    """Stored by `admit`; `_borrower` tells whether a token of it is held."""
    _shelter: "Shelter"
    """Stored by `_take_shelter`; not there before."""
    _timers: tuple[asyncio.TimerHandle, ...]

    def begin(
        self,
        *,
        timeout: float | None,
        queue_timeout: float | None,
        waits: bool,
        name: str | None,
    ) -> None:
        """Start the clocks. Then the call is to be queued, or to be admitted first."""
        self._waits = waits
        self._minds_start = queue_timeout is not None
        self._label = name
        self._ending = None
        self._admission: asyncio.Task[None] | None = None
        self._borrower: object = None
        loop = self.get_loop()
        timers = []
        if timeout is not None:
            timers.append(loop.call_later(timeout, self._expire, timeout))
        if queue_timeout is not None:
            timers.append(loop.call_later(queue_timeout, self._expire_in_queue, queue_timeout))
        self._timers = tuple(timers)

    def admit(self, limiter: Limiter, submit: "Callable[[Job], None]") -> None:
        """Have the call queued when the limiter admits it."""
        self._limiter = limiter
        waiting = self._wait_for_token(limiter, submit)
        try:
            admission = self.get_loop().create_task(waiting)
        except BaseException:
            waiting.close()
            raise
        self._admission = None if admission.done() else admission  # an eager task may have done it all

    @property
    def name(self) -> str:
        return self._label or super().name

    @property
    def unwanted(self) -> bool:
        return self._ending is not None or self.done()

    @property
    def waits(self) -> bool:
        return self._waits

    @property
    def minds_start(self) -> bool:
        return self._minds_start

    async def _wait_for_token(self, limiter: Limiter, submit: "Callable[[Job], None]") -> None:
        # The token belongs to this task: up to anyio 4.15, an acquisition that is cancelled in its last moment gives
        # back the token of the current task, whoever it was acquired for.
        borrower = asyncio.current_task()
        try:
            await limiter.acquire_on_behalf_of(borrower)
        except asyncio.CancelledError:
            # By `withdraw`, or by somebody who cancels all tasks: then the call ends with this one.
            self.stop_clocks()
            self.drop()
            asyncio.Future.cancel(self)
            raise
        except Exception as error:
            self._fail_early(error)
            return
        self._borrower = borrower
        self._admission = None
        if self.done():  # ended while the token was on its way
            self._leave_limiter()
            return
        try:
            submit(self)
        except Exception as error:
            self._leave_limiter()
            self._fail_early(error)

    def _fail_early(self, error: Exception) -> None:
        self.stop_clocks()
        self.drop()
        if not self.done():
            self.set_exception(error)

    def withdraw(self) -> bool:
        if self._admission is not None:
            self._admission.cancel()
            self.drop()
        elif super().withdraw():
            self._leave_limiter()
        else:
            return False
        self.stop_clocks()
        return True

    def cancel(self, msg: Any | None = None) -> bool:
        if self.done():
            return False
        try:
            if self.withdraw() or not self._lingers():
                return asyncio.Future.cancel(self, msg)
        except BaseException:  # as in `Call.cancel`; but what runs, and is to be waited for, ends by itself
            if self.fn is None or not self._waits:
                self._finish_withdrawal(msg)
            raise
        self._ending = asyncio.CancelledError()
        self._message = msg
        if sys.modules.get("anyio") is not None:
            self._take_shelter()
        return True

    def _finish_withdrawal(self, msg: Any | None) -> None:
        if self.fn is None:
            self._leave_limiter()
        self.stop_clocks()
        asyncio.Future.cancel(self, msg)

    def _take_shelter(self) -> None:
        if not hasattr(self, "_shelter"):
            self._shelter = import_module("tpool_asyncio.interop._anyio").Shelter(self)
        self.get_loop().call_soon(self._shelter.enter)

    def _expire(self, timeout: float) -> None:
        if self.done():
            return  # by a user's own `set_result`, which stops no clocks
        error = TimeoutError(f"{self.name} took longer than its timeout of {timeout} s")
        if self.withdraw():
            self.set_exception(error)
        elif self.fn is None:
            return  # it has ended in time, and its outcome is on its way
        elif not self._lingers():
            self.set_exception(error)
        elif self._ending is None:
            self._ending = error

    def _expire_in_queue(self, queue_timeout: float) -> None:
        if self.done():
            return
        what, how = ("a thread", "size of the pool") if self._admission is None else ("its limiter", "limiter's tokens")
        error = TimeoutError(
            f"{self.name} waited longer than its queue_timeout of {queue_timeout} s for {what};"
            f" raise the {how} or the queue_timeout"
        )
        if self.withdraw():
            self.set_exception(error)

    def _lingers(self) -> bool:
        """Have a running call wound up; return whether its caller has to wait until it has ended."""
        self.stop_errands()
        if not self._waits:
            self.stop_clocks()
        return self._waits

    def settle(self) -> None:
        self.stop_clocks()
        self._leave_limiter()
        if hasattr(self, "_shelter"):
            shelter = self._shelter
            del self._shelter
            shelter.leave()
        ending = self._ending
        if ending is None or self.done():
            super().settle()
            return
        self.drop_outcome()
        if isinstance(ending, TimeoutError):
            self.set_exception(ending)
        else:
            asyncio.Future.cancel(self, self._message)

    def _leave_limiter(self) -> None:
        borrower, self._borrower = self._borrower, None
        if borrower is not None:
            self._limiter.release_on_behalf_of(borrower)

    def stop_clocks(self) -> None:
        """Have the time limits end nothing any more."""
        for timer in self._timers:
            timer.cancel()
