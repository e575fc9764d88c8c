"""Whether a call costs the same however many there are: of calls in flight, of threads, of loops.

An `Axis` is a subject whose workloads differ in one number only. `scale_flight`, `scale_threads` and `scale_loops` are
the three of them. The target is the same for each: the dearest size costs at most `FLAT` times what the cheapest does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.table import columns, heading
from tpool_asyncio._bench.targets import Verdict

__all__ = ["FLAT", "Axis", "flatness", "render", "rows", "verdicts"]

FLAT = 1.3


@dataclass(frozen=True, slots=True)
class Axis:
    """A subject along which one number grows."""

    key: str
    """What the number is called in JSON."""
    title: str
    """What people read."""
    subject: Subject
    sizes: Mapping[str, int]
    """The number, by the name of the workload, from the smallest to the largest."""
    judged: tuple[str, ...]
    """The contestants that the target is for."""
    from_size: int = 1
    """The smallest number that is judged; what is less is there to explain the others."""

    def measured(self, figures: Figures, contestant: str) -> dict[int, str]:
        """Return the workloads that a contestant has done, by their number."""
        return {
            size: workload for workload, size in self.sizes.items() if contestant in set(figures.contestants(workload))
        }


def flatness(figures: Figures, axis: Axis, contestant: str, *, cpu: bool = False) -> float | None:
    """Return how often the cost of the cheapest size goes into that of the dearest, by the medians of both."""
    medians = [
        figures.median(workload, contestant)
        for size, workload in axis.measured(figures, contestant).items()
        if size >= axis.from_size
    ]
    costs = [taken.cpu_us if cpu else taken.wall_us for taken in medians]
    return max(costs) / min(costs) if all(costs) and costs else None


def rows(figures: Figures, axis: Axis) -> list[dict[str, object]]:
    """Return the medians, one row for each contestant and number."""
    found: list[dict[str, object]] = []
    for contestant in axis.subject.contestants:
        for size, workload in axis.measured(figures, contestant).items():
            taken = figures.median(workload, contestant)
            found.append(
                {
                    "contestant": contestant,
                    axis.key: size,
                    "us_per_call": taken.wall_us,
                    "cpu_us_per_call": taken.cpu_us,
                }
            )
    return found


def render(figures: Figures, axis: Axis) -> str:
    """Return two tables, of wall time and of processor time, with a column for each number."""
    sizes = [size for workload, size in axis.sizes.items() if workload in figures.samples]
    parts = [heading(figures, axis.subject)]
    for cpu, unit in ((False, "wall us"), (True, "CPU us")):
        lines = []
        for name, contestant in axis.subject.contestants.items():
            done = axis.measured(figures, name)
            if not done:
                continue
            costs = [figures.median(done[size], name) if size in done else None for size in sizes]
            numbers = ["-" if cost is None else f"{cost.cpu_us if cpu else cost.wall_us:.2f}" for cost in costs]
            flat = flatness(figures, axis, name, cpu=cpu) if len(done) > 1 else None
            lines.append([contestant.title, *numbers, f"{flat:.2f}" if flat else "-"])
        headers = [f"{axis.title}: {unit}", *(f"{size:,}" for size in sizes), "max/min"]
        parts.append(columns(headers, lines))
    for name, reason in figures.missing.items():
        title = axis.subject.contestants[name].title
        parts.append(f"{title} is left out: {reason}; pip install 'tpool-asyncio[bench]'")
    return "\n\n".join(parts)


def verdicts(figures: Figures, axis: Axis) -> list[Verdict]:
    """Judge the figures by the target."""
    judged = []
    for name in axis.judged:
        sizes = [size for size in axis.measured(figures, name) if size >= axis.from_size]
        among = f"{min(sizes):,} to {max(sizes):,} {axis.title}" if sizes else axis.title
        for cpu in (False, True):
            kind = "CPU time" if cpu else "wall time"
            target = f"{among}, {kind} of {axis.subject.contestants[name].title}: dearest / cheapest <= {FLAT:g}"
            measured = flatness(figures, axis, name, cpu=cpu)
            judged.append(Verdict(target, measured, measured is not None and measured <= FLAT))
    return judged
