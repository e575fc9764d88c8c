"""What great numbers of green threads cost: in time, and in memory while they are there.

Each case runs once, in a process that has done nothing else, since what one leaves behind would be in the other's way.
Memory is the growth of the resident set divided by the number of green threads; the list that holds them is there
before, because it is the caller's. The garbage collector is left as it is by default.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.workloads import nothing
from tpool_asyncio._bench.worlds import WORLDS

__all__ = ["CASES", "CROWDS", "GREEN", "Crowd", "Reading", "measure"]

Reading = dict[str, float]
"""What one case has come to: ``wall_us`` and ``cpu_us`` per green thread, and what else a case has to tell.

``before_bytes`` is the resident set when everything but the green threads was there, and ``bytes_each`` what it grew by
until all of them waited, divided by their number; both only where the system tells.
"""

Resident = Callable[[], int | None]
"""Returns the memory that this process has in use, in bytes, or None."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """One kind of green thread."""

    name: str
    title: str
    cases: tuple[str, ...]


GREEN = Crowd("green", "green.spawn", ("nothing", "waiting", "calls"))
CROWDS = {
    crowd.name: crowd
    for crowd in (
        GREEN,
        Crowd("eventlet", "eventlet.spawn", ("nothing", "waiting")),
        Crowd("gevent", "gevent.spawn", ("nothing", "waiting")),
        Crowd("tasks", "asyncio.create_task", ("nothing", "waiting")),
    )
}
CASES = {
    "nothing": "spawn, run, join",
    "waiting": "all wait for one event",
    "calls": "all wait for a call in the pool",
}


def measure(crowd: str, case: str, number: int, resident: Resident) -> Reading:
    """Run one case in this process, which should not have done anything else.

    Raises:
        ImportError: The package is missing.
    """
    if crowd == "tasks":
        run = {"nothing": _tasks_do_nothing, "waiting": _tasks_wait}[case]
        with asyncio.Runner(debug=False) as runner:
            return runner.run(run(number, resident))
    if case == "calls":
        return _green_threads_call(number, resident)
    return {"nothing": _do_nothing, "waiting": _wait}[case](crowd, number, resident)


class _Scales:
    """Weigh the process, at their making and when all green threads wait."""

    def __init__(self, resident: Resident, number: int) -> None:
        self._resident = resident
        self._number = number
        before = resident()
        self.reading: Reading = {} if before is None else {"before_bytes": before}

    def weigh(self) -> None:
        after = self._resident()
        if after is not None and "before_bytes" in self.reading:
            self.reading["bytes_each"] = (after - self.reading["before_bytes"]) / self._number


def _do_nothing(crowd: str, number: int, resident: Resident) -> Reading:
    world = WORLDS[crowd]()
    spawn, join = world.spawn, world.join
    green_threads: list[Any] = [None] * number
    scales = _Scales(resident, number)
    clock = Clock()
    for index in range(number):
        green_threads[index] = spawn(nothing)
    for green_thread in green_threads:
        join(green_thread)
    return {**clock.per_call(number), **scales.reading}


def _wait(crowd: str, number: int, resident: Resident) -> Reading:
    world = WORLDS[crowd]()
    spawn, join = world.spawn, world.join
    green_threads: list[Any] = [None] * number
    wait, go = world.new_signal()
    wait_for_all, all_are_there = world.new_signal()
    late = number

    def body() -> None:
        nonlocal late
        late -= 1
        if not late:
            all_are_there()
        wait()

    scales = _Scales(resident, number)
    clock = Clock()
    for index in range(number):
        green_threads[index] = spawn(body)
    wait_for_all()
    scales.weigh()
    go()
    for green_thread in green_threads:
        join(green_thread)
    return {**clock.per_call(number), **scales.reading}


async def _tasks_do_nothing(number: int, resident: Resident) -> Reading:
    async def body() -> None:
        pass

    tasks: list[Any] = [None] * number
    scales = _Scales(resident, number)
    clock = Clock()
    for index in range(number):
        tasks[index] = asyncio.create_task(body())
    await _join(tasks)
    return {**clock.per_call(number), **scales.reading}


async def _tasks_wait(number: int, resident: Resident) -> Reading:
    tasks: list[Any] = [None] * number
    event, all_are_there = asyncio.Event(), asyncio.Event()
    late = number

    async def body() -> None:
        nonlocal late
        late -= 1
        if not late:
            all_are_there.set()
        await event.wait()

    scales = _Scales(resident, number)
    clock = Clock()
    for index in range(number):
        tasks[index] = asyncio.create_task(body())
    await all_are_there.wait()
    scales.weigh()
    event.set()
    await _join(tasks)
    return {**clock.per_call(number), **scales.reading}


async def _join(tasks: list[Awaitable[object]]) -> None:
    for task in tasks:
        await task


def _green_threads_call(number: int, resident: Resident) -> Reading:
    """Have all wait for calls, while as many others as there are threads in the pool hold these up."""
    from tpool_asyncio.green import spawn, tpool

    tpool.set_num_threads(THREADS)
    wait_for_all, all_are_there = WORLDS["green"]().new_signal()
    gate = threading.Event()
    keepers = [spawn(tpool.execute, gate.wait) for _ in range(THREADS)]
    green_threads: list[Any] = [None] * number
    late = number

    def same(value: int) -> int:
        return value

    def body(value: int) -> int:
        nonlocal late
        late -= 1
        if not late:
            all_are_there()
        return tpool.execute(same, value)

    scales = _Scales(resident, number)
    clock = Clock()
    for index in range(number):
        green_threads[index] = spawn(body, index)
    wait_for_all()
    scales.weigh()
    in_flight = tpool.statistics().queued
    gate.set()
    wrong = sum(green_thread.wait() != index for index, green_thread in enumerate(green_threads))
    taken = clock.per_call(number)
    for keeper in keepers:
        keeper.wait()
    tpool.killall()
    return {**taken, **scales.reading, "in_flight": in_flight, "wrong": wrong}
