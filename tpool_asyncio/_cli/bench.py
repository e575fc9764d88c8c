"""The command ``bench``."""

import json
import sys

from tpool_asyncio._bench.child_process import BenchError
from tpool_asyncio._bench.rounds import measure
from tpool_asyncio._bench.table import as_json, render
from tpool_asyncio._cli.errors import CommandError

__all__ = ["bench"]


def bench(*, rounds: int | None, loop: str, quick: bool, json_wanted: bool) -> int:
    """Measure the contestants and print what their calls cost; return the exit code."""
    if loop == "uvloop":
        try:
            import uvloop  # noqa: F401
        except ImportError:
            raise CommandError("uvloop is not installed; run pip install uvloop, or leave out --loop") from None
    total = rounds if rounds is not None else 3 if quick else 10
    shown = sys.stderr.isatty()

    def on_round(done: int) -> None:
        if shown:
            print(f"\rround {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    try:
        figures = measure(total, loop=loop, quick=quick, on_round=on_round)
    except BenchError as error:
        raise CommandError(str(error), code=1) from error
    print(json.dumps(as_json(figures)) if json_wanted else render(figures))
    return 0
