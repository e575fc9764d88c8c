"""What a child process says to its parent: one line of JSON for each line that it reads, and how it takes the time."""

import faulthandler
import gc
import json
import time
from collections.abc import Callable, Mapping
from functools import partial

__all__ = ["Clock", "say", "watch_over"]


class Clock:
    """Runs from its making; what earlier rounds have left to the garbage collector is not counted."""

    def __init__(self) -> None:
        gc.collect()
        self.cpu = time.process_time_ns()
        self.wall = time.perf_counter_ns()

    def per_call(self, calls: int) -> dict[str, float]:
        """Return the time that has passed since, in microseconds, divided by the number of calls."""
        wall = time.perf_counter_ns() - self.wall
        cpu = time.process_time_ns() - self.cpu
        return {"wall_us": wall / calls / 1000, "cpu_us": cpu / calls / 1000}


def watch_over(patience: float) -> Callable[[], None]:
    """Return what ends the process, with the stacks of all threads, if `say` is not called in this many seconds."""
    return partial(faulthandler.dump_traceback_later, patience, exit=True)


def say(message: Mapping[str, object]) -> None:
    """Write one line to the parent."""
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(message), flush=True)
