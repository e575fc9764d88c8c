"""How the plots look: colours for light and dark pages, and SVG files that are the same for the same figures.

An SVG file in a page cannot see the page's style, but it can ask whether the reader prefers dark. So matplotlib draws
everything in the colours for light pages, and a style sheet in the file puts others in their place. Text stays text, in
the font of the reader's system.
"""

import io
import itertools
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator, SymmetricalLogLocator

__all__ = ["INK", "colours", "figure", "legend", "log_axis", "log_axis_from_zero", "number", "save"]

mpl.use("svg")

CARD, INK, DIM, GRID = "#f7f8fa", "#1f2933", "#52606d", "#d5dae1"

DARK = {
    CARD: "#1d2229",
    INK: "#e4e9ef",
    DIM: "#a9b4c0",
    GRID: "#3b4654",
    "#2f5f9e": "#79abea",
    "#9c5a1a": "#d99a55",
    "#2e7d4f": "#63bd8a",
    "#6a4c93": "#b99ee0",
    "#a23b52": "#e58a9f",
    "#7a8794": "#8b98a6",
}
"""What each colour becomes for readers who prefer dark."""

COLOURS = {
    "tpool": "#2f5f9e",
    "green": "#2f5f9e",
    "fast": "#2f5f9e",
    "to_thread": "#9c5a1a",
    "eventlet": "#9c5a1a",
    "run_in_executor": "#2e7d4f",
    "gevent": "#2e7d4f",
    "anyio": "#6a4c93",
    "asgiref": "#a23b52",
    "floor": "#7a8794",
    "asyncio_floor": "#7a8794",
    "idle": "#7a8794",
}
OTHERS = ("#a23b52", "#6a4c93", "#2e7d4f", "#9c5a1a", "#7a8794", "#2f5f9e")

FEW = 7
"""Up to so many values can have a tick each."""

MUCH = {"x": 40, "y": 2000}
"""If the greatest value is more than so many times the least, such an axis has room for powers of ten only."""

FONTS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
"""What text is shown in; the font that it was measured with is wider than these, so that it has room."""

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": DIM,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "figure.facecolor": CARD,
    "font.family": "DejaVu Sans",  # which matplotlib brings along: it is what widths are measured with, everywhere
    "font.size": 11,
    "grid.color": GRID,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "tpool_asyncio",  # or else the names of clip paths would differ each time
    "text.color": INK,
    "xtick.color": DIM,
    "xtick.labelcolor": INK,
    "ytick.color": DIM,
    "ytick.labelcolor": INK,
}


def colours(contestants: Sequence[str]) -> dict[str, str]:
    """Return the colour of each contestant: the same in all plots, or one that nobody else has, while there are any."""
    taken = {COLOURS[name] for name in contestants if name in COLOURS}
    free = itertools.cycle([colour for colour in OTHERS if colour not in taken] or OTHERS)
    return {name: COLOURS.get(name) or next(free) for name in contestants}


def figure(panels: int, size: tuple[float, float], **subplots: Any) -> tuple[Figure, Sequence[Axes]]:
    """Return a new figure, of this size in inches, with this many panels side by side."""
    mpl.rcParams.update(STYLE)
    made = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07))
    return made, made.subplots(1, panels, squeeze=False, **subplots)[0]


def legend(made: Figure, axes: Sequence[Axes]) -> None:
    """Put one legend for all panels below them."""
    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    made.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))


def number(value: float, _: object = None) -> str:
    """Return a number as short as people write it: 0.5, 20, 1,000, 100k, 1M."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):,.3g}{letter}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def log_axis(axis: Axis, values: Iterable[float], *, each: bool = False) -> None:
    """Make an axis logarithmic, with plain numbers: each of the values if they are few, or else round ones."""
    found = sorted({value for value in values if value > 0})
    room = MUCH[axis.axis_name]
    axis._set_axes_scale("log")  # what set_xscale and set_yscale call
    if each and len(found) <= FEW:
        axis.set_major_locator(FixedLocator(found))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if found[-1] / found[0] > room else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(number))


def log_axis_from_zero(axes: Axes) -> None:
    """Make the vertical axis of a panel linear from 0 to 1, and logarithmic from there on."""
    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1.0, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(number))
    axes.set_ylim(bottom=0)


def save(made: Figure, path: Path, title: str) -> None:
    """Write a figure as SVG, with its title for those who cannot see it."""
    buffer = io.StringIO()
    made.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    rules = "".join(
        f'[style*="{kind}: {light}"] {{ {kind}: {dark} !important }}\n'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    drawn = re.sub(r" font-family: [^;]*;", "", buffer.getvalue())
    head, tag, rest = drawn.partition("<svg ")
    attributes, end, body = rest.partition(">\n")
    style = f"text {{ font-family: {FONTS} }}\n@media (prefers-color-scheme: dark) {{\n{rules}}}"
    said = f" <title>{escape(title)}</title>\n <style>\n{style}\n </style>\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head}{tag}role="img" {attributes}{end}{said}{body}', encoding="utf-8")
