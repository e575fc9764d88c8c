"""What one table is about: who takes part, in what, and who is held against whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tpool_asyncio._bench.contestants import CONTESTANTS, THREADS, TPOOL
from tpool_asyncio._bench.workloads import WORKLOADS, Workload

__all__ = ["CALLS", "Entrant", "Subject"]


class Entrant(Protocol):
    """What the parent has to know of a contestant; how it is opened is its child's business."""

    @property
    def name(self) -> str:
        """The word for it on the command line of a child process and in JSON."""

    @property
    def title(self) -> str:
        """What people read."""

    def takes(self, workload: Workload) -> bool:
        """Return whether it takes part in this workload."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One table, or several with the same contestants."""

    title: str
    """What is measured, as the beginning of the heading."""
    program: str
    """The module that a child process runs to measure one contestant."""
    reference: Entrant
    """The one that all others are held against; without it nothing is measured."""
    contestants: Mapping[str, Entrant]
    """By name, in the order of the rows."""
    workloads: Mapping[str, Workload]
    """By name."""
    threads: int | None = THREADS
    """How many threads each contestant has for its calls, None if there are no such calls."""


CALLS = Subject("Cost per call", "tpool_asyncio._bench.child", TPOOL, CONTESTANTS, WORKLOADS)
