"""Cancellation: of queued and of running calls, by any means, and what becomes of the outcome."""

import asyncio
import random
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tests.test_execute import ClasslessError
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._pool.thread_pool import ThreadPool


class Thing:
    """Something that tells by a weak reference whether it is still there."""


async def all_threads_of(pool: tpool.Pool, gate: Gate) -> list[asyncio.Future[object]]:
    """Keep all threads of a pool busy with a gate."""
    size = pool.statistics().size
    calls = [pool.execute(gate) for _ in range(size)]
    gate.wait_begun(size)
    return calls


async def test_a_queued_call_never_runs_and_lets_go_at_once(pool: tpool.Pool) -> None:
    gate, ran = Gate(), list[object]()
    blockers = await all_threads_of(pool, gate)
    thing = Thing()
    reference = weakref.ref(thing)
    call = pool.execute(ran.append, thing)
    del thing
    assert call.cancel()
    assert call.cancelled()
    assert not call.cancel()
    assert reference() is None
    assert (pool.statistics().queued, pool.statistics().cancelled) == (0, 1)
    gate.open()
    await asyncio.gather(*blockers, pool.execute(int))
    assert ran == []
    assert (pool.statistics().submitted, pool.statistics().completed) == (4, 3)


class Blow(BaseException):
    """What a signal handler raises."""


def strike(*_: object) -> None:
    raise Blow


@pytest.mark.parametrize("options", [{}, {"timeout": 1000}, {"on_cancel": "wait"}])
async def test_nobody_waits_for_a_queued_call_that_is_struck_while_it_is_cancelled(
    options: dict[str, Any], pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    blockers = await all_threads_of(pool, gate)
    limiter = anyio.CapacityLimiter(1)
    call = pool.options(limiter=limiter, **options).execute(int) if options else pool.execute(int)
    while not pool.statistics().queued:
        await asyncio.sleep(0)
    with monkeypatch.context() as patch:
        patch.setattr(ThreadPool, "dropped", strike)
        with pytest.raises(Blow):
            call.cancel("message")
    gate.open()
    await asyncio.gather(*blockers)
    with pytest.raises(asyncio.CancelledError, match="message"):
        await asyncio.wait_for(call, PATIENCE)
    assert limiter.borrowed_tokens == 0


@pytest.mark.parametrize(("on_cancel", "waits"), [("abandon", False), ("wait", True)])
async def test_a_running_call_that_is_struck_while_it_is_cancelled_is_waited_for_as_it_was_said(
    on_cancel: Any, waits: bool, pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    limiter = anyio.CapacityLimiter(1)
    call = pool.options(on_cancel=on_cancel, limiter=limiter).execute(gate, 7)
    while not pool.statistics().busy:
        await asyncio.sleep(0)
    gate.wait_begun()
    with monkeypatch.context() as patch:
        patch.setattr(type(call), "stop_errands", strike)
        with pytest.raises(Blow):
            call.cancel()
    assert call.cancelled() is not waits
    assert limiter.borrowed_tokens == 1
    gate.open()
    if waits:
        assert await call == 7
    while limiter.borrowed_tokens:
        await asyncio.sleep(0)


async def test_a_running_call_is_abandoned(pool: tpool.Pool, loop_errors: LoopErrors) -> None:
    gate = Gate()
    call = pool.execute(gate)
    gate.wait_begun()
    call.cancel("message")
    with pytest.raises(asyncio.CancelledError, match="message"):
        await call
    snapshot = pool.statistics()
    assert (snapshot.busy, snapshot.abandoned, snapshot.cancelled) == (1, 1, 0)
    gate.open()
    await pool.killall()
    snapshot = pool.statistics()
    assert (snapshot.busy, snapshot.abandoned, snapshot.completed) == (0, 0, 1)
    assert loop_errors == []


async def test_the_task_that_awaits_is_cancelled(pool: tpool.Pool) -> None:
    gate = Gate()

    async def caller() -> None:
        await pool.execute(gate)

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    gate.wait_begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool.statistics().abandoned == 1
    gate.open()


async def test_the_late_exception_of_an_abandoned_call_is_logged(pool: tpool.Pool, loop_errors: LoopErrors) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise LookupError("late")

    call = pool.execute(fail)
    gate.wait_begun()
    call.cancel()
    gate.open()
    await pool.killall()
    await asyncio.sleep(0)
    (error,) = loop_errors
    assert isinstance(error["exception"], LookupError)
    assert error["future"] is call
    assert "fail raised an exception after its caller had stopped waiting" in str(error["message"])


async def test_a_late_exception_that_does_not_tell_its_class_is_logged_too(
    pool: tpool.Pool, loop_errors: LoopErrors
) -> None:
    gate, late = Gate(), ClasslessError()

    def fail() -> None:
        gate()
        raise late

    call = pool.execute(fail)
    gate.wait_begun()
    call.cancel()
    gate.open()
    await pool.killall()
    assert await pool.execute(int) == 0
    (error,) = loop_errors
    assert error["exception"] is late


async def test_a_running_call_can_ask_whether_it_is_still_wanted(pool: tpool.Pool, loop_errors: LoopErrors) -> None:
    gate, asked = Gate(), list[str]()

    def long_job() -> None:
        from_thread.check_cancelled()
        asked.append("wanted")
        gate()
        try:
            from_thread.check_cancelled()
        except asyncio.CancelledError:
            asked.append("unwanted")
            raise

    call = pool.execute(long_job)
    gate.wait_begun()
    call.cancel()
    gate.open()
    await pool.killall()
    await asyncio.sleep(0)
    assert asked == ["wanted", "unwanted"]
    assert loop_errors == []  # a CancelledError that comes of asking is no news


async def test_cancelled_when_the_outcome_is_on_its_way(pool: tpool.Pool) -> None:
    call = pool.execute(int)
    while pool.statistics().completed == 0:  # the outcome is in the mailbox, and this loop has not come round to it
        pass
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0)
    assert pool.statistics().completed == 1


async def _cancel_task(call: asyncio.Future[Any], gate: Gate) -> None:
    async def caller() -> None:
        await call

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    await _let_go_while_waiting(gate)
    with pytest.raises(asyncio.CancelledError):
        await task


async def _wait_for(call: asyncio.Future[Any], gate: Gate) -> None:
    opener = asyncio.create_task(_let_go_while_waiting(gate))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call, 0.001)
    await opener


async def _timeout(call: asyncio.Future[Any], gate: Gate) -> None:
    opener = asyncio.create_task(_let_go_while_waiting(gate))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await call
    await opener


async def _anyio_scope(call: asyncio.Future[Any], gate: Gate) -> None:
    opener = asyncio.create_task(_let_go_while_waiting(gate))
    with anyio.move_on_after(0.001) as scope:
        await call
    assert scope.cancelled_caught
    await opener


async def _gather(call: asyncio.Future[Any], gate: Gate) -> None:
    both = asyncio.gather(call)
    await asyncio.sleep(0)
    both.cancel()
    await _let_go_while_waiting(gate)
    with pytest.raises(asyncio.CancelledError):
        await both


async def _let_go_while_waiting(gate: Gate) -> None:
    await asyncio.sleep(0.02)
    gate.open()


@pytest.mark.parametrize("end_it", [_cancel_task, _wait_for, _timeout, _anyio_scope, _gather])
@pytest.mark.parametrize("outcome", ["value", "error"])
async def test_on_cancel_wait_waits_for_the_real_end(
    pool: tpool.Pool,
    loop_errors: LoopErrors,
    end_it: Callable[[asyncio.Future[Any], Gate], Awaitable[None]],
    outcome: str,
) -> None:
    gate, ended = Gate(), threading.Event()

    def job() -> None:
        try:
            gate()
            if outcome == "error":
                raise LookupError
        finally:
            ended.set()

    call = pool.options(on_cancel="wait").execute(job)
    gate.wait_begun()
    await end_it(call, gate)
    assert ended.is_set()
    assert call.cancelled()
    assert [type(error["exception"]) for error in loop_errors] == [LookupError] * (outcome == "error")


@pytest.mark.parametrize("end_it", [_wait_for, _timeout, _anyio_scope])
async def test_abandoning_does_not_wait(
    pool: tpool.Pool, end_it: Callable[[asyncio.Future[Any], Gate], Awaitable[None]]
) -> None:
    gate, never_opened = Gate(), Gate()
    call = pool.execute(gate)
    gate.wait_begun()
    await end_it(call, never_opened)
    assert pool.statistics().abandoned == 1
    gate.open()


async def test_on_cancel_wait_drops_a_queued_call_at_once(pool: tpool.Pool) -> None:
    gate = Gate()
    blockers = await all_threads_of(pool, gate)
    call = pool.options(on_cancel="wait").execute(int)
    call.cancel()
    assert call.cancelled()
    gate.open()
    await asyncio.gather(*blockers)


async def test_on_cancel_wait_shows_as_unwanted_and_keeps_the_message(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.options(on_cancel="wait").execute(gate)
    gate.wait_begun()
    assert call.cancel("why")
    assert call.cancel("why")  # a second time changes nothing
    assert not call.done()
    assert pool.statistics().abandoned == 1
    gate.open()
    with pytest.raises(asyncio.CancelledError, match="why"):
        await call
    assert not call.cancel()


@pytest.mark.parametrize("on_cancel", ["abandon", "wait"])
async def test_a_storm_of_cancellations_leaves_the_counts_exact(loop_errors: LoopErrors, on_cancel: Any) -> None:
    chance = random.Random(7)
    async with tpool.Pool(4) as pool:
        options = pool.options(on_cancel=on_cancel)
        ran = [0] * 10_000

        def job(index: int) -> None:
            ran[index] += 1

        calls = []
        for index in range(10_000):
            calls.append(options.execute(job, index))
            if index % 100 == 0:
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                chance.choice(calls).cancel()
        await asyncio.wait(calls)
        await pool.killall()
        snapshot = pool.statistics()
        assert snapshot.submitted == 10_000
        assert snapshot.completed == sum(ran)
        assert snapshot.cancelled == 10_000 - sum(ran)
        assert max(ran) == 1
        assert all(call.cancelled() for call, times in zip(calls, ran, strict=True) if not times)
    assert loop_errors == []


def test_a_call_whose_loop_is_closed_is_not_wanted_any_more() -> None:
    pool, ended = tpool.Pool(1), threading.Event()

    def job() -> None:
        try:
            while True:
                from_thread.check_cancelled()
        finally:
            ended.set()

    async def main() -> None:
        pool.execute(job)
        while not pool.statistics().busy:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert ended.wait(PATIENCE)
    asyncio.run(pool.killall())
