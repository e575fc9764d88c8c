"""A call that an executor has been given, and who may still do what with it.

A `Ticket` takes the place of the job's claim when the executor has taken the call. So whoever wants to drop the job
asks the executor, without knowing of it.

Who decides about the outcome
    Whoever takes the one byte of `Ticket._right`: the callback of the future, which then delivers, or the caller who
    no longer wants the call. A caller (1) sets `_dropping`, (2) cancels the future, and (3) takes the right. The
    callback of a future that has been cancelled does nothing if (1) has been done, since it is called in the middle
    of (2). If somebody else has cancelled the future before (1), the callback takes the right and delivers an error;
    then (2) succeeds and (3) fails, so the caller waits for what has been delivered. If (2) fails, the call runs, and
    a call that runs is never cancelled.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.engine_errors import cancelled_by_executor, outcome_error
from tpool_asyncio._pool.job import SPENT, Job, new_claim

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tpool_asyncio._pool.outlet import Outlet

__all__ = ["Ticket", "deliver"]


class Ticket:
    """One call in the hands of an executor. Any thread may call any method."""

    __slots__ = ("_dropping", "_right", "future", "job", "outlet")

    def __init__(self, job: Job, future: "Future[Any]", outlet: "Outlet") -> None:
        self.job: Job | None = job
        self.future: Future[Any] | None = future
        self.outlet = outlet
        self._right = new_claim()
        self._dropping = False

    def pop(self) -> int:
        """Drop the call, or raise an `IndexError` if it runs: what `bytearray.pop` does to a claim that is taken."""
        future, job = self.future, self.job
        if future is None or job is None:
            raise IndexError
        if self.outlet.silent and job.waits:
            raise IndexError  # it may run, and its caller is to wait then
        try:
            self._dropping = True
            if not future.cancel():
                self._dropping = False
                raise IndexError
            self._right.pop()
            self._end()
        except IndexError:
            raise
        except BaseException:  # pragma: no cover - out of a signal handler: nobody else ends what is cancelled here
            self._dropping = future.cancelled()
            if self._dropping:
                self._end()
            raise
        return 0

    def __len__(self) -> int:
        return int(self.job is not None)

    def ended(self, future: "Future[Any]") -> None:
        """Deliver the outcome: the callback of the future, in whatever thread; or with another one in its place."""
        cancelled = future.cancelled()
        if cancelled and self._dropping:
            return
        try:
            self._right.pop()
        except IndexError:
            return
        job, outlet = self.job, self.outlet
        assert job is not None
        error: BaseException | None
        if cancelled:
            error = cancelled_by_executor(outlet.engine.name, job.name)
        else:
            error = future.exception()
            if error is not None:
                with suppress(Exception):  # an error of the user's, which may fail in whatever it is asked for
                    error = outcome_error(error, outlet, job.name)
        value = future.result() if error is None else None
        outlet.engine.count(error)
        self.job = self.future = None
        try:
            deliver(job, value, error)
        finally:
            del job, value, error, future  # an error's traceback may lead to whoever calls this
            outlet.engine.over(self)  # only now: who waits for the end of all calls finds their outcomes

    def _end(self) -> None:
        self.job = self.future = None
        self.outlet.engine.over(self)

    def runs(self) -> bool:
        """Return whether the call has been started, as far as the executor tells."""
        future = self.future
        return future is not None and (self.outlet.silent or future.running())


def deliver(job: Job, value: Any, error: BaseException | None) -> None:
    """Give a job its outcome, and wake its caller. In whatever thread has the right to."""
    if error is not None:
        job.culprit = job.name
    job.fn = job.args = job.kwargs = job.context = None
    job.claim = SPENT
    job.value = value
    job.error = error
    try:
        wake = job.deliver()
        del job, value, error
        if wake is not None:
            wake()
    except BaseException:
        complain("the outcome of a call could not be delivered")
