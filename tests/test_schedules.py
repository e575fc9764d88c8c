"""The pool and the mailbox in all schedules of small cases, up to a bound; and what is broken on purpose is found.

With ``TPOOL_TESTS=long`` the bound is three preemptions, which takes some minutes, and then come schedules at random
with points at every line.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.effort import LONG
from tests.schedule_cases import CREW_CASES
from tests.schedule_cases_beyond import LANE_AND_MAILBOX_CASES
from tests.schedule_copies import Copy, Lock, ReentrantLock
from tests.schedule_mutants import MUTANTS
from tests.schedule_world import Flag, World
from tests.schedules import ScheduleError, Scheduler, explore, explore_at_random
from tpool_asyncio._pool.crew import Crew
from tpool_asyncio._pool.default import shared_pool
from tpool_asyncio._pool.thread_pool import ThreadPool

PREEMPTIONS, LIMIT = (3, 200_000) if LONG else (2, 150)
RANDOM_RUNS = 5_000 if LONG else 10

by_name = pytest.mark.parametrize("case", [*CREW_CASES, *LANE_AND_MAILBOX_CASES], ids=lambda case: case.__name__)


@pytest.fixture(scope="module")
def copy() -> Copy:
    return Copy()


@pytest.fixture(scope="module")
def copy_of_lines() -> Copy:
    """A copy that can be interrupted before every line."""
    return Copy(every_line=True)


@by_name
@pytest.mark.timeout(3_600 if LONG else 60)
def test_every_schedule_ends_well(case: Any, copy: Copy) -> None:
    report = explore(copy.case(case), preemptions=PREEMPTIONS, limit=LIMIT)
    assert report.complete or report.runs == LIMIT
    assert report.runs > 10


@by_name
@pytest.mark.timeout(3_600 if LONG else 60)
def test_schedules_at_random_end_well(case: Any, copy_of_lines: Copy) -> None:
    explore_at_random(copy_of_lines.case(case), runs=RANDOM_RUNS, seed=1)


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_on_purpose_is_found(name: str) -> None:
    case, mutations = MUTANTS[name]
    with pytest.raises(ScheduleError, match="after these steps"):
        explore(Copy(mutations).case(case), preemptions=2, limit=5_000)


# The search itself


def search(program: Callable[[Scheduler], Callable[[], object]], preemptions: int = 1) -> Any:
    """Explore a program that needs no copy of the package."""
    return explore(Copy.case(None, lambda _, scheduler: program(scheduler)), preemptions=preemptions, limit=1_000)  # type: ignore[arg-type]


def test_an_update_that_is_lost_is_found() -> None:
    def program(scheduler: Scheduler) -> Callable[[], object]:
        counts = {"value": 0}
        thing = scheduler.thing(counts, "value")

        def add() -> None:
            scheduler.point(thing, "read", writes=False)
            value = counts["value"]
            scheduler.point(thing, "write")
            counts["value"] = value + 1

        def check() -> None:
            assert counts["value"] == 2

        scheduler.start("one", add)
        scheduler.start("two", add)
        return check

    search(program, preemptions=0)
    with pytest.raises(ScheduleError) as caught:
        search(program)
    steps = str(caught.value).splitlines()
    reads = [index for index, step in enumerate(steps) if step.endswith("read")]
    writes = [index for index, step in enumerate(steps) if step.endswith("write")]
    assert max(reads) < min(writes)


def test_a_deadlock_is_found_with_the_names_of_who_is_stuck() -> None:
    def program(scheduler: Scheduler) -> Callable[[], object]:
        first, second = Lock(), Lock()

        def take(one: Lock, other: Lock) -> None:
            one.acquire()
            other.acquire()
            other.release()
            one.release()

        scheduler.start("one", lambda: take(first, second))
        scheduler.start("two", lambda: take(second, first))
        return lambda: None

    search(program, preemptions=0)
    with pytest.raises(ScheduleError, match=r"wait for ever: \['one', 'two'\]"):
        search(program)


def test_threads_that_go_round_and_round_are_found() -> None:
    def program(scheduler: Scheduler) -> Callable[[], object]:
        lock = Lock()

        def spin() -> None:
            while not lock.locked():
                pass

        scheduler.start("one", spin)
        return lambda: None

    with pytest.raises(ScheduleError, match="round and round"):
        search(program)


def test_all_orders_of_three_threads_are_tried() -> None:
    orders = set()

    def program(scheduler: Scheduler) -> Callable[[], object]:
        order: list[str] = []
        thing = scheduler.thing(order, "order")

        def note(name: str) -> None:
            scheduler.point(thing, "note")
            order.append(name)

        for name in "abc":
            scheduler.start(name, lambda name=name: note(name))  # type: ignore[misc]
        return lambda: orders.add("".join(order))

    assert search(program).complete
    assert orders == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_the_real_modules_are_left_alone(copy: Copy) -> None:
    assert copy["_pool.crew"].Crew is not Crew
    assert not isinstance(ThreadPool(1).lock, ReentrantLock)
    assert not isinstance(shared_pool._crews[-1].scout, Lock)


def test_every_line_is_a_point_on_demand(copy: Copy, copy_of_lines: Copy) -> None:
    def steps(of: Copy) -> int:
        made: list[Scheduler] = []

        def case(copy: Copy, scheduler: Scheduler) -> Callable[[], object]:
            made.append(scheduler)
            world = World(copy, scheduler)
            world.make_pool(1)
            flag = Flag()
            world.thread(lambda: (world.submit(flag.set), flag.wait()))
            return world.check

        explore(of.case(case), preemptions=0, limit=1)
        return made[0].steps

    assert steps(copy_of_lines) > 1.5 * steps(copy)
