"""The figures for people, as plain text, and for programs."""

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from tpool_asyncio._bench.contestants import ASYNCIO_FLOOR, FLOOR
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.subject import CALLS, Subject
from tpool_asyncio._bench.workloads import ONE_BY_ONE

__all__ = ["as_json", "columns", "costs_as_json", "heading", "machine", "render"]


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


def render(figures: Figures, subject: Subject = CALLS) -> str:
    """Return all tables, with what is left out and why."""
    reference = subject.reference.name
    explained = (
        f'"x {reference}" says how often the cost of {reference} goes into it,'
        " as the median of that ratio within each round."
    )
    parts = [f"{heading(figures, subject)}\n{explained}"]
    for name in figures.samples:
        rows = []
        for contestant in _in_order(figures, subject, name):
            taken = figures.median(name, contestant)
            ratio = figures.ratio(name, contestant, reference)
            rows.append(
                [
                    subject.contestants[contestant].title,
                    f"{taken.wall_us:.2f}",
                    f"{taken.cpu_us:.2f}",
                    f"{ratio.wall_us:.2f}" if ratio else "-",
                    f"{ratio.cpu_us:.2f}" if ratio else "-",
                ]
            )
        headers = [subject.workloads[name].title, "wall us", "CPU us", f"wall x {reference}", f"CPU x {reference}"]
        parts.append(columns(headers, rows))
    for floor in (FLOOR, ASYNCIO_FLOOR):
        ratio = figures.ratio(ONE_BY_ONE.name, reference, floor.name)
        if ratio:
            held = f"{ratio.wall_us:.2f} in wall time, {ratio.cpu_us:.2f} in CPU time"
            parts.append(f"{reference} / {floor.title}: {held}")
    for contestant, reason in figures.missing.items():
        title = subject.contestants[contestant].title
        parts.append(f"{title} is left out: {reason}; pip install 'tpool-asyncio[bench]'")
    return "\n\n".join(parts)


def heading(figures: Figures, subject: Subject) -> str:
    """Return what is measured, where, and how."""
    about = machine()
    threads = f"{subject.threads} threads each, every" if subject.threads else "Every"
    return (
        f"{subject.title} on {about['python']}, {about['system']}, {about['processors']} processors,"
        f" loop {figures.loop}.\n"
        f"{threads} contestant in a process of its own, medians of {figures.rounds} interleaved"
        " rounds."
    )


def _in_order(figures: Figures, subject: Subject, workload: str) -> list[str]:
    taken = set(figures.contestants(workload))
    return [name for name in subject.contestants if name in taken]


def as_json(figures: Figures, subject: Subject = CALLS) -> dict[str, object]:
    """Return the same as something to write as JSON, with every sample."""
    workloads: dict[str, object] = {}
    for name in figures.samples:
        titles = {contestant: subject.contestants[contestant].title for contestant in _in_order(figures, subject, name)}
        contestants = costs_as_json(figures, name, titles, subject.reference.name)
        workloads[name] = {"title": subject.workloads[name].title, "contestants": contestants}
    return {
        "machine": machine(),
        "loop": figures.loop,
        "rounds": figures.rounds,
        "threads": subject.threads,
        "missing": figures.missing,
        "workloads": workloads,
    }


def costs_as_json(figures: Figures, workload: str, titles: Mapping[str, str], reference: str) -> dict[str, Any]:
    """Return what a workload costs each contestant, in the order of their titles, and how it relates to a reference."""
    costs: dict[str, Any] = {}
    for name, title in titles.items():
        median = figures.median(workload, name)
        ratio = figures.ratio(workload, name, reference)
        costs[name] = {
            "title": title,
            "wall_us": median.wall_us,
            "cpu_us": median.cpu_us,
            f"wall_ratio_to_{reference}": ratio and ratio.wall_us,
            f"cpu_ratio_to_{reference}": ratio and ratio.cpu_us,
            "samples": [[sample.wall_us, sample.cpu_us] for sample in figures.samples[workload][name]],
        }
    return costs
