"""A method called through a proxy, beside `execute` of the same bound method.

``python -m tpool_asyncio._bench.proxy_method NAME asyncio PATIENCE`` measures one spelling as `child` does.

What counts is a difference of a microsecond or two in a call of some twenty. So the ways to call are not contestants
but workloads: a spelling has all of them in one process, in turn, and a difference is taken within each round. The
object counts its calls, and the last answer of a sample must be their number. The first call of each sample is not
timed: with it a pinned proxy starts its thread.

The process keeps to one processor, for the reason that `one_processor` gives.
"""

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.one_processor import keep_to_one_processor
from tpool_asyncio._bench.proxy_material import check
from tpool_asyncio._bench.self_timed import Measure, SelfTimed, on_a_loop, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.table import columns, heading
from tpool_asyncio._bench.targets import Verdict
from tpool_asyncio._bench.workloads import Workload, nothing

__all__ = ["EXECUTE", "METHOD", "PROXIED", "beyond_execute", "render", "verdicts"]

ALLOWED_US = 2.0


class Counter:
    """An object whose method does next to nothing."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self) -> int:
        """Return how often this was called."""
        self.calls += 1
        return self.calls


def _workload(name: str, title: str) -> Workload:
    return Workload(name, title, 1, nothing, (), reps=500, quick_reps=50)


EXECUTE = _workload("execute", "execute of the bound method")
PROXIED = (
    _workload("proxy", "method of a Proxy"),
    _workload("autowrap", "method of a Proxy with autowrap"),
    _workload("pinned", "method of a pinned Proxy"),
)


def _proxy(new_proxy: Callable[..., Any], counter: Counter, workload: Workload) -> Any:
    """Make the proxy of this workload. Counters and lists would be wrapped if they were what the method returns."""
    if workload.name == "autowrap":
        return new_proxy(counter, autowrap=(Counter, list), autowrap_names=("other",))
    return new_proxy(counter, pin=workload.name == "pinned")


async def _in_async_code(tpool: Any, workload: Workload, reps: int) -> dict[str, float]:
    execute: Callable[..., Awaitable[int]] = tpool.execute
    counter = Counter()
    if workload.name == EXECUTE.name:
        answer = await execute(counter.count)
        clock = Clock()
        for _ in range(reps):
            answer = await execute(counter.count)
    else:
        proxy = _proxy(tpool.Proxy, counter, workload)
        answer = await proxy.count()
        clock = Clock()
        for _ in range(reps):
            answer = await proxy.count()
    taken = clock.per_call(reps)
    check(answer, reps + 1)
    return taken


def _in_a_green_thread(tpool: Any, workload: Workload, reps: int) -> dict[str, float]:
    execute: Callable[..., int] = tpool.execute
    counter = Counter()
    if workload.name == EXECUTE.name:
        answer = execute(counter.count)
        clock = Clock()
        for _ in range(reps):
            answer = execute(counter.count)
    else:
        proxy = _proxy(tpool.Proxy, counter, workload)
        answer = proxy.count()
        clock = Clock()
        for _ in range(reps):
            answer = proxy.count()
    taken = clock.per_call(reps)
    check(answer, reps + 1)
    return taken


@contextmanager
def _async() -> Iterator[Measure]:
    from tpool_asyncio import tpool

    keep_to_one_processor()
    tpool.set_num_threads(THREADS)
    with on_a_loop(partial(_in_async_code, tpool)) as measure:
        yield measure


@contextmanager
def _green() -> Iterator[Measure]:
    from tpool_asyncio import green

    keep_to_one_processor()
    green.tpool.set_num_threads(THREADS)
    with on_a_loop(lambda workload, reps: green.run(_in_a_green_thread, green.tpool, workload, reps)) as measure:
        yield measure


ASYNC = SelfTimed("async", "await", _async)
GREEN = SelfTimed("green", "green", _green)
CONTESTANTS = {contestant.name: contestant for contestant in (ASYNC, GREEN)}

METHOD = Subject(
    "Cost per call of a method",
    "tpool_asyncio._bench.proxy_method",
    ASYNC,
    CONTESTANTS,
    {workload.name: workload for workload in (EXECUTE, *PROXIED)},
)


def beyond_execute(figures: Figures) -> dict[str, dict[str, float]]:
    """Return how many microseconds more each way takes than `execute`, by workload and spelling."""
    found: dict[str, dict[str, float]] = {}
    for workload in PROXIED:
        for name in CONTESTANTS:
            difference = figures.beyond(workload.name, name, EXECUTE.name)
            if difference is not None:
                found.setdefault(workload.name, {})[name] = difference.wall_us
    return found


def render(figures: Figures) -> str:
    """Return the table."""
    rows = []
    for contestant in CONTESTANTS.values():
        for workload in (EXECUTE, *PROXIED):
            taken = figures.median(workload.name, contestant.name)
            beyond = figures.beyond(workload.name, contestant.name, EXECUTE.name)
            assert beyond is not None
            rows.append(
                [
                    f"{contestant.title}: {workload.title}",
                    f"{taken.wall_us:.2f}",
                    f"{taken.cpu_us:.2f}",
                    f"{beyond.wall_us:+.2f}" if workload is not EXECUTE else "-",
                    f"{beyond.cpu_us:+.2f}" if workload is not EXECUTE else "-",
                ]
            )
    return (
        f"{heading(figures, METHOD)}\n"
        '"beyond execute" is the median of the differences within each round.\n\n'
        + columns(["one after another", "wall us", "CPU us", "wall beyond execute", "CPU beyond execute"], rows)
    )


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the targets."""
    found = beyond_execute(figures)
    judged = []
    for name, contestant in CONTESTANTS.items():
        for workload in PROXIED:
            target = f"{contestant.title}: {workload.title}, us of wall time beyond execute <= {ALLOWED_US:g}"
            measured = found.get(workload.name, {}).get(name)
            judged.append(Verdict(target, measured, met=measured is not None and measured <= ALLOWED_US))
    return judged


if __name__ == "__main__":
    serve(CONTESTANTS, METHOD.workloads, *sys.argv[1:])
