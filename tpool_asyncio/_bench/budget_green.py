"""The steps of a call from a green thread, done by hand as in `budget_by_hand`.

There are two of them. The worker runs the call. Then the loop takes the outcome, which includes everything of the green
thread: the switch to it, its return from the call, its next call, and the switch back out of it. The two make a whole
round, since a green thread does nothing else between its calls.
"""

import asyncio

from tpool_asyncio._bench.budget_by_hand import IdleHand
from tpool_asyncio._bench.budget_marks import Mark, Scenario, Step
from tpool_asyncio._bench.workloads import nothing
from tpool_asyncio.green import spawn
from tpool_asyncio.green.tpool import Pool

__all__ = ["GreenByHand"]


class GreenByHand:
    """The scenario of calls from green threads, which are as many as there are calls at once. See `ByHand`."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.loop = asyncio.get_running_loop()
        self.pool = Pool(1, name="by hand", idle_timeout=0)
        core = self.pool._pool._core
        self.hand = IdleHand(core, self.loop)
        self.going = True

    async def start(self) -> None:
        """Have all the green threads wait for their first calls."""
        self.green_threads = [spawn(self._make_calls) for _ in range(self.each)]
        while len(self.hand.crew.queue) < self.each:
            await asyncio.sleep(0)

    def scenarios(self) -> list[Scenario]:
        return [Scenario("green", self.each, (Step("green: work"), Step("green: drain")), self.turn)]

    async def turn(self, mark: Mark) -> None:
        """All the outcomes of the calls that are there, and the next calls."""
        hand, done = self.hand, self.loop.create_future()

        def by_hand() -> None:  # in no task, as a drain is
            hand.mailbox.scheduled.acquire(False)  # so that the worker posts no drain
            mark()
            hand.worker.bell.acquire()
            hand.worker._serve()
            mark()
            hand.crew.idle[hand.worker] = None
            hand.mailbox.drain(hand.mailbox)
            mark()
            done.set_result(None)

        self.loop.call_soon(by_hand)
        await done

    async def close(self) -> None:
        """Have the green threads come to their ends."""
        self.going = False
        await self.turn(_no_mark)
        while not all(green_thread.dead for green_thread in self.green_threads):
            await asyncio.sleep(0)
        self.hand.leave()

    def _make_calls(self) -> None:
        execute = self.pool.execute
        while self.going:
            execute(nothing)


def _no_mark() -> None:
    pass
