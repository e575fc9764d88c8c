"""Holds two revisions of the package against each other, and says whether a difference is more than noise.

In each **round** both revisions get fresh processes, since where the parts of a process happen to lie in memory alone
makes some per cent, which no number of samples from one process would take out. Within a round the two are alive at the
same time and take turns, base, head, head, base, so that a machine that becomes slower meanwhile does so for both. What
a revision takes in a round is the least of its samples: whatever disturbs a sample makes it longer.

A round gives one **ratio**, head to base. Rounds know nothing of each other, so the median of the ratios lies, with a
chance that follows from tossing coins, between the k-th from below and the k-th from above. There is nothing to assume
about how ratios scatter, and on a noisy machine the bounds are far apart, as they should be. If 1 is between the
bounds, there is **no difference** that noise could not make, and one of less than `LEAST` is not called one, either.
The chance is divided by the number of ratios that are looked at: when a revision is held against itself, all of them
together show a difference in one of a hundred comparisons at most. With too few rounds there are no such bounds, and
nothing is said.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from statistics import median

from tpool_asyncio._bench.child_process import BenchError, ChildProcess
from tpool_asyncio._bench.courses import Course
from tpool_asyncio._bench.figures import Sample
from tpool_asyncio._bench.workloads import Workload

__all__ = ["CLOCKS", "FALSE_ALARMS", "LEAST", "SIDES", "Comparison", "Finding", "bounds", "compare", "judge"]

SIDES = ("base", "head")
CLOCKS = ("wall", "cpu")

FALSE_ALARMS = 0.01
"""How often a comparison of equals may find a difference anywhere."""

LEAST = 0.01
"""A median ratio nearer to 1 than this is not called a difference."""

Pair = tuple[Sample, Sample]
"""What base and head took in one round."""


@dataclass(slots=True)
class Comparison:
    """What was measured: by the name of a course and of a workload, a pair for each round."""

    pairs: dict[tuple[str, str], list[Pair]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """The courses that base cannot do, and why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the rounds say about one workload on one clock."""

    base_us: float
    head_us: float
    ratio: float
    """Head to base, the median of the ratios within each round."""
    bounds: tuple[float, float] | None
    """Between which it lies, or None if there are too few rounds to tell."""

    @property
    def verdict(self) -> str:
        """What that means, in a word or two."""
        if self.bounds is None:
            return "too few rounds"
        low, high = self.bounds
        if low <= 1 <= high or abs(self.ratio - 1) < LEAST:
            return "no difference"
        return "slower" if self.ratio > 1 else "faster"


def compare(
    roots: Mapping[str, Path],
    courses: Sequence[Course],
    rounds: int,
    *,
    loop: str = "asyncio",
    quick: bool = False,
    material: Path,
    on_round: Callable[[int], object] = lambda _: None,
) -> Comparison:
    """Measure two revisions.

    Args:
        roots: Where each of `SIDES` has its package, as `revisions.lay_out` has made it.
        courses: What is measured.
        rounds: How many pairs of processes each course has, 1 or more.
        loop: The kind of loop, for courses that know several.
        quick: Make fewer calls per sample.
        material: A folder for what there is to read.
        on_round: Called with the number of rounds done, at the start and after each.

    Raises:
        BenchError: Head cannot be measured in what base can do, or a process ended or hung later on.
    """
    found = Comparison()
    arguments = {course.name: course.arguments(material, loop) for course in courses}
    on_round(0)
    for number in range(rounds):
        order = SIDES if number % 2 == 0 else SIDES[::-1]
        for course in courses:
            if course.name in found.left_out:
                continue
            with ExitStack() as stack:
                running: dict[str, ChildProcess] = {}
                for side in order:
                    try:
                        running[side] = _start(stack, course, roots[side], loop, arguments[course.name])
                    except BenchError as error:
                        if side == "head" or number:
                            raise
                        found.left_out[course.name] = str(error)
                        break
                else:
                    for workload in course.workloads:
                        reps = workload.quick_reps if quick else workload.reps
                        pair = _pair([running[side] for side in order], workload, reps)
                        key = (course.name, workload.name)
                        found.pairs.setdefault(key, []).append(pair if order is SIDES else pair[::-1])
        on_round(number + 1)
    return found


def _start(stack: ExitStack, course: Course, root: Path, loop: str, arguments: Sequence[str]) -> ChildProcess:
    """Start a process, and its threads, which is in no figure."""
    child = stack.enter_context(
        ChildProcess(
            course.contestant,
            loop if course.loop else "asyncio",
            course.subject.program,
            arguments,
            root=root,
        )
    )
    for workload in course.workloads:
        child.measure(workload, workload.quick_reps)
    return child


def _pair(children: Sequence[ChildProcess], workload: Workload, reps: int) -> Pair:
    """Return what the first and the second took, who take turns as a, b, b, a, a, b, b, a."""
    first, second = children
    samples: dict[ChildProcess, list[Sample]] = {first: [], second: []}
    for child in (first, second, second, first) * 2:
        samples[child].append(child.measure(workload, reps))
    least = [
        Sample(min(sample.wall_us for sample in taken), min(sample.cpu_us for sample in taken))
        for taken in samples.values()
    ]
    return least[0], least[1]


def bounds(ratios: Sequence[float], error: float) -> tuple[float, float] | None:
    """Return between which the true median of such ratios lies, but for this chance; None if they are too few.

    The chance that fewer than ``k`` of ``n`` independent values are below their median is that of so few heads in as
    many tosses of a coin.
    """
    number = len(ratios)
    allowed = error / 2 * 2**number
    below, tosses = 0, 0
    while below < number // 2 and tosses + comb(number, below) <= allowed:
        tosses += comb(number, below)
        below += 1
    if not below:
        return None
    ordered = sorted(ratios)
    return ordered[below - 1], ordered[number - below]


def judge(comparison: Comparison) -> dict[tuple[str, str], dict[str, Finding]]:
    """Return what is found about each workload of each course, by clock."""
    error = FALSE_ALARMS / max(1, len(comparison.pairs) * len(CLOCKS))
    judged: dict[tuple[str, str], dict[str, Finding]] = {}
    for key, pairs in comparison.pairs.items():
        for clock in CLOCKS:
            taken = [(getattr(base, f"{clock}_us"), getattr(head, f"{clock}_us")) for base, head in pairs]
            ratios = [head / base for base, head in taken if base]
            if ratios:
                judged.setdefault(key, {})[clock] = Finding(
                    median(base for base, _ in taken),
                    median(head for _, head in taken),
                    median(ratios),
                    bounds(ratios, error),
                )
    return judged
