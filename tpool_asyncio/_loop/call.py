"""The future of a call, which is at the same time the job that the pool runs.

One object for both saves an allocation, and it lets `cancel` reach the pool without a callback on every call, which
would be one of the dearest parts of it. What each thread may touch is told in
`tpool_asyncio._pool.job`; the future's own methods are called in the thread of its loop only, as with any
`asyncio.Future`.
"""

import asyncio
import sys
from typing import Any, NoReturn, TypeVar

from tpool_asyncio._loop.loop_job import LoopJob, presentable
from tpool_asyncio._pool.job import ENDED

__all__ = ["FINDS_LOOP", "Call"]

T = TypeVar("T")

FINDS_LOOP = sys.version_info >= (3, 12)
"""Whether a future finds the running loop by itself sooner than it takes it as an argument: 3.11 asks the system for
the number of the process each time."""


class Call(LoopJob, asyncio.Future[T]):
    """A call without options."""

    __slots__ = ("args", "claim", "context", "culprit", "errands", "error", "fn", "kwargs", "mailbox", "value")

    @property
    def unwanted(self) -> bool:
        return self.done()  # of a job that runs, nobody but the caller can have ended the future

    def __repr__(self) -> str:
        """Name the function, where it is still known, in what asyncio says of its futures."""
        text, name = super().__repr__(), self.name
        return text if name is ENDED else text.replace("Call", f"Call {name}", 1)

    def __aiter__(self) -> NoReturn:
        raise TypeError(
            "a call has to be awaited before its result is iterated over: 'async for item in await ...' if that is a"
            " proxy; what a function returns is read in the pool by 'async for item in tpool.iterate(function, ...)'"
        )

    async def __aenter__(self) -> NoReturn:
        raise TypeError("a call has to be awaited before its result is entered: 'async with await ...'")

    async def __aexit__(self, *failure: object) -> None:
        """Do nothing; `__aenter__` has raised."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the call: a queued one never runs, a running one is abandoned."""
        if self.done():
            return False
        try:
            if not self.withdraw():
                self.stop_errands()
        except BaseException:  # out of a signal handler: nobody is to wait for what may never run
            super().cancel(msg)
            raise
        return super().cancel(msg)

    def settle(self) -> None:
        """Pass the outcome on to whoever waits. In the thread of the loop."""
        try:
            if self.error is None:
                self.set_result(self.value)
                self.value = None
            else:
                self.set_exception(presentable(self.error, self.name))
                self.error = None
        except asyncio.InvalidStateError:
            self.drop_outcome()
