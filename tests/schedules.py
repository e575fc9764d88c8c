"""Schedules of small programs of threads, decided by the test: all of them up to a bound, or so many at random.

How it works
    Each thread of such a program is a greenlet here, so one runs at a time, and only at a **point** another can take
    its place. Points stand before every operation that threads have in common: of locks, of the deques and dicts that
    are used as atomic ones, and of the attributes that are read without a lock (`tests.schedule_copies` makes copies of
    the package's modules that have them). At each point somebody decides who goes on, and a run can be repeated from
    its decisions.

Which schedules there are
    A **preemption** takes a thread's turn away although it could go on. `explore` tries everything without a
    preemption, then with one, and so on: most races need one or two. A wait with a time limit can end by the limit at
    any moment, since nobody knows how long things take.

    Most schedules differ in nothing but the order of operations that have nothing to do with each other. So each thread
    carries a hash of what it has done and seen: its own steps, and of each thing it has touched the last one who
    changed it. When all threads come to the same hashes again, they are in a state that has been seen, and the run ends
    there. What is not hashed must be guarded by a lock, which is.

`explore_at_random` gives the threads priorities by lot and changes them at some steps by lot, and is meant for points
at every line.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from greenlet import GreenletExit, getcurrent, greenlet

__all__ = ["Report", "ScheduleError", "Scheduler", "Thing", "VirtualThread", "explore", "explore_at_random"]

MOST_STEPS = 2_000
"""Steps after which a run is taken to go round and round."""


class ScheduleError(AssertionError):
    """A schedule that breaks what should hold. Says the steps."""


class Thing:
    """Something that threads touch in common: who has touched it, as hashes."""

    __slots__ = ("holder", "readers", "written")

    def __init__(self, holder: object = None) -> None:
        self.holder = holder  # kept, so that its id stays its own
        self.written = 0
        self.readers = 0


class VirtualThread:
    """A thread of the program."""

    def __init__(self, name: str, run: Callable[[], object], seed: int, *, daemon: bool) -> None:
        self.name = name
        self.run = run
        self.daemon = daemon  # whether it may be left waiting at the end
        self.hash = seed
        self.children = 0
        self.can_go_on: Callable[[], bool] | None = None  # None while it does not wait
        self.timed = False
        self.ended = False
        self.locals: dict[int, dict[str, Any]] = {}
        self.greenlet: Any = None


class Seen(Exception):  # noqa: N818 - no error
    """The run has come to a state that is known."""


class Scheduler:
    """One run of a program."""

    def __init__(self, decide: Callable[["Scheduler", "VirtualThread | None", list[VirtualThread]], VirtualThread]):
        self._decide = decide
        self._main = getcurrent()
        self.current: VirtualThread | None = None
        self.threads: list[VirtualThread] = []
        self.steps = 0
        self.over = False
        self.errors: list[BaseException] = []
        self.things: dict[tuple[int, str], Thing] = {}
        self.trace: list[str] | None = None
        self.outside: dict[int, dict[str, Any]] = {}
        self.failed_starts = 0  # how many of the next threads cannot be started
        self._seen: Seen | None = None

    # From within the program

    def start(self, name: str, run: Callable[[], object], *, daemon: bool = False) -> VirtualThread:
        """Add a thread, which begins when it is decided on."""
        maker = self.current
        seed = hash((-1, len(self.threads)))
        if maker is not None:
            maker.children += 1
            seed = hash((maker.hash, maker.children))
        thread = VirtualThread(name, run, seed, daemon=daemon)
        thread.greenlet = greenlet(lambda *_: self._live(thread), self._main)
        self.threads.append(thread)
        return thread

    def point(self, thing: Thing | None, what: str, *, writes: bool = True) -> None:
        """Let another thread go first, perhaps; then note what this one is about to do."""
        me = self.current
        if me is None:
            return
        if self.over:
            raise GreenletExit
        self._pass_on(me, self._choose(me))
        self.note(thing, what, writes=writes)

    def note(self, thing: Thing | None, what: str, *, writes: bool = True) -> None:
        """Note what the current thread does."""
        me = self.current
        if me is None:
            return
        if self.trace is not None:
            self.trace.append(f"{me.name}: {what}")
        if thing is None:
            me.hash = hash((me.hash, what))
        elif writes:
            me.hash = thing.written = hash((me.hash, what, thing.written, thing.readers))
            thing.readers = 0
        else:
            me.hash = hash((me.hash, what, thing.written))
            thing.readers = (thing.readers + me.hash) & 0xFFFFFFFFFFFF

    def wait(self, can_go_on: Callable[[], bool], *, timed: bool = False) -> bool:
        """Wait until this is true; return False if the time was over before, which can be at any moment."""
        me = self.current
        assert me is not None, "nobody outside the program may wait"
        if self.over:
            raise GreenletExit
        if can_go_on():
            return True
        me.can_go_on, me.timed = can_go_on, timed
        self._pass_on(me, self._choose(None))
        me.can_go_on = None
        if can_go_on():
            return True
        self.note(None, "the time is over")
        return False

    def thing(self, holder: object, name: str) -> Thing:
        """Return the record of an attribute of an object."""
        key = (id(holder), name)
        try:
            return self.things[key]
        except KeyError:
            thing = self.things[key] = Thing(holder)
            return thing

    # The machinery

    def _choose(self, me: VirtualThread | None) -> VirtualThread | None:
        enabled = [
            thread
            for thread in self.threads
            if not thread.ended and (thread.can_go_on is None or thread.timed or thread.can_go_on())
        ]
        if not enabled:
            return None
        self.steps += 1
        if self.steps > MOST_STEPS:
            self.errors.append(AssertionError("the threads go round and round"))
            return None
        if len(enabled) == 1:
            return enabled[0]
        try:
            return self._decide(self, me, enabled)
        except Seen as seen:
            self._seen = seen
            return None

    def _pass_on(self, me: VirtualThread, to: VirtualThread | None) -> None:
        if to is me:
            return
        self.current = to
        if to is None:
            self._main.switch()
        else:
            to.greenlet.switch()
        if self.over:
            raise GreenletExit

    def _live(self, thread: VirtualThread) -> None:
        if self.over:
            return
        try:
            thread.run()
        except GreenletExit:
            pass
        except BaseException as error:
            self.errors.append(error)
        thread.ended = True
        if self.over:
            return
        to = self._choose(None)
        self.current = to
        if to is not None:
            getcurrent().parent = to.greenlet

    def play(self) -> bool:
        """Run the program until nobody can go on; return False if it came to a state that is known."""
        first = self._choose(None)
        if first is not None:
            self.current = first
            first.greenlet.switch()
        self.current = None
        return self._seen is None

    def close(self) -> None:
        """End what is left of the threads, without running any more of them."""
        self.over = True
        for thread in self.threads:
            self.current = thread
            if not thread.ended and thread.greenlet:
                thread.greenlet.parent = getcurrent()
                thread.greenlet.throw()
            thread.greenlet = None
        self.current = None
        self.things.clear()


Case = Callable[[Scheduler], Callable[[], object]]
"""Sets a program up, and returns what is to be checked when nobody can go on."""


class Report(NamedTuple):
    """What has been explored."""

    runs: int
    states: int
    complete: bool
    """Whether there is nothing left within the bound of preemptions."""


@contextmanager
def _run(scheduler: Scheduler, case: Case) -> Iterator[bool]:
    """Play one run of a case and check it."""
    try:
        check = case(scheduler)
        whole = scheduler.play()
        if scheduler.errors:
            raise scheduler.errors[0]
        if whole:
            stuck = [thread.name for thread in scheduler.threads if not thread.ended and not thread.daemon]
            assert not stuck, f"these threads wait for ever: {stuck}"
            check()
        yield whole
    finally:
        scheduler.close()


def explore(case: Case, *, preemptions: int, limit: int) -> Report:
    """Play all schedules of a case with so many preemptions, but no more than ``limit`` runs."""
    waiting: list[list[_Decisions]] = [[] for _ in range(preemptions + 1)]
    waiting[0].append(None)
    seen: dict[int, int] = {}
    runs = 0
    for cost in range(preemptions + 1):
        while waiting[cost]:
            if runs == limit:
                return Report(runs, len(seen), complete=False)
            runs += 1
            search = _Search(waiting[cost].pop(), cost, waiting, seen)
            try:
                with _run(Scheduler(search.decide), case):
                    pass
            except Exception as error:
                raise _explained(case, _in_order(search.taken), error) from error
    return Report(runs, len(seen), complete=True)


_Decisions: TypeAlias = "tuple[_Decisions, int] | None"
"""Which threads were decided on, the last one first. Runs share what they begin with."""


def _in_order(decisions: _Decisions) -> list[int]:
    taken = []
    while decisions is not None:
        decisions, choice = decisions
        taken.append(choice)
    return taken[::-1]


class _Search:
    """The decisions of one run: those that are given, and then as few switches as can be."""

    def __init__(self, given: _Decisions, cost: int, waiting: list[list[_Decisions]], seen: dict[int, int]) -> None:
        self._given = _in_order(given)[::-1]
        self._cost = cost
        self._waiting = waiting
        self._seen = seen
        self.taken: _Decisions = None

    def decide(self, scheduler: Scheduler, me: VirtualThread | None, enabled: list[VirtualThread]) -> VirtualThread:
        taken = self.taken
        if self._given:
            choice = self._given.pop()
            self.taken = (taken, choice)
            return scheduler.threads[choice]
        threads = scheduler.threads
        cost = self._cost
        state = hash((me is None or me.hash, *sorted(t.hash + bool(t.ended) for t in threads)))
        if self._seen.get(state, cost + 1) <= cost:
            raise Seen
        self._seen[state] = cost
        chosen = enabled[0] if me is None else me
        cost_of_others = cost if me is None else cost + 1
        if cost_of_others < len(self._waiting):
            for other in enabled:
                if other is not chosen:
                    self._waiting[cost_of_others].append((taken, threads.index(other)))
        self.taken = (taken, threads.index(chosen))
        return chosen


def explore_at_random(case: Case, *, runs: int, seed: int, changes: int = 3, length: int = 400) -> Report:
    """Play a case so many times, each with other priorities, which change so many times within a length of steps."""
    for number in range(runs):
        lot = random.Random(f"{seed} {number}")
        priorities: dict[int, float] = {}
        when = {lot.randrange(1, length) for _ in range(changes)}
        taken: list[int] = []

        def decide(
            scheduler: Scheduler,
            me: VirtualThread | None,
            enabled: list[VirtualThread],
            lot: random.Random = lot,
            priorities: dict[int, float] = priorities,
            when: set[int] = when,
            taken: list[int] = taken,
        ) -> VirtualThread:
            for index, _ in enumerate(scheduler.threads):
                if index not in priorities:
                    priorities[index] = lot.random()
            index = max((scheduler.threads.index(thread) for thread in enabled), key=priorities.__getitem__)
            if scheduler.steps in when or scheduler.steps % 500 == 0:  # the latter lest somebody spin for ever
                priorities[index] = -scheduler.steps
                index = max((scheduler.threads.index(thread) for thread in enabled), key=priorities.__getitem__)
            taken.append(index)
            return scheduler.threads[index]

        try:
            with _run(Scheduler(decide), case):
                pass
        except Exception as error:
            raise _explained(case, taken, error) from error
    return Report(runs, 0, complete=False)


def _explained(case: Case, taken: list[int], error: Exception) -> ScheduleError:
    """Return the error together with the steps that lead to it."""
    given = iter(taken)

    def decide(scheduler: Scheduler, me: VirtualThread | None, enabled: list[VirtualThread]) -> VirtualThread:
        choice = next(given, None)
        return (me or enabled[0]) if choice is None else scheduler.threads[choice]

    scheduler = Scheduler(decide)
    scheduler.trace = []
    try:
        with _run(scheduler, case):
            pass
    except Exception:
        pass
    return ScheduleError("\n".join([f"{type(error).__name__}: {error}", "after these steps:", *scheduler.trace]))
