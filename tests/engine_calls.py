"""Functions that run in the worker processes of the tests of engines; those have to be able to import them."""

import contextvars
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tpool_asyncio._pool.worker import current_worker

variable = contextvars.ContextVar("variable", default="not carried over")


class OddError(Exception):
    """One that cannot be unpickled, since that calls it with the wrong arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("odd")


class Unpicklable:
    """A value that cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def power(number: int) -> int:
    return 1 << number


def process() -> int:
    return os.getpid()


def in_worker() -> bool:
    return current_worker() is not None


def raise_odd() -> None:
    raise OddError(1, 2)


def return_unpicklable() -> Unpicklable:
    return Unpicklable()


def return_lock() -> object:
    return threading.Lock()


def stop() -> None:
    raise StopIteration("enough")


def read_variable() -> str:
    return variable.get()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_die(path: str) -> None:
    Path(path).touch()
    time.sleep(60)


def sleep_for(seconds: float, value: object = None) -> object:
    time.sleep(seconds)
    return value


def wait_for(path: str, value: object = None) -> object:
    """Wait until there is such a file; return the value."""
    while not Path(path).exists():
        time.sleep(0.001)
    return value


def call_back() -> None:
    from tpool_asyncio import from_thread

    from_thread.run_sync(int)


def nested() -> tuple[int, int, list[int]]:
    """Make calls in pools of the worker process, in both spellings."""
    import asyncio

    from tpool_asyncio import tpool
    from tpool_asyncio.green import tpool as green_tpool

    async def main() -> list[int]:
        try:
            return await asyncio.gather(*(tpool.execute(power, number) for number in range(3)))
        finally:
            await tpool.killall()

    return os.getpid(), green_tpool.execute(os.getpid), asyncio.run(main())


def now() -> float:
    return time.time()
