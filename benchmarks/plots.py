"""Plots of what `all.py` has measured, as SVG files for the documentation.

``python benchmarks/plots.py FILE... [--folder FOLDER]``

Drawn is what the files have figures for: cost by concurrency (of ``scale``), by peer (``calls``, ``green_calls``), and
how long the loop stood still over time (``stall``), from the first file that has them; and cost by interpreter, from
all files, as soon as there are two. Nothing is measured here. The same files give the same plots, byte by byte.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from figure_files import File, Titles, add_files, figures, read, where

try:
    from plot_theme import INK, colours, figure, legend, log_axis, log_axis_from_zero, number, save
except ImportError as error:
    sys.exit(f"plots need matplotlib; pip install 'tpool-asyncio[plots]' ({error})")


DOCS = Path(__file__).parent.parent / "docs" / "img"

CROWDS = {"in_flight": "calls in flight", "threads": "threads of the pool", "loops": "loops, a thread each"}
"""What may be many, as `scale` has it in its rows, and how the axis calls it."""

MARKERS = "osD^vPX*"
SHOWN_BY_INTERPRETER = ("tpool", "run_in_executor", "to_thread", "anyio")
PARTS_OF_TIME = 250
"""A line over time has so many points at most."""


def by_concurrency(file: File, path: Path) -> bool:
    """Draw cost per call over how many calls, threads or loops there are at once."""
    found = figures(file, "scale") or {}
    rows, title = found.get("rows", []), Titles(found)
    crowds = [crowd for crowd in CROWDS if any(crowd in row for row in rows)]
    if not crowds:
        return False
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    colour = colours(names)
    made, panels = figure(len(crowds), (3.1 * len(crowds) + 0.8, 3.9), sharey=True)
    for axes, crowd in zip(panels, crowds, strict=True):
        there = [row for row in rows if crowd in row]
        for position, name in enumerate(names):
            points = sorted((row[crowd], row["us_per_call"]) for row in there if row["contestant"] == name)
            if points:
                style = {"color": colour[name], "marker": MARKERS[position % len(MARKERS)]}
                axes.plot(*zip(*points, strict=True), label=title[name], **style)
        log_axis(axes.xaxis, (row[crowd] for row in there), each=True)
        axes.set_xlabel(CROWDS[crowd])
    log_axis(panels[0].yaxis, (row["us_per_call"] for row in rows))
    panels[0].set_ylabel("µs per call")
    legend(made, panels)
    save(made, path, f"Cost per call by concurrency: {where(file)}")
    return True


def by_peer(file: File, path: Path, part: str, workloads: Sequence[str]) -> bool:
    """Draw what each contestant takes, a panel for each workload: a bar for wall time, a mark for processor time."""
    measured = figures(file, part) or {}
    found, title = measured.get("workloads", {}), Titles(measured)
    shown = [name for name in workloads if name in found]
    if not shown:
        return False
    names = list(dict.fromkeys(name for workload in shown for name in found[workload]["contestants"]))
    colour = colours(names)
    made, panels = figure(len(shown), (2.4 * len(shown) + 2.6, 0.36 * len(names) + 1.7), sharey=True)
    for axes, workload in zip(panels, shown, strict=True):
        taken = found[workload]["contestants"]
        walls = [taken.get(name, {}).get("wall_us") for name in names]
        everything = [one[kind] for one in taken.values() for kind in ("wall_us", "cpu_us") if one[kind]]
        least = min(everything) / 2
        for position, (name, wall) in enumerate(zip(names, walls, strict=True)):
            if wall is not None:
                axes.barh(position, wall - least, left=least, height=0.62, color=colour[name])
                axes.annotate(number(wall), (wall, position), (4, 0), textcoords="offset points", va="center")
                mark = {"color": INK, "marker": "|", "markersize": 11, "linestyle": "none"}
                axes.plot([taken[name]["cpu_us"]], [position], **mark, label="CPU time")
        log_axis(axes.xaxis, everything)
        axes.set_xlim(least, max(everything) * 3)
        axes.set_title(found[workload]["title"])
        axes.set_xlabel("µs per call")
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(names)), [title[name] for name in names])
    panels[0].invert_yaxis()
    legend(made, panels)
    save(made, path, f"Cost per call by peer: {where(file)}")
    return True


def by_interpreter(files: Sequence[File], path: Path, workloads: Sequence[str]) -> bool:
    """Draw what contestants take on each interpreter and loop, a panel for each workload."""
    taken = [(file, calls["workloads"]) for file in files if (calls := figures(file, "calls"))]
    shown = [name for name in workloads if all(name in found for _, found in taken)]
    if len(taken) < 2 or not shown:
        return False
    names = [name for name in SHOWN_BY_INTERPRETER if any(name in found[shown[0]]["contestants"] for _, found in taken)]
    colour, title = colours(names), Titles(taken[0][1])
    made, panels = figure(len(shown), (0.66 * len(taken) * len(shown) + 2.2, 3.9), sharey=True)
    width = 0.8 / len(names)
    heights = []
    for axes, workload in zip(panels, shown, strict=True):
        for position, name in enumerate(names):
            places, walls = [], []
            for group, (_, found) in enumerate(taken):
                if name in found[workload]["contestants"]:
                    places.append(group + (position - (len(names) - 1) / 2) * width)
                    walls.append(found[workload]["contestants"][name]["wall_us"])
            axes.bar(places, walls, width * 0.9, color=colour[name], label=title[name])
            heights += walls
        labels = [where(file).replace("CPython ", "").replace(", ", "\n") for file, _ in taken]
        axes.set_xticks(range(len(taken)), labels, fontsize=9)
        axes.set_title(taken[0][1][workload]["title"])
        axes.grid(visible=False, axis="x")
    log_axis(panels[0].yaxis, heights)
    panels[0].set_ylim(min(heights) / 2, max(heights) * 1.5)
    panels[0].set_ylabel("µs per call, wall time")
    legend(made, panels)
    save(made, path, "Cost per call by interpreter and loop")
    return True


def over_time(file: File, path: Path) -> bool:
    """Draw how late the loop was, over the time in which calls pass through it, a panel for each way to make them."""
    found = figures(file, "stall") or {}
    ways: dict[str, list[dict[str, Any]]] = {}
    for one in found.get("series", []):
        ways.setdefault(one.get("way", ""), []).append(one)
    if not ways:
        return False
    names = list(dict.fromkeys(one["contestant"] for one in found["series"]))
    colour, title = colours(names), Titles(found)
    made, panels = figure(len(ways), (4.4 * len(ways) + 2, 3.6), sharey=True)
    for axes, (way, series) in zip(panels, ways.items(), strict=True):
        for one in series:
            name = one["contestant"]
            points = worst_of_parts(one["t_ms"], one["stall_ms"])
            style = {"color": colour[name], "linewidth": 1.3}
            axes.plot([t / 1000 for t, _ in points], [stall for _, stall in points], label=title[name], **style)
        axes.set_xlim(left=0)
        axes.set_xlabel("s since the first call")
        axes.set_title(found.get("workloads", {}).get(way, {}).get("title", way))
    log_axis_from_zero(panels[0])
    panels[0].set_ylabel("the loop stands still for, ms")
    legend(made, panels)
    save(made, path, f"How long the loop stands still, over time: {where(file)}")
    return True


def worst_of_parts(times: Sequence[float], stalls: Sequence[float]) -> list[tuple[float, float]]:
    """Return when and how long the longest stall of each of some equal parts of the time was: more cannot be seen."""
    if not times:
        return []
    first = min(times)
    length = (max(times) - first) / PARTS_OF_TIME or 1.0
    worst: dict[int, tuple[float, float]] = {}
    for t, stall in zip(times, stalls, strict=True):
        part = int((t - first) / length)
        worst[part] = max(worst.get(part, (t, stall)), (t, stall), key=lambda point: point[1])
    return list(worst.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Plots of what all.py has measured.")
    add_files(parser)
    parser.add_argument("--folder", type=Path, default=DOCS, help="where to put the plots (default: docs/img)")
    arguments = parser.parse_args()
    files = read(parser, arguments.files)

    async_workloads, green_workloads = ("one_by_one", "at_once_20", "at_once_1000"), ("crowd", "alone", "script")
    of_one: Mapping[str, Callable[[File, Path], bool]] = {
        "cost-by-concurrency": by_concurrency,
        "cost-by-peer": lambda file, path: by_peer(file, path, "calls", async_workloads),
        "cost-by-peer-green": lambda file, path: by_peer(file, path, "green_calls", green_workloads),
        "loop-stall": over_time,
    }

    def drawn(name: str, attempts: Iterable[bool]) -> None:
        print(f"{path_of(name)}" if any(attempts) else f"{name} is left out: no figures for it")

    def path_of(name: str) -> Path:
        path: Path = arguments.folder / f"{name}.svg"
        return path

    for name, draw in of_one.items():
        drawn(name, (draw(file, path_of(name)) for file in files))
    interpreters = ("at_once_1000", "one_by_one")
    drawn("cost-by-interpreter", [by_interpreter(files, path_of("cost-by-interpreter"), interpreters)])


if __name__ == "__main__":
    main()
