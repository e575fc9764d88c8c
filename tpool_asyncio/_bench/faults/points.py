"""Waiters that go away at one point of a call's life that is hard to hit, or by being killed."""

import asyncio
import random
import time
from typing import Any

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, check
from tpool_asyncio._bench.faults.waiters import Gate, ending, until
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []


@case("waiters", "tasks")
def given_up_as_it_is_claimed(way: Way) -> None:
    """Cancelled or timed out just when a thread takes the call.

    A call waits behind another one, and is given up at the moment when the thread becomes free for it, 400 times. Its
    waiter gets the value, and then the function has run once, or a CancelledError or TimeoutError; the next call works.
    """
    way.set_size(1)
    chance = random.Random(17)

    async def once(turn: int) -> None:
        gate = Gate()
        ran: list[int] = []
        first = way.start(gate, turn)
        await until(gate.begun)
        moment = chance.random() / 5_000
        second = way.start(ran.append, turn)
        limited = asyncio.ensure_future(asyncio.wait_for(second, moment)) if turn % 2 else second
        await asyncio.sleep(0)
        gate.opened.set()
        time.sleep(moment)
        if limited is second:
            second.cancel()
        end = await ending(way, limited, "the waiter that gives up")
        check(await way.within(first, "the first") == turn, "the first call gets another value")
        await way.within(way.call(int), "the next call")
        check(end != "value" or ran == [turn], "a value came of a function that has not run")
        check(len(ran) <= 1, "a function ran twice")

    async def main() -> None:
        for turn in range(way.many(400)):
            await once(turn)

    way.run(main)


@case("waiters", "green")
def killed_at_every_point(way: Any) -> None:
    """Green threads killed before they begin, in the queue, while the function runs, and when it is over.

    Each of them ends at once. What was not wanted before its turn came never runs, and the thread is not lost.
    """
    way.set_size(1)
    execute = (way.tpool if way.name == "eventlet" else way.pool).execute
    early, running, queued, over = gates = [Gate() for _ in range(4)]

    def wait_for(what: str, happened: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            if time.monotonic() > deadline:
                raise Hangs(what)
            way.sleep(0.001)

    def kill(thread: Any) -> None:
        thread.kill()
        wait_for("a green thread that has been killed", lambda: thread.dead)

    try:
        check(execute(len, "abc") == 3, "the first call")
        kill(way.spawn(execute, early))
        threads = [way.spawn(execute, gate) for gate in (running, queued)]
        wait_for("the first function", running.begun.is_set)
        kill(threads[1])
        kill(threads[0])
        for gate in gates:
            gate.opened.set()
        check(execute(len, "abc") == 3, "the next call")
        thread = way.spawn(execute, over)
        wait_for("the last function", over.begun.is_set)
        over.ended.wait(PATIENCE)
        time.sleep(0.02)  # for the outcome to be posted, while no loop runs
        kill(thread)
        check(execute(len, "abc") == 3, "the last call")
        check(not early.begun.is_set() and not queued.begun.is_set(), "a function ran although it was not wanted")
    finally:
        for gate in gates:
            gate.opened.set()
