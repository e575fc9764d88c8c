"""A worker that calls another pool waits there, and what that call runs knows it: for so long, and no longer."""

import contextvars
from collections.abc import Iterator

import pytest

from tests.gate import Gate
from tpool_asyncio import green
from tpool_asyncio._pool.asking import askers
from tpool_asyncio.green import tpool

pytestmark = pytest.mark.usefixtures("script")


@pytest.fixture
def near() -> Iterator[tpool.Pool]:
    """The pool whose calls make calls in the other one."""
    with tpool.Pool(1, name="near") as pool:
        yield pool


@pytest.fixture
def far() -> Iterator[tpool.Pool]:
    """The other one."""
    with tpool.Pool(1, name="far") as pool:
        yield pool


def test_killall_in_the_other_pool_does_not_wait_for_the_worker_that_waits_for_it(
    near: tpool.Pool, far: tpool.Pool
) -> None:
    near.execute(far.execute, near.killall)


def test_what_outlives_the_call_waits_for_that_worker_as_for_any(near: tpool.Pool, far: tpool.Pool) -> None:
    context = near.execute(far.execute, contextvars.copy_context)  # as a thread has it that is started there
    gate = Gate()
    call = green.spawn(near.execute, gate)
    green.sleep(0)
    gate.wait_begun()
    try:
        with pytest.raises(tpool.StillRunningError):
            context.run(near.killall, 0)
    finally:
        gate.open()
        call.wait()


def test_call_after_call_in_the_other_pool_carries_no_past_along(near: tpool.Pool, far: tpool.Pool) -> None:
    def calls() -> list[int]:
        return [far.execute(lambda: len(askers())) for _ in range(5)]

    assert near.execute(calls) == [1] * 5
