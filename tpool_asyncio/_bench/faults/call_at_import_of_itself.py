"""A module that makes a call when it is imported, of a function that imports it."""

from importlib import import_module

from tpool_asyncio._bench.faults.imports import at_import

__all__ = ["import_this"]


def import_this() -> str:
    """Import this module, and return its name."""
    return import_module(__name__).__name__


at_import(import_this)
