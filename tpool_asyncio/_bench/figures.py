"""What was measured, as medians and ratios.

A ratio is the median of the ratios within each round, not the ratio of two medians: contestants of one round were
measured within a moment of each other, so that what else the machine was doing then is in both and cancels out. So is
a difference.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["Figures", "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one call took in one round, in microseconds."""

    wall_us: float
    cpu_us: float
    """Processor time of all threads of the process."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else the contestant has told of this round."""


@dataclass(slots=True)
class Figures:
    """The samples of all contestants, by workload and contestant, in the order of the rounds."""

    loop: str
    rounds: int
    missing: dict[str, str] = field(default_factory=dict)
    """The contestants that are left out, and why."""
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)

    def add(self, workload: str, contestant: str, sample: Sample) -> None:
        """Add the sample of one more round."""
        self.samples.setdefault(workload, {}).setdefault(contestant, []).append(sample)

    def contestants(self, workload: str) -> Iterable[str]:
        """Return who has done this workload."""
        return self.samples.get(workload, {}).keys()

    def median(self, workload: str, contestant: str) -> Sample:
        """Return the median of wall time and that of processor time, over all rounds."""
        samples = self.samples[workload][contestant]
        return Sample(median(s.wall_us for s in samples), median(s.cpu_us for s in samples))

    def told(self, workload: str, contestant: str, key: str) -> list[float]:
        """Return what a contestant has told beside its cost, round by round; nothing if it is left out."""
        return [sample.more[key] for sample in self.samples.get(workload, {}).get(contestant, ())]

    def beyond(self, workload: str, contestant: str, other: str) -> Sample | None:
        """Return how much more a workload costs a contestant than another workload does, or None without both.

        It is the median of the differences within each round. Negative is less.
        """
        more, less = (self.samples.get(name, {}).get(contestant) for name in (workload, other))
        return _differences(more, less) if more and less else None

    def apart(self, workload: str, contestant: str, other: str) -> Sample | None:
        """Return how much more a contestant takes for a workload than another one does, as in `beyond`."""
        more, less = (self.samples.get(workload, {}).get(name) for name in (contestant, other))
        return _differences(more, less) if more and less else None

    def ratio(self, workload: str, contestant: str, to: str) -> Sample | None:
        """Return how often the second contestant's cost goes into the first one's, or None if one is left out.

        The fields of the answer are ratios here, not microseconds. Rounds in which the clock saw no time pass for the
        second one do not count.
        """
        taken = self.samples.get(workload, {})
        if contestant not in taken or to not in taken:
            return None
        pairs = list(zip(taken[contestant], taken[to], strict=True))
        wall = [a.wall_us / b.wall_us for a, b in pairs if b.wall_us]
        cpu = [a.cpu_us / b.cpu_us for a, b in pairs if b.cpu_us]
        if not wall or not cpu:
            return None
        return Sample(median(wall), median(cpu))


def _differences(more: list[Sample], less: list[Sample]) -> Sample:
    pairs = list(zip(more, less, strict=True))
    return Sample(median(a.wall_us - b.wall_us for a, b in pairs), median(a.cpu_us - b.cpu_us for a, b in pairs))
