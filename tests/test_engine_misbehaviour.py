"""What an engine makes of executors, factories and errors that do not behave: nobody waits for ever because of them."""

import asyncio
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.gate import PATIENCE
from tests.hand_executor import HandExecutor, InPlaceExecutor
from tests.test_execute import ClasslessError, UnprintableError
from tpool_asyncio import tpool


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """It takes no notes."""

    code: int


class FrozenPicklingError(TypeError):
    """It takes no note of what can be pickled."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


ODD_ERRORS: list[Callable[[], BaseException]] = [
    partial(FrozenError, 1),
    partial(FrozenPicklingError, "cannot pickle it"),
    UnprintableError,
    ClasslessError,
]


class OnceExecutor(InPlaceExecutor):
    """Something else comes of its first call."""

    def __init__(self, once: Callable[[], object]) -> None:
        self._once = [once]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._once.pop()() if self._once else super().submit(fn, *args, **kwargs)


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


async def within(call: "asyncio.Future[Any]") -> Any:
    return await asyncio.wait_for(asyncio.shield(call), PATIENCE)


@pytest.mark.parametrize("make", ODD_ERRORS)
async def test_a_factory_raises_an_error_that_fails_in_what_it_is_asked_for(make: Callable[[], BaseException]) -> None:
    error = make()
    executors: list[Callable[[], Any]] = [InPlaceExecutor, raising(error), raising(error)]
    pool = tpool.Pool.over(lambda: executors.pop()())
    for _ in range(2):
        with pytest.raises(type(error)):
            await within(pool.execute(abs, -1))
    assert await within(pool.execute(abs, -2)) == 2
    await pool.killall()


@pytest.mark.parametrize("make", ODD_ERRORS)
async def test_an_executor_takes_no_call_for_an_error_that_fails_in_what_it_is_asked_for(
    make: Callable[[], BaseException],
) -> None:
    error = make()
    pool = tpool.Pool.over(OnceExecutor(raising(error)))
    with pytest.raises(type(error)):
        await within(pool.execute(abs, -1))
    assert await within(pool.execute(abs, -2)) == 2
    numbers = pool.statistics()
    assert (numbers.busy, numbers.failed, numbers.completed) == (0, 1, 1)
    await pool.killall()


async def test_an_executor_returns_what_is_no_future() -> None:
    pool = tpool.Pool.over(OnceExecutor(lambda: "queued"))
    with pytest.raises(TypeError, match="the OnceExecutor returned 'queued' for a call, which is no Future"):
        await within(pool.execute(abs, -1))
    assert await within(pool.execute(abs, -2)) == 2
    await pool.killall()


async def test_an_executor_that_counts_its_processes_is_shut_down(caplog: pytest.LogCaptureFixture) -> None:
    hand = HandExecutor()
    hand._processes = 4  # type: ignore[attr-defined]
    pool = tpool.Pool.over(lambda: hand)
    call = pool.execute(abs, -1)
    hand.run()
    assert await call == 1
    await pool.killall()
    assert hand.was_shut_down
    assert not caplog.records
