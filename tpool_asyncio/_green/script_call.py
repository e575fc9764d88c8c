"""A call made in a script.

As long as its hub has not been started, no loop is needed to wait: the script waits on a lock, the **bell**, which the
worker releases when the outcome is there. That costs a fraction of what it costs to start and stop a loop. Otherwise
the script runs the loop, and the outcome is posted there, as are all others.

When the job calls back with `from_thread`, a loop is needed after all. The worker (1) makes the lock ``loop_made``,
(2) rings the bell, and (3) waits for that lock. The script, woken without an outcome, (4) starts its hub, (5) releases
the lock, and from there on waits in the loop. A script that has been interrupted, by Ctrl-C, gives up the call and
releases the lock without a loop; since it may do so before (1), the worker looks now and then whether it has. The
script looks up from the bell now and then, too: a signal that comes a moment before a thread begins to wait on a lock
does not wake it, and a job that waits for what the script imports never ends.

Other threads may want the loop, too (`Hub.run_threadsafe`). Such a thread (a) makes the loop and posts what it has,
then (b) rings the bell of a script that is known to wait. The script (c) makes itself known and (d) waits only if there
is no loop, so one of them sees the other. The worker may come to its end just then: it (e) notes that the call is over,
and (f) rings the bell, or stops the loop if the script waits there. The script (g) notes that it does, and (h) looks
once more whether the call is over. If (h) does not see (e), then (f) has seen (g). The worker that asks for the loop
itself looks now and then whether (g) has happened.
"""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from tpool_asyncio._green.hub import Hub
from tpool_asyncio._loop.gate import post
from tpool_asyncio._loop.loop_job import TOLD_TO_STOP, LoopJob, outcome_of
from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.importing import LOOK_AGAIN, import_error, stuck_in_import
from tpool_asyncio._pool.job import is_caught_by, new_claim
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.native import LockType, allocate_lock
from tpool_asyncio._pool.refusal import not_callable_error
from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["call_in_script"]


class ScriptCall(LoopJob):
    """A call whose caller waits on a lock."""

    __slots__ = (
        "__weakref__",
        "args",
        "bell",
        "claim",
        "context",
        "culprit",
        "errands",
        "error",
        "fn",
        "given_up",
        "hub",
        "kwargs",
        "loop",
        "loop_made",
        "over",
        "pool",
        "value",
    )

    pool: ThreadPool | Lane
    hub: Hub
    loop: asyncio.AbstractEventLoop | None
    """Where the script waits; None as long as it waits for the bell."""
    bell: LockType
    loop_made: LockType | None
    over: bool
    given_up: bool

    @property
    def unwanted(self) -> bool:
        return self.given_up

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the script, which is started if necessary. In the thread that runs the job."""
        if self.loop is None:
            loop_made = allocate_lock()
            loop_made.acquire()
            self.loop_made = loop_made
            if not self.given_up:
                self._ring()
                while not loop_made.acquire(True, LOOK_AGAIN) and not self._has_loop() and not self.given_up:
                    pass
        if self.loop is None:
            raise asyncio.CancelledError("the script that made this call has stopped waiting for it")
        return self.loop

    def _has_loop(self) -> bool:
        return self.loop is not None

    def deserted(self) -> bool:
        return self.given_up

    def withdraw(self) -> bool:
        if not self.drop():
            return False
        self.pool.dropped()
        return True

    def deliver(self) -> Callable[[], None] | None:
        self.over = True
        if self.given_up:
            self.drop_outcome()
            return None
        return self._ring if self.loop is None else self._stop_loop

    def _ring(self) -> None:
        try:
            self.bell.release()
        except RuntimeError:
            return  # somebody else has rung it, and the script has not come to it

    def _stop_loop(self) -> None:
        assert self.loop is not None
        post(self.loop, partial(self.hub._stop, self))

    def disown(self) -> None:  # pragma: no cover - only ever called in a fork that ends before its coverage is saved
        self.given_up = True

    def done(self) -> bool:
        """Return whether the script need not wait any more."""
        return self.over or self.given_up

    def cancelled(self) -> bool:
        """Return whether the script has given up the call."""
        return self.given_up

    def cancel(self) -> None:
        """Give up the call: a queued one never runs, a running one is abandoned. In the script, or in its loop."""
        if not self.done():
            self.given_up = True
            if not self.withdraw():
                self.stop_errands()
            if self.over:  # by now
                self.drop_outcome()
            if self.loop is not None and self.loop.is_running():
                self.loop.stop()

    def submit_and_wait(self) -> None:
        """Have the job queued, and wait until it is over. In the script."""
        try:
            try:
                self.pool.submit(self)
            except Exception:
                self.given_up = True  # nobody has taken it
                raise
            if self.loop is None:
                self._wait_for_bell()
                if self.over:
                    return
                self.loop = self.hub.loop
                if self.loop_made is not None:
                    self.loop_made.release()
                if self.over:
                    return
            self.hub._run_until(self, keeps=True)
        except BaseException:
            self.cancel()
            if self.loop is None and self.loop_made is not None:
                self.loop_made.release()
            raise

    def _wait_for_bell(self) -> None:
        script = self.hub._script
        outer = script.at_bell, script.ring  # of a wait in whose middle a signal handler or a destructor waits
        try:
            script.ring = self._ring
            script.at_bell = True
            script.raise_ctrl_c()  # if it came before
            while not self.hub._started and not self.bell.acquire(True, LOOK_AGAIN):
                for job, module in stuck_in_import(self.pool.home):
                    if job is self:
                        raise import_error(self.name, module)
        finally:
            script.at_bell, script.ring = outer

    def drop_outcome(self) -> None:
        """Let go of an outcome that comes too late. In any thread, since no loop need be there."""
        error, self.error, self.value = self.error, None, None
        if error is not None and not is_caught_by(error, TOLD_TO_STOP):
            complain("%s raised an exception after its caller had stopped waiting for it", self.name, error=error)


def call_in_script(
    pool: ThreadPool | Lane, hub: Hub, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Make a call from a script and wait for it."""
    if not callable(fn):
        raise not_callable_error(fn)
    call = ScriptCall()
    call.pool = pool
    call.hub = hub
    call.bell = allocate_lock()
    call.bell.acquire()
    call.loop_made = None
    call.loop = hub.loop if hub._started else None
    call.over = False
    call.given_up = False
    call.error = None
    call.claim = new_claim()
    call.fn = fn
    call.args = args
    call.kwargs = kwargs or None
    call.context = copy_context() or None
    del fn, args, kwargs
    call.submit_and_wait()
    return outcome_of(call)
