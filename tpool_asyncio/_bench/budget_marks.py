"""Marks between the steps of a call, which a clock sees, or valgrind in place of the clock.

A scenario does one round of something, and sets a mark before and after each of its steps. A mark calls a function of
the C library and keeps what it returns. Natively that function is the clock. Under callgrind it is `os.getpgrp`, of
which the program makes no other use: callgrind is told to write down, whenever it is entered, how many instructions
have been executed since the last time. So the same code is measured both ways.

What a mark costs, and the loop that does a step many times between two marks, is measured like a step, as a **base**,
and taken away from the steps that have this base.
"""

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

__all__ = ["MARKED_BY", "Mark", "Scenario", "Step", "bases", "take_rounds"]

MARKED_BY = "getpgrp"
"""The function of the C library at which callgrind has to look."""

Mark = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Step:
    """What lies between two marks."""

    name: str
    base: str = "mark"
    """The name of the step that has everything of this one but what is to be measured; empty for a base."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that is done again and again, in steps."""

    name: str
    each: int
    """How many times each step is done between two marks."""
    steps: tuple[Step, ...]
    """In order. One round sets one mark more."""
    run: Callable[[Mark], Awaitable[None]]
    """Does one round; outside of its steps it may prepare and clear up as it likes."""


def bases(each: int) -> list[Scenario]:
    """Return what a mark costs: alone, with a loop over this many objects, and with one that makes a list of them."""
    objects = [object()] * each
    numbers = range(each)

    async def run(mark: Mark) -> None:
        mark()
        mark()
        for _ in objects:
            pass
        mark()
        kept = [None for _ in numbers]
        mark()
        del kept

    return [Scenario("bases", each, (Step("mark", ""), Step("looped", ""), Step("listed", "")), run)]


async def take_rounds(scenarios: Sequence[Scenario], number: int, warm_up: int, *, counted: bool) -> list[list[int]]:
    """Do rounds of all scenarios in turn; return the marks of each, in the order in which they were made.

    With ``counted`` the marks are for callgrind, and what is returned has nothing but their number.
    """
    marks: list[int] = []
    clock: Callable[[], int] = time.perf_counter_ns

    def mark() -> None:
        marks.append(clock())

    for scenario in scenarios:
        for _ in range(warm_up):  # the interpreter adapts its code to what it has seen
            await scenario.run(mark)
    if counted:
        clock = os.getpgrp
    taken = []
    for _ in range(number):
        for scenario in scenarios:
            marks.clear()
            await scenario.run(mark)
            assert len(marks) == len(scenario.steps) + 1, f"{scenario.name} has set {len(marks)} marks"
            taken.append(marks.copy())
    return taken
