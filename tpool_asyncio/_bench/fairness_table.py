"""The figures of `fairness`, for people and for programs, and the target."""

from statistics import median

from tpool_asyncio._bench.fairness import AGAIN, CONTESTANTS, EXECUTOR, FAIRNESS
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.table import columns, heading
from tpool_asyncio._bench.targets import Verdict

__all__ = ["render", "rows", "verdicts"]

_KEYS = ("p50_us", "p99_us", "worst_us", "long_p99_us", "late_p99_us")
_HEADERS = ("p50 us", "p99 us", "worst us", "long p99 us", "late p99 us")


def _ratio(figures: Figures, workload: str, contestant: str) -> float | None:
    """Return how often the executor's p99 goes into that of a contestant, as the median over the rounds."""
    its, executors = (figures.told(workload, name, "p99_us") for name in (contestant, EXECUTOR.name))
    if not its or not executors:
        return None
    return median(ours / other for ours, other in zip(its, executors, strict=True))


def rows(figures: Figures) -> list[dict[str, object]]:
    """Return the medians, one row for each contestant and pattern."""
    found: list[dict[str, object]] = []
    for workload in FAIRNESS.workloads:
        taking_part = set(figures.contestants(workload))
        for name in (name for name in CONTESTANTS if name in taking_part):
            row: dict[str, object] = {"contestant": name, "pattern": workload}
            row |= {key: _median(figures, workload, name, key) for key in _KEYS}
            found.append({**row, "p99_to_executor": _ratio(figures, workload, name)})
    return found


def _median(figures: Figures, workload: str, contestant: str, key: str) -> float | None:
    """Return the median over the rounds; without any call of a kind in one of them there is none."""
    values = figures.told(workload, contestant, key)
    return median(values) if values and None not in values else None


def render(figures: Figures) -> str:
    """Return the tables."""
    explained = (
        "Waiting times of short calls; beside them how long the long ones wait, and how late calls are made.\n"
        f'"p99 x" says how often the p99 of {EXECUTOR.title} goes into it: the median of that ratio within each round.'
    )
    parts = [f"{heading(figures, FAIRNESS)}\n{explained}"]
    for workload in map(FAIRNESS.workloads.__getitem__, figures.samples):
        lines = []
        for row in rows(figures):
            if row["pattern"] == workload.name:
                numbers = [_in_words(row[key], ",.0f") for key in _KEYS]
                title = CONTESTANTS[str(row["contestant"])].title
                lines.append([title, *numbers, _in_words(row["p99_to_executor"], ".2f")])
        parts.append(columns([workload.title, *_HEADERS, "p99 x"], lines))
    for name, reason in figures.missing.items():
        parts.append(f"{CONTESTANTS[name].title} is left out: {reason}; pip install 'tpool-asyncio[bench]'")
    return "\n\n".join(parts)


def _in_words(value: object, style: str) -> str:
    return "-" if value is None else format(value, style)


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the target, and say how much two that are the same differ."""
    judged = []
    for workload in FAIRNESS.workloads.values():
        target = f"{workload.title}, p99 of the waiting of short calls: tpool / {EXECUTOR.title} <= 1"
        measured = _ratio(figures, workload.name, FAIRNESS.reference.name)
        same = _ratio(figures, workload.name, AGAIN.name)
        beside = "" if same is None else f"the executor beside itself: {same:.2f}"
        judged.append(Verdict(target, measured, measured is not None and measured <= 1.0, beside))
    return judged
