"""The outcomes on their way to one loop.

Who may touch what
    `outcomes` is a deque: workers append to it, the loop takes from it. `scheduled` is a lock used as a token: it is
    held while a drain is on its way or at work. It is only ever taken without waiting.

Why few wake-ups serve many outcomes, and none is left behind
    A worker (1) appends its outcome, (2) tries to take the token, and if it has it, (3) posts a drain to the loop.
    The drain (4) settles what it finds and has itself called again in the next turn of the loop; when it finds
    nothing it (5) gives the token back and (6) looks again, and if there are outcomes and it can take the token, goes
    back to (4). An outcome appended before (5) by a worker that got no token at (2) is seen at (6); a worker that comes
    to (2) after (5) takes the token and posts a drain of its own.

    So the loop is woken once for all outcomes that gather until it gets round to them, and not at all while they
    keep coming: the one more turn in which a drain finds nothing costs less than a tenth of a wake-up.

A drain settles at most `TURN` outcomes in one turn of the loop, so that a flood of them stalls nobody else there.
"""

import weakref
from _thread import allocate_lock
from asyncio import AbstractEventLoop
from collections import deque
from typing import TYPE_CHECKING, Any

from tpool_asyncio._loop.gate import post
from tpool_asyncio._pool.thread_pool import ThreadPool

if TYPE_CHECKING:
    from tpool_asyncio._loop.call import Call

__all__ = ["TURN", "Mailbox"]

TURN = 1_000
"""Outcomes settled in one turn of the loop."""


class Mailbox:
    """Where the workers of a pool leave outcomes for the calls that a thread made on one loop."""

    __slots__ = ("loop", "outcomes", "pool", "scheduled")

    def __init__(self, pool: ThreadPool, loop: AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = weakref.ref(loop)
        self.outcomes: deque[Call[Any]] = deque()
        self.scheduled = allocate_lock()

    def schedule(self, call: "Call[Any]") -> None:
        """With the token in hand: have the loop drain this mailbox. Any thread."""
        if not post(call.get_loop(), self._drain):
            # The loop is closed, and nobody can wait on it any more.
            self.outcomes.clear()
            self.scheduled.release()

    def _drain(self) -> None:
        outcomes = self.outcomes
        if not outcomes:
            self.scheduled.release()
            if not outcomes or not self.scheduled.acquire(False):
                return
        outcomes[0].get_loop().call_soon(self._drain)
        for _ in range(min(len(outcomes), TURN)):
            # An exception out of a signal handler may strike anywhere here: what is settled twice does no harm.
            outcomes[0].settle()
            outcomes.popleft()
