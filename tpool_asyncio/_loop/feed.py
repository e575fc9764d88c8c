"""From an async iterator to a worker, or another thread, that consumes it.

In the loop, one task, the **pump**, takes the items from the iterator, so that its code runs in one task and context
from beginning to end. It stops when it has read `_Feed.limit` items ahead, and goes on when they have been taken. The
thread asks for all that is there, or else for what comes next, by one errand (`from_thread.run`) for many items.

All of it runs in the thread of the loop, but for `iterate` itself. The pump counts among the errands of the call, so it
is cancelled with them when nobody waits for the call any more.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Generator
from typing import Generic, TypeVar

from tpool_asyncio._loop.from_thread import run, run_sync
from tpool_asyncio._loop.gate import post
from tpool_asyncio._loop.token import Token, token_here
from tpool_asyncio._pool.collected import Witness
from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.job import call_name, is_caught_by
from tpool_asyncio._pool.refusal import close_unused, shown
from tpool_asyncio._pool.size import check_batch

__all__ = ["iterate"]

T = TypeVar("T")

_READ_AHEAD = 1_000
"""Items that are read ahead at the most, if nothing else is asked for."""

_pumps: set[asyncio.Task[None]] = set()
"""Those that run. A loop holds its tasks weakly: the garbage collector would find one together with its iteration."""


def iterate(source: AsyncIterable[T], /, *, batch: int | None = None) -> Generator[T, None, None]:
    """Iterate over an async iterable of the loop that made this call: ``for item in from_thread.iterate(source)``.

    The items are taken by a task in the loop, which reads ahead while this thread works on others. Many items that come
    at once cost one way to the loop; an item that comes slowly is delivered at once.

    Args:
        source: An async iterator or iterable, such as an async generator.
        batch: How many items may be read ahead at the most, None for 1,000.

    Returns:
        A generator. When it is closed or dropped before its end, the async iterator is closed, if it has a method
        ``aclose``.

    Raises:
        TypeError: ``source`` is no async iterable.
        ValueError: ``batch`` is no whole number of 1 or more.
        RuntimeError: From ``for``: this is neither a thread of a pool nor one with a token, or the loop is closed, or
            too many threads of the pool wait like this.
        asyncio.CancelledError: From ``for``: the caller of this call has been cancelled or timed out.
        BaseException: From ``for``: whatever the iterable raises, as the same object, after the items before it.

    Cancellation: When the caller of this call is cancelled or timed out, the iterable is cancelled, where it waits.

    To be used in a thread of a pool, inside a call, or in a thread with a `Token`. A thread of a pool does not count
    against the size while it waits.

    .. versionadded:: 0.1.0
    """
    if not hasattr(type(source), "__aiter__"):
        close_unused(source)
        raise TypeError(f"from_thread.iterate takes an async iterable, not {shown(source)}; a plain one needs no help")
    return _items(_Feed(source, check_batch(batch) or _READ_AHEAD))


def _items(feed: "_Feed[T]") -> Generator[T, None, None]:
    feed.token = token_here("iterate")
    witness = Witness()
    over = False
    try:
        while not over:
            items, over = run(feed.take)
            yield from items
        feed.raise_error()
    finally:
        if not over:
            _close(feed, waits=not witness.is_collected())


def _close(feed: "_Feed[T]", *, waits: bool) -> None:
    """End an iteration early, in the call that has iterated, or wherever the garbage collector has found it."""
    try:
        if waits and feed.token._in_effect():
            try:
                run(feed.close)
            except asyncio.CancelledError:  # nobody waits for this call any more, so nobody for its errands
                run_sync(feed.cancel)
            return
    except RuntimeError:  # the loop is closed
        pass
    loop = feed.token._living_loop()
    if loop is not None:
        post(loop, feed.cancel)


class _Feed(Generic[T]):
    """What the pump and the errands of one iteration share."""

    def __init__(self, source: AsyncIterable[T], limit: int) -> None:
        self._source = source
        self._limit = limit
        self._items: list[T] = []
        self._error: BaseException | None = None
        self._over = False
        self._telling = False
        self._closing = False
        self._pump: asyncio.Task[None] | None = None
        self.token: Token
        self._news: asyncio.Event
        self._room: asyncio.Event

    async def take(self) -> tuple[list[T], bool]:
        """Wait until there are items, or the end; return them, and whether this is the end."""
        if self._pump is None:
            self._news = asyncio.Event()
            self._room = asyncio.Event()
            self._pump = asyncio.create_task(self._run(aiter(self._source)))
            self._keep(self._pump)
            self.token._include(self._pump)
        try:
            await self._news.wait()
        except asyncio.CancelledError:
            await self.close()
            raise
        self._news.clear()
        items, self._items = self._items, []
        self._room.set()
        return items, self._over

    async def _run(self, iterator: AsyncIterator[T]) -> None:
        loop = asyncio.get_running_loop()
        try:
            try:
                async for item in iterator:
                    if self._closing:  # it has made light of its cancellation
                        break  # pragma: no cover - Python 3.11 does not trace it after a `throw`
                    self._items.append(item)
                    if not self._telling:
                        # At the end of this turn, so that items which come without waiting are taken together.
                        self._telling = True
                        loop.call_soon(self._tell)
                    if len(self._items) >= self._limit:
                        self._room.clear()
                        await self._room.wait()
            finally:
                aclose = getattr(iterator, "aclose", None)
                if aclose is not None:
                    await aclose()
        except BaseException as error:
            self._error = error
            if is_caught_by(error, (KeyboardInterrupt, SystemExit)):
                raise
        finally:
            self._over = True
            self._news.set()
            if self._closing:
                self._complain()

    def _keep(self, pump: asyncio.Task[None]) -> None:
        for other in list(_pumps):
            if other.get_loop().is_closed():
                _pumps.discard(other)
        _pumps.add(pump)
        pump.add_done_callback(_pumps.discard)

    def _tell(self) -> None:
        self._telling = False
        self._news.set()

    def cancel(self) -> None:
        """Cancel the pump, where it waits; it then closes the iterator."""
        self._closing = True
        if self._pump is not None and not self._pump.cancelling():  # or else it would disturb the source's clean-up
            self._pump.cancel()

    async def close(self) -> None:
        """End the pump, and wait until it has closed the iterator."""
        self.cancel()
        if self._pump is not None:
            await asyncio.wait([self._pump])
            if self._pump.cancelling():  # or else it had read too far already
                self._complain()

    def _complain(self) -> None:
        """Log what the iterator has raised at its early end, for which nobody asks."""
        error, self._error = self._error, None
        if error is not None and not is_caught_by(error, asyncio.CancelledError):
            complain("%s raised an exception when it was closed", call_name(self._source), error=error)

    def raise_error(self) -> None:
        """Raise what the iterator has raised."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error
