"""Calls that are made while a module is imported."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.faults.case import case, program
from tpool_asyncio._bench.faults.verdicts import check
from tpool_asyncio._bench.faults.ways import Way

__all__ = ["at_import"]

_plugged: list[Way] = []


def at_import(fn: Callable[[], Any]) -> None:
    """Make a call of this function, if a contestant is plugged in, and print its outcome."""
    for way in _plugged:
        try:
            print("value", way.run(lambda: way.to_coroutine(fn)), flush=True)  # noqa: B023
        except RuntimeError as error:
            print("error", error, flush=True)


@program
def _imports_harmless(way: Way) -> None:
    _plugged.append(way)
    import_module("tpool_asyncio._bench.faults.call_at_import")


@case("import", alone=True)
def call_at_import(way: Way) -> None:
    """A call at import time of a function that imports nothing.

    The module is imported, and the call gets its value.
    """
    ended = _imports_harmless(way)
    check("value 3" in ended.stdout, f"exit code {ended.code}: {ended.stderr.strip().rpartition(chr(10))[2]}")


@program
def _imports_itself(way: Way) -> None:
    _plugged.append(way)
    import_module("tpool_asyncio._bench.faults.call_at_import_of_itself")


@case("import", alone=True)
def call_at_import_of_itself(way: Way) -> None:
    """A call at import time of a function that imports the very module.

    The importing thread waits for the call, and the call for the import. The call gets a value, or within 5 s an error
    that names the module; and the process ends well.
    """
    ended = _imports_itself(way)
    check(
        "value" in ended.stdout or "call_at_import_of_itself" in ended.stdout,
        f"exit code {ended.code}: {ended.stderr.strip().rpartition(chr(10))[2]}",
    )
    check(ended.code == 0, f"exit code {ended.code}")
