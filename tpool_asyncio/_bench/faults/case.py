"""A case: a small program into which a contestant is plugged, and by which criterion it is judged."""

import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tpool_asyncio._bench.faults.ways import Way

__all__ = ["CASES", "GROUPS", "PROGRAMS", "Case", "case", "program"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    group: str
    needs: frozenset[str]
    """What a contestant has to have: see `tpool_asyncio._bench.faults.ways`."""
    alone: bool
    """Whether it needs a process of its own also where others share one."""
    body: "Callable[[Way], Any]"

    @property
    def title(self) -> str:
        """What people read."""
        return (inspect.getdoc(self.body) or self.name).partition("\n")[0].rstrip(".")

    @property
    def criterion(self) -> str:
        """When it is ok, for every contestant alike."""
        return " ".join((inspect.getdoc(self.body) or "").partition("\n")[2].split())


CASES: dict[str, Case] = {}
"""All of them, in the order of the table."""

GROUPS = ("outcomes", "waiters", "loops", "pool", "process", "import", "memory")

PROGRAMS: "dict[str, Callable[[Way], Any]]" = {}
"""What cases about whole processes run as such."""


def case(group: str, *needs: str, alone: bool = False) -> "Callable[[Callable[[Way], Any]], Callable[[Way], Any]]":
    """Make a function a case. Its docstring is the title and, below, the criterion."""

    def register(body: "Callable[[Way], Any]") -> "Callable[[Way], Any]":
        CASES[body.__name__] = Case(body.__name__, group, frozenset(needs), alone, body)
        return body

    return register


def program(body: "Callable[[Way], Any]") -> "Callable[..., Any]":
    """Make a function a program that cases run in a process of its own, see `Way.process`."""
    PROGRAMS[body.__name__] = body
    return partial(_run_program, body.__name__)


def _run_program(name: str, way: "Way", **options: Any) -> Any:
    return way.process(name, **options)
