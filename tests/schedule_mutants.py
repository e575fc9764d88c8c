"""The package, broken on purpose: by the name of what is missing, where it is changed, and a case that must find it."""

from tests import schedule_cases as cases
from tests.schedule_copies import Mutation

__all__ = ["MUTANTS"]

_CREW = "_pool.crew"
_POOL = "_pool.thread_pool"
_LANE = "_pool.lane"

MUTANTS: dict[str, tuple[object, list[Mutation]]] = {
    "the scout gives its token back and does not look again (4)": (
        cases.two_jobs,
        [(_CREW, "        self.scout.release()\n        if self.queue or self.dismissing:\n            self.stir()\n",
          "        self.scout.release()\n")],
    ),
    "a submitter gives the token back and does not look again (4)": (
        cases.idle_time_over,
        [(_CREW, "if not self._wants_scout(startable) or not self.scout.acquire(False):", "if True:")],
    ),
    "a scout arrives and sends nobody, although there is more to do": (
        cases.two_jobs,
        [(_CREW, "            self._send_scout()\n            return\n        self.scout.release()\n        if self.queue",
          "            self.scout.release()\n            return\n        self.scout.release()\n        if self.queue")],
    ),
    "a worker looks for work and then enters idle (5, 6)": (
        cases.short_jobs,
        [
            (_CREW, "        idle[worker] = None\n        # Now the caller", "        # Now the caller"),
            (_CREW, "        if (self.queue or self.dismissing or left_over) and idle.pop(worker, _ABSENT) is None:\n"
                    "            return False\n",
             "        if self.queue or self.dismissing or left_over:\n            return False\n"
             "        idle[worker] = None\n"),
        ],
    ),
    "a worker enters idle and does not look again (6)": (
        cases.short_jobs,
        [(_CREW, "if (self.queue or self.dismissing or left_over) and", "if False and")],
    ),
    "a worker that has been taken out of idle does not take the ring": (
        cases.meeting_late,
        [(_CREW, "if (self.queue or self.dismissing or left_over) and idle.pop(worker, _ABSENT) is None:",
          "if (self.queue or self.dismissing or left_over) and (idle.pop(worker, _ABSENT), True):")],
    ),
    "a worker whose idle time is over leaves without stepping out of idle": (
        cases.idle_time_over,
        [(_CREW, "        if idle.pop(worker, _ABSENT) is None:\n            return False if self.queue else None\n"
                 "        worker.bell.acquire()\n        return True\n", "        return None\n")],
    ),
    "a worker leaves and does not look who is needed now": (
        cases.idle_time_over,
        [(_CREW, "            pool.note_end(self, worker)\n        self.stir()\n",
          "            pool.note_end(self, worker)\n")],
    ),
    "a worker leaves and tells no farewell": (
        cases.dismissed,
        [(_CREW, "        self.stir()\n        pool.bid_farewell()\n", "        self.stir()\n")],
    ),
    "a worker that is dismissed leaves without a look at the others": (
        cases.surplus_leaves,
        [(_CREW, "if self._active() <= self.size and (self.queue or not self.retired):",
          "if self.queue and self.retired:")],
    ),
    "a worker that is excused still counts": (
        cases.surplus_leaves,
        [(_CREW, "            self.excused += 1\n", ""), (_CREW, "            self.excused -= worker.excused\n", "")],
    ),
    "an excused scout takes the token with it": (
        cases.resized_down,
        [("_pool.worker", "                    if scouting:\n                        crew.scout_arrived()\n"
                          "                    return\n", "                    return\n")],
    ),
    "one worker too many is hired": (
        cases.short_jobs,
        [(_CREW, "(self.retired and not self.queue) or self._active() >= self.size:",
          "(self.retired and not self.queue) or self._active() > self.size:")],
    ),
    "a thread that could not be started still counts": (
        cases.start_fails,
        [(_CREW, "                self.workers.discard(worker)\n                self.recount()\n            self.pool",
          "                self.recount()\n            self.pool")],
    ),
    "a job that comes while the queued ones get the error is forgotten": (
        cases.start_fails,
        [(_CREW, "self._start_failed(error)", "bool(self._start_failed(error)) and False")],
    ),
    "a farewell is not told when no thread could be started": (
        cases.dismissed_as_start_fails,
        [(_CREW, "            self.pool.fail(job, error)\n        self.pool.bid_farewell()\n",
          "            self.pool.fail(job, error)\n")],
    ),
    "nobody looks again when not all threads could be started": (
        cases.all_started,
        [(_POOL, "            crew.stir()  # a submitter may have relied on the thread that was about to start\n", "")],
    ),
    "a worker parks and nobody looks for the room it makes": (
        cases.parked,
        [(_CREW, "            raise self._too_many_parked()\n        self.stir()\n",
          "            raise self._too_many_parked()\n")],
    ),
    "a worker that parks still counts against the size": (
        cases.parked,
        [(_CREW, "                self.parked += worker.parked == 0\n", ""),
         (_CREW, "                self.parked -= worker.parked == 0\n", "")],
    ),
    "a larger size is not made known": (
        cases.resized_up,
        [(_POOL, "            self._set_crew_size(crew, size)\n        crew.stir()\n\n    def _accept_size",
          "            self._set_crew_size(crew, size)\n\n    def _accept_size")],
    ),
    "the crews are dismissed and nobody wakes the idle": (
        cases.dismissed,
        [(_POOL, "        for crew in crews + marked:\n            crew.stir()\n        self.bid_farewell()\n",
          "        self.bid_farewell()\n")],
    ),
    "a farewell is told twice": (
        cases.dismissed_twice,
        [(_POOL, "            with self.lock:\n                complete = [farewell for farewell in self._farewells if farewell.complete()]\n"
                 "                self._farewells = [farewell for farewell in self._farewells if farewell not in complete]\n",
          "            complete = [farewell for farewell in self._farewells if farewell.complete()]\n"
          "            with self.lock:\n"
          "                self._farewells = [farewell for farewell in self._farewells if farewell not in complete]\n")],
    ),
    "a job is claimed by a look and then a step": (
        cases.one_dropped,
        [("_pool.job", "        try:\n            self.claim.pop()\n        except IndexError:\n            return False\n",
          "        if not self.claim:\n            return False\n        self.claim.clear()\n")],
    ),
    "empty jobs are counted without the lock": (
        cases.one_dropped,
        [(_POOL, "        with self.lock:\n            self._dropped -= 1\n", "        self._dropped -= 1\n")],
    ),
    "nobody looks again after the queue has been swept": (
        cases.swept,
        [(_POOL, "        for crew in crews:\n            crew.stir()  # a worker may", "        for crew in ():\n            crew.stir()  # a worker may")],
    ),
    "the queue is swept without the lock": (
        cases.swept,
        [(_POOL, "                return\n            self._sweep(crews)\n", "                return\n        self._sweep(crews)\n")],
    ),
    "a job of a lane is queued without the lock": (
        cases.lane_released,
        [(_LANE, "                crew.queue.append(job)\n        if not admitted:",
          "                pass\n        if admitted:\n            crew.queue.append(job)\n        if not admitted:")],
    ),
    "the worker of a lane empties the trash and then stops dozing (3, 4)": (
        cases.lane_trash,
        [(_LANE, "            self.dozing = False\n            self.empty_trash()\n",
          "            self.empty_trash()\n            self.dozing = False\n")],
    ),
    "what is dropped goes to the trash after the look at the worker (1, 2)": (
        cases.lane_trash,
        [(_LANE, "        crew.trash.append(box)\n        if not crew.dozing or len(crew.trash) % _TOO_MUCH == 0:\n",
          "        if crew.dozing:\n            crew.trash.append(box)\n        else:\n            crew.trash.append(box)\n")],
    ),
    "a farewell does not wait for what the lanes have been given": (
        cases.lane_dismissed,
        [(_LANE, "                crew.queue.append(milestone)\n                marked.append(crew)\n",
          "                crew.queue.append(milestone)\n")],
    ),
    "a worker rests although its caller is still to be woken": (
        cases.round_trips,
        [(_CREW, "        left_over = worker.wake_caller()\n", "        left_over = None\n")],
    ),
    "a worker leaves its outcome after it has tried for the token (1, 2)": (
        cases.outcomes_drained,
        [("_loop.loop_job", "        mailbox.outcomes.append(self)\n"
                            "        return mailbox.schedule if mailbox.scheduled.acquire(False) else None\n",
          "        had = mailbox.scheduled.acquire(False)\n        mailbox.outcomes.append(self)\n"
          "        return mailbox.schedule if had else None\n")],
    ),
    "the drain gives its token back and does not look again (6)": (
        cases.outcomes_drained,
        [("_loop.mailbox", "            if outcomes and self.scheduled.acquire(False):\n"
                           "                outcomes[0].get_loop().call_soon(self._drain)\n", "")],
    ),
    "the drain looks again and then gives its token back (5, 6)": (
        cases.outcomes_drained,
        [("_loop.mailbox", "            if self.scheduled.locked():  # unless this drain is the one too many\n"
                           "                self.scheduled.release()\n"
                           "            if outcomes and self.scheduled.acquire(False):\n"
                           "                outcomes[0].get_loop().call_soon(self._drain)\n",
          "            if outcomes:\n                outcomes[0].get_loop().call_soon(self._drain)\n"
          "            else:\n                self.scheduled.release()\n")],
    ),
    "a closed loop keeps the token": (
        cases.loop_closed,
        [("_loop.mailbox", "            if not posted:\n                self.scheduled.release()\n", "            pass\n")],
    ),
}
