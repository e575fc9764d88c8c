"""What still runs when somebody stops waiting for it.

The stacks of other threads are written down by `faulthandler`, in one go and while the GIL is held. To walk through the
frames of a thread that runs on meanwhile would be the usual way, and crashes CPython 3.11 now and then; already to ask
for them by ``sys._current_frames`` stops versions up to 3.11.8 for good if the garbage collector comes by just then
(python/cpython#106883).
"""

import faulthandler
import re
import traceback
from collections.abc import Iterable
from typing import NamedTuple

from tpool_asyncio._pool.worker import Worker

__all__ = ["RunningCall", "StillRunningError", "running_calls"]


class RunningCall(NamedTuple):
    """A call that still ran when somebody stopped waiting for it.

    .. versionadded:: 0.1.0
    """

    name: str
    """The ``name`` option of the call, or else its function's qualified name."""
    thread: str
    """The name of its native thread."""
    stack: str
    """Where that thread was, formatted like a traceback; empty if that is not known, as of a thread just ending.

    It has the latest 100 frames at the most, and there are stacks of the 100 youngest threads only: see
    ``faulthandler.dump_traceback``.
    """

    def __str__(self) -> str:
        return f"{self.name} in thread {self.thread}\n{self.stack}".rstrip()


class StillRunningError(TimeoutError):
    """``killall`` ran out of time; the threads it gave up are no longer the pool's.

    .. versionadded:: 0.1.0
    """

    __module__ = "tpool_asyncio.tpool"  # where a reader of a traceback finds it

    calls: tuple[RunningCall, ...]
    """The calls that still ran, with their stacks."""

    def __init__(self, message: str, calls: Iterable[RunningCall] = ()) -> None:
        super().__init__(message)
        self.calls = tuple(calls)

    def __str__(self) -> str:
        return "\n".join([str(self.args[0]), *map(str, self.calls)])


def running_calls(workers: Iterable[Worker]) -> list[RunningCall]:
    """Say what these workers run, and where they are in it."""
    stacks = _stacks()
    return [
        RunningCall(job.name, worker.name, _format_stack(stacks.get(worker.ident or 0, [])))
        for worker in workers
        if (job := worker.job or worker.next_job) is not None
    ]


_THREAD = re.compile(r"(?:Current thread|Thread) 0x([0-9a-f]+) ")
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')


def _stacks() -> dict[int, list[traceback.FrameSummary]]:
    """Return where each thread is, by its ident, the outermost frame first."""
    stacks: dict[int, list[traceback.FrameSummary]] = {}
    stack: list[traceback.FrameSummary] = []
    for line in _dump().splitlines():
        if found := _THREAD.match(line):
            stack = stacks[int(found[1], 16)] = []
        elif found := _FRAME.match(line):
            stack.insert(0, traceback.FrameSummary(found[1], int(found[2]), found[3]))
    return stacks


def _dump() -> str:
    from tempfile import TemporaryFile  # which takes its time, and is rarely needed

    try:
        with TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            return file.read().decode("ascii", "replace")
    except OSError:  # no room, or no more files
        return ""


def _format_stack(stack: list[traceback.FrameSummary]) -> str:
    """Format the stack without what the threads of a pool have in common; of a C function only its caller is known."""
    below = [depth for depth, entry in enumerate(stack) if entry.name == Worker.run_job.__name__]
    first = min(below[-1] + 1, len(stack) - 1) if below else 0
    return "".join(traceback.format_list(stack[first:]))
