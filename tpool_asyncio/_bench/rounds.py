"""Lets the contestants take turns.

All are alive at the same time, each in a process of its own, and only one works at a time. Every round has all
workloads and in each of them all contestants, one right after the other, and each round begins with another one. So a
machine that is slow for a while is slow for all of them.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tpool_asyncio._bench.child_process import BenchError, ChildProcess, MissingError
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.subject import CALLS, Entrant, Subject
from tpool_asyncio._bench.workloads import Workload

__all__ = ["measure"]


def measure(
    rounds: int,
    *,
    subject: Subject = CALLS,
    loop: str = "asyncio",
    quick: bool = False,
    workloads: Sequence[Workload] | None = None,
    contestants: Sequence[Entrant] | None = None,
    on_round: Callable[[int], object] = lambda _: None,
    arguments: Sequence[str] = (),
    patience: float | None = None,
) -> Figures:
    """Measure all contestants that are installed.

    Args:
        rounds: How many samples to take of each contestant in each workload, 1 or more.
        subject: What is measured.
        loop: The kind of loop they run on, ``asyncio`` or ``uvloop``.
        quick: Make fewer calls per sample.
        workloads: What they have to do, None for all workloads of the subject.
        contestants: Who takes part, None for all contestants of the subject; those whose package is missing are left
            out and named in `Figures.missing`.
        on_round: Called with the number of rounds done, at the start and after each.
        arguments: What else the program of the subject has to be told.
        patience: Seconds that one sample may take, None for those of `child_process`.

    Raises:
        BenchError: A process ended or hung, or not even the reference of the subject can be measured.
    """
    if workloads is None:
        workloads = tuple(subject.workloads.values())
    if contestants is None:
        contestants = tuple(subject.contestants.values())
    figures = Figures(loop, rounds)
    with ExitStack() as stack:
        running: list[tuple[Entrant, ChildProcess]] = []
        for contestant in contestants:
            try:
                child = ChildProcess(contestant.name, loop, subject.program, arguments, patience)
                running.append((contestant, stack.enter_context(child)))
            except MissingError as error:
                if contestant is subject.reference:
                    raise BenchError(f"{contestant.name} itself cannot be measured: {error}") from error
                figures.missing[contestant.name] = str(error)
        on_round(0)
        # The first calls start the threads, which belongs to nobody's cost per call.
        for contestant, child in running:
            for workload in workloads:
                if contestant.takes(workload):
                    child.measure(workload, workload.quick_reps)
        for number in range(rounds):
            turn = number % len(running)
            for workload in workloads:
                reps = workload.quick_reps if quick else workload.reps
                for contestant, child in running[turn:] + running[:turn]:
                    if contestant.takes(workload):
                        figures.add(workload.name, contestant.name, child.measure(workload, reps))
            on_round(number + 1)
    return figures
