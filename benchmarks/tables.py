"""Tables of what `all.py` has measured, in Markdown: a column for each interpreter and loop.

``python benchmarks/tables.py FILE... [--page PAGE]``

They are printed, or take the place of what stands below the mark in a page of the documentation. Nothing is measured
here; the same files give the same tables.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from figure_files import File, Titles, add_files, figures, read, where

MARK = "<!-- made by benchmarks/tables.py --page; what is below is written over -->"

PARTS = {
    "calls": "Calls of async code: µs per call",
    "green_calls": "Calls of synchronous code: µs per call",
    "bridge": "The bridge from synchronous to async code: µs per call",
    "executors": "Executors and loops: µs per call",
    "proxy": "Proxies and iteration: µs for each row, query, line or call",
    "engines": "Engines, two processes: µs per call",
    "web": "Services with 200 connections at once: µs per request",
    "green_threads": "Great numbers of green threads: µs for each",
    "cpu": "Calls that hold the processor: µs per call",
}
"""The parts with contestants and workloads that all have one kind of table."""

LONE = "-"

Row = tuple[str, Sequence[str]]

Show = Callable[[Mapping[str, Any]], str]
"""What a table says of one contestant."""


def table(corner: str, files: Sequence[File], rows: Iterable[Row]) -> list[str]:
    """Return a table with a column for each file, nothing without rows."""
    lines = [f"| {label} | {' | '.join(cells)} |" for label, cells in rows]
    if not lines:
        return []
    heads = [where(file).removeprefix("CPython ") for file in files]
    return [f"| {corner} | {' | '.join(heads)} |", f"|---|{'---:|' * len(files)}", *lines, ""]


def number(value: float | None) -> str:
    """Return a number with three digits that count."""
    if value is None:
        return LONE
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}"


def measured_on(files: Sequence[File]) -> Iterator[str]:
    """Say when and on what machine, and what several files have in common once."""
    columns: dict[str, list[str]] = {}
    for file in files:
        machine = file["machine"]
        packages = ", ".join(f"{name} {version}" for name, version in file["packages"].items())
        text = (
            f"{file['date'][:10]}, revision {file['revision']}, {machine['processors']} processors"
            f" ({machine['processor']}), {machine['system']} {machine['release']}; {packages}"
        )
        columns.setdefault(text, []).append(where(file))
    yield from (f"- {'; '.join(names)}: {text}" for text, names in columns.items())
    yield ""


def targets(files: Sequence[File]) -> Iterator[str]:
    """Every target, and what was measured."""
    judged = [{(one["part"], one["target"]): one for one in file["targets"]} for file in files]
    every = dict.fromkeys(key for found in judged for key in found)

    def cell(one: Mapping[str, Any] | None) -> str:
        if one is None or one["measured"] is None:
            return LONE
        return number(one["measured"]) if one["met"] else f"**{number(one['measured'])}**"

    counts = [(sum(one["met"] for one in found.values()), len(found)) for found in judged]
    yield from ("## Targets", "", "What is missed is bold.", "")
    yield from table(
        "target",
        files,
        [
            *((f"{part}: {target}", [cell(found.get((part, target))) for found in judged]) for part, target in every),
            ("met, of how many", [f"{met} of {number_of}" for met, number_of in counts]),
        ],
    )


def workloads(files: Sequence[File], part: str, heading: str, show: Show) -> Iterator[str]:
    """One table for each workload of a part, with one figure of each contestant, if any has it."""
    found = [dict(_workloads(figures(file, part))) for file in files]
    every = {key: workload["title"] for one in found for key, workload in one.items()}
    if every:
        yield from (f"## {heading}", "")
    for key, corner in every.items():
        taken = [one[key]["contestants"] if key in one else {} for one in found]
        titles = Titles(dict(enumerate(taken)))
        names = dict.fromkeys(name for contestants in taken for name in contestants)
        rows = [(titles[name], [show(one[name]) if name in one else LONE for one in taken]) for name in names]
        yield from table(corner, files, [row for row in rows if set(row[1]) != {LONE}])


def _workloads(found: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all workloads in the figures of a part, however deep."""
    if isinstance(found, dict):
        for name, inner in found.items():
            if name == "workloads":
                yield from (((*path, key), workload) for key, workload in inner.items())
            else:
                yield from _workloads(inner, (*path, name))


def _cost(taken: Mapping[str, Any]) -> str:
    ratio = next((value for name, value in taken.items() if name.startswith("wall_ratio_to_")), None)
    beside = "" if ratio is None or ratio == 1 else f" ({number(ratio)})"
    return f"{number(taken['wall_us'])}{beside}"


def scale(files: Sequence[File]) -> Iterator[str]:
    """What a call costs, by how many calls, threads and loops there are."""
    found = [(figures(file, "scale") or {}).get("rows", []) for file in files]
    crowds = {"in_flight": "calls in flight", "threads": "threads", "loops": "loops"}
    if any(found):
        yield from ("## Scale", "")
    for crowd, corner in crowds.items():
        sizes = sorted({row[crowd] for rows in found for row in rows if crowd in row})
        for name, title in (
            ("tpool", "tpool.execute"),
            ("tpool_without_gc", "tpool.execute, collector off"),
            ("plain_futures", "plain futures, no threads"),
        ):
            costs = [
                {row[crowd]: row["us_per_call"] for row in rows if crowd in row and row["contestant"] == name}
                for rows in found
            ]
            rows = [(f"{size:,}", [number(by_size.get(size)) for by_size in costs]) for size in sizes]
            if any(costs):
                yield from table(f"{corner}, {title}", files, rows)


def by_rows(files: Sequence[File], part: str, key: str, group: str, heading: str, show: Show) -> Iterator[str]:
    """One table for each way in which contestants were watched, with what one of their figures says."""
    measured = [figures(file, part) or {} for file in files]
    found = [{(row[group], row["contestant"]): row for row in one.get(key, [])} for one in measured]
    titles = Titles(dict(enumerate(measured)))
    ways = dict.fromkeys(way for one in found for way, _ in one)
    if ways:
        yield from (f"## {heading}", "")
    for way in ways:
        corner = next((one["workloads"][way]["title"] for one in measured if way in one.get("workloads", {})), way)
        names = dict.fromkeys(name for one in found for there, name in one if there == way)
        rows = [
            (titles[name], [show(one[way, name]) if (way, name) in one else LONE for one in found]) for name in names
        ]
        yield from table(corner, files, rows)


def wakeups(files: Sequence[File]) -> Iterator[str]:
    """How often threads and loops were woken for each burst."""
    found = [(figures(file, "wakeups") or {}).get("counts", {}) for file in files]
    there = [(file, _by_burst(counts)) for file, counts in zip(files, found, strict=True) if counts]
    if there:
        yield from ("## Wake-ups", "", "For each call alone, or each burst of calls; counted, not timed.", "")
    for kind, title in {
        "workers": "workers woken",
        "in_vain": "workers woken in vain, since somebody else was faster",
        "loop": "writes to the self-pipe",
        "drains": "drains",
    }.items():
        bursts = dict.fromkeys(burst for _, counts in there for burst in counts)
        rows = []
        for burst in bursts:
            counted = [counts.get(burst, {}).get(kind) for _, counts in there]
            if any(count is not None for count in counted):
                rows.append((burst, [number(count) for count in counted]))
        yield from table(title, [file for file, _ in there], rows)


def _by_burst(counts: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    names = {"one_by_one": "one after another", "at_once_20": "20 at once", "at_once_1000": "1,000 at once"}
    return {
        f"{contestant}, {names.get(burst, burst)}, {'1 loop' if loops == '1' else f'{loops} loops'}": found
        for loops, contestants in counts.items()
        for contestant, bursts in contestants.items()
        for burst, found in bursts.items()
    }


def budget(files: Sequence[File]) -> Iterator[str]:
    """The way of one call, step by step: instructions, and nanoseconds in brackets."""
    found = [(figures(file, "budget") or {}).get("tables", {}) for file in files]
    there = [(file, tables) for file, tables in zip(files, found, strict=True) if tables]
    if there:
        yield from ("## The budget of one call", "", "Instructions, and nanoseconds in brackets.", "")
    for many, title in (("1", "alone"), ("1000", "1,000 at once")):
        for name in dict.fromkeys(name for _, tables in there for name in tables):
            steps = dict.fromkeys(step for _, tables in there for step in tables.get(name, {}))
            rows = []
            for step in steps:
                costs = [tables.get(name, {}).get(step, {}).get(many, {}) for _, tables in there]
                if any(cost.get("ns") is not None for cost in costs):
                    rows.append((step, [_budget_cell(cost) for cost in costs]))
            yield from table(f"{name}, {title}", [file for file, _ in there], rows)


def _budget_cell(cost: Mapping[str, float | None]) -> str:
    instructions, ns = cost.get("instructions"), cost.get("ns")
    if ns is None:
        return LONE
    return f"({ns:,.0f})" if instructions is None else f"{instructions:,.0f} ({ns:,.0f})"


def page(files: Sequence[File]) -> str:
    """Return all tables there is something for."""
    lines = [*measured_on(files), *budget(files), *targets(files)]
    for part, heading in PARTS.items():
        lines += workloads(files, part, f"{heading}, and how many times the first line's", _cost)
        if part == "web":
            late = "How long a handler takes meanwhile that does not block: 99th percentile, ms"
            lines += workloads(files, part, late, lambda taken: number(taken["loaded_p99_ms"]))
        if part == "green_threads":
            memory = "Memory for each green thread that waits: bytes"
            lines += workloads(files, part, memory, lambda taken: number(taken.get("bytes_each")))
    lines += scale(files)
    waited = "Fairness: 99th percentile of the short calls' waiting, µs"
    lines += by_rows(files, "fairness", "rows", "pattern", waited, lambda row: number(row["p99_us"]))
    stood = "How long the loop stands still, ms, at worst"
    lines += by_rows(files, "stall", "series", "way", stood, lambda one: number(one["worst_ms"]))
    lines += wakeups(files)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tables of what all.py has measured.")
    add_files(parser)
    parser.add_argument("--page", type=Path, metavar="PAGE", help="a page whose tables are to be made anew")
    arguments = parser.parse_args()
    made = page(read(parser, arguments.files))
    if arguments.page is None:
        print(made)
    else:
        head = arguments.page.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
        arguments.page.write_text(f"{head}\n\n{MARK}\n\n{made}", encoding="utf-8")


if __name__ == "__main__":
    main()
