"""What came of the cases, as a table for terminals, as Markdown, and as JSON."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tpool_asyncio._bench.faults.case import GROUPS, Case
from tpool_asyncio._bench.faults.runner import Results
from tpool_asyncio._bench.faults.verdicts import PATIENCE
from tpool_asyncio._bench.faults.ways import OURS, WAYS

__all__ = ["as_json", "as_markdown", "elsewhere", "render", "versions"]

_PACKAGES = {"anyio": "anyio", "asgiref": "asgiref", "eventlet": "eventlet", "green": "greenlet"}


def versions(contestants: Sequence[str], loop: str) -> dict[str, str]:
    """Return what was run in which version."""
    found = {platform.python_implementation(): platform.python_version()}
    names = [_PACKAGES[name] for name in contestants if name in _PACKAGES]
    for name in ["tpool-asyncio", *names, *(["uvloop"] if loop == "uvloop" else [])]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def render(cases: Sequence[Case], contestants: Sequence[str], results: Results) -> str:
    """Return a table of words, and below it what there is to say about those that are not ok."""
    width = max(len(case.name) for case in cases)
    lines = ["  ".join(["case".ljust(width), *(name.ljust(15) for name in contestants)]).rstrip()]
    notes: list[str] = []
    for group in GROUPS:
        rows = [case for case in cases if case.group == group]
        if rows:
            lines.append(f"-- {group}")
        for case in rows:
            cells = [results[case.name, name] for name in contestants]
            lines.append("  ".join([case.name.ljust(width), *(cell.verdict.ljust(15) for cell in cells)]).rstrip())
            notes += [
                f"{case.name}, {WAYS[name].title}: {cell}"
                for name, cell in zip(contestants, cells, strict=True)
                if cell.verdict not in ("ok", "n/a")
            ]
    return "\n".join([*lines, "", *notes])


def as_markdown(
    cases: Sequence[Case], contestants: Sequence[str], results: Results, loop: str, patience: float = PATIENCE
) -> str:
    """Return tables, one for each group, then the criteria, and what there is to say."""
    found = ", ".join(f"{name} {number}" for name, number in versions(contestants, loop).items())
    lines = ["### Beside the others", ""]
    lines += [f"Run on {loop}, with {found}. What hangs was given {patience:g} seconds.", ""]
    for group in GROUPS:
        rows = [case for case in cases if case.group == group]
        if not rows:
            continue
        lines += [f"### {group.capitalize()}", ""]
        lines.append("| case | " + " | ".join(f"`{WAYS[name].title}`" for name in contestants) + " |")
        lines.append("|---|" + "---|" * len(contestants))
        notes: list[str] = []
        for case in rows:
            cells = []
            for name in contestants:
                cell = results[case.name, name]
                mark = ""
                if cell.verdict not in ("ok", "n/a"):
                    notes.append(f"`{WAYS[name].title}`, {_lower(case.title)}: {_plain(cell.detail)}")
                    mark = f" ({len(notes)})"
                cells.append(f"**{cell.verdict}**{mark}" if mark else cell.verdict)
            lines.append(f"| {case.title} | " + " | ".join(cells) + " |")
        lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""]
        lines += [f"- *{_plain(case.title)}*: {_plain(case.criterion)}" for case in rows if case.criterion]
        lines.append("")
    return "\n".join(lines)


def _lower(title: str) -> str:
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _plain(detail: str) -> str:
    for character in "<>|*_`":
        detail = detail.replace(character, "\\" + character)
    return detail


def as_json(
    cases: Sequence[Case], contestants: Sequence[str], results: Results, loop: str, patience: float = PATIENCE
) -> dict[str, Any]:
    """Return all of it."""
    return {
        "versions": versions(contestants, loop),
        "loop": loop,
        "patience": patience,
        "cases": {
            case.name: {
                "group": case.group,
                "title": case.title,
                "criterion": case.criterion,
                "results": {name: results[case.name, name]._asdict() for name in contestants},
            }
            for case in cases
        },
    }


def elsewhere(runs: Sequence[dict[str, Any]]) -> str:
    """Return a table of how often ours came out how, by interpreter and loop, from what `as_json` has made of runs.

    Of the same interpreter and loop, a later run takes the place of an earlier one in the cases that it has.
    """
    lines = ["### This package, by interpreter and loop", "", "| CPython | loop | way | ok | n/a | what else |"]
    lines.append("|---|---|---|---|---|---|")
    places: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for run in runs:
        cells = places.setdefault((run["versions"].get("CPython", "?"), run["loop"]), {})
        for case, each in run["cases"].items():
            cells.setdefault(case, {}).update(each["results"])
    for (interpreter, loop), cells in sorted(places.items()):
        for name in OURS:
            found = {case: each[name] for case, each in cells.items() if name in each}
            verdicts = [cell["verdict"] for cell in found.values()]
            if verdicts.count("n/a") == len(verdicts):
                continue
            bad = [
                f"{_plain(case)}: {cell['verdict']}, {_plain(cell['detail'])}"
                for case, cell in found.items()
                if cell["verdict"] not in ("ok", "n/a")
            ]
            counts = f"{verdicts.count('ok')} | {verdicts.count('n/a')}"
            lines.append(
                f"| {interpreter} | {loop} | `{WAYS[name].title}` | {counts} | {'; '.join(bad) or 'nothing'} |"
            )
    return "\n".join([*lines, ""])
