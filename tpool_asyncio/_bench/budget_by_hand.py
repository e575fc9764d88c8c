"""The steps of a call, done by hand, one after another in one thread, so that each can be measured by itself.

The code is that of the package. What is by hand is only who calls it: the worker is one without a thread, which is in
its crew's ``idle`` as others would be, and whose body is called when its bell has been rung. As its time to be idle is
zero, it comes back from there when it has nothing more to do. There is no other thread, so that nothing depends on
which of several runs when.

Many calls at once are made one after another; then the worker runs all of them; then the loop takes all the outcomes
at once, in as many turns as that takes. Real threads can do it in other orders, with more wake-ups.
"""

import asyncio
import gc
import math
from contextvars import Context
from typing import TYPE_CHECKING

from tpool_asyncio._bench.budget_marks import Mark, Scenario, Step
from tpool_asyncio._bench.workloads import nothing
from tpool_asyncio._loop.call import FINDS_LOOP, Call
from tpool_asyncio._loop.mailbox import TURN, Mailbox
from tpool_asyncio._loop.pool import Pool
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ByHand", "IdleHand", "MarkedMailbox", "asyncio_by_hand"]


class MarkedMailbox(Mailbox):
    """A mailbox that sets marks around its next drains."""

    __slots__ = ("drain", "mark", "marked")

    def __init__(self, pool: ThreadPool, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(pool, loop)
        self.drain: Callable[[Mailbox], None] = Mailbox._drain
        self.mark: Mark = nothing
        self.marked = 0  # how many drains are still to be marked

    def _drain(self) -> None:
        if self.marked:
            self.marked -= 1
            self.mark()
            self.drain(self)
            self.mark()
        else:
            self.drain(self)


class IdleHand:
    """The one worker of a pool, without a thread."""

    def __init__(self, pool: ThreadPool, loop: asyncio.AbstractEventLoop) -> None:
        self.crew = pool._crews[-1]
        self.worker = Worker(self.crew, "by hand", scouting=True)
        self.crew.workers.add(self.worker)
        self.mailbox = pool.local.mailbox = MarkedMailbox(pool, loop)
        self.rest()

    def rest(self) -> None:
        """Have the worker idle, nothing queued and nobody on the way, whatever has been done before."""
        self.crew.queue.clear()
        self.crew.idle[self.worker] = None
        for lock in (self.worker.bell, self.crew.scout):
            lock.acquire(False)
        self.crew.scout.release()

    def leave(self) -> None:
        """Take the worker out of its crew, which can then end."""
        self.crew.idle.clear()
        self.crew.workers.discard(self.worker)


class ByHand:
    """The scenarios of calls from async code. To be made and run in the thread of a loop."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.numbers = range(each)
        self.drains = math.ceil(each / TURN)  # how many it takes to settle all
        self.pool = Pool(1, name="by hand", idle_timeout=0)
        self.core = self.pool._core
        self.hand = IdleHand(self.core, asyncio.get_running_loop())

    def scenarios(self) -> list[Scenario]:
        whole = (
            Step("execute", "listed"),
            Step("work"),
            Step("turn to the drain"),
            *(Step("drain", "marked drain"), Step("turn to the task")) * (self.drains - 1),
            Step("drain", "marked drain"),
            Step("turn to the task", "looped"),
            Step("let go"),
        )
        found: list[tuple[str, tuple[Step, ...], Callable[[Mark], object]]] = [
            ("base of drain", (Step("marked drain", ""),), self.drain_nothing),
            ("whole", whole, self.whole),
            ("made", (Step("made", "listed"),), self.made),
            ("queued", (Step("queued", "listed"),), self.queued),
            ("not posted", (Step("work without wake-up"),), self.not_posted),
            ("jobs", (Step("run_job", "looped"), Step("deliver", "looped")), self.jobs),
            ("settled", (Step("settle", "looped"),), self.settled),
            ("parts", (Step("future", "listed"), Step("context.run", "looped")), self.parts),
        ]
        if self.each > 1:  # that of a single call would be lost beside what it does to the caches of the processor
            collected = tuple(Step(f"{step.name}, collected", step.base) for step in whole)
            found.append(("whole with collector", collected, self.collected))
        return [Scenario(name, self.each, steps, run) for name, steps, run in found]  # type: ignore[arg-type]

    def close(self) -> None:
        self.hand.leave()

    async def whole(self, mark: Mark) -> None:
        """All of it, in the order of its steps."""
        execute, numbers = self.pool.execute, self.numbers
        worker = self.hand.worker
        self.hand.mailbox.mark, self.hand.mailbox.marked = mark, self.drains
        mark()
        calls = [execute(nothing) for _ in numbers]
        mark()
        worker.bell.acquire()
        worker._serve()
        mark()
        for call in calls:
            await call
        mark()
        del calls, call
        mark()
        self.hand.rest()
        await asyncio.sleep(0)  # for the drain that finds nothing more, and gives its token back

    async def collected(self, mark: Mark) -> None:
        """The same with the garbage collector on, which begins at zero."""
        gc.collect()
        gc.enable()
        await self.whole(mark)
        gc.disable()

    async def drain_nothing(self, mark: Mark) -> None:
        """What is around a drain in these scenarios."""
        mailbox = self.hand.mailbox
        mailbox.mark, mailbox.marked = mark, 1
        kept, mailbox.drain = mailbox.drain, _ignore
        mailbox._drain()
        mailbox.drain = kept

    async def made(self, mark: Mark) -> None:
        """`execute` without handing the call over."""
        execute, numbers = self.pool.execute, self.numbers
        submit = self.core.submit
        self.core.submit = id  # type: ignore[assignment]  # something that takes no time
        mark()
        calls = [execute(nothing) for _ in numbers]
        mark()
        self.core.submit = submit
        del calls

    async def queued(self, mark: Mark) -> None:
        """`execute` while somebody else has the scout's token, so that nobody is woken."""
        execute, numbers = self.pool.execute, self.numbers
        self.hand.crew.scout.acquire()
        mark()
        calls = [execute(nothing) for _ in numbers]
        mark()
        self.hand.rest()
        del calls

    async def not_posted(self, mark: Mark) -> None:
        """The worker's part while a drain is on its way already."""
        calls = [self.pool.execute(nothing) for _ in self.numbers]
        worker, mailbox = self.hand.worker, self.hand.mailbox
        mailbox.scheduled.acquire()
        mark()
        worker.bell.acquire()
        worker._serve()
        mark()
        mailbox.scheduled.release()
        mailbox.outcomes.clear()
        self.hand.rest()
        del calls

    async def jobs(self, mark: Mark) -> None:
        """What a worker does with each job, of that again what its delivery is; no drain is to be posted."""
        self.hand.crew.scout.acquire()
        calls = [self.pool.execute(nothing) for _ in self.numbers]
        run_job, mailbox = self.hand.worker.run_job, self.hand.mailbox
        mailbox.scheduled.acquire()
        mark()
        for call in calls:
            run_job(call)  # type: ignore[arg-type]
        mark()
        for call in calls:
            call.deliver()  # type: ignore[attr-defined]
        mark()
        mailbox.scheduled.release()
        mailbox.outcomes.clear()
        self.hand.rest()

    async def settled(self, mark: Mark) -> None:
        """What a drain does with each outcome. For the first of the calls somebody waits."""
        self.hand.crew.scout.acquire()
        calls = [self.pool.execute(nothing) for _ in self.numbers]
        for call in calls:
            call.value = None  # type: ignore[attr-defined]
        calls[0].add_done_callback(_ignore)
        mark()
        for call in calls:
            call.settle()  # type: ignore[attr-defined]
        mark()
        self.hand.rest()

    async def parts(self, mark: Mark) -> None:
        """The future alone, as a class in Python, and the function alone, in a new context."""
        numbers = self.numbers
        loop = asyncio.get_running_loop()
        mark()
        calls: list[Call[None]] = [Call() if FINDS_LOOP else Call(loop=loop) for _ in numbers]
        mark()
        for _ in calls:
            Context().run(nothing)
        mark()


def asyncio_by_hand(each: int) -> list[Scenario]:
    """Return the same without the package: futures, one wake-up, and setting and awaiting them."""
    numbers = range(each)

    async def run(mark: Mark) -> None:
        loop = asyncio.get_running_loop()
        mark()
        futures = [loop.create_future() for _ in numbers]
        mark()
        loop.call_soon_threadsafe(_set_all, futures)
        mark()
        for future in futures:
            await future
        mark()
        del futures, future
        mark()

    steps = ("make futures", "listed"), ("post", "mark"), ("set and await", "looped"), ("let go of them", "mark")
    return [Scenario("asyncio", each, tuple(Step(name, base) for name, base in steps), run)]


def _set_all(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        future.set_result(None)


def _ignore(anything: object) -> None:
    pass
