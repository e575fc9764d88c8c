"""A `concurrent.futures.Future` that is at the same time the job that the pool runs.

Who may touch what
    The claim of the job decides, see `tpool_asyncio._pool.job`. The worker that has it runs the call and then sets the
    result in its own thread, so that callbacks run there, as they do with `concurrent.futures.ThreadPoolExecutor`.
    Whoever cancels has to win the claim too. It does that under the lock of the future, together with the change of
    the state, so that of two who cancel neither sees the other half done.

    The state of the future goes from pending straight to its end. That it runs meanwhile is told by the claim.

Waiting inside a call
    A worker that waits for a future is parked, so that the pool can start another one to run what it waits for. Calls
    that submit calls and wait for them can therefore not use up the pool. `result` and `exception` are methods, but
    `concurrent.futures.wait` and `as_completed` are functions that put a waiter into the list `_waiters` of each future
    and wait for its event. So the list is one that notices, and has the event park whom it keeps waiting. If a later
    Python does that differently, these two wait without parking, and nothing else changes.

The ledger
    The futures of one executor that are not over stand in its ledger, and nowhere else: shutting one executor down
    concerns its own calls and not those of others. A future leaves the ledger when its callbacks have been called.

    Taking a call is: (1) write it into the ledger; (2) look whether the ledger is closed, and if so take it out again
    and refuse it. Shutting down is: (3) close the ledger; (4) look what it has. Each side first writes and then looks,
    so no call is taken that nobody waits for. In the same way the last future (5) leaves and then (6) looks for bells,
    while who waits (7) hangs up a bell and then (8) looks for futures. No lock is held, and none can be left locked by
    a fork. What stands in the ledger at a fork is the parent's; the child leaves it out when it shuts down.
"""

import threading
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from tpool_asyncio._pool.inline import InlineJob
from tpool_asyncio._pool.job import ENDED, Job
from tpool_asyncio._pool.native import LockType, allocate_lock, get_ident, is_patched
from tpool_asyncio._pool.worker import current_worker

if TYPE_CHECKING:
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["ExecutorFuture", "Ledger"]

T = TypeVar("T")

_PENDING = "PENDING"
"""The state of a future that is not over, as `concurrent.futures` calls it."""

_CANCELLED = "CANCELLED"
"""The state of a cancelled future of which its waiters have not been told."""

_FINISHED = "FINISHED"
"""The state of a future that has an outcome."""


class ExecutorFuture(Job, Future[T]):
    """What `Executor.submit` returns, and the job of that call."""

    __slots__ = (
        "args",
        "caller",
        "claim",
        "context",
        "culprit",
        "error",
        "fn",
        "kwargs",
        "ledger",
        "notifier",
        "pool",
        "value",
    )

    pool: "ThreadPool"
    ledger: "Ledger | None"
    """Where it stands until it is over; None in a fork whose parent waits for it."""
    caller: int | None
    """The thread that submits it right now to a pool that may run it in place."""
    notifier: int | None
    """The thread that calls its callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self._waiters = _Waiters()
        self.error = None
        self.caller = self.notifier = None

    def __repr__(self) -> str:
        """Name the function, where it is still known, and say that it runs."""
        text, name = super().__repr__(), self.name
        if self.running():
            text = text.replace("state=pending", "state=running", 1)
        return text if name is ENDED else text.replace("ExecutorFuture", f"ExecutorFuture {name}", 1)

    # In any thread

    def running(self) -> bool:
        return not self.claim and not self.done()

    def cancel(self) -> bool:
        claimed = False
        try:
            with self._condition:
                if self._state == _FINISHED:  # by a user's own `set_result`, while it is queued
                    return False
                try:
                    self.claim.pop()
                except IndexError:
                    return self.cancelled()
                except BaseException:  # pragma: no cover - out of a signal handler, which runs when the call is over
                    claimed = True
                    raise
                claimed = True
                self._state = _CANCELLED
                self._condition.notify_all()
            self.fn = self.args = self.kwargs = self.context = None
            self.notifier = get_ident()
            self.pool.dropped()
            self._tell_of_cancellation()
        except BaseException:  # pragma: no cover - out of a signal handler or a callback
            if claimed and self._state in (_PENDING, _CANCELLED):
                with self._condition:
                    self._state = _CANCELLED
                    self._condition.notify_all()
                self._tell_of_cancellation()
            raise
        finally:
            if claimed:  # pragma: no branch - or else there was no call to cancel, as `return` has said
                self._leave()
        return True

    def _tell_of_cancellation(self) -> None:
        self.set_running_or_notify_cancel()  # tells those who wait for several futures
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def result(self, timeout: float | None = None) -> T:
        try:
            with self._parked():
                return Future.result(self, timeout)
        finally:
            del self  # or else an error that is the outcome, its traceback and this frame would hold each other

    def exception(self, timeout: float | None = None) -> BaseException | None:
        with self._parked():
            return super().exception(timeout)

    def _parked(self) -> AbstractContextManager[None]:
        if self.done():
            return nullcontext()
        if is_patched():  # then the condition variable is one for greenlets, which a worker cannot notify
            raise RuntimeError(
                "Eventlet has patched this program, so that futures of concurrent.futures cannot be waited for across"
                " threads; use tpool.execute of tpool_asyncio.green, which waits as a greenthread does"
            )
        return parked_here()

    # In the thread that has the claim

    def deliver(self) -> None:
        """Set the outcome, which calls the callbacks. In the thread that ran the job."""
        if self.ledger is None:  # pragma: no cover - see `disown`
            return
        self.notifier = get_ident()
        error, self.error = self.error, None
        try:
            if error is None:
                value, self.value = self.value, None
                self.set_result(value)
            else:
                self.set_exception(error)
        finally:
            self._leave()
            error = None  # its traceback may lead to a callback, and from there to this frame

    def disown(self) -> None:  # pragma: no cover - only ever called in a fork that ends before its coverage is saved
        self.ledger = None

    def _leave(self) -> None:
        assert self.ledger is not None  # or else it would not get here, see `deliver`
        self.ledger.leave(self)

    def withdraw(self) -> None:
        """Take back a call whose submission has failed, unless it runs nevertheless."""
        if self.drop():
            self._leave()
        elif self.cancelled():
            self.pool.discard_dropped()  # who has cancelled it believes that it is queued


def parked_here() -> AbstractContextManager[None]:
    """Return what lets this thread wait without counting against the size of a pool, if it is a worker."""
    worker = current_worker()
    return nullcontext() if worker is None else worker.crew.parking(worker)


class _ParkingEvent(threading.Event):
    """An event that parks the worker that waits for it."""

    def wait(self, timeout: float | None = None) -> bool:
        with parked_here():
            return super().wait(timeout)


class _Waiters(list[Any]):
    """The waiters of a future: those of `concurrent.futures.wait` and `as_completed`."""

    __slots__ = ()

    def append(self, waiter: Any) -> None:
        event = getattr(waiter, "event", None)
        if current_worker() is not None and type(event) is threading.Event:
            event.__class__ = _ParkingEvent
        super().append(waiter)


class Ledger:
    """The futures of one executor that are not over."""

    __slots__ = ("bells", "closed", "futures")

    def __init__(self) -> None:
        self.closed = False
        self.futures: dict[ExecutorFuture[Any], object] = {}  # with the process that they belong to
        self.bells: list[LockType] = []  # of those who wait for the last one

    def close(self, process: object) -> None:
        """Take no more futures, and forget those that belong to the parent of this process."""
        self.closed = True
        for future, home in list(self.futures.items()):
            if home is not process:
                self.futures.pop(future, None)

    def leave(self, future: ExecutorFuture[Any]) -> None:
        """Take out a future that is over. Twice does no harm."""
        self.futures.pop(future, None)
        self._ring()

    def _ring(self) -> None:
        while self.bells and not self.futures:
            try:
                bell = self.bells.pop()
            except IndexError:  # pragma: no cover - another thread was faster, in between these two steps
                return
            bell.release()

    def wait(self) -> None:
        """Wait until the ledger, which has been closed, is empty."""
        bell = allocate_lock()
        bell.acquire()
        self.bells.append(bell)
        self._ring()
        with parked_here():
            bell.acquire()

    def waits_for_this_thread(self) -> bool:
        """Return whether one of the futures cannot be over before this thread goes on."""
        worker = current_worker()
        job = None if worker is None else worker.job
        while isinstance(job, InlineJob):
            job = job.outer
        if isinstance(job, ExecutorFuture) and job.ledger is self:
            return True
        here = get_ident()
        return any(here in (future.caller, future.notifier) for future in list(self.futures))
