"""The steps of a call as rows of tables: what is added up of what has been measured, and whose it is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tpool_asyncio._bench.budget import Costs
from tpool_asyncio._bench.table import columns

__all__ = ["TABLES", "Measured", "Row", "Table", "as_json", "render"]

OURS = "ours"
ASYNCIO = "asyncio"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    title: str
    plus: tuple[str, ...]
    """The steps of which it is the sum,"""
    minus: tuple[str, ...] = ()
    """without these, which have been measured in others."""
    whose: str = ""

    def cost(self, costs: Costs) -> float | None:
        """Return what it costs, None if not all of it has been measured."""
        if not costs.keys() >= {*self.plus, *self.minus}:
            return None
        return sum(costs[name] for name in self.plus) - sum(costs[name] for name in self.minus)


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of one kind of process."""

    title: str
    kind: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process has found, natively and under callgrind."""

    ns: Costs
    instructions: Costs | None
    """None if they cannot be counted here."""


_WHOLE = ("execute", "work", "turn to the drain", "drain", "turn to the task", "let go")
_FLOOR = ("make futures", "post", "set and await", "let go of them")

TABLES = (
    Table(
        "async call, by hand",
        "by_hand",
        (
            Row("execute: the future", ("future",), whose=ASYNCIO),
            Row("execute: context, claim, fields, the way in", ("made",), ("future",), OURS),
            Row("execute: queue it, look for the token", ("queued",), ("made",), OURS),
            Row("execute: wake a worker", ("execute",), ("queued",), OURS),
            Row("worker: look, take, go to rest", ("work without wake-up",), ("run_job",), OURS),
            Row("worker: claim, account, let go", ("run_job",), ("context.run", "deliver"), OURS),
            Row("worker: the function, in a new context", ("context.run",), whose="Python"),
            Row("worker: deliver into the mailbox", ("deliver",), whose=OURS),
            Row("worker: wake the loop", ("work",), ("work without wake-up",), ASYNCIO),
            Row("loop: its turn up to the drain", ("turn to the drain",), whose=ASYNCIO),
            Row("loop: drain", ("drain",), ("settle",), OURS),
            Row("loop: settle, with set_result", ("settle",), whose="both"),
            Row("loop: its turn up to the task, await", ("turn to the task",), whose=ASYNCIO),
            Row("let go of the call", ("let go",), whose="both"),
            Row("sum", _WHOLE),
            Row("beside: garbage collector", tuple(f"{name}, collected" for name in _WHOLE), _WHOLE, "Python"),
        ),
    ),
    Table(
        "the same with asyncio alone, by hand",
        "by_hand",
        (
            Row("make a future", ("make futures",), whose=ASYNCIO),
            Row("wake the loop", ("post",), whose=ASYNCIO),
            Row("loop: its turns, set_result, await", ("set and await",), whose=ASYNCIO),
            Row("let go of the future", ("let go of them",), whose=ASYNCIO),
            Row("sum", _FLOOR),
        ),
    ),
    Table(
        "call from a green thread, by hand",
        "green",
        (
            Row("worker", ("green: work",), whose=OURS),
            Row("loop: drain, switch there, return, next call, switch back", ("green: drain",), whose="both"),
            Row("sum", ("green: work", "green: drain")),
        ),
    ),
    Table(
        "with real threads, all of them together",
        "threads",
        (
            Row("floor: a thread and two locks", ("locks",)),
            Row("floor: lock, socket, poll", ("lock, socket, poll",)),
            Row("floor of asyncio: lock, future, call_soon_threadsafe", ("floor of asyncio",)),
            Row("tpool.execute", ("tpool",)),
        ),
    ),
)


def render(measured: Mapping[str, Mapping[int, Measured]]) -> str:
    """Return the tables, with two columns for each number of calls at once."""
    return "\n\n".join(_render(table, measured[table.kind]) for table in TABLES if table.kind in measured)


def _render(table: Table, measured: Mapping[int, Measured]) -> str:
    headers = [table.title]
    for each in measured:
        headers += ["alone: instr." if each == 1 else f"{each:,} at once: instr.", "ns"]
    rows = [[row.title, *_cells(row, measured.values()), row.whose] for row in table.rows]
    return columns([*headers, ""], rows)


def _cells(row: Row, measured: Iterable[Measured]) -> list[str]:
    found = []
    for one in measured:
        for costs in (one.instructions, one.ns):
            cost = None if costs is None else row.cost(costs)
            found.append("-" if cost is None else f"{cost:,.0f}")
    return found


def as_json(measured: Mapping[str, Mapping[int, Measured]]) -> dict[str, object]:
    """Return the same as something to write as JSON."""
    return {
        table.title: {
            row.title: {
                str(each): {
                    "instructions": None if one.instructions is None else row.cost(one.instructions),
                    "ns": row.cost(one.ns),
                }
                for each, one in measured[table.kind].items()
            }
            for row in table.rows
        }
        for table in TABLES
        if table.kind in measured
    }
