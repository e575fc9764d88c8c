"""Other ways to do what the package does, each as a change of its source, to be held against it as it is.

An **experiment** is a list of edits. To try it, the package is laid out once as it is and once with the edits, and the
two are measured as two revisions are. An edit says what the source is expected to be, so an experiment that no longer
fits fails, and does not quietly measure nothing. Edited packages are for the measurement only: several of them are
wrong in races that do not occur in it, which is one more reason not to keep them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import tpool_asyncio
from tpool_asyncio._bench.courses import COURSES, Course
from tpool_asyncio._bench.workloads import AT_ONCE_20, AT_ONCE_1000, ONE_BY_ONE

__all__ = ["EXPERIMENTS", "Edit", "Experiment", "change"]


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one place, or of all places that look the same, in one module."""

    module: str
    """The path of the module in the package."""
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """One thing to try."""

    name: str
    title: str
    """What is different from the package as it is."""
    edits: tuple[Edit, ...]
    courses: tuple[Course, ...]


def change(experiment: Experiment, folder: Path) -> None:
    """Make the edits in the package that is laid out in a folder.

    Raises:
        ValueError: The source is not what an edit expects.
    """
    for edit in experiment.edits:
        path = folder / Path(tpool_asyncio.__file__).parent.name / edit.module
        source = path.read_text(encoding="utf-8")
        if edit.old not in source:
            raise ValueError(f"experiment {experiment.name}: {edit.module} has no longer: {edit.old!r}")
        path.write_text(source.replace(edit.old, edit.new), encoding="utf-8")


_ALL_CALLS = COURSES["calls"]
_CALLS = replace(
    _ALL_CALLS,
    subject=replace(
        _ALL_CALLS.subject, workloads={workload.name: workload for workload in (AT_ONCE_1000, AT_ONCE_20, ONE_BY_ONE)}
    ),
)
_GREEN = COURSES["green"]

_CREW = "_pool/crew.py"
_WORKER = "_pool/worker.py"
_LOOP_JOB = "_loop/loop_job.py"
_POOL = "_loop/pool.py"

_SUBMIT = """\
            if not self.scout.locked() and self.scout.acquire(False):  # to ask first costs a sixth of being refused
                self._send_scout()
        except"""

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "wake_each",
            "a thread is woken for each job, without a scout",
            (
                Edit(
                    _CREW,
                    _SUBMIT,
                    """\
            if self.idle:
                worker, _ = self.idle.popitem()
                worker.bell.release()
            elif self._active() < self.size:
                self.hire(scouting=False)
        except""",
                ),
                # What is woken has no token, and only at the end of the crew is there anything to pass on.
                Edit(_CREW, "        if self.queue or (self.dismissing and self.idle):\n", "        if False:\n"),
                Edit(_CREW, "            if not self.struck:\n                raise\n", "            pass\n"),
                Edit(_CREW, "        if self.queue or self.dismissing:\n", "        if self.dismissing:\n"),
            ),
            (_CALLS,),
        ),
        Experiment(
            "longest_idle",
            "the worker that has been idle for longest is woken, not the one that rested last",
            (
                Edit(
                    _CREW,
                    "worker, _ = self.idle.popitem()",
                    "worker = next(iter(self.idle), None); self.idle.pop(worker)",
                ),
            ),
            (_CALLS,),
        ),
        Experiment(
            "wake_first",
            "a worker wakes its caller before it goes idle itself",
            (Edit(_WORKER, "if served and not self.crew.queue:", "if False:"),),
            (_CALLS,),
        ),
        Experiment(
            "post_each",
            "each outcome is posted to the loop, without a mailbox",
            (
                Edit(
                    _LOOP_JOB,
                    "        mailbox = self.mailbox\n        mailbox.outcomes.append(self)\n",
                    "        self.get_loop().call_soon_threadsafe(self.settle)\n        return None\n",
                ),
            ),
            (_CALLS,),
        ),
        Experiment(
            "turn_batches",
            "calls made in one turn of the loop are queued together at its end",
            (
                Edit(
                    _POOL,
                    "        submit(call)\n        return call\n",
                    """\
        if not _batch:
            loop.call_soon(_flush, core)
        _batch.append(call)
        return call
""",
                ),
                Edit(
                    _POOL,
                    "\n\nclass Pool:",
                    """

_batch = []


def _flush(core):
    crew = core._crews[-1]
    crew.queue.extend(_batch)
    _batch.clear()
    crew.stir()


class Pool:""",
                ),
            ),
            (_CALLS,),
        ),
        Experiment(
            "try_first",
            "a token is tried for without asking first whether somebody has it",
            (
                Edit(
                    _CREW, "if not self.scout.locked() and self.scout.acquire(False):", "if self.scout.acquire(False):"
                ),
                Edit(
                    _LOOP_JOB,
                    "if mailbox.scheduled.locked() or not mailbox.scheduled.acquire(False):",
                    "if not mailbox.scheduled.acquire(False):",
                ),
            ),
            (_CALLS, _GREEN),
        ),
        Experiment(
            "always_unpack",
            "arguments are always unpacked, even if there are none",
            (Edit(_WORKER, "elif not args:", "elif False:"), Edit(_WORKER, "elif len(args) == 1:", "elif False:")),
            (_CALLS,),
        ),
        Experiment(
            "loop_given",
            "a future is told its loop from Python 3.12 on, and left to find it before",
            (
                Edit(
                    _POOL,
                    "Call() if FINDS_LOOP else Call(loop=loop)",
                    "Call(loop=loop) if FINDS_LOOP else Call()",
                ),
            ),
            (_CALLS,),
        ),
        Experiment(
            "one_mailbox",
            "the mailbox used last is found in an attribute of the pool, not of the thread",
            (Edit("_pool/thread_pool.py", "class PerThread(local):", "class PerThread:"),),
            (_CALLS,),
        ),
        Experiment(
            "kept_context",
            "a worker keeps an empty context from one job to the next",
            (
                Edit(_WORKER, "                context = Context()\n", "                context = self.spare\n"),
                Edit(
                    _WORKER,
                    "        self.wake: Callable",
                    "        self.spare = Context()\n        self.wake: Callable",
                ),
            ),
            (_CALLS,),
        ),
        Experiment(
            "claim_by_deletion",
            "a job is claimed by deleting an attribute of it, which is atomic only under the GIL",
            (
                Edit(_POOL, "call.claim = new_claim()", "call.claim = True"),
                Edit(
                    _WORKER,
                    "            job.claim.pop()\n        except IndexError:\n            self.next_job",
                    "            del job.claim\n        except AttributeError:\n            self.next_job",
                ),
            ),
            (_CALLS,),
        ),
        Experiment(
            "wake_tasks",
            "the task of a green thread is woken for each outcome, in place of resuming the green thread at once",
            (Edit("_green/green_call.py", 'if "greenback" in modules and is_watched(driven._task):', "if True:"),),
            (_GREEN,),
        ),
        Experiment(
            "switch_often",
            "threads switch every 0.5 ms (sys.setswitchinterval), not every 5 ms",
            (Edit("_pool/size.py", "\n__all__ =", "\n__import__('sys').setswitchinterval(0.0005)\n__all__ ="),),
            (_CALLS,),
        ),
        Experiment(
            "switch_seldom",
            "threads switch every 50 ms",
            (Edit("_pool/size.py", "\n__all__ =", "\n__import__('sys').setswitchinterval(0.05)\n__all__ ="),),
            (_CALLS,),
        ),
        Experiment(
            "large_turns",
            "a drain settles up to 1,000 outcomes in one turn of the loop, not 300",
            (Edit("_loop/mailbox.py", "TURN = 300", "TURN = 1_000"),),
            (_CALLS,),
        ),
    )
}
