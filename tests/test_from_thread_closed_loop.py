"""From a worker back to a loop that is closed, or being closed."""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tpool_asyncio import from_thread, tpool


def run_in_own_loop(main: Awaitable[Any]) -> asyncio.AbstractEventLoop:
    """Run something in a loop that is then closed; return the loop."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()
    return loop


def test_the_loop_is_closed_before_it_is_asked() -> None:
    gate, seen = Gate(), list[BaseException]()
    pool = tpool.Pool(1)

    def job() -> None:
        gate()
        try:
            from_thread.run_sync(int)
        except BaseException as error:
            seen.append(error)

    async def main() -> None:
        pool.execute(job)
        gate.wait_begun()

    run_in_own_loop(main())
    gate.open()
    run_in_own_loop(pool.killall())
    assert [str(error) for error in seen] == ["int could not run: the loop that made this call has been closed"]


class SlowToTake(asyncio.SelectorEventLoop):
    """A loop that is closed while it takes a callback from another thread: before it runs it, or after."""

    def __init__(self, *, runs_it: bool) -> None:
        super().__init__()
        self.runs_it = runs_it
        self.taking = threading.Event()
        self.closed = threading.Event()
        self.kept = list[object]()

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if threading.current_thread() is threading.main_thread():
            return super().call_soon_threadsafe(callback, *args, context=context)
        if self.runs_it:
            callback(*args)
        self.taking.set()
        assert self.closed.wait(PATIENCE)
        self.kept.append(callback)
        return asyncio.Handle(callback, args, self)


@pytest.mark.parametrize("runs_it", [False, True])
def test_the_loop_is_closed_while_it_takes_an_errand(runs_it: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # (1) The loop finds itself open and is about to take the errand. (2) It is closed, and drops all it has. (3) It
    # takes the errand, which it will never run or drop.
    monkeypatch.setattr("tpool_asyncio._loop.errand._LOOK_AGAIN", 0.01)
    seen = list[object]()
    pool = tpool.Pool(1)
    loop = SlowToTake(runs_it=runs_it)

    def job() -> None:
        try:
            seen.append(from_thread.run_sync(int))
        except RuntimeError as error:
            seen.append(str(error))

    async def main() -> None:
        pool.execute(job)
        assert loop.taking.wait(PATIENCE)

    loop.run_until_complete(main())
    loop.close()
    loop.closed.set()
    run_in_own_loop(pool.killall())
    assert seen == [0 if runs_it else "int could not run: the loop that made this call has been closed"]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("started", [False, True])
def test_the_loop_is_closed_while_a_worker_waits_for_it(started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._loop.errand._LOOK_AGAIN", 0.01)
    seen, waits, never = list[object](), threading.Event(), asyncio.Event()
    pool = tpool.Pool(1)

    async def forever() -> None:
        waits.set()
        await never.wait()  # which this test holds, so that nothing is deleted

    def job() -> None:
        try:
            from_thread.run(forever)
        except RuntimeError as error:
            seen.append(str(error))

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
        pool.execute(job)
        while not (waits.is_set() if started else pool.statistics().parked):
            if started:
                await asyncio.sleep(0)

    loop = run_in_own_loop(main())
    run_in_own_loop(pool.killall())
    name = f"{forever.__module__}.{forever.__qualname__}"
    assert seen == [f"{name} could not run: the loop that made this call has been closed"]
    assert loop.is_closed()
    assert not never.is_set()
