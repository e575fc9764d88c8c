"""What the contestants have to do: the same functions, in the same number, at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = [
    "AT_ONCE_20",
    "AT_ONCE_1000",
    "GATHERED_1000",
    "ONE_BY_ONE",
    "SLEEPING_100",
    "WORKLOADS",
    "Submit",
    "Workload",
    "run",
]

Submit = Callable[..., Awaitable[object]]
"""A contestant's way to make a call: it takes a function and its arguments and returns something to await."""


def nothing() -> None:
    """The least that a call can do, so that what is measured is the call itself."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A number of calls at a time, repeated."""

    name: str
    """The word for it in what parent and child say to each other."""
    title: str
    """What people read."""
    at_once: int
    """How many calls are made before the first of them is awaited."""
    fn: Callable[..., object]
    args: tuple[object, ...]
    reps: int
    """How often it is done in one round, chosen to take some 10 to 100 ms."""
    quick_reps: int
    """The same where a rough answer will do."""
    gathered: bool = False
    """Collect with `asyncio.gather`, which has its own price, the same for all; else await one call after another."""


ONE_BY_ONE = Workload("one_by_one", "one after another", 1, nothing, (), reps=500, quick_reps=100)
AT_ONCE_20 = Workload("at_once_20", "20 at once", 20, nothing, (), reps=40, quick_reps=10)
AT_ONCE_1000 = Workload("at_once_1000", "1,000 at once", 1_000, nothing, (), reps=2, quick_reps=1)
GATHERED_1000 = Workload(
    "gathered_1000", "1,000 at once, through asyncio.gather", 1_000, nothing, (), reps=2, quick_reps=1, gathered=True
)
SLEEPING_100 = Workload("sleeping_100", "100 at once, each sleeps 0.2 ms", 100, time.sleep, (0.0002,), 8, 2)

WORKLOADS = {
    workload.name: workload for workload in (ONE_BY_ONE, AT_ONCE_20, AT_ONCE_1000, GATHERED_1000, SLEEPING_100)
}


async def run(workload: Workload, submit: Submit, reps: int) -> None:
    """Do a workload ``reps`` times on the running loop."""
    fn, args, at_once = workload.fn, workload.args, workload.at_once
    if at_once == 1:
        for _ in range(reps):
            await submit(fn, *args)
    elif workload.gathered:
        for _ in range(reps):
            await asyncio.gather(*[submit(fn, *args) for _ in range(at_once)])
    else:
        for _ in range(reps):
            # Starts what is a coroutine, and leaves a future as it is: what asyncio.gather does, without its callbacks.
            calls = [asyncio.ensure_future(submit(fn, *args)) for _ in range(at_once)]
            for call in calls:
                await call
