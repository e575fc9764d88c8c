"""The races of `tpool_asyncio._loop.stream`, each forced into its worst order."""

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.sources import Rows
from tpool_asyncio import tpool

if TYPE_CHECKING:
    from tpool_asyncio._loop.stream import Stream


class Between:
    """A lock that does something at its first release, as another thread might just then."""

    def __init__(self, lock: Any, after: Any, count: int = 1) -> None:
        self._lock = lock
        self._after = after
        self._count = count

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()
        if threading.current_thread() is not threading.main_thread():
            self._count -= 1
            if self._count == 0:
                self._after()


async def opened(pool: tpool.Pool, source: Any) -> Any:
    """An iteration whose first batch is there and that reads no further by itself."""
    rows = pool.iterate(source, batch=1)
    rows._stream._ahead = False
    await anext(rows)
    while rows._stream._trip is not None:
        await asyncio.sleep(0)
    return rows


@pytest.mark.parametrize("releases", [1, 2])
async def test_it_is_stopped_when_a_trip_has_ended_of_which_the_loop_knows_nothing(
    pool: tpool.Pool, releases: int
) -> None:
    # (1) A trip has begun (or: has read, and found that nobody stops it). (2) The consumer leaves; for the loop the
    # trip is under way. (3) The source must be closed, once.
    made = Rows([1, 2, 3, 4])
    rows = await opened(pool, made)
    stream: Stream = rows._stream
    reached, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        reached.set()
        assert go_on.wait(PATIENCE)

    stream._span = PATIENCE  # or else the consumer, on a slow machine, looks after a while and gets what has been read
    stream._lock = Between(stream._lock, pause, releases)  # type: ignore[assignment]
    waiting = asyncio.ensure_future(anext(rows))
    while not reached.is_set():
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(rows.aclose())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert made.closed == 1
    with pytest.raises(StopAsyncIteration):
        await waiting
    with pytest.raises(StopAsyncIteration):  # what the trip has added since does not come any more
        await anext(rows)


async def test_the_collector_strikes_while_the_lock_is_held(pool: tpool.Pool) -> None:
    # (1) A trip holds the lock. (2) The garbage collector, in that very thread, finds what stops the stream.
    made = Rows([1, 2, 3, 4])
    rows = await opened(pool, made)
    stream: Stream = rows._stream
    lock = stream._lock

    class Striking:
        struck = False

        def __enter__(self) -> None:
            lock.acquire()
            if threading.current_thread() is not threading.main_thread() and not self.struck:
                self.struck = True
                stream.stop()

        def __exit__(self, *exc_info: object) -> None:
            lock.release()

    stream._lock = Striking()  # type: ignore[assignment]
    with pytest.raises(StopAsyncIteration):
        await anext(rows)
    await rows.aclose()
    assert made.closed == 1


async def test_the_loop_is_closed_when_a_trip_is_queued_and_the_next_waits_for_its_turn(pool: tpool.Pool) -> None:
    # Two threads must not use the source at the same time, although nobody hears of the end of the first trip.
    gate, inside, most = Gate(), [0], [0]

    class Careful:
        left = 40

        def __iter__(self) -> "Careful":
            return self

        def __next__(self) -> int:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            self.left -= 1
            if self.left == 37:
                gate()
            inside[0] -= 1
            if self.left < 0:
                raise StopIteration
            return 39 - self.left

    rows = pool.iterate(Careful())
    got = list[int]()

    async def first() -> None:
        got.append(await anext(rows))
        got.append(await anext(rows))
        while not gate.calls:
            await asyncio.sleep(0.001)

    async def second() -> None:
        async for item in rows:
            got.append(item)

    def elsewhere() -> None:
        asyncio.run(first())
        threading.Timer(0.02, gate.open).start()
        asyncio.run(second())

    await asyncio.to_thread(elsewhere)
    assert got == list(range(40))
    assert most == [1]
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_nothing_keeps_a_stream_that_has_ended(pool: tpool.Pool) -> None:
    class Thing:
        def __iter__(self) -> Any:
            return iter([1, 2, 3])

    gc.collect()
    gc.disable()
    try:
        thing = Thing()
        reference, rows = weakref.ref(thing), pool.iterate(thing)
        del thing
        assert [item async for item in rows] == [1, 2, 3]
        assert reference() is None  # although the iteration is still there
        stream = weakref.ref(rows._stream)
        del rows
        while stream() is not None:
            await asyncio.sleep(0)  # for the callbacks that are on their way
    finally:
        gc.enable()
