"""Make the table of what has been seen to work together, from what the tests wrote down.

    python .ci/combinations.py SEEN.json            writes docs/combinations.md
    python .ci/combinations.py SEEN.json --check    fails if that file says something else

``pytest --combinations=SEEN.json`` writes down what has passed.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "combinations.md"
LOOPS = ("asyncio", "uvloop")
HEAD = """\
# What works together

Who calls, what is used, and on which event loop. A mark stands for at least one test that has run this combination and
passed; tests are marked with what they show, and the table is made from what has passed (`make combinations`). An
empty cell says that no test is marked so, or that the two do not go together, as Eventlet and uvloop.

"""


def table(seen: list[dict[str, str]]) -> str:
    """Return the page."""
    cells: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in seen:
        cells[row["caller"], row["library"]].add(row["loop"])
    lines = [f"| caller | uses | {' | '.join(LOOPS)} |", f"|---|---|{'|'.join(':-:' for _ in LOOPS)}|"]
    for (caller, library), loops in sorted(cells.items(), key=lambda cell: (cell[0][0].lower(), cell[0][1].lower())):
        marks = " | ".join("✓" if loop in loops else "" for loop in LOOPS)
        lines.append(f"| {caller} | {library} | {marks} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seen", type=Path, help="what the tests wrote down")
    parser.add_argument("--check", action="store_true", help=f"compare with {PAGE.name}, and write nothing")
    options = parser.parse_args()
    page = table(json.loads(options.seen.read_text()))
    if not options.check:
        PAGE.write_text(page)
    elif page != PAGE.read_text():
        ours, theirs = set(PAGE.read_text().splitlines()), set(page.splitlines())
        lines = [f"{'-' if line in ours else '+'} {line}" for line in sorted(ours ^ theirs)]
        sys.exit("\n".join([*lines, f"{PAGE.name} does not say what the tests have seen; run: make combinations"]))


if __name__ == "__main__":
    main()
