"""Synchronous code that waits for async code, with the packages that offer it.

``python -m tpool_asyncio._bench.bridge NAME asyncio PATIENCE`` measures one of them as `child` does.

Each workload but the last makes many awaits in one piece of synchronous code, and the clock runs inside that. In the
last, async code runs a synchronous function that awaits one thing, over and over. Plain async code, which needs no
bridge, does the same beside them.

The function of a workload is called on the running loop once per sample, and returns what makes something to await.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.self_timed import Measure, SelfTimed, on_a_loop, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.targets import Verdict, faster
from tpool_asyncio._bench.workloads import Workload

__all__ = ["BRIDGES", "DONE", "READY", "ROUND_TRIP", "TURN", "verdicts"]

Make = Callable[[], Awaitable[object]]
"""Makes something to await."""


async def _at_once() -> None:
    """The least that a coroutine can do."""


def _coroutines() -> Make:
    return _at_once


def _done_future() -> Make:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return lambda: future


def _turns() -> Make:
    return partial(asyncio.sleep, 0)


READY = Workload("ready", "await a coroutine that returns at once", 1, _coroutines, (), reps=5_000, quick_reps=200)
DONE = Workload("done", "await a future that is done", 1, _done_future, (), reps=5_000, quick_reps=200)
TURN = Workload("turn", "await one turn of the loop", 1, _turns, (), reps=2_000, quick_reps=100)
ROUND_TRIP = Workload(
    "round_trip", "run a function that awaits one such coroutine", 1, _coroutines, (), reps=2_000, quick_reps=100
)


async def _bridged(
    inside: Callable[..., Awaitable[Any]],
    run: Callable[..., Awaitable[Any]],
    await_: Callable[[Awaitable[object]], object],
    workload: Workload,
    reps: int,
) -> dict[str, float]:
    """Measure a bridge whose ``await_`` works in what ``inside`` or ``run`` runs; ``run`` is what is timed itself."""
    make: Make = workload.fn(*workload.args)  # type: ignore[assignment]

    def once() -> object:
        return await_(make())

    def many() -> dict[str, float]:
        clock = Clock()
        for _ in range(reps):
            await_(make())
        return clock.per_call(reps)

    if workload.name != ROUND_TRIP.name:
        return await inside(many)  # type: ignore[no-any-return]
    clock = Clock()
    for _ in range(reps):
        await run(once)
    return clock.per_call(reps)


async def _plain_await(workload: Workload, reps: int) -> dict[str, float]:
    make: Make = workload.fn(*workload.args)  # type: ignore[assignment]

    async def once() -> object:
        return await make()

    if workload.name == ROUND_TRIP.name:
        clock = Clock()
        for _ in range(reps):
            await once()
    else:
        clock = Clock()
        for _ in range(reps):
            await make()
    return clock.per_call(reps)


@contextmanager
def _green() -> Iterator[Measure]:
    from tpool_asyncio import green

    with on_a_loop(partial(_bridged, green.run, green.run, green.await_)) as measure:
        yield measure


@contextmanager
def _sqlalchemy() -> Iterator[Measure]:
    util = import_module("sqlalchemy.util")
    with on_a_loop(partial(_bridged, util.greenlet_spawn, util.greenlet_spawn, util.await_only)) as measure:
        yield measure


@contextmanager
def _greenback() -> Iterator[Measure]:
    greenback = import_module("greenback")

    async def in_portal(fn: Callable[[], object]) -> object:
        await greenback.ensure_portal()
        return fn()

    with on_a_loop(partial(_bridged, in_portal, greenback.with_portal_run_sync, greenback.await_)) as measure:
        yield measure


GREEN = SelfTimed("green", "green.run, green.await_", _green)
PEERS = (
    SelfTimed("sqlalchemy", "SQLAlchemy greenlet_spawn, await_only", _sqlalchemy),
    SelfTimed("greenback", "greenback portal, await_", _greenback),
)
PLAIN = SelfTimed("await", "plain await in async code", partial(on_a_loop, _plain_await))

CONTESTANTS = {contestant.name: contestant for contestant in (GREEN, *PEERS, PLAIN)}

BRIDGES = Subject(
    "Cost per await",
    "tpool_asyncio._bench.bridge",
    GREEN,
    CONTESTANTS,
    {workload.name: workload for workload in (READY, DONE, TURN, ROUND_TRIP)},
    threads=None,
)


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the targets."""
    return [
        faster(figures, workload, peer.name, 1.0, subject=BRIDGES) for workload in BRIDGES.workloads for peer in PEERS
    ]


if __name__ == "__main__":
    serve(CONTESTANTS, BRIDGES.workloads, *sys.argv[1:])
