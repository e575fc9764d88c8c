"""Items on their way from a blocking source to whoever consumes them in a loop.

A call in the pool, the **trip**, adds items to a deque, and the consumer takes them from there. There is at most one
trip at a time, so the source is used by one thread at a time. A trip ends when the source does, or when it has read
`batch` items, or for so long that its items are worth the way; then its thread is free for others.

How long a trip is
    It begins with half a millisecond (`_SHORT`), and is doubled up to `_LONG` as long as it fills quickly. So a fast
    source costs one trip for thousands of items, and a slow one still delivers each item at once: a trip whose one
    item has taken longer than that ends with it.

When a source that was fast becomes slow
    Its trip is stuck with items that nobody has been told of. Therefore a consumer that has waited for twice as long as
    the trip was to take looks for itself, and if there is nothing yet, it sets `_eager`: then the trip announces its
    next item. The consumer first sets it and then looks, the trip first adds the item and then looks, so they cannot
    miss each other.

Reading ahead
    Each trip has a deque of its own, `_incoming`. When the consumer has come to that one, and the trip is over, the
    next trip may begin; so one batch is read ahead and no more. It begins when the consumer waits for something else
    (the loop then has time to run a callback), and not before: while the consumer itself computes, both would only get
    into each other's way. Proxies do not read ahead like this, so that nobody uses the object while the consumer does.

Turns of the loop
    The consumer takes what is in a deque without giving way, so a deque has no more than about `_TURN` items: a trip
    that reads more begins another, and leaves the full one in `_full`. Between two of them the consumer gives way.

Who closes the source
    Under `_lock`, a trip (1) begins to read unless the stream is stopped, (2) ends reading and looks whether it is
    stopped; and `stop` (3) sets `_stopped` and looks whether a trip reads. If one does, it will find out at (2), and
    closes the source. If none does, none ever will again, although the loop may not have been told yet of the end of
    the last one, and `stop` has the source closed.

A loop that is closed in mid-trip
    It never tells of the trip's end. The consumer goes on in another loop with a trip of its own, which waits in the
    pool, for `_turn`, until the lost one has ended.

Who may touch what
    The deques and `_eager` are changed by atomic operations of either side. `_lock` guards `_reading`, `_stopped`,
    `_is_closing`, `_is_closed` and `_when_closed`, and who is the first to set `_error`. It is reentrant, since the
    garbage collector may strike while it is held, and find what stops this very stream. The source, `_span` and
    `_exhausted` belong to the trip, and after the last one to `_close`. The trip sets `_ended`, and `_error` before it;
    the loop looks at these when it has been told of the end of the trip, or sooner, and then again. `_incoming` is
    replaced by the trip while there is one, and else by the loop. All else belongs to the thread of the loop that
    consumes. `stop` may be called in any thread.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from tpool_asyncio._loop.gate import post
from tpool_asyncio._loop.loop_job import presentable
from tpool_asyncio._loop.source import Source
from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.job import is_caught_by
from tpool_asyncio._pool.native import RLock, get_ident

if TYPE_CHECKING:
    from collections.abc import Callable

    from tpool_asyncio._loop.call import Call
    from tpool_asyncio._loop.options import Options
    from tpool_asyncio._pool.lane import Lane
    from tpool_asyncio._pool.thread_pool import ThreadPool
    from tpool_asyncio._proxy.pin import Pin

__all__ = ["Stream", "StreamHolder"]

_SHORT = 0.0005
_LONG = 0.005
"""Seconds that a trip takes at the least and at the most, if the source allows. In 5 ms, thousands of rows can be read;
much more of them would no longer fit into the cache of the processor."""

_MANY = 100
"""Items that make a trip worth to be longer the next time."""

_TURN = 1_000
"""Items that a consumer takes at the most before it gives way."""

_PATIENCE = 0.1
"""Seconds that who closes an iteration, or uses its object otherwise, waits for a read that is under way."""

_STRIDE = 128
"""Items read at the most between two looks at the clock."""

_NO_LIMIT = 1 << 30
"""Items that no trip has the time to read."""


class Stream:
    """One iteration over one source."""

    def __init__(
        self,
        way: "Options",
        source: Source,
        *,
        name: str,
        context: Context,
        batch: int | None,
        ahead: bool,
        pin: "Pin | None" = None,
    ) -> None:
        self.items: deque[Any] = deque()  # those that the consumer has come to
        self._incoming = self.items
        self._full: deque[deque[Any]] = deque()  # those that come before it
        self._way = way
        self._core: ThreadPool | Lane = way._pool._core
        self._source = source
        self._name = name
        self._context = context
        self._batch = batch
        self._ahead = ahead
        self._pin = pin  # holds the thread, for as long as the source may need it
        self._lock = RLock()
        self._turn = RLock()  # of a trip, to be in the context and to use the source
        self._reading = False
        self._stopped = False
        self._ended = False  # whether there will be no further trip
        self._exhausted = False  # whether the source itself has come to its end, or raised an error
        self._is_closing = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._eager: list[None] = []  # not empty when the next item is to be announced
        self._looked = False  # whether the trip has taken longer than it was to
        self._span = _SHORT
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = self._process = 0
        self._trip: Call[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._bells: list[asyncio.Future[None]] = []
        self._when_closed: list[Callable[[BaseException | None], object]] = []

    # The consumer, in the thread of its loop

    def advance(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Go on to the next batch when there are no `items` left; return False if it has none yet."""
        while True:
            incoming = self._incoming
            while self._full:
                if batch := self._full.popleft():
                    self.items = batch
                    return True
            if incoming:
                break
            if incoming is self._incoming:
                return False  # the trip leaves a full one before it begins another, so none can have been missed
        self.items = incoming
        if self._ahead and self._trip is None:
            loop.call_soon(self._read_ahead, loop)
        return True

    def wait(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None] | None":
        """Return what to wait for when there is nothing to go on to; None if there will be no more, see `end`."""
        lost = self._trip is not None and self._loop is not loop
        if lost:
            self._lose_trip()
        if self._trip is None:
            if self._no_more() and not (lost and self._reading):
                return _done(loop) if self.left() else None  # a lost one may have brought something just now
            try:
                self._start(loop)
            except RuntimeError:
                if not (lost and self._no_more()):
                    raise
                return _done(loop)  # the lost one has come to the end in the meantime, and its thread is free
        bells = self._bells
        while bells and bells[-1].done():
            bells.pop()  # of somebody who was cancelled
        bell = loop.create_future()
        bells.append(bell)
        if self._looked:
            self._look()
        return bell

    def left(self) -> int:
        """Return how many items have been read and not been taken. Any thread."""
        return sum(map(len, {id(batch): batch for batch in (self.items, *self._full.copy(), self._incoming)}.values()))

    def is_reading(self) -> bool:
        """Return whether a thread reads the source; what it has read by then is among those that are left. Any thread.

        In the child of a fork there is no such thread.
        """
        return self._reading and self._process == os.getpid()

    def keeps_reading(self) -> bool:
        """Return whether the source is being read and will be for a while; wait for a read that is about to end."""
        if self.is_reading() and self._turn.acquire(timeout=_PATIENCE):
            self._turn.release()
        return self.is_reading()

    def wait_for_read(self) -> None:
        """Wait until nobody is in the middle of reading the source. In a thread of the pool."""
        if self.is_reading():
            with self._turn:
                pass

    def over(self) -> bool:
        """Return whether nothing will come any more, not even an error."""
        ended = self._no_more() and self._trip is None
        return ended and not (self._error or self.left())

    def _no_more(self) -> bool:
        return self._ended or self._stopped

    def end(self) -> BaseException | None:
        """Return the error with which the iteration ends, the first time, or None."""
        error, self._error = self._error, None
        if is_caught_by(error, StopAsyncIteration):  # which would end the iteration as if there had been no error
            wrapped = RuntimeError(f"{self._name} raised StopAsyncIteration")
            wrapped.__cause__ = error
            return wrapped
        return error if error is None else presentable(error, self._name)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = get_ident()
        self._process = os.getpid()
        self._looked = False
        self._eager.clear()
        trip = self._way._execute_on(loop, self._read, (), {})
        self._trip = trip
        self._timer = loop.call_later(2 * self._span, self._look)
        trip.add_done_callback(self._trip_done)

    def _look(self) -> None:
        """See whether the trip is stuck with items."""
        self._timer = None
        self._looked = True
        if self._bells:
            self._eager.append(None)
            if self._incoming or self._full:
                self._ring()

    def _lose_trip(self) -> None:
        """Do without a trip whose loop has been closed, and will never tell of its end."""
        loop, trip = self._loop, self._trip
        if loop is not None and not loop.is_closed():
            raise RuntimeError(
                f"{self._name} is being iterated in another event loop; give each loop an iteration of its own"
            )
        assert trip is not None
        with contextlib.suppress(RuntimeError):  # from whatever waits in the closed loop
            trip.withdraw()
        self._trip = self._timer = None
        self._bells = []

    def _ring(self) -> None:
        """Wake whoever waits. Harmless if nobody does."""
        bells, self._bells = self._bells, []
        for bell in bells:
            if not bell.done():
                bell.set_result(None)

    def _trip_done(self, trip: "Call[None]") -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._trip = None
        error = asyncio.CancelledError() if trip.cancelled() else trip.exception()
        if error is not None and not self._stopped:
            # The call itself has failed, by a time limit or for want of a thread. The source may still be in use. What
            # has been read comes before the error.
            with self._lock:
                if self._error is None:  # or else the source has raised one, and takes too long to be closed
                    self._error = error
            self._halt()
        self._ring()
        if self._ahead and self._loop is not None:
            self._loop.call_soon(self._read_ahead, self._loop)

    def _read_ahead(self, loop: asyncio.AbstractEventLoop) -> None:
        # A consumer that was woken along with this callback has come to the latest items, and waits for something else.
        if self._no_more() or self._trip is not None or self.items is not self._incoming:
            return
        self._incoming = deque()
        with contextlib.suppress(RuntimeError):  # then the consumer will get it when it asks
            self._start(loop)

    def close(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[BaseException | None]":
        """Stop; return a future that gets the error, or None, when the source has been closed.

        If the source is being read, and that takes longer than `_PATIENCE`, nobody waits for it, as it may be for ever.
        """
        closed: asyncio.Future[BaseException | None] = loop.create_future()
        self.stop(lambda error: post(loop, partial(_answer, closed, error)))
        if not self._way._waits and not self._is_closed:
            timer = loop.call_later(_PATIENCE, self._stop_waiting, closed)
            closed.add_done_callback(lambda _: timer.cancel())
        return closed

    def _stop_waiting(self, closed: "asyncio.Future[BaseException | None]") -> None:
        with self._lock:
            stuck = self._reading and not self._is_closing
        if stuck:
            _answer(closed, None)

    # The trip, in the pool

    def _read(self) -> None:
        with self._turn:
            with self._lock:
                if self._no_more():
                    return
                self._reading = True
            error: BaseException | None = None
            try:
                self._context.run(self._fill)
            except BaseException as failure:
                error = BaseException.with_traceback(failure, failure.__traceback__ and failure.__traceback__.tb_next)
            with self._lock:
                if error is not None and not self._stopped:  # else it belongs to an item that nobody wants
                    self._error = error
                    self._exhausted = self._ended = True
                self._reading = False
                over = self._no_more()
        del error  # its traceback leads here, and must not lead back to it
        if over:
            self._close_in_context()

    def _fill(self) -> None:
        reader = self._source.reader()
        append = self._incoming.append
        eager = self._eager
        begun = now = time.monotonic()
        left = batch = self._batch or _NO_LIMIT
        stride = 1
        while left and not self._stopped:
            number, wanted = 0, min(stride, left)
            for number, item in zip(range(1, wanted + 1), reader, strict=False):  # noqa: B007 - used afterwards
                append(item)
                if eager:  # somebody waits, or the stream is stopped
                    self._announce()
                    break
            else:
                if number < wanted:
                    self._exhausted = self._ended = True
                    return
            left -= number
            before, now = now, time.monotonic()
            if now - begun >= self._span:
                break
            if len(self._incoming) >= _TURN:
                self._full.append(self._incoming)
                self._incoming = deque()
                append = self._incoming.append
            stride = min(2 * stride, _STRIDE) if now - before < self._span / 8 else 1
        if batch - left >= _MANY:
            self._span = min(2 * self._span, _LONG)
        else:
            self._span = _SHORT

    def _announce(self) -> None:
        self._eager.clear()
        assert self._loop is not None
        post(self._loop, self._ring)

    # The end

    def stop(self, closed: "Callable[[BaseException | None], object] | None" = None) -> None:
        """Read no more, and have the source closed in the pool; ``closed`` is called then, in any thread."""
        self._halt(closed)
        self._error = None
        self._clear()

    def _clear(self) -> None:
        self.items.clear()
        self._full.clear()
        self._incoming.clear()

    def _halt(self, closed: "Callable[[BaseException | None], object] | None" = None) -> None:
        with self._lock:
            first, self._stopped = not self._stopped, True
            reading = self.is_reading()
            is_closed = self._is_closed
            if closed is not None and not is_closed:
                self._when_closed.append(closed)
        if closed is not None and is_closed:
            closed(None)
        if not first:
            return
        self._eager.append(None)  # so that the trip looks up
        loop, trip = self._loop, self._trip
        if trip is not None and loop is not None:
            if self._thread == get_ident():
                self._leave_trip(trip)
            else:
                post(loop, partial(self._leave_trip, trip))
        if not reading:
            self._close_in_pool()

    def _leave_trip(self, trip: "Call[None]") -> None:
        """Drop a trip that is queued, and have one that runs know that nobody waits. In the thread of its loop."""
        try:
            trip.cancel()
        except RuntimeError:  # the loop is closed
            self._trip = self._timer = None
            self._bells = []

    def _close_in_pool(self) -> None:
        if self._source.is_open() and not self._reading:  # or else it is one that the parent of a fork reads
            core = self._core
            try:
                core.submit(Chore(core.home, self._close_in_context))
                return
            except RuntimeError:
                pass  # at exit, or in a fork: there is no thread to do it any more
        self._source.let_go()
        self._close()

    def _close_in_context(self) -> None:
        with self._turn:
            try:
                self._context.run(self._close)
            except RuntimeError:  # a context given by the user, in which something else runs just now
                self._close()

    def _close(self) -> None:
        """Close the source and let go of it, once. In the thread that has read it, or where there is no such thread."""
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
            early = self._stopped or not self._exhausted
        if self._stopped and self._error is None:
            self._clear()  # of what the last trip has added meanwhile
        error: BaseException | None = None
        try:
            self._source.close(early=early)
        except BaseException as failure:
            error = presentable(failure, self._name)
        self._pin = None  # the thread is free, if it was for this alone
        with self._lock:
            self._is_closed = True
            when_closed, self._when_closed = self._when_closed, []
        for closed in when_closed:
            closed(error)
        if error is not None and not when_closed and not isinstance(error.__cause__, asyncio.CancelledError):
            complain("%s raised an exception when it was closed", self._name, error=error)
        del error  # its traceback leads here, and must not lead back to it


class StreamHolder:
    """What users hold of a stream: it is stopped when that is dropped. In any thread."""

    __slots__ = ("__weakref__", "_popleft", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._popleft = stream.items.popleft

    def __del__(self) -> None:
        self._stream.stop()

    def __reduce__(self) -> NoReturn:
        # A copy that is dropped would stop the stream under the hands of whoever has the other one.
        raise TypeError("an iteration can be neither copied nor pickled, as each item comes once; make another one")


def _done(loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
    bell = loop.create_future()
    bell.set_result(None)
    return bell


def _answer(closed: "asyncio.Future[BaseException | None]", error: BaseException | None) -> None:
    if not closed.done():
        closed.set_result(error)
