"""How long a loop stands still."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["Heartbeat"]


class Heartbeat:
    """A task that wants to run at an interval, and notes how late it was at worst.

    The end of the ``async with`` block counts as a beat, so that a stall that lasts until then is not missed.

    Args:
        interval: Seconds between two beats.
        on_beat: Called at every beat.
    """

    def __init__(self, interval: float, on_beat: Callable[[], object]) -> None:
        self.worst = 0.0
        self._interval = interval
        self._on_beat = on_beat
        self._due = 0.0

    async def _run(self) -> None:
        while True:
            self._due = time.perf_counter() + self._interval
            await asyncio.sleep(self._interval)
            self._note()
            self._on_beat()

    def _note(self) -> None:
        self.worst = max(self.worst, time.perf_counter() - self._due)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await asyncio.sleep(0)  # the task reaches its first sleep, and knows when it is due
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._note()
        self._task.cancel()
