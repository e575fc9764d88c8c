"""What still runs when somebody stops waiting for it."""

import traceback
from collections.abc import Iterable
from types import FrameType
from typing import NamedTuple

from tpool_asyncio._pool.frames import current_frames
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
    """Where that thread was, formatted like a traceback; empty if the thread was just ending."""

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
    frames = current_frames()
    return [
        RunningCall(job.name, worker.name, _format_stack(frames.get(worker.ident or 0)))
        for worker in workers
        if (job := worker.job or worker.next_job) is not None
    ]


def _format_stack(frame: FrameType | None) -> str:
    """Format the stack without what the threads of a pool have in common; of a C function only its caller is known."""
    stack = traceback.extract_stack(frame) if frame else []
    below = [depth for depth, entry in enumerate(stack) if entry.name == Worker.run_job.__name__]
    first = min(below[-1] + 1, len(stack) - 1) if below else 0
    return "".join(traceback.format_list(stack[first:]))
