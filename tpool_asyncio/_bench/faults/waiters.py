"""Waiters that go away: at every point of a call's life, one by one and in storms."""

import asyncio
import gc
import random
import threading
import time
from contextlib import suppress
from typing import Any

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, Wrong, check
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []


class Gate:
    """A function that runs until it is let through, and tells when it has begun."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()
        self.ended = threading.Event()

    def __call__(self, value: Any = None) -> Any:
        self.begun.set()
        self.opened.wait(30)
        self.ended.set()
        return value


async def until(event: threading.Event) -> None:
    """Wait for something that another thread does, without blocking the loop."""
    deadline = time.monotonic() + PATIENCE
    while not event.is_set():
        if time.monotonic() > deadline:
            raise Hangs("a function that should have begun or ended by now")
        await asyncio.sleep(0.001)


async def ending(way: Way, call: "asyncio.Task[Any]", what: str) -> str:
    """Return how a call that has been given up ends for its waiter."""
    try:
        await way.within(call, what)
    except asyncio.CancelledError:
        return "cancelled"
    except TimeoutError:
        return "timed out"
    return "value"


@case("waiters", "tasks")
def cancelled_before_queueing(way: Way) -> None:
    """Cancelled before the call has been made, or made when its time is over: it never runs.

    A task is made and cancelled before its first step; another one makes its call, while all threads are busy, when
    its time limit has already passed. The one waiter sees a CancelledError, the other a TimeoutError, and neither
    function ever runs.
    """
    way.set_size(1)
    busy, cancelled, late = Gate(), Gate(), Gate()

    async def begin_late() -> Any:
        async with asyncio.timeout(0.001):
            time.sleep(0.002)
            return await way.call(late)

    async def main() -> None:
        call = way.start(cancelled)
        call.cancel()
        check(await ending(way, call, "the waiter") == "cancelled", "the waiter is not cancelled")
        running = way.start(busy, 1)
        await until(busy.begun)
        call = asyncio.ensure_future(begin_late())
        check(await ending(way, call, "the late waiter") == "timed out", "the waiter does not time out")
        for gate in (busy, cancelled, late):
            gate.opened.set()
        check(await way.within(running, "the call that runs") == 1, "the call that runs gets another value")
        await way.within(way.call(int), "the next call")
        check(not cancelled.begun.is_set() and not late.begun.is_set(), "a function ran although it was not wanted")

    try:
        way.run(main)
    finally:
        for gate in (busy, cancelled, late):
            gate.opened.set()


@case("waiters", "tasks")
def cancelled_in_queue(way: Way) -> None:
    """Cancelled in the queue: it never runs, and the others keep their turn.

    All threads are busy, and of two calls that wait one is cancelled, another times out. Both waiters hear of it at
    once, neither function ever runs, and the third one does.
    """
    way.set_size(1)
    first, cancelled, late, last = Gate(), Gate(), Gate(), Gate()

    async def main() -> None:
        running = way.start(first, 1)
        await until(first.begun)
        calls = [way.start(cancelled), asyncio.ensure_future(asyncio.wait_for(way.start(late), 0.02))]
        third = way.start(last, 3)
        await asyncio.sleep(0.01)
        calls[0].cancel()
        check(await ending(way, calls[0], "the cancelled waiter") == "cancelled", "the waiter is not cancelled")
        check(await ending(way, calls[1], "the late waiter") == "timed out", "the waiter does not time out")
        for gate in (first, cancelled, late, last):
            gate.opened.set()
        check(await way.within(running, "the first") == 1, "the first call gets another value")
        check(await way.within(third, "the third") == 3, "the third call gets another value")
        check(not cancelled.begun.is_set() and not late.begun.is_set(), "a function ran although it was not wanted")

    try:
        way.run(main)
    finally:
        for gate in (first, cancelled, late, last):
            gate.opened.set()


@case("waiters", "tasks")
def cancelled_while_running(way: Way) -> None:
    """Cancelled or timed out while the function runs: the waiter hears of it, and its thread is not lost.

    At the latest when the function has ended, the waiter gets its CancelledError or TimeoutError. Afterwards all
    threads work, and nothing is logged.
    """
    way.set_size(2)
    gates = [Gate(), Gate()]

    async def main() -> None:
        cancelled = way.start(gates[0])
        late = asyncio.ensure_future(asyncio.wait_for(way.start(gates[1]), 0.05))
        for gate in gates:
            await until(gate.begun)
        cancelled.cancel()
        await asyncio.sleep(0.1)
        for gate in gates:
            gate.opened.set()
        check(await ending(way, cancelled, "the cancelled waiter") == "cancelled", "the waiter is not cancelled")
        check(await ending(way, late, "the late waiter") == "timed out", "the waiter does not time out")
        for gate in gates:
            await until(gate.ended)
        calls = [way.start(pow, 2, number) for number in range(10)]
        values = await way.within(asyncio.gather(*calls), "calls afterwards")
        check(values == [2**number for number in range(10)], "wrong values afterwards")

    try:
        way.run(main)
    finally:
        for gate in gates:
            gate.opened.set()


@case("waiters", "tasks")
def cancelled_at_delivery(way: Way) -> None:
    """Cancelled or timed out when the outcome is there, but not collected: no error in between.

    The loop stands still until the function has ended, then the waiter is cancelled, or its time is over. It gets
    either the value or its CancelledError or TimeoutError, an exception of the function included; nothing like
    InvalidStateError is logged.
    """

    async def once(turns: int, fails: bool, limited: bool) -> None:
        gate = Gate()
        call = way.start(_fail_after, gate) if fails else way.start(gate)
        await until(gate.begun)
        if limited:
            call = asyncio.ensure_future(asyncio.wait_for(call, 0.01))
            await asyncio.sleep(0)
        gate.opened.set()
        gate.ended.wait(PATIENCE)
        time.sleep(0.02)  # for the outcome to be posted, and the time to be over, while the loop stands still
        for _ in range(turns):
            await asyncio.sleep(0)
        if not limited:
            call.cancel()
        with suppress(LookupError):
            check(await ending(way, call, "the waiter") != ("cancelled" if limited else "timed out"), "the other error")

    async def main() -> None:
        for turns in range(4):
            for fails in (False, True):
                for limited in (False, True):
                    await once(turns, fails, limited)
        await way.within(way.call(int), "the next call")

    way.run(main)
    gc.collect()
    for line in way.noise:
        check("LookupError" in line, line)
    way.noise.clear()


def _fail_after(gate: Gate) -> None:
    gate()
    raise LookupError("too late")


@case("waiters", "tasks")
def storm(way: Way) -> None:
    """A storm of 10,000 calls, given up at random moments or not at all.

    A third of them is cancelled and another third times out, anywhere from before the queue to after the end. Each
    waiter gets its own value, its own error, a CancelledError or a TimeoutError, and the last call of all works.
    Nothing is logged but the errors of functions whose callers have gone away.
    """
    chance = random.Random(7)

    def job(number: int) -> int:
        if number % 10 == 0:
            time.sleep(0.0005)
        if number % 7 == 0:
            raise LookupError(number)
        return number

    async def user(number: int, kind: float, moment: float) -> None:
        call: Any = way.start(job, number)
        try:
            if kind < 1 / 3:
                for _ in range(int(moment * 4)):
                    await asyncio.sleep(moment / 500)
                call.cancel()
                value = await call
            elif kind < 2 / 3:
                value = await asyncio.wait_for(call, moment / 50)
            else:
                value = await call
            check(value == number, f"call {number} gets {value!r}")
        except LookupError as error:
            check(error.args == (number,), f"call {number} gets {error!r}")
        except (asyncio.CancelledError, TimeoutError):
            check(kind < 2 / 3, f"call {number}, which nobody has given up, is cancelled")

    async def main() -> None:
        users = way.many(10_000)
        for begin in range(0, users, 500):
            crowd = [user(n, chance.random(), chance.random()) for n in range(begin, min(begin + 500, users))]
            await way.within(asyncio.gather(*crowd), "the waiters of a storm", 4 * PATIENCE)
        check(await way.within(way.call(len, "abc"), "the last call") == 3, "the last call")

    way.run(main)
    gc.collect()
    for line in way.noise:
        check("LookupError" in line and "InvalidState" not in line, line)
    way.noise.clear()


@case("waiters", "green")
def storm_of_kills(way: Any) -> None:
    """A storm of 10,000 green threads that are killed in the middle of their calls, or not at all.

    Half of them are killed at random moments. Each of the others gets its own value; the last call of all works.
    """
    chance = random.Random(11)
    values: dict[int, int] = {}

    def job(number: int) -> int:
        if number % 10 == 0:
            time.sleep(0.0005)
        return number

    def user(number: int) -> None:
        values[number] = (way.tpool if way.name == "eventlet" else way.pool).execute(job, number)

    users = way.many(10_000)
    for begin in range(0, users, 500):
        numbers = range(begin, min(begin + 500, users))
        threads = [way.spawn(user, number) for number in numbers]
        victims = chance.sample(range(len(threads)), len(threads) // 2)
        for index in victims:
            if chance.random() < 0.1:
                way.sleep(chance.random() / 500)
            threads[index].kill()
        spared = set(range(len(threads))).difference(victims)
        deadline = time.monotonic() + 2 * PATIENCE
        while any(begin + index not in values for index in spared):
            if time.monotonic() > deadline:
                raise Hangs("a green thread that was not killed")
            way.sleep(0.001)
    if wrong := [number for number, value in values.items() if number != value]:
        raise Wrong(f"wrong values: {wrong[:5]}")
    user(-1)
