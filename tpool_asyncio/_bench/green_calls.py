"""Blocking calls from synchronous code, with the packages that offer them.

``python -m tpool_asyncio._bench.green_calls NAME LOOP PATIENCE`` measures one of them as `child` does. The loop is
that of the hub, or of the async code; the peers have loops of their own, whichever is asked for.

The green threads of a sample are started first and meet at a start line. The clock runs from there until the last of
them has made its last call; their start and their end are in no figure, their leaving the start line is. Each makes its
calls one after another. In the workload of a script there are no green threads at all, nor have there been any. Two
ways of async code are measured beside them, with a task for each green thread.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.child import loop_factory
from tpool_asyncio._bench.contestants import CONTESTANTS as ASYNC_CONTESTANTS
from tpool_asyncio._bench.contestants import THREADS, TPOOL
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.self_timed import Measure, SelfTimed, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.targets import Verdict, faster, near
from tpool_asyncio._bench.workloads import Submit, Workload, nothing
from tpool_asyncio._bench.worlds import WORLDS, World

__all__ = ["ALONE", "CROWD", "GREEN_CALLS", "SCRIPT", "verdicts"]

CROWD = Workload("crowd", "1,000 green threads", 1_000, nothing, (), reps=20, quick_reps=5)
ALONE = Workload("alone", "one green thread alone", 1, nothing, (), reps=500, quick_reps=50)
SCRIPT = Workload("script", "a script without green threads", 1, nothing, (), reps=500, quick_reps=50)

Call = Callable[[Callable[..., object]], object]
"""A way to make a call that takes a function and waits for its result."""


def _measure(world: World, call: Call, workload: Workload, reps: int) -> dict[str, float]:
    if workload.name == SCRIPT.name:
        world.end()
        return _in_script(call, workload.fn, reps)
    return _in_green_threads(world, call, workload, reps)


def _in_script(call: Call, fn: Callable[..., object], reps: int) -> dict[str, float]:
    clock = Clock()
    for _ in range(reps):
        call(fn)
    return clock.per_call(reps)


def _in_green_threads(world: World, call: Call, workload: Workload, reps: int) -> dict[str, float]:
    fn = workload.fn
    late = running = workload.at_once
    wait_for_all, all_are_there = world.new_signal()
    wait_for_start, start = world.new_signal()
    wait_for_last, last_is_done = world.new_signal()

    def caller() -> None:
        nonlocal late, running
        late -= 1
        if not late:
            all_are_there()
        wait_for_start()
        for _ in range(reps):
            call(fn)
        running -= 1
        if not running:
            last_is_done()

    green_threads = [world.spawn(caller) for _ in range(workload.at_once)]
    wait_for_all()
    clock = Clock()
    start()
    wait_for_last()
    taken = clock.per_call(reps * workload.at_once)
    for green_thread in green_threads:
        world.join(green_thread)
    return taken


async def _in_tasks(submit: Submit, workload: Workload, reps: int) -> dict[str, float]:
    fn = workload.fn
    late = running = workload.at_once
    all_are_there, start, last_is_done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def caller() -> None:
        nonlocal late, running
        late -= 1
        if not late:
            all_are_there.set()
        await start.wait()
        for _ in range(reps):
            await submit(fn)
        running -= 1
        if not running:
            last_is_done.set()

    tasks = [asyncio.create_task(caller()) for _ in range(workload.at_once)]
    await all_are_there.wait()
    clock = Clock()
    start.set()
    await last_is_done.wait()
    taken = clock.per_call(reps * workload.at_once)
    for task in tasks:
        await task
    return taken


@contextmanager
def _green(loop: str = "asyncio") -> Iterator[Measure]:
    from tpool_asyncio.green import tpool
    from tpool_asyncio.hubs import use_hub

    use_hub(loop)
    tpool.set_num_threads(THREADS)
    yield partial(_measure, WORLDS["green"](), tpool.execute)
    tpool.killall()


@contextmanager
def _eventlet(_: str = "asyncio") -> Iterator[Measure]:
    os.environ["EVENTLET_THREADPOOL_SIZE"] = str(THREADS)  # read at import
    world = WORLDS["eventlet"]()
    tpool = import_module("eventlet.tpool")
    yield partial(_measure, world, tpool.execute)
    tpool.killall()


@contextmanager
def _gevent(_: str = "asyncio") -> Iterator[Measure]:
    world = WORLDS["gevent"]()
    pool: Any = import_module("gevent.threadpool").ThreadPool(THREADS)
    yield partial(_measure, world, pool.apply)
    pool.kill()


@contextmanager
def _async(name: str, loop: str = "asyncio") -> Iterator[Measure]:
    opener = ASYNC_CONTESTANTS[name].open
    assert opener is not None
    with asyncio.Runner(debug=False, loop_factory=loop_factory(loop)) as runner:
        manager = opener()

        async def enter() -> Submit:
            return await manager.__aenter__()

        async def leave() -> None:
            await manager.__aexit__(None, None, None)

        submit = runner.run(enter())
        yield lambda workload, reps: runner.run(_in_tasks(submit, workload, reps))
        runner.run(leave())


GREEN = SelfTimed("green", "green.tpool.execute", _green)
PEERS = (
    SelfTimed("eventlet", "eventlet.tpool.execute", _eventlet),
    SelfTimed("gevent", "gevent ThreadPool.apply", _gevent),
)
ASYNC = (
    SelfTimed("tpool", "await tpool.execute, in tasks", partial(_async, "tpool"), (SCRIPT,)),
    SelfTimed("to_thread", "await asyncio.to_thread, in tasks", partial(_async, "to_thread"), (SCRIPT,)),
)

CONTESTANTS = {contestant.name: contestant for contestant in (GREEN, *PEERS, *ASYNC)}

GREEN_CALLS = Subject(
    "Cost per blocking call",
    "tpool_asyncio._bench.green_calls",
    GREEN,
    CONTESTANTS,
    {workload.name: workload for workload in (CROWD, ALONE, SCRIPT)},
)


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the targets."""
    judged = [
        faster(figures, workload.name, peer.name, times, subject=GREEN_CALLS)
        for workload, times in ((CROWD, 5.0), (ALONE, 1.0), (SCRIPT, 1.0))
        for peer in PEERS
    ]
    judged.append(near(figures, CROWD.name, TPOOL.name, 1.8, subject=GREEN_CALLS))
    return judged


if __name__ == "__main__":
    _name, _loop, _patience = sys.argv[1:]
    serve(CONTESTANTS, GREEN_CALLS.workloads, _name, "asyncio", _patience, _loop)  # what measures is a script
