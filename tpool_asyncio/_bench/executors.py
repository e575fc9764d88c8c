"""Calls through the ways that asyncio and the standard library have for them: default executor, `to_thread`, `submit`.

``python -m tpool_asyncio._bench.executors NAME asyncio PATIENCE KIND`` measures one contestant as `child` does, on an
event loop of this kind, ``asyncio`` or ``uvloop``.

The very same line of code, ``loop.run_in_executor(None, fn)``, is run on a loop of
`tpool_asyncio._loop.event_loop.new_event_loop` and on the loop that its factory makes. The stock default executor is
left as it is, with as many threads as asyncio gives it: that is what a program has before it changes its one line. It
is there once more with as many threads as ours, so that nobody has to guess what their number does.

`asyncio.to_thread` is a coroutine. At once there are as many tasks as calls, and what these cost no loop of ours can
save. The **floor** shows how much that is: a coroutine that does all that `to_thread` does but make the call. It awaits
a future that the loop itself resolves, once all are there.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.self_timed import Measure, SelfTimed, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.targets import Verdict, faster
from tpool_asyncio._bench.workloads import AT_ONCE_20, AT_ONCE_1000, ONE_BY_ONE, Submit, Workload, run

__all__ = ["EXECUTORS", "TIMES", "verdicts"]

TIMES = 4.0
"""How many times the throughput of the stock default executor is aimed at."""

Opener = Callable[[asyncio.AbstractEventLoop], Submit]
"""Returns the way to make a call on a loop."""


def _run_in_executor(loop: asyncio.AbstractEventLoop) -> Submit:
    return partial(loop.run_in_executor, None)


def _to_thread(_: asyncio.AbstractEventLoop) -> Submit:
    return asyncio.to_thread


def _to_thread_floor(loop: asyncio.AbstractEventLoop) -> Submit:
    waiting: list[tuple[asyncio.Future[object], Callable[[], object]]] = []

    def resolve() -> None:
        for future, fn in waiting:
            future.set_result(fn())
        waiting.clear()

    async def floor(fn: Callable[..., object], /, *args: object, **kwargs: object) -> object:
        call = partial(copy_context().run, fn, *args, **kwargs)
        future = loop.create_future()
        if not waiting:
            loop.call_soon(resolve)
        waiting.append((future, call))
        return await future

    return floor


def _stock_with_our_number(loop: asyncio.AbstractEventLoop) -> Submit:
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    return _run_in_executor(loop)


def _executor_of_the_pool(loop: asyncio.AbstractEventLoop) -> Submit:
    from tpool_asyncio import tpool

    loop.set_default_executor(tpool.executor())
    return _run_in_executor(loop)


def _stock_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module(kind).new_event_loop
    return factory


def _our_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    import tpool_asyncio

    return partial(tpool_asyncio.new_event_loop, _stock_factory(kind))


async def _measure(submit: Submit, workload: Workload, reps: int) -> dict[str, float]:
    clock = Clock()
    await run(workload, submit, reps)
    return clock.per_call(reps * workload.at_once)


@contextmanager
def _on_loop(factory_of: Callable[[str], Callable[[], Any]], open_on: Opener, kind: str) -> Iterator[Measure]:
    with asyncio.Runner(debug=False, loop_factory=factory_of(kind)) as runner:
        submit = open_on(runner.get_loop())
        yield lambda workload, reps: runner.run(_measure(submit, workload, reps))


def _pool_executor() -> Executor:
    from tpool_asyncio import tpool

    return tpool.executor()


@contextmanager
def _in_script(make: Callable[[], Executor], _: str) -> Iterator[Measure]:
    def measure(workload: Workload, reps: int) -> dict[str, float]:
        submit, fn, args, at_once = executor.submit, workload.fn, workload.args, workload.at_once
        clock = Clock()
        for _ in range(reps):
            futures = [submit(fn, *args) for _ in range(at_once)]
            for future in futures:
                future.result()
        return clock.per_call(reps * at_once)

    with make() as executor:
        yield measure


FAST = SelfTimed("fast", "run_in_executor, new_event_loop", partial(_on_loop, _our_factory, _run_in_executor))
FAST_TO_THREAD = SelfTimed(
    "fast_to_thread", "asyncio.to_thread, new_event_loop", partial(_on_loop, _our_factory, _to_thread)
)
STOCK = SelfTimed("stock", "run_in_executor, stock loop", partial(_on_loop, _stock_factory, _run_in_executor))
STOCK_TO_THREAD = SelfTimed(
    "stock_to_thread", "asyncio.to_thread, stock loop", partial(_on_loop, _stock_factory, _to_thread)
)
TO_THREAD_FLOOR = SelfTimed(
    "to_thread_floor", "floor: to_thread without a thread", partial(_on_loop, _stock_factory, _to_thread_floor)
)
STOCK_20 = SelfTimed(
    "stock_20",
    f"run_in_executor, stock loop, {THREADS} threads",
    partial(_on_loop, _stock_factory, _stock_with_our_number),
)
AS_DEFAULT = SelfTimed(
    "as_default",
    "run_in_executor, stock loop, tpool.executor()",
    partial(_on_loop, _stock_factory, _executor_of_the_pool),
)
SUBMIT = SelfTimed("submit", "tpool.executor().submit", partial(_in_script, _pool_executor))
STOCK_SUBMIT = SelfTimed(
    "stock_submit", "ThreadPoolExecutor.submit", partial(_in_script, partial(ThreadPoolExecutor, THREADS))
)

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        FAST,
        FAST_TO_THREAD,
        STOCK,
        STOCK_TO_THREAD,
        TO_THREAD_FLOOR,
        STOCK_20,
        AS_DEFAULT,
        SUBMIT,
        STOCK_SUBMIT,
    )
}

EXECUTORS = Subject(
    "Cost per call",
    "tpool_asyncio._bench.executors",
    FAST,
    CONTESTANTS,
    {workload.name: workload for workload in (ONE_BY_ONE, AT_ONCE_20, AT_ONCE_1000)},
    threads=None,
)


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the targets."""
    return [
        faster(figures, AT_ONCE_1000.name, peer.name, TIMES, subject=EXECUTORS, reference=way.name, cpu=cpu)
        for way, peer in ((FAST, STOCK), (FAST_TO_THREAD, STOCK_TO_THREAD))
        for cpu in (False, True)
    ]


if __name__ == "__main__":
    serve(CONTESTANTS, EXECUTORS.workloads, *sys.argv[1:])
