"""Contestants that take the time themselves, and the child process that measures one of them.

A contestant of `contestants` is a way to submit calls, and all are driven in one way. Those here bring their own world:
the code that measures is a plain script to them, and each gets its green threads or tasks going, lets them meet at a
start line, and runs the clock from there until all are done.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tpool_asyncio._bench.answers import say, watch_over
from tpool_asyncio._bench.workloads import Workload

__all__ = ["Measure", "SelfTimed", "on_a_loop", "serve"]

Measure = Callable[[Workload, int], dict[str, float]]
"""Does a workload some number of times and returns what `Clock.per_call` says."""


@dataclass(frozen=True, slots=True)
class SelfTimed:
    """One contestant."""

    name: str
    """The word for it on the command line of a child process and in JSON."""
    title: str
    """What people read."""
    open: Callable[..., AbstractContextManager[Measure]]
    """Opens it in a script, with the arguments of its process; raises `ImportError` if its package is missing."""
    leaves_out: tuple[Workload, ...] = ()
    """The workloads that mean nothing to it."""

    def takes(self, workload: Workload) -> bool:
        """Return whether it takes part in this workload."""
        return workload not in self.leaves_out


@contextmanager
def on_a_loop(measure: Callable[[Workload, int], Coroutine[Any, Any, dict[str, float]]]) -> Iterator[Measure]:
    """Open what measures in async code: all of it on the same loop, which is a new one."""
    with asyncio.Runner(debug=False) as runner:
        yield lambda workload, reps: runner.run(measure(workload, reps))


def serve(
    contestants: Mapping[str, SelfTimed],
    workloads: Mapping[str, Workload],
    name: str,
    loop: str,
    patience: str,
    *arguments: str,
) -> None:
    """Be the child process for one contestant, as `child` is for others. There is only one kind of loop here."""
    if loop != "asyncio":
        raise ValueError(f"these contestants run on asyncio's own loop, not on {loop!r}")
    watch = watch_over(float(patience))
    watch()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children itself
    try:
        with contestants[name].open(*arguments) as measure:
            say({"ready": True})
            for line in sys.stdin:
                watch()
                word, reps = line.split()
                say(measure(workloads[word], int(reps)))
    except ImportError as error:
        say({"missing": str(error)})
