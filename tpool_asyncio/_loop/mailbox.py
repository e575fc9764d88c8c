"""The outcomes on their way to one loop.

Who may touch what
    `outcomes` is a deque: workers append to it, the loop takes from it, by operations that are atomic with the GIL and
    without. The first one is settled before it is taken, which is right as nobody else takes any: but for a worker that
    has the token and finds the loop closed, so that no drain is on its way. `scheduled` is a lock used as a token: it
    is held while a drain is on its way or at work. It is only ever taken without waiting. `pool` and `loop` never
    change.

Why few wake-ups serve many outcomes, and none is left behind
    A worker (1) appends its outcome, (2) tries to take the token, and if it has it, (3) posts a drain to the loop.
    The drain (4) settles what it finds. After more than one outcome it has itself called again in the next turn of the
    loop; else it (5) gives the token back and (6) looks again, and if there are outcomes and it can take the token, it
    has itself called again. An outcome appended before (5) by a worker that got no token at (2) is seen at (6); a
    worker that comes to (2) after (5) takes the token and posts a drain of its own.

    So the loop is woken once for all outcomes that gather until it gets round to them, and not at all while they keep
    coming: to come again for nothing costs a small part of the wake-up that it may save.

A drain settles at most `TURN` outcomes in one turn of the loop, so that a flood of them stalls nobody else there.
"""

import weakref
from asyncio import AbstractEventLoop
from collections import deque
from typing import TYPE_CHECKING

from tpool_asyncio._loop.gate import post
from tpool_asyncio._pool.native import allocate_lock
from tpool_asyncio._pool.thread_pool import ThreadPool

if TYPE_CHECKING:
    from tpool_asyncio._loop.loop_job import LoopJob

__all__ = ["TURN", "Mailbox"]

TURN = 300
"""Outcomes settled in one turn of the loop."""


class Mailbox:
    """Where the workers of a pool leave outcomes for the calls that a thread made on one loop."""

    __slots__ = ("loop", "outcomes", "pool", "scheduled", "watched")

    def __init__(self, pool: ThreadPool, loop: AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = weakref.ref(loop)
        self.outcomes: deque[LoopJob] = deque()
        self.scheduled = allocate_lock()
        self.watched = False  # whether somebody looks after calls that are made in the middle of an import

    def schedule(self) -> "list[LoopJob]":
        """With the token in hand: have the loop drain this mailbox. Any thread.

        Returns the outcomes that nobody can wait for any more, if the loop is closed or gone. Dropping them may run
        code of the user.
        """
        loop = self.loop()
        posted = False
        lost: list[LoopJob] = []
        try:
            posted = loop is not None and post(loop, self._drain)
            while not posted and self.outcomes:
                lost.append(self.outcomes.popleft())
        finally:
            if not posted:
                self.scheduled.release()
        return lost

    def _drain(self) -> None:
        # An exception out of a signal handler may strike between any two steps. Then nobody can tell who has the token,
        # so a drain comes again in any case: one too many does no harm, and neither does settling twice.
        outcomes = self.outcomes
        try:
            if len(outcomes) > 1:
                outcomes[0].get_loop().call_soon(self._drain)
                for _ in range(min(len(outcomes), TURN)):
                    outcomes[0].settle()
                    outcomes.popleft()
                return
            if outcomes:
                outcomes[0].settle()
                outcomes.popleft()
            if self.scheduled.locked():  # unless this drain is the one too many
                self.scheduled.release()
            if outcomes and self.scheduled.acquire(False):
                outcomes[0].get_loop().call_soon(self._drain)
        except BaseException:
            loop = self.loop()
            assert loop is not None  # it runs this
            loop.call_soon(self._drain)
            raise
