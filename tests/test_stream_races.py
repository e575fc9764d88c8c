"""The races of `tpool_asyncio._loop.stream`, each forced into its worst order."""

import asyncio
import gc
import threading
import weakref
from collections import deque
from collections.abc import Iterator
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


@pytest.mark.usefixtures("a_patient_end")
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

    stream._look = lambda: None  # type: ignore[method-assign]  # or else the consumer may find what has been read
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


async def test_a_batch_is_full_just_after_the_consumer_has_found_none(pool: tpool.Pool) -> None:
    # (1) The consumer finds no full batch, and the latest one empty. (2) The trip fills that, leaves it, and begins
    # another. (3) The consumer must look again.
    rows = await opened(pool, Rows([1]))
    stream: Stream = rows._stream

    class Filled(deque[int]):
        def __bool__(self) -> bool:
            if len(self) == 0 and stream._incoming is self:
                self.extend([2, 3])
                stream._full.append(self)
                stream._incoming = deque()
                return False
            return len(self) > 0

    stream.items = stream._incoming = Filled()
    assert stream.advance(asyncio.get_running_loop())
    assert list(stream.items) == [2, 3]
    await rows.aclose()


async def test_the_pool_takes_no_further_trips() -> None:
    pool = tpool.Pool(1, name="closing")
    rows = await opened(pool, Rows([1, 2]))
    ended = threading.Event()
    pool._core.close(RuntimeError("closed for today"), ended.set)
    with pytest.raises(RuntimeError, match="closed for today"):
        await anext(rows)
    assert ended.wait(PATIENCE)
    await rows.aclose()


def test_a_lost_trip_ends_while_the_next_one_finds_its_thread_gone() -> None:
    # (1) The loop of a trip has been closed. (2) Another loop goes on, and sees that the trip has not ended. (3) It
    # ends, so that the thread for the source alone is free. (4) There is no thread for the next trip.
    pool, gate = tpool.Pool(1), Gate()
    held = list[Any]()

    def source() -> Iterator[int]:
        gate()
        yield from ()

    async def first() -> None:
        held.append(pool.iterate(source))
        waiting = asyncio.ensure_future(anext(held[0]))
        while not gate.calls:
            await asyncio.sleep(0)
        waiting.cancel()

    async def second() -> list[object]:
        stream: Stream = held[0]._stream

        def start(loop: asyncio.AbstractEventLoop) -> None:
            gate.open()
            while not stream._is_closed:
                pass
            raise RuntimeError("the thread is gone")

        stream._start = start  # type: ignore[method-assign]
        return [item async for item in held[0]]

    asyncio.run(first())
    assert asyncio.run(second()) == []
    asyncio.run(pool.killall())


async def test_who_closes_waits_for_a_source_that_takes_long_to_close(
    pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For one that is being read nobody waits for long, as that may be for ever.
    monkeypatch.setattr("tpool_asyncio._loop.stream._PATIENCE", 0.001)
    gate = Gate()

    class SlowToClose(Rows):
        def close(self) -> None:
            gate()
            super().close()

    made = SlowToClose([1, 2])
    rows = await opened(pool, made)
    impatient = asyncio.Event()
    stop_waiting = rows._stream._stop_waiting

    def look(closed: Any) -> None:
        stop_waiting(closed)
        impatient.set()

    rows._stream._stop_waiting = look
    closing = asyncio.ensure_future(rows.aclose())
    await impatient.wait()
    await asyncio.sleep(0)
    assert not closing.done()
    gate.open()
    await closing
    assert made.closed == 1
