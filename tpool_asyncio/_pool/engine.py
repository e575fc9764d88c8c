"""What stands in the place of a `ThreadPool` where calls run on an executor of `concurrent.futures`.

The way of a call
    `Engine.submit` appends the job to ``_waiting``. A thread of the engine, the **feeder**, hands one job after the
    other to the executor, since that may take its time: it may start processes, or serialize arguments; and before
    the first one, the factory may have to connect to a cluster. No loop waits for that, and the order is kept. What
    the executor is given is a plain ``functools.partial``, so that a remote machine needs nothing of this package.
    The outcome comes by the callback of the future, in whatever thread the executor has for that.

Who may touch what
    ``_waiting`` is a deque: any thread appends, the feeder takes. ``_feeding`` is a lock used as a token, held by the
    one feeder that is on its way or at work; it is only ever taken without waiting. Who adds (1) appends and (2)
    tries to take the token, and with it sends a feeder. The feeder (3) gives the token back and (4) looks again.
    A signal handler may raise in the thread of who adds, who then cannot tell whether a feeder is on its way. So he
    does (3) and (4) himself, and there may be a feeder too many: ``_at_work``, a lock that is only ever taken without
    waiting, too, sends that one home. It gives the token back and looks for nothing, as the other one still does.
    ``lock`` guards the rest for a few statements at a time, never while code of the executor or the user runs. It is
    reentrant, since the garbage collector may strike while it is held, and find the last handle of this pool.

When a call may be dropped
    (a) In ``_waiting`` its claim is a byte array as ever: whoever wants it no more takes that, and the feeder passes
    over the empty job. (b) The feeder takes the claim itself when the executor is there, and hands the call over. In
    this window, which is as long as ``Executor.submit`` takes, the call counts as running, so its caller abandons it.
    (c) Then a `Ticket` becomes the claim, by which a caller cancels the future. Having put it there, the feeder looks
    whether the caller has gone away during (b), and drops the call in its place. A caller who finds the claim taken
    at (b), and says that it has gone away after (c), has abandoned a call which may then run: as any that runs.

The executor
    One that was given stays its owner's: it is never shut down. One that a factory has made is shut down by
    ``killall``, when it is found broken, and when the pool is dropped; the next call makes another one. Its calls and
    its end are kept in an `Outlet`.
"""

import sys
from _thread import TIMEOUT_MAX
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import BrokenExecutor, Executor
from contextlib import suppress
from functools import partial
from typing import Any

from tpool_asyncio._pool import lifetime
from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.engine_errors import forked_error, not_on_an_engine, not_taken_error, with_note
from tpool_asyncio._pool.engine_face import EngineFace
from tpool_asyncio._pool.job import SPENT, Job, is_caught_by, new_claim
from tpool_asyncio._pool.native import RLock, allocate_lock
from tpool_asyncio._pool.outlet import Outlet
from tpool_asyncio._pool.parting import Parting
from tpool_asyncio._pool.refusal import close_unused, shown
from tpool_asyncio._pool.size import check_seconds
from tpool_asyncio._pool.statistics import Tally
from tpool_asyncio._pool.still_running import RunningCall
from tpool_asyncio._pool.thread_pool import PerThread, ThreadPool
from tpool_asyncio._pool.ticket import Ticket, deliver
from tpool_asyncio._pool.worker import Worker, forget_worker_in_children

__all__ = ["Engine", "Source"]

Source = Executor | Callable[[], Executor]

_MOST_THREADS = 64
"""One feeds; the others wait for the end of executors, and one that never comes must not hold up the rest."""

_IDLE = 5.0
"""Seconds after which a thread of the engine ends that has nothing to do."""


class Engine(EngineFace):
    """Calls on an executor. Any thread may call any method."""

    def __init__(self, source: Source, *, name: str = "engine", exit_grace: float | None = 5.0) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {shown(name)}")
        if not (isinstance(source, Executor) or callable(source)):
            close_unused(source)
            raise TypeError(
                "Pool.over takes an executor of concurrent.futures, or a function without arguments that returns one,"
                f" such as ProcessPoolExecutor itself or client.get_executor, not {shown(source)}"
            )
        self.name = name
        exit_grace = check_seconds("exit_grace", exit_grace)
        self.exit_grace = None if exit_grace is None else min(exit_grace, TIMEOUT_MAX)
        self.local = PerThread()
        self.refusal: Exception | None = None
        self._source = source
        self.owns = not isinstance(source, Executor)
        self._forked = False
        lifetime.register(self)
        self._threads = ThreadPool(_MOST_THREADS, name=name, idle_timeout=_IDLE)
        lifetime.unregister(self._threads)  # it has to outlive the calls of this one, which sees to it
        forget_worker_in_children()
        for module in ("concurrent.futures.process", "concurrent.futures.thread"):
            if self.owns and module in sys.modules:  # so that calls find an executor even if the exit begins at once
                lifetime.come_before(module)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.lock = RLock()
        self.tally = Tally()
        self._waiting: deque[Job | Parting] = deque()
        self._feeding = allocate_lock()
        self._at_work = allocate_lock()
        self._in_hand: Job | None = None  # what the feeder is about to hand over
        self._outlet: Outlet | None = None  # the one that takes the calls
        self._outlets: dict[Outlet, None] = {}  # all that have not been closed
        self._at_exit: list[Outlet] = []  # told to shut down, without waiting for it
        self._killed = False
        self._partings: list[Parting] = []

    # Taking calls

    def submit(self, job: Job) -> None:
        """Queue a job. Raises a `RuntimeError` at exit, and where the executor is that of another process."""
        if (error := self.refusal) is not None:
            raise type(error)(*error.args)
        if self._forked and not self.owns:
            raise forked_error(self.name)
        self._add(job)

    def _add(self, item: Job | Parting) -> None:
        try:
            self._waiting.append(item)
            if self._feeding.acquire(False):
                if self.refusal is None:
                    self._send_feeder()
                else:  # at exit, where no thread may be started any more
                    rounds: list[bool] = []
                    self._feed(rounds)
                    self._end_feeding(rounds)
        except BaseException:  # pragma: no cover - out of a signal handler; see the theory, and `test_struck`
            self._give_back()
            raise

    def _send_feeder(self) -> None:
        """With the token in hand."""
        rounds: list[bool] = []
        self._threads.submit(Chore(self._threads, self._feed, rounds, done=partial(self._end_feeding, rounds)))

    def _feed(self, rounds: list[bool]) -> None:
        """Hand over what waits, and note that in ``rounds``: or that another feeder does it."""
        if not self._at_work.acquire(False):
            rounds.append(False)
            return
        rounds.append(True)
        try:
            while self._waiting:
                item = self._waiting.popleft()
                if isinstance(item, Parting):
                    self._part(item)
                else:
                    self._in_hand = item
                    self._hand_over(item)
                    self._in_hand = None
                del item
        finally:
            self._at_work.release()

    def _end_feeding(self, rounds: list[bool]) -> None:
        if not rounds:
            self._fail_waiting(
                RuntimeError("no thread could be started to hand the call over; end other threads, then call again")
            )
        self._give_back(looks_again=rounds != [False])

    def _give_back(self, *, looks_again: bool = True) -> None:
        """Give the token back, unless somebody who was struck has done so, and look again. Struck, start again."""
        try:
            with suppress(RuntimeError):
                self._feeding.release()
            if looks_again and self._waiting and self._feeding.acquire(False):
                self._send_feeder()
        except BaseException:  # pragma: no cover - as in `_add`
            self._give_back()
            raise

    def _fail_waiting(self, error: BaseException) -> None:
        """Give all callers an error whose calls wait now: what has failed for one of them would fail again for each."""
        for _ in range(len(self._waiting)):
            item = self._waiting.popleft()
            if isinstance(item, Parting):
                self._part(item)
            else:
                self._fail(item, error)

    def _fail(self, job: Job, error: BaseException) -> None:
        try:
            job.claim.pop()
        except IndexError:
            return
        self.count(error)
        deliver(job, None, error)

    def _hand_over(self, job: Job) -> None:
        """Hand a job over to the executor, in the feeder; with a factory to a new one if the old one takes no more."""
        if not job.claim:
            return  # its caller has dropped it
        outlet = self._outlet
        while True:
            new = outlet is None
            try:
                if outlet is None:
                    outlet = self._open_outlet()
            except BaseException as error:
                with_note(
                    error,
                    f"Pool {self.name!r} got no executor from its factory; none of the waiting calls was run.",
                )
                self._waiting.appendleft(job)
                del job  # the frames of an error, which is to be its outcome, lead here
                self._fail_waiting(error)
                return
            if self._take(job, outlet, new):
                del job
                return
            outlet = None

    def _take(self, job: Job, outlet: Outlet, new: bool) -> bool:
        """Hand a job over; return False if the executor takes no calls any more, and another one may be made."""
        try:
            job.claim.pop()
        except IndexError:
            return True
        job.context = None  # it is not carried over
        if job.unwanted:  # since an attempt that has failed
            self.dropped()
            deliver(job, None, None)
            return True
        try:
            if outlet.silent and job.minds_start:
                raise not_on_an_engine(
                    "queue_timeout cannot be kept", f"a {outlet.kind} does not tell when it has started a call"
                )
            future = outlet.take(job)
        except BaseException as error:
            self._kill_late(outlet)
            over = is_caught_by(error, BrokenExecutor) or outlet.is_over(error)
            if over:
                self.do_without(outlet)
            if over and self.owns and not new and self.refusal is None:
                job.claim = new_claim()
                return False
            refusal = error
            with suppress(Exception):  # an error that may fail in whatever it is asked for
                refusal = not_taken_error(error, outlet, job.name)
            self.count(refusal)
            deliver(job, None, refusal)
            del job, refusal  # the frames of the error lead here
            return True
        self._kill_late(outlet)
        job.args = job.kwargs = None
        ticket = Ticket(job, future, outlet)
        with self.lock:
            outlet.tickets[ticket] = None
            if not self.owns:
                self._outlets[outlet] = None  # it may have been found broken meanwhile
        job.claim = ticket
        if job.unwanted and job.drop():
            self.dropped()
            deliver(job, None, None)
        future.add_done_callback(ticket.ended)
        outlet.fail_lost()
        return True

    def _open_outlet(self) -> Outlet:
        source = self._source
        executor = source if isinstance(source, Executor) else source()
        if not isinstance(executor, Executor):
            close_unused(executor)
            raise TypeError(
                f"the factory of pool {self.name!r} returned {shown(executor)}, which is no Executor of"
                " concurrent.futures; it has to return one"
            )
        outlet = Outlet(self, executor)
        if self.owns and not outlet.silent:
            lifetime.come_before(type(executor).__module__)
        forget_worker_in_children()
        with self.lock:
            self._outlets[outlet] = None
            self._outlet = outlet
        return outlet

    # Calls that end

    def count(self, error: BaseException | None) -> None:
        with self.lock:
            if error is None:
                self.tally.completed += 1
            else:
                self.tally.failed += 1

    def dropped(self) -> None:
        """Note that the caller of a queued job has claimed it for itself."""
        with self.lock:
            self.tally.cancelled += 1

    def over(self, ticket: Ticket) -> None:
        """Forget a call that has ended, or has been dropped."""
        outlet = ticket.outlet
        with self.lock:
            outlet.tickets.pop(ticket, None)
            if not (self.owns or outlet.tickets or outlet is self._outlet):
                self._outlets.pop(outlet, None)
            for parting in self._partings:
                parting.tickets.discard(ticket)
        self._bid_farewell()

    # The end of executors

    def do_without(self, outlet: Outlet) -> None:
        """Give no further calls to an executor that is broken, and close it if it is ours."""
        with self.lock:
            if self._outlet is outlet:
                self._outlet = None
        self._close(outlet)

    def _close(self, outlet: Outlet) -> None:
        with self.lock:
            if not self.owns:
                if not outlet.tickets:
                    self._outlets.pop(outlet, None)
                return
            if outlet.closing:
                return
            outlet.closing = True
        if self.refusal is not None:
            outlet.close(wait=False)
            return
        self._threads.submit(Chore(self._threads, outlet.close, done=partial(self._close_here, outlet)))

    def _close_here(self, outlet: Outlet) -> None:
        """Shut an executor down without waiting, if no thread could be started to do it."""
        with self.lock:
            closed = outlet not in self._outlets
        if not closed:
            outlet.close(wait=False)

    def closed(self, outlet: Outlet) -> None:
        """Note that an executor has been shut down, or at exit that it will be."""
        with self.lock:
            self._outlets.pop(outlet, None)
            if self.refusal is not None:
                self._at_exit.append(outlet)
            for parting in self._partings:
                parting.outlets.discard(outlet)
        self._bid_farewell()

    def dismiss(self, done: Callable[[], object], *, spared: Collection[Worker] = ()) -> Parting:  # noqa: ARG002
        """Have everything end that has been submitted so far, and shut down the executor if a factory has made it.

        ``done`` is called once that is done, from any thread. The next job makes a new executor.
        """
        parting = Parting(self, done)
        self._add(parting)
        return parting

    def _part(self, parting: Parting) -> None:
        """Begin to wait for what has been handed over, in the feeder."""
        with self.lock:
            parting.reached = True
            outlets = list(self._outlets)
            for outlet in outlets:
                parting.tickets |= outlet.tickets.keys()
            if self.owns:
                parting.outlets |= set(outlets)
                self._outlet = None
            self._partings.append(parting)
        for outlet in outlets:
            if self.owns:
                self._close(outlet)
        self._bid_farewell()

    def _bid_farewell(self) -> None:
        complete: list[Parting] = []
        try:
            with self.lock:
                complete = [parting for parting in self._partings if parting.complete()]
                self._partings = [parting for parting in self._partings if parting not in complete]
            for parting in complete:
                # The threads that have done it end, too; one of them may be this one.
                parting.farewell = self._threads.dismiss(_nothing if self.refusal is not None else parting.done)
                if self.refusal is not None:
                    parting.done()
        except BaseException:  # pragma: no cover - out of a signal handler: whoever comes next says it
            with self.lock:
                self._partings += [parting for parting in complete if parting.farewell is None]
            raise

    def detach(self, parting: Parting) -> list[RunningCall]:
        """Wait no longer; return the calls that still run. Their outcomes still arrive."""
        with self.lock:
            self._partings = [other for other in self._partings if other is not parting]
            tickets = list(parting.tickets)
            parting.done = _nothing
        self._threads.detach(self._threads.dismiss(_nothing))  # one of them may wait for an executor that never ends
        return [
            RunningCall(job.name, f"of a {ticket.outlet.kind}", "")
            for ticket in tickets
            if (job := ticket.job) is not None and ticket.runs()
        ]

    def abandon(self) -> None:
        """Shut down what is ours when all calls have ended, since nobody holds this pool any more."""
        self.dismiss(_nothing)

    def close(self, error: Exception, done: Callable[[], object]) -> Parting:
        """Refuse all further calls with a copy of this error, and dismiss what there is."""
        self.refusal = error
        return self.dismiss(done)

    def ends_before_threads(self) -> bool:
        """Return whether there are executors for which the interpreter waits before any exit hook is called."""
        with self.lock:
            outlets = list(self._outlets)
        yet_to_come = self._waiting or self._in_hand is not None
        return self.owns and (bool(yet_to_come) or any(not outlet.silent for outlet in outlets))

    def kill(self) -> None:
        """End the worker processes of what is ours, at exit."""
        if not self.owns:
            return
        with self.lock:
            self._killed = True
            outlets = [*self._outlets, *self._at_exit]
        for outlet in outlets:
            outlet.kill()

    def join(self) -> None:
        """Wait, at exit, for what executors without calls still have to do."""
        with self.lock:
            outlets = self._at_exit.copy()
        for outlet in outlets:
            outlet.join()

    def _kill_late(self, outlet: Outlet) -> None:
        """End processes that were being started when those that there were had already been ended."""
        if self._killed:
            outlet.kill()

    # Fork

    def after_fork_in_child(self) -> object:
        """Start afresh: executors and calls are the parent's. See `ThreadPool.after_fork_in_child`."""
        # Never let go of: to collect an executor would wake the threads of the parent, or wait for a lock they hold.
        _of_parents.extend(outlet.executor for outlet in self._outlets)
        handed_over = [ticket.job for outlet in self._outlets for ticket in outlet.tickets]
        for item in (*self._waiting, *handed_over):
            if item is not None and not isinstance(item, Parting):
                item.claim = SPENT  # nor cancelled: the future of a call may be locked for ever here
        self._forked = True
        left = (self.local.mailbox, self._waiting, self._in_hand, self._partings, self._threads.after_fork_in_child())
        self.local.mailbox = None
        self._start_afresh()
        return left


_of_parents: list[Any] = []


def _nothing() -> None:
    pass
