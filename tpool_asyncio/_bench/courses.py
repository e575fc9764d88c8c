"""What two revisions of the package are made to do when they are held against each other.

A course is one contestant of one of the tables, in its own process, with all workloads of that table. Peers have no
part in it: they are the same on both sides.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tpool_asyncio._bench import proxy_rows
from tpool_asyncio._bench.bridge import BRIDGES
from tpool_asyncio._bench.executors import EXECUTORS
from tpool_asyncio._bench.green_calls import GREEN_CALLS
from tpool_asyncio._bench.proxy_material import make_table
from tpool_asyncio._bench.proxy_method import METHOD
from tpool_asyncio._bench.subject import CALLS, Subject
from tpool_asyncio._bench.workloads import Workload

__all__ = ["COURSES", "Course"]

ROWS = 20_000

Arguments = Callable[[Path, str], tuple[str, ...]]
"""Returns what a child process has to be told, given a folder for material and the kind of loop."""


def _none(_: Path, __: str) -> tuple[str, ...]:
    return ()


def _loop(_: Path, loop: str) -> tuple[str, ...]:
    return (loop,)


def _table(material: Path, _: str) -> tuple[str, ...]:
    path = material / "rows.sqlite"
    make_table(path, ROWS)
    return (str(path),)


@dataclass(frozen=True, slots=True)
class Course:
    """One contestant and what it does."""

    name: str
    title: str
    subject: Subject
    contestant: str
    loop: bool = False
    """Whether its child process is told the kind of loop in the place that all have for it."""
    arguments: Arguments = _none

    @property
    def loops(self) -> bool:
        """Whether it knows several kinds of loops."""
        return self.loop or self.arguments is _loop

    @property
    def workloads(self) -> Iterable[Workload]:
        """What it does: the workloads of its subject that it takes part in."""
        contestant = self.subject.contestants[self.contestant]
        return [workload for workload in self.subject.workloads.values() if contestant.takes(workload)]


COURSES = {
    course.name: course
    for course in (
        Course("calls", "tpool.execute", CALLS, "tpool", loop=True),
        Course("green", "green.tpool.execute", GREEN_CALLS, "green", loop=True),
        Course("bridge", "green.await_, green.run", BRIDGES, "green"),
        Course("default", "run_in_executor, new_event_loop", EXECUTORS, "fast", arguments=_loop),
        Course("submit", "tpool.executor().submit", EXECUTORS, "submit", arguments=_loop),
        Course("method", "proxy", METHOD, "async"),
        Course("rows", "iterate", proxy_rows.subject(ROWS), "iterate", arguments=_table),
    )
}
