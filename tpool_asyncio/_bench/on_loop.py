"""Contestants that are measured from inside a running loop, and the child process of one of them.

`child` knows one way to drive calls: so many at once, again and again. Here a subject brings its own way, an async
function that drives calls as it needs them and says what else there is to say. All samples of a contestant are taken in
the same task of the same loop, since some packages give their threads up with the task that has begun with them.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from tpool_asyncio._bench.answers import say, watch_over
from tpool_asyncio._bench.child import loop_factory
from tpool_asyncio._bench.contestants import Contestant
from tpool_asyncio._bench.workloads import Submit, Workload

__all__ = ["Answer", "Drive", "Measure", "OnLoop", "serve", "through"]

Answer = Mapping[str, object]
"""What `Clock.per_call` says, and whatever else the subject has to tell."""

Measure = Callable[[Workload, int], Awaitable[Answer]]
"""Does a workload some number of times."""

Drive = Callable[[Submit, Workload, int], Awaitable[Answer]]
"""Does the same with a way to make calls."""


@dataclass(frozen=True, slots=True)
class OnLoop:
    """One contestant."""

    name: str
    """The word for it on the command line of a child process and in JSON."""
    title: str
    """What people read."""
    open: Callable[[], AbstractAsyncContextManager[Measure]]
    """Opens it on the running loop; raises `ImportError` if its package is missing."""
    leaves_out: tuple[Workload, ...] = ()
    """The workloads that it has no part in."""

    def takes(self, workload: Workload) -> bool:
        """Return whether it takes part in this workload."""
        return workload not in self.leaves_out


def through(contestant: Contestant, drive: Drive, leaves_out: tuple[Workload, ...] = ()) -> OnLoop:
    """Return one of the known ways to make calls, driven in the way of a subject."""
    opener = contestant.open
    assert opener is not None

    @asynccontextmanager
    async def opened() -> AsyncIterator[Measure]:
        async with opener() as submit:
            yield partial(drive, submit)

    return OnLoop(contestant.name, contestant.title, opened, leaves_out)


def serve(
    contestants: Mapping[str, OnLoop], workloads: Mapping[str, Workload], name: str, loop: str, patience: str
) -> None:
    """Be the child process for one contestant, as `child` is for others."""
    watch = watch_over(float(patience))
    watch()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children itself
    try:
        with asyncio.Runner(debug=False, loop_factory=loop_factory(loop)) as runner:
            runner.run(_serve(contestants[name], workloads, watch))
    except ImportError as error:
        say({"missing": str(error)})


async def _serve(contestant: OnLoop, workloads: Mapping[str, Workload], watch: Callable[[], None]) -> None:
    async with contestant.open() as measure:
        say({"ready": True})
        for line in sys.stdin:
            watch()
            word, reps = line.split()
            say(await measure(workloads[word], int(reps)))
