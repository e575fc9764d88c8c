"""Measures one contestant, in a process of its own: ``python -m tpool_asyncio._bench.child NAME LOOP PATIENCE``.

It says ``{"ready": true}`` or ``{"missing": "why"}`` in one line of JSON, and then answers each line
``WORKLOAD REPS`` with ``{"wall_us": ..., "cpu_us": ...}``, both per call, until its standard input ends. The loop
stands still while it waits for a line, and so do the threads of the contestant: those whose turn it is not cost
nothing.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import cast

from tpool_asyncio._bench.answers import Clock, say, watch_over
from tpool_asyncio._bench.contestants import CONTESTANTS, Contestant
from tpool_asyncio._bench.floors import raw_floor
from tpool_asyncio._bench.workloads import WORKLOADS, run

__all__ = ["loop_factory", "main"]


def main(name: str, loop_name: str, patience: str) -> None:
    """Serve one contestant on a new loop of this kind, ``asyncio`` or ``uvloop``.

    An answer that takes longer than ``patience`` seconds ends the process, with the stacks of all threads.
    """
    watch = watch_over(float(patience))
    watch()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children itself
    contestant = CONTESTANTS[name]
    try:
        if contestant.open is None:
            _serve_without_loop(watch)
        else:
            # Whatever the environment says: with asyncio's debug mode on, it would be that which is measured.
            with asyncio.Runner(debug=False, loop_factory=loop_factory(loop_name)) as runner:
                runner.run(_serve(contestant, watch))
    except ImportError as error:
        say({"missing": str(error)})


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a loop of this kind; raises `ImportError` if its package is missing."""
    if name == "asyncio":
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", import_module(name).new_event_loop)


async def _serve(contestant: Contestant, watch: Callable[[], None]) -> None:
    assert contestant.open is not None
    async with contestant.open() as submit:
        say({"ready": True})
        for line in sys.stdin:
            watch()
            word, reps = line.split()
            workload = WORKLOADS[word]
            clock = Clock()
            await run(workload, submit, int(reps))
            say(clock.per_call(int(reps) * workload.at_once))


def _serve_without_loop(watch: Callable[[], None]) -> None:
    with raw_floor() as run_floor:
        say({"ready": True})
        for line in sys.stdin:
            watch()
            word, reps = line.split()
            clock = Clock()
            run_floor(WORKLOADS[word], int(reps))
            say(clock.per_call(int(reps)))


if __name__ == "__main__":
    main(*sys.argv[1:])
