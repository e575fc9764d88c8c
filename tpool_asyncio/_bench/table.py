"""The figures for people, as plain text, and for programs."""

import os
import platform
from collections.abc import Sequence

from tpool_asyncio._bench.contestants import ASYNCIO_FLOOR, CONTESTANTS, FLOOR, THREADS, TPOOL
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.workloads import ONE_BY_ONE, WORKLOADS

__all__ = ["as_json", "columns", "machine", "render"]


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in plain text: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])

    return "\n".join([line(headers), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def machine() -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
    }


def render(figures: Figures) -> str:
    """Return all tables, with what is left out and why."""
    about = machine()
    heading = (
        f"Cost per call on {about['python']}, {about['system']}, {about['processors']} processors,"
        f" loop {figures.loop}.\n"
        f"{THREADS} threads each, every contestant in a process of its own, medians of {figures.rounds} interleaved"
        " rounds.\n"
        '"x tpool" says how often the cost of tpool goes into it, as the median of that ratio within each round.'
    )
    parts = [heading]
    for name in figures.samples:
        rows = []
        for contestant in _in_order(figures, name):
            taken = figures.median(name, contestant)
            ratio = figures.ratio(name, contestant, TPOOL.name)
            rows.append(
                [
                    CONTESTANTS[contestant].title,
                    f"{taken.wall_us:.2f}",
                    f"{taken.cpu_us:.2f}",
                    f"{ratio.wall_us:.2f}" if ratio else "-",
                    f"{ratio.cpu_us:.2f}" if ratio else "-",
                ]
            )
        headers = [WORKLOADS[name].title, "wall us", "CPU us", "wall x tpool", "CPU x tpool"]
        parts.append(columns(headers, rows))
    for floor in (FLOOR, ASYNCIO_FLOOR):
        ratio = figures.ratio(ONE_BY_ONE.name, TPOOL.name, floor.name)
        if ratio:
            parts.append(f"tpool / {floor.title}: {ratio.wall_us:.2f} in wall time, {ratio.cpu_us:.2f} in CPU time")
    for contestant, reason in figures.missing.items():
        parts.append(f"{CONTESTANTS[contestant].title} is left out: {reason}; pip install 'tpool-asyncio[bench]'")
    return "\n\n".join(parts)


def _in_order(figures: Figures, workload: str) -> list[str]:
    taken = set(figures.contestants(workload))
    return [name for name in CONTESTANTS if name in taken]


def as_json(figures: Figures) -> dict[str, object]:
    """Return the same as something to write as JSON, with every sample."""
    workloads: dict[str, object] = {}
    for name, taken in figures.samples.items():
        contestants: dict[str, object] = {}
        for contestant in _in_order(figures, name):
            median = figures.median(name, contestant)
            ratio = figures.ratio(name, contestant, TPOOL.name)
            contestants[contestant] = {
                "wall_us": median.wall_us,
                "cpu_us": median.cpu_us,
                "wall_ratio_to_tpool": ratio and ratio.wall_us,
                "cpu_ratio_to_tpool": ratio and ratio.cpu_us,
                "samples": [[sample.wall_us, sample.cpu_us] for sample in taken[contestant]],
            }
        workloads[name] = {"title": WORKLOADS[name].title, "contestants": contestants}
    return {
        "machine": machine(),
        "loop": figures.loop,
        "rounds": figures.rounds,
        "threads": THREADS,
        "missing": figures.missing,
        "workloads": workloads,
    }
