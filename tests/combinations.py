"""A pytest plugin that writes down which combinations of caller, library and event loop have been seen to work.

A test says what it shows with ``@pytest.mark.combination(caller=..., library=...)``. The loop is the one that it runs
on, or the marker's ``loop`` for tests that start their own. ``pytest --combinations=FILE`` writes what has passed.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

LOOPS = ("asyncio", "uvloop")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--combinations", type=Path, metavar="FILE", help="write what works together to FILE, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--combinations"):
        config.pluginmanager.register(_Recorder(path))


class _Recorder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._passed: Counter[tuple[str, str, str]] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if marker := item.get_closest_marker("combination"):
                # Goes with the report, which may be made in another process.
                item.user_properties.append(("combination", combination(item, marker)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, value in report.user_properties:
                if name == "combination":
                    caller, library, loop = str(value[0]), str(value[1]), str(value[2])  # type: ignore[index]
                    self._passed[caller, library, loop] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return  # this is one of several processes; the first one writes
        rows = [
            {"caller": caller, "library": library, "loop": loop, "tests": number}
            for (caller, library, loop), number in sorted(self._passed.items())
        ]
        self._path.write_text(json.dumps(rows, indent=1) + "\n")


def combination(item: pytest.Item, marker: pytest.Mark) -> tuple[str, str, str]:
    """Return caller, library and loop of a marked test."""
    ids = item.nodeid.partition("[")[2].rstrip("]").split("-")
    loops = [loop for loop in LOOPS if loop in ids]
    loop = marker.kwargs.get("loop") or (loops[0] if loops else "asyncio")
    return marker.kwargs["caller"], marker.kwargs["library"], loop
