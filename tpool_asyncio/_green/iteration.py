"""Iterating over blocking sources in synchronous code."""

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Self, TypeVar

from tpool_asyncio._green.hosts import current_host
from tpool_asyncio._green.waiting import current_driven, give_way, script_hub, wait
from tpool_asyncio._loop.stream import StreamHolder
from tpool_asyncio._pool.worker import current_worker

__all__ = ["Iteration"]

T = TypeVar("T")

_REMEDY = "use 'from tpool_asyncio import tpool' and 'async for'"


class Iteration(StreamHolder, Iterator[T]):
    """What `iterate` returns: an iterator over a blocking source, of which only the calling green thread waits.

    .. versionadded:: 0.1.0
    """

    __slots__ = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._popleft()  # type: ignore[no-any-return]
        except IndexError:
            pass
        stream = self._stream
        loop = _loop()
        waited = False
        while True:
            if stream.items:
                self._popleft = stream.items.popleft
                return self._popleft()  # type: ignore[no-any-return]
            if stream.advance(loop):
                if not waited:
                    _give_way()  # lest an iteration that is always ahead keep the loop to itself
            elif (bell := stream.wait(loop)) is not None:
                _wait(bell)
                waited = True
            else:
                break
        error = stream.end()
        try:
            raise StopIteration if error is None else error
        finally:
            del error, stream, self  # or else the traceback of the error and this frame would hold each other

    def close(self) -> None:
        """Read no more, and wait until the source has been closed, in the pool. A second time does nothing.

        Raises:
            RuntimeError: This is plain async code, which iterates with `tpool_asyncio.tpool.iterate`.
            BaseException: Whatever the source raises when it is closed, as the same object.

        Cancellation: Only the waiting ends.

        May be called in any thread, in green threads and scripts.

        .. versionadded:: 0.1.0
        """
        error = _wait(self._stream.close(_loop()))
        try:
            if error is not None:
                raise error
        finally:
            del error, self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def _loop() -> asyncio.AbstractEventLoop:
    if (driven := current_driven()) is not None:
        return driven._hub.loop
    host = current_host()
    return script_hub(_REMEDY).loop if host is None else host.get_loop()


def _give_way() -> None:
    if current_driven() is not None or asyncio._get_running_loop() is not None:
        give_way()
    # A script has the loop run when it waits. Where a loop runs in a script's thread, this is a greenlet of a host.


def _wait(future: "asyncio.Future[Any]") -> Any:
    """Wait; a worker of a pool does not count meanwhile, lest it wait for a thread in its own place."""
    worker = current_worker()
    with nullcontext() if worker is None else worker.crew.parking(worker):
        return wait(future)
