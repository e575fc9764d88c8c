"""The package, broken on purpose: by the name of what is missing, a case that must find it, and what is changed.

A change is a module, a block of its source, and what is to stand there instead. How deep it is indented is left open.
"""

from tests import schedule_cases as cases
from tests import schedule_cases_beyond as beyond
from tests.schedule_copies import Case, Mutation

__all__ = ["MUTANTS"]

_CREW = "_pool.crew"
_WORKER = "_pool.worker"
_POOL = "_pool.thread_pool"
_LANE = "_pool.lane"
_MAILBOX = "_loop.mailbox"

MUTANTS: dict[str, tuple[Case, list[Mutation]]] = {
    "the scout gives its token back and does not look again (4)": (
        cases.two_jobs,
        [
            (
                _CREW,
                """
                if self.queue or self.dismissing:
                    self.stir()

            def hire(
                """,
                """
                pass

            def hire(
                """,
            ),
        ],
    ),
    "a submitter gives the token back and does not look again (4)": (
        cases.idle_time_over,
        [
            (_CREW, "if not self._wants_scout(startable) or not self.scout.acquire(False):", "if True:"),
        ],
    ),
    "a scout arrives and sends nobody, although there is more to do": (
        cases.two_jobs,
        [
            (
                _CREW,
                """
                    self._send_scout()
                    return
                try:
                    self.scout.release()
                """,
                """
                    self.scout.release()
                    return
                try:
                    self.scout.release()
                """,
            ),
        ],
    ),
    "a worker looks for work and then enters idle (5, 6)": (
        cases.short_jobs,
        [
            (
                _CREW,
                """
                idle[worker] = None
                # Now the caller
                """,
                """
                # Now the caller
                """,
            ),
            (
                _CREW,
                """
                if (self.queue or self.dismissing or left_over) and idle.pop(worker, _ABSENT) is None:
                    return False
                """,
                """
                if self.queue or self.dismissing or left_over:
                    return False
                idle[worker] = None
                """,
            ),
        ],
    ),
    "a worker enters idle and does not look again (6)": (
        cases.short_jobs,
        [
            (_CREW, "if (self.queue or self.dismissing or left_over) and", "if False and"),
        ],
    ),
    "a worker that has been taken out of idle does not take the ring": (
        cases.meeting_late,
        [
            (
                _CREW,
                "if (self.queue or self.dismissing or left_over) and idle.pop(worker, _ABSENT) is None:",
                "if (self.queue or self.dismissing or left_over) and (idle.pop(worker, _ABSENT), True):",
            ),
        ],
    ),
    "a worker whose idle time is over leaves without stepping out of idle": (
        cases.idle_time_over,
        [
            (
                _CREW,
                """
                if idle.pop(worker, _ABSENT) is None:
                    return False if self.queue else None
                worker.bell.acquire()
                return True
                """,
                """
                return None
                """,
            ),
        ],
    ),
    "a worker leaves and does not look who is needed now": (
        cases.idle_time_over,
        [
            (
                _CREW,
                """
                    pool.note_end(self, worker)
                self.stir()
                """,
                """
                    pool.note_end(self, worker)
                """,
            ),
        ],
    ),
    "a worker leaves and tells no farewell": (
        cases.dismissed,
        [
            (
                _CREW,
                """
                self.stir()
                pool.bid_farewell()
                """,
                """
                self.stir()
                """,
            ),
        ],
    ),
    "a worker that is dismissed leaves without a look at the others": (
        cases.surplus_ends,
        [
            (
                _CREW,
                "if self._active() <= self.size and (self.queue or not self.retired):",
                "if self.queue and self.retired:",
            ),
        ],
    ),
    "a worker that is excused still counts": (
        cases.surplus_ends,
        [
            (
                _CREW,
                """
                self.excused += 1
                """,
                "",
            ),
            (
                _CREW,
                """
                self.excused -= worker.excused
                """,
                "",
            ),
        ],
    ),
    "an excused scout takes the token with it": (
        cases.resized_down,
        [
            (
                _WORKER,
                """
                if scouting:
                    crew.scout_arrived()
                return
                """,
                """
                return
                """,
            ),
        ],
    ),
    "one worker too many is hired": (
        cases.short_jobs,
        [
            (
                _CREW,
                "(self.retired and not self.queue) or self._active() >= self.size:",
                "(self.retired and not self.queue) or self._active() > self.size:",
            ),
        ],
    ),
    "a thread that could not be started still counts": (
        cases.start_fails,
        [
            (
                _CREW,
                """
                    self.workers.discard(worker)
                    self.recount()
                self.pool
                """,
                """
                    self.recount()
                self.pool
                """,
            ),
        ],
    ),
    "a job that comes while the queued ones get the error is forgotten": (
        cases.start_fails,
        [
            (_CREW, "self._start_failed(error)", "bool(self._start_failed(error)) and False"),
        ],
    ),
    "a farewell is not told when no thread could be started": (
        cases.dismissed_as_start_fails,
        [
            (
                _CREW,
                """
                    self.pool.fail(job, error)
                self.pool.bid_farewell()
                """,
                """
                    self.pool.fail(job, error)
                """,
            ),
        ],
    ),
    "nobody looks again when not all threads could be started": (
        cases.all_started,
        [
            (
                _POOL,
                """
                crew.stir()  # a submitter may have relied on the thread that was about to start
                """,
                "",
            ),
        ],
    ),
    "a worker parks and nobody looks for the room it makes": (
        cases.parked,
        [
            (
                _CREW,
                """
                    raise self._too_many_parked()
                self.stir()
                try:
                """,
                """
                    raise self._too_many_parked()
                try:
                """,
            ),
        ],
    ),
    "a worker that parks still counts against the size": (
        cases.parked,
        [
            (
                _CREW,
                """
                self.parked += worker.parked == 0
                """,
                "",
            ),
            (
                _CREW,
                """
                self.parked -= worker.parked == 0
                """,
                "",
            ),
        ],
    ),
    "a larger size is not made known": (
        cases.resized_up,
        [
            (
                _POOL,
                """
                        self._set_crew_size(crew, size)
                    crew.stir()

                def _accept_size
                """,
                """
                        self._set_crew_size(crew, size)

                def _accept_size
                """,
            ),
        ],
    ),
    "the crews are dismissed and nobody wakes the idle": (
        cases.dismissed,
        [
            (
                _POOL,
                """
                for crew in crews + marked:
                    crew.stir()
                self.bid_farewell()
                """,
                """
                self.bid_farewell()
                """,
            ),
        ],
    ),
    "a farewell is told twice": (
        cases.dismissed_twice,
        [
            (
                _POOL,
                """
                with self.lock:
                    askers""",
                """
                if True:
                    askers""",
            ),
        ],
    ),
    "a job is claimed by a look and then a step": (
        cases.one_dropped,
        [
            (
                "_pool.job",
                """
                try:
                    self.claim.pop()
                except IndexError:
                    return False
                """,
                """
                if not self.claim:
                    return False
                self.claim.clear()
                """,
            ),
        ],
    ),
    "empty jobs are counted without the lock": (
        cases.one_dropped,
        [
            (
                _POOL,
                """
                with self.lock:
                    self._dropped -= 1
                """,
                """
                self._dropped -= 1
                """,
            ),
        ],
    ),
    "nobody looks again after the queue has been swept": (
        cases.swept,
        [
            (
                _POOL,
                """
                for crew in crews:
                    crew.stir()  # a worker may
                """,
                """
                for crew in ():
                    crew.stir()  # a worker may
                """,
            ),
        ],
    ),
    "the queue is swept without the lock": (
        cases.swept,
        [
            (
                _POOL,
                """
                        return
                    swept = self._sweep(crews)
                for crew in crews:
                """,
                """
                        return
                swept = self._sweep(crews)
                for crew in crews:
                """,
            ),
        ],
    ),
    "a job of a lane is queued without the lock": (
        beyond.lane_released,
        [
            (
                _LANE,
                """
                        crew.queue.append(job)
                if not admitted:
                """,
                """
                        pass
                if admitted:
                    crew.queue.append(job)
                if not admitted:
                """,
            ),
        ],
    ),
    "the worker of a lane empties the trash and then stops dozing (3, 4)": (
        beyond.lane_trash,
        [
            (
                _LANE,
                """
                self.dozing = False
                self.empty_trash()
                """,
                """
                self.empty_trash()
                self.dozing = False
                """,
            ),
        ],
    ),
    "what is dropped goes to the trash after the look at the worker (1, 2)": (
        beyond.lane_trash,
        [
            (
                _LANE,
                """
                crew.trash.append(box)
                if not crew.dozing or len(crew.trash) % _TOO_MUCH == 0:
                """,
                """
                if crew.dozing:
                    crew.trash.append(box)
                else:
                    crew.trash.append(box)
                """,
            ),
        ],
    ),
    "a farewell does not wait for what the lanes have been given": (
        beyond.lane_dismissed,
        [
            (
                _LANE,
                """
                crew.queue.append(milestone)
                marked.append(crew)
                """,
                """
                crew.queue.append(milestone)
                """,
            ),
        ],
    ),
    "a worker rests although its caller is still to be woken": (
        beyond.round_trips,
        [
            (
                _CREW,
                """
                left_over = worker.wake_caller()
                """,
                """
                left_over = None
                """,
            ),
        ],
    ),
    "a worker leaves its outcome after it has tried for the token (1, 2)": (
        beyond.outcomes_drained,
        [
            (
                "_loop.loop_job",
                """
                mailbox.outcomes.append(self)
                if mailbox.scheduled.locked() or not mailbox.scheduled.acquire(False):  # to ask first is cheaper
                    return None
                return mailbox.schedule
                """,
                """
                had = not mailbox.scheduled.locked() and mailbox.scheduled.acquire(False)
                mailbox.outcomes.append(self)
                return mailbox.schedule if had else None
                """,
            ),
        ],
    ),
    "the drain gives its token back and does not look again (6)": (
        beyond.outcomes_drained,
        [
            (
                _MAILBOX,
                """
                if outcomes and self.scheduled.acquire(False):
                    outcomes[0].get_loop().call_soon(self._drain)
                """,
                "",
            ),
        ],
    ),
    "the drain looks again and then gives its token back (5, 6)": (
        beyond.outcomes_drained,
        [
            (
                _MAILBOX,
                """
                if self.scheduled.locked():  # unless this drain is the one too many
                    self.scheduled.release()
                if outcomes and self.scheduled.acquire(False):
                    outcomes[0].get_loop().call_soon(self._drain)
                """,
                """
                if outcomes:
                    outcomes[0].get_loop().call_soon(self._drain)
                else:
                    self.scheduled.release()
                """,
            ),
        ],
    ),
    "a drain that a signal strikes does not come again": (
        beyond.drain_struck,
        [
            (
                _MAILBOX,
                """
                    loop.call_soon(self._drain)
                    raise
                """,
                """
                    raise
                """,
            ),
        ],
    ),
    "a queue is looked through without a copy": (
        cases.looked_at,
        [(_POOL, "for job in crew.queue.copy()]", "for job in crew.queue]")],
    ),
    "a closed loop keeps the token": (
        beyond.loop_closed,
        [
            (
                _MAILBOX,
                """
                if not posted:
                    self.scheduled.release()
                """,
                """
                pass
                """,
            ),
        ],
    ),
}
