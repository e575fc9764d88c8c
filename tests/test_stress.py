"""Everything at once, from several loops: cancellations, time limits, limiters, nesting, `killall` and `resize`.

Chance decides what happens, so the test looks at what must hold in every case: nothing hangs, no call gets the outcome
of another, no token of a limiter is lost, and at the end the counts add up.
"""

import asyncio
import random
import threading
import time
from typing import Any

import anyio
import pytest

from tests.gate import PATIENCE
from tpool_asyncio import from_thread, tpool

LOOPS = 3
USERS = 10
STEPS = 60


class Mix:
    """One run of the mixture."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.pool = tpool.Pool(4, idle_timeout=self.chance.choice([None, 0.001, 0.01]))
        self.problems = list[object]()
        self.loops = list[asyncio.AbstractEventLoop]()

    def job(self, value: float, depth: int) -> float:
        """What runs in the workers; it may fail, sleep, call back, or make further calls."""
        kind = int(value * 1_000) % 10
        if kind == 0:
            raise LookupError(value)
        if kind < 3:
            time.sleep(value / 300)
        elif kind < 5:
            return from_thread.run(self.back, value, depth)
        elif kind < 6:
            return from_thread.run_sync(lambda: value)
        elif kind < 7:
            from_thread.check_cancelled()
        elif kind < 8:

            async def nested() -> float:
                return await self.pool.execute(lambda: value)

            return asyncio.run(nested())
        return value

    async def back(self, value: float, depth: int) -> float:
        """What runs in the loop on behalf of a worker; it may make a call again."""
        await asyncio.sleep(0)
        return await self.pool.execute(self.job, value, depth - 1) if depth else value

    async def user(self, seed: int, limiter: anyio.CapacityLimiter) -> None:
        """Make calls in all ways, one after another."""
        chance = random.Random(seed)
        for _ in range(STEPS):
            value = chance.random()
            options: Any = chance.choice(
                [
                    self.pool,
                    self.pool.options(timeout=chance.random() / 250),
                    self.pool.options(queue_timeout=0.001),
                    self.pool.options(on_cancel="wait", timeout=chance.choice([None, 0.001])),
                    self.pool.options(limiter=limiter, timeout=chance.choice([None, 0.003])),
                    self.pool.options(limiter=limiter, on_cancel="wait"),
                ]
            )
            try:
                await self.step(chance.random(), options, value)
            except (LookupError, TimeoutError):
                pass
            except asyncio.CancelledError:
                assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]
            except RuntimeError as error:
                if "which a call cannot hand on" not in str(error):  # the job was cancelled from below
                    raise

    async def step(self, kind: float, options: Any, value: float) -> None:
        if kind < 0.3:
            async with asyncio.timeout(value / 250):
                assert await options.execute(self.job, value, 2) == value
        elif kind < 0.4:
            call = options.execute(self.job, value, 2)
            call.cancel()
            await asyncio.sleep(0)
        elif kind < 0.43:
            await self.pool.killall(self_limit(kind))
        elif kind < 0.46:
            self.pool.resize(1 + int(value * 6))
        else:
            assert await options.execute(self.job, value, 2) == value

    async def main(self, seed: int) -> None:
        def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if not isinstance(context.get("exception"), (LookupError, RuntimeError, TimeoutError)):
                self.problems.append(context)

        loop = asyncio.get_running_loop()
        self.loops.append(loop)
        loop.set_exception_handler(report)
        limiter = anyio.CapacityLimiter(2)
        await asyncio.gather(*(self.user(seed * 100 + user, limiter) for user in range(USERS)))
        while limiter.borrowed_tokens:  # calls that were abandoned still hold theirs
            await asyncio.sleep(0.001)

    def thread(self, seed: int) -> None:
        try:
            asyncio.run(self.main(seed))
        except BaseException as error:
            self.problems.append(error)

    def state(self) -> str:
        """Tell where everything stands, for the case that something hangs."""
        core = self.pool._core
        lines = [str(self.pool.statistics()), f"problems: {self.problems}"]
        for crew in (*core._crews, *core._detached):
            workers = [(each.name, each.parked, each.excused, each.job and each.job.name) for each in crew.workers]
            lines.append(
                f"crew: size {crew.size}, {len(crew.queue)} queued, {len(crew.idle)} idle, retired {crew.retired},"
                f" dismissing {crew.dismissing}, scout {crew.scout.locked()}, workers {workers}"
            )
        lines += [f"farewell: complete {each.complete(set())}, spared {each.spared}" for each in core._farewells]
        for loop in self.loops:
            lines.append(str(loop))
            lines += [f"  {task}" for task in ([] if loop.is_closed() else asyncio.all_tasks(loop))]
        return "\n".join(lines)


def self_limit(kind: float) -> float | None:
    """Some wait for everything, some give up at once."""
    return None if kind < 0.415 else 0.001


@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once(seed: int) -> None:
    mix = Mix(seed)
    threads = [threading.Thread(target=mix.thread, args=(seed * LOOPS + number,)) for number in range(LOOPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
        assert not thread.is_alive(), mix.state()
    assert mix.problems == []

    async def end() -> None:
        await mix.pool.killall()
        assert await mix.pool.execute(len, "abc") == 3
        await mix.pool.killall()

    asyncio.run(end())
    while any(crew.workers for crew in mix.pool._core._detached):
        time.sleep(0.001)
    counts = mix.pool.statistics()
    assert (counts.threads, counts.queued, counts.busy, counts.parked) == (0, 0, 0, 0)
    assert counts.submitted == counts.completed + counts.failed + counts.cancelled
