"""A module that makes a call when it is imported."""

from tpool_asyncio._bench.faults.imports import at_import

__all__: list[str] = []

at_import(lambda: len("abc"))
