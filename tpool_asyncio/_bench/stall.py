"""How long the loop is held up while 100,000 calls pass through.

``python -m tpool_asyncio._bench.stall NAME LOOP PATIENCE`` measures one contestant as `child` does.

A heartbeat is due on the loop every millisecond. How late it comes is how long any other callback would have had to
wait, and the series of that is kept. Three things are told apart:

- the **stall** itself, in wall time;
- the **own work** of the loop's thread between two heartbeats, in processor time: what a turn of the loop does. The
  rest of a stall is waiting, for the interpreter or for a processor;
- the longest run of the **garbage collector**, in whatever thread it was, since it stops all of them.

The calls do nothing and are made in one of three ways, the same for all contestants. From 1,000 **tasks**, each of
which makes its calls one after another. In **chunks** of 100, with a turn of the loop after each, first to make all of
them, then to await them; so up to 100,000 futures are held, at which the garbage collector looks. And **at once**, by
one loop over all of them that never gives way: this stalls the event loop by itself, whoever makes the calls, so it is
shown and not judged.

Three contestants are there to explain the others. `IDLE` makes no calls, for about as long as ours takes for them.
`WITHOUT_COLLECTOR` is ours with the collector off. Plain futures are what the loop itself resolves: they show what the
collector takes to look at futures, when there is no pool.
"""

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import PEERS, PLAIN_FUTURES, TPOOL
from tpool_asyncio._bench.fairness import percentile
from tpool_asyncio._bench.on_loop import Answer, Measure, OnLoop, serve, through
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.workloads import Submit, Workload, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AT_ONCE", "CHUNKS", "CONTESTANTS", "IDLE", "PLAIN", "STALL", "TASKS", "WITHOUT_COLLECTOR", "Heartbeat"]

CALLS = 100_000
BEAT = 0.001
"""Seconds between two heartbeats."""

_CALLERS = 1_000
_CHUNK = 100
_IDLE_SECONDS_PER_CALL = 5e-6

TASKS = Workload("tasks", "from 1,000 tasks", 1, nothing, (), CALLS, 2_000)
CHUNKS = Workload("chunks", "in chunks of 100", 1, nothing, (), CALLS, 2_000)
AT_ONCE = Workload("at_once", "at once, in one go", 1, nothing, (), CALLS, 2_000)


class Heartbeat:
    """Beats on the running loop until it is stopped."""

    def __init__(self) -> None:
        self.times: list[float] = []
        """When each beat came, in seconds after the first one was due."""
        self.stalls: list[float] = []
        """How late each beat came, in seconds."""
        self.own_work: list[float] = []
        """The processor time that the thread of the loop had since the beat before, in seconds."""
        self._loop = asyncio.get_running_loop()
        self._worked = time.thread_time()
        self._start = self._due = time.perf_counter() + BEAT
        self._next = self._loop.call_later(BEAT, self._beat)

    def _beat(self) -> None:
        now, worked = time.perf_counter(), time.thread_time()
        self.times.append(now - self._start)
        self.stalls.append(max(0.0, now - self._due))
        self.own_work.append(worked - self._worked)
        self._due, self._worked = now + BEAT, worked
        self._next = self._loop.call_later(BEAT, self._beat)

    async def stop(self) -> None:
        """Wait for the beat that is due, so that a stall that goes on is in it, and end."""
        beats = len(self.times)
        while len(self.times) == beats:
            await asyncio.sleep(BEAT)
        self._next.cancel()


@contextmanager
def _collector_watched() -> "Iterator[list[float]]":
    """Yield a list of how long each run of the garbage collector takes, in seconds."""
    runs: list[float] = []
    started = 0.0

    def look(phase: str, _: object) -> None:
        nonlocal started
        if phase == "start":
            started = time.perf_counter()
        else:
            runs.append(time.perf_counter() - started)

    gc.callbacks.append(look)
    try:
        yield runs
    finally:
        gc.callbacks.remove(look)


async def _from_tasks(submit: Submit, fn: Callable[..., object], calls: int) -> None:
    async def caller(number: int) -> None:
        for _ in range(number, calls, _CALLERS):
            await submit(fn)

    for task in [asyncio.create_task(caller(number)) for number in range(_CALLERS)]:
        await task


async def _in_chunks(submit: Submit, fn: Callable[..., object], calls: int) -> None:
    chunks: deque[list[asyncio.Future[object]]] = deque()
    for done in range(0, calls, _CHUNK):
        chunks.append([asyncio.ensure_future(submit(fn)) for _ in range(min(_CHUNK, calls - done))])
        await asyncio.sleep(0)
    while chunks:
        for call in chunks.popleft():
            await call
        await asyncio.sleep(0)  # to await what is done does not give way, and nor does it to let go of it


async def _at_once(submit: Submit, fn: Callable[..., object], calls: int) -> None:
    for call in [asyncio.ensure_future(submit(fn)) for _ in range(calls)]:
        await call


_WAYS = {TASKS.name: _from_tasks, CHUNKS.name: _in_chunks, AT_ONCE.name: _at_once}


async def _watched(passing: Awaitable[None], calls: int) -> Answer:
    """Await what is to pass, with the heart beating."""
    clock = Clock()
    with _collector_watched() as runs:
        heart = Heartbeat()
        await passing
        await heart.stop()
    return {
        **clock.per_call(calls),
        "calls": calls,
        "worst_ms": max(heart.stalls) * 1e3,
        "p99_ms": percentile(heart.stalls, 0.99) * 1e3,
        "own_work_ms": max(heart.own_work) * 1e3,
        "collector_ms": max(runs, default=0.0) * 1e3,
        "t_ms": [round(moment * 1e3, 3) for moment in heart.times],
        "stall_ms": [round(stall * 1e3, 3) for stall in heart.stalls],
    }


async def _drive(submit: Submit, workload: Workload, reps: int) -> Answer:
    return await _watched(_WAYS[workload.name](submit, workload.fn, reps), reps)


async def _stay_idle(_: Workload, reps: int) -> Answer:
    return await _watched(asyncio.sleep(reps * _IDLE_SECONDS_PER_CALL), reps)


@asynccontextmanager
async def _idle() -> AsyncIterator[Measure]:
    yield _stay_idle


@asynccontextmanager
async def _without_collector() -> AsyncIterator[Measure]:
    async with REFERENCE.open() as measure:
        gc.collect()
        gc.freeze()
        gc.disable()
        yield measure
        gc.enable()
        gc.unfreeze()


REFERENCE = through(TPOOL, _drive)
IDLE = OnLoop("idle", "idle", _idle)
WITHOUT_COLLECTOR = OnLoop("tpool_without_gc", "tpool.execute, collector off", _without_collector)
PLAIN = through(PLAIN_FUTURES, _drive)

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        IDLE,
        REFERENCE,
        WITHOUT_COLLECTOR,
        PLAIN,
        # asgiref is left out: 100,000 calls of it take longer than all others together.
        *(through(peer, _drive) for peer in PEERS if peer.name != "asgiref"),
    )
}

STALL = Subject(
    "Stalls of the loop while calls pass through,",
    "tpool_asyncio._bench.stall",
    REFERENCE,
    CONTESTANTS,
    {workload.name: workload for workload in (TASKS, CHUNKS, AT_ONCE)},
)

if __name__ == "__main__":
    serve(CONTESTANTS, STALL.workloads, *sys.argv[1:])
