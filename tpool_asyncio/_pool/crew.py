"""The workers and the queue of a pool, between one ``killall`` and the next.

What it guarantees
    Jobs start in the order of their submission. While a job is queued, no worker stays idle, and no thread that the
    size allows stays unstarted. No worker is woken for each job: see below.

Who may touch what
    ``queue`` (a deque) and ``idle`` (a dict used as an ordered set) are changed from any thread, by single
    operations that are atomic under the GIL and under the per-object locks of free-threaded Python. To look through a
    queue is no single operation, so a copy of it is looked through, which is one. ``workers``, ``parked``,
    ``excused``, ``size``, ``retired`` and ``dismissing`` are written under the lock of the pool and may be read
    without it as a hint: each of those who read them so looks again after a step that has the lock or the token.
    ``scout`` is a lock used as a token: it is only ever taken without waiting. ``pool`` never changes, and
    ``idle_timeout`` is written by nobody but the worker of a lane. So nothing here needs the GIL.

One scout at a time
    Waking a thread costs far more than a short job, so a burst of jobs must not wake a thread for each. Whoever adds
    work tries to take the scout's token. With the token in hand it wakes the idle worker that rested last, or starts
    one, and that worker brings the token back when it arrives: it takes a job, and only if there is still more to do
    it passes the token on to the next worker *before* it runs its job. While a scout is on its way nobody wakes
    anybody. If jobs block, workers are thus woken one by one until all are busy; if jobs are short, two or three
    workers do them all. (Python 3.13's own `queue.SimpleQueue` wakes a thread for each ``put``.)

Why no wake-up is lost
    Adding work is: (1) put it where workers look; (2) try to take the token, and give up if somebody has it. Giving
    the token back is: (3) release it; (4) look again whether there is work, and somebody idle to do it or room to
    start somebody, and if so go to (2). Going idle is: (5) enter ``idle``, and only then wake the caller of the last
    job, so that its next call finds this worker; (6) look again whether there is work, and if so step out of ``idle``.

    Say a job is added at (1) and no token is had at (2). The holder of the token has not yet done (3), so at (4) it
    sees the job; if it then finds nobody idle, every worker is before (5), so at (6) it sees the job. Each side first
    writes and then looks, so they cannot both miss each other. Whatever makes room for a new worker (a leave, a
    parking, a larger size) counts as adding work: first it makes the room, then it calls `Crew.stir`.

What if a signal handler raises
    It may do so in the main thread only, and there between any two steps: somebody may have taken the token, or a
    worker out of ``idle``, and know nothing of it. So who is struck puts the token back whether he has it or not, rings
    whoever may wait for a ring that does not come, and stirs. That errs on the side of one scout too many, which does
    no harm: as long as the token is taken, somebody is on his way who will give it back and look again, and a scout
    without a token is only one more of those. From then on (``struck``) a token may have been given back already, and
    a bell may ring although nobody has taken its worker out of ``idle``; and workers look up from their rest now and
    then, lest several blows in a row have kept somebody from making good what the first one did. The first step after
    the blow is one that nothing can come in between: C code that the interpreter enters before it looks for signals
    again.
"""

import sys
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.job import Job, is_caught_by
from tpool_asyncio._pool.native import allocate_lock, in_main_thread, new_thread
from tpool_asyncio._pool.refusal import no_thread_error
from tpool_asyncio._pool.worker import Worker

if TYPE_CHECKING:
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["HARD_CAP", "Crew"]

HARD_CAP = 512
"""How many workers of a pool may be parked at once; more looks like a runaway recursion between loop and pool."""

_ABSENT: Any = object()

_LOOK_AGAIN = 0.5
"""Seconds after which a worker looks up from its rest, once a signal handler has raised in between."""

_ATTEMPTS = 20
"""How often a thread has to be refused before that is taken for more than signal handlers that raise in between."""


class Crew:
    """Workers, their queue, and the rules by which workers are started, woken and sent away."""

    __slots__ = (
        "dismissing",
        "excused",
        "idle",
        "idle_timeout",
        "parked",
        "pool",
        "queue",
        "retired",
        "scout",
        "size",
        "struck",
        "workers",
    )

    def __init__(self, pool: "ThreadPool", size: int) -> None:
        self.pool = pool
        self.size = size
        self.idle_timeout = pool.idle_timeout
        self.queue: deque[Job] = deque()
        self.idle: dict[Worker, None] = {}
        self.scout = allocate_lock()
        self.workers: set[Worker] = set()  # all whose threads have not ended
        self.parked = 0
        self.excused = 0
        self.retired = False
        self.dismissing = False
        self.struck = False  # whether a signal handler has ever raised in between

    # Adding work, from any thread

    def submit(self, job: Job) -> None:
        """Queue a job. On the fast path of every call."""
        try:
            self.queue.append(job)
            if not self.scout.locked() and self.scout.acquire(False):  # to ask first costs a sixth of being refused
                self._send_scout()
        except BaseException:
            self.struck = True
            try:
                self.scout.release()  # before anything else can strike
            except RuntimeError:
                pass
            finally:
                self._recover()
            raise

    def stir(self) -> None:
        """See to it that somebody looks at the queue and at ``dismissing`` again, if there is reason to."""
        try:
            if (self.queue or self.dismissing) and self.scout.acquire(False):
                self._send_scout()
        except BaseException:
            self.struck = True
            try:
                self.scout.release()
            except RuntimeError:
                pass
            finally:
                self._recover()
            raise

    def _recover(self) -> None:
        """Make good what an exception out of a signal handler may have left half done; see the theory.

        Struck again, it starts again.
        """
        try:
            for worker in self.workers.copy():
                if worker.stillborn:
                    self._strike_off(worker)
                elif worker.job is None and worker.next_job is None and worker not in self.idle:
                    worker.ring()
        except BaseException:
            self._recover()
            raise
        self.stir()

    def _send_scout(self) -> None:
        """With the token in hand: pass it to an idle worker or to a new one, or put it back if there is neither."""
        startable = True
        while True:
            try:
                worker, _ = self.idle.popitem()
            except KeyError:
                try:
                    if startable and self.queue and self.hire(scouting=True):
                        return
                except Exception as error:
                    if not _tells_of_no_thread(error):
                        raise
                    startable = self._start_failed(error)
                self._put_back()
                if not self._wants_scout(startable) or not self.scout.acquire(False):
                    return
            else:
                if self.struck:
                    worker.ring()
                else:
                    worker.bell.release()
                return

    def _put_back(self) -> None:
        """Give the token back, unless somebody who was struck has done so."""
        try:
            self.scout.release()
        except RuntimeError:
            if not self.struck:
                raise

    def _wants_scout(self, startable: bool) -> bool:
        if self.queue:
            return bool(self.idle) or (startable and self._active() < self.size)
        return self.dismissing and bool(self.idle)

    def scout_arrived(self) -> None:
        """With the token in hand, in a worker that has taken what it came for: pass the token on or put it back."""
        if self.queue or (self.dismissing and self.idle):
            self._send_scout()
            return
        try:
            self.scout.release()
        except RuntimeError:
            if not self.struck:
                raise
        if self.queue or self.dismissing:
            self.stir()

    def hire(self, *, scouting: bool) -> bool:
        """Start a worker if the size allows one more; raises what `threading.Thread.start` raises."""
        worker = None
        handled = sys.exception()  # by whoever calls this: not of our making
        try:
            with self.pool.lock:
                if (self.retired and not self.queue) or self._active() >= self.size:
                    return False
                worker = Worker(self, self.pool.next_thread_name(), scouting=scouting)
                self.workers.add(worker)
                self.recount()  # the garbage collector may have struck since the look, and had somebody else hired
                self.pool.keep(self)
            worker.start()
        except BaseException as error:
            # After a blow out of a signal handler the thread may be running all the same; then it stays.
            if worker is not None and worker.give_up():
                self._strike_off(worker)
            blow = error.__context__
            try:
                if type(error) is RuntimeError and blow is not None and blow is not handled and in_main_thread():
                    raise blow from None  # it has struck a lock of `threading`, which complains of its being released
                raise
            finally:
                del blow, handled  # their tracebacks may lead here, and must not lead back to them
        return True

    def _strike_off(self, worker: Worker) -> None:
        """Take out a worker that never came to live."""
        with self.pool.lock:
            self.workers.discard(worker)
            self.recount()
        self.pool.bid_farewell()  # one that has come to count on this worker meanwhile

    def _start_failed(self, cause: Exception) -> bool:
        """Give every queued caller the error if no thread is there that could ever run its call.

        Returns True if there was none. A job that is added before the token is back is then for us to see to, too:
        its submitter relies on it.
        """
        with self.pool.lock:
            if self._active() > 0:
                return False
        while True:
            try:
                job = self.queue.popleft()
            except IndexError:
                break
            error = no_thread_error(cause)
            self.pool.fail(job, error)
        self.pool.bid_farewell()
        return True

    # Taking work, from the workers

    def rest(self, worker: Worker) -> bool | None:
        """Let a worker that found no job go idle until it is needed.

        Returns True if it was woken and holds the scout's token, False if there is work after all, None if it has
        been idle for too long and must leave.
        """
        idle = self.idle
        idle[worker] = None
        # Now the caller can find this worker idle when it comes back with its next job.
        left_over = worker.wake_caller()
        if (self.queue or self.dismissing or left_over) and idle.pop(worker, _ABSENT) is None:
            return False
        # If it was no longer in ``idle``, somebody has taken it out, and its bell is about to ring.
        if self.struck:
            return self._rest_lightly(worker)
        if worker.bell.acquire(True, self.idle_timeout):
            if self.struck:
                idle.pop(worker, None)
            return True
        if idle.pop(worker, _ABSENT) is None:
            return False if self.queue else None
        worker.bell.acquire()
        return True

    def _rest_lightly(self, worker: Worker) -> bool | None:
        """Do what is left of `rest` where a ring may be lost, and the token too: look up now and then."""
        nap = _LOOK_AGAIN if self.idle_timeout < 0 else min(self.idle_timeout, _LOOK_AGAIN)
        waited = 0.0
        while True:
            if worker.bell.acquire(True, nap) or self.queue or self.dismissing or worker not in self.idle:
                self.idle.pop(worker, None)
                return True
            waited += nap
            if 0 <= self.idle_timeout <= waited:
                return None if self.idle.pop(worker, _ABSENT) is None else True

    def excuse(self, worker: Worker) -> bool:
        """Decide, while ``dismissing``, whether this worker may leave; if so it no longer counts from here on."""
        with self.pool.lock:
            if self._active() <= self.size and (self.queue or not self.retired):
                return False
            worker.excused = True
            self.excused += 1
            self.recount()
            return True

    def leave(self, worker: Worker) -> None:
        """Take a worker out of the crew: its last act, whatever the reason for its end."""
        pool = self.pool
        with pool.lock:
            self.workers.discard(worker)
            self.idle.pop(worker, None)  # only there if the worker has died of an error
            self.excused -= worker.excused
            self.recount()
            pool.note_end(self, worker)
        self.stir()
        pool.bid_farewell()

    def has_work_left(self, spared: Collection[Worker]) -> bool:
        """Tell, under the lock, whether there is more to come, of retired workers but for those that are spared."""
        return bool(self.queue or self.workers.difference(spared))

    # Parking, and changes of the size

    @contextmanager
    def parking(self, worker: Worker) -> Iterator[None]:
        """Let a worker wait for its loop without counting against the size; a spare one may be started.

        Raises a `RuntimeError` that names what is stuck if too many workers wait already. A surplus that is there at
        the end of the waiting goes when some worker has finished its job.
        """
        pool = self.pool
        with pool.lock:
            admitted = self.parked < HARD_CAP
            if admitted:
                self.parked += worker.parked == 0
                worker.parked += 1
                self.recount()
        if not admitted:
            raise self._too_many_parked()
        self.stir()
        try:
            yield
        finally:
            with pool.lock:
                worker.parked -= 1
                self.parked -= worker.parked == 0
                self.recount()
            self.stir()

    def _too_many_parked(self) -> RuntimeError:
        names = sorted({job.name for worker in list(self.workers) if worker.parked and (job := worker.job)})
        return RuntimeError(
            f"{self.parked} calls of pool {self.pool.name!r} wait for their loops at once, which is the most there can"
            f" be; stuck are: {', '.join(names[:10])}. Look for a loop that is blocked, or for calls that call back"
            " into calls without end"
        )

    def _active(self) -> int:
        return len(self.workers) - self.parked - self.excused

    def recount(self) -> None:
        """Bring ``dismissing`` up to date, under the lock of the pool, after a change of what it depends on."""
        self.dismissing = self.retired or self._active() > self.size


def _tells_of_no_thread(error: Exception) -> bool:
    """Return whether an error out of the start of a thread means that none can be started, and is no blow.

    It may be of any type, since programs watch over the start of threads by audit hooks. In the main thread, where it
    may be a blow as well, it depends on whether a thread that has nothing to do can be started; which a storm of
    signals may strike, too, but not each time.
    """
    if is_caught_by(error, (RuntimeError, MemoryError)) or not in_main_thread():
        return True
    for _ in range(_ATTEMPTS):
        attempt = new_thread(int, "tpool-attempt")
        with suppress(Exception):
            attempt.start()
        if attempt.ident is not None:
            return False
    return True
