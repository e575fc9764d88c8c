"""Corners of the green floor: what rarely happens, and must still end well."""

import asyncio
import signal
import sys
import threading
from typing import NoReturn

import pytest
from greenlet import greenlet

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tests.test_hubs import forever, ignores_its_end, in_thread
from tpool_asyncio import from_thread, green, hubs
from tpool_asyncio.green import tpool
from tpool_asyncio.hubs import Hub

SOON = 0.001


# The pool refuses


async def test_a_pool_that_takes_no_calls_in_a_green_thread() -> None:
    pool = tpool.Pool(1, name="closing")
    core = pool._pool._core
    ended = threading.Event()

    def inside() -> str:
        pool.execute(int)
        core.close(RuntimeError("closed for today"), ended.set)
        with pytest.raises(RuntimeError, match="closed for today"):
            pool.execute(int)
        green.sleep(0)
        return tpool.execute(str, "another goes on")

    assert await green.run(inside) == "another goes on"
    assert ended.wait(PATIENCE)
    statistics = pool.statistics()
    assert (statistics.completed, statistics.queued, statistics.cancelled) == (1, 0, 0)


def test_a_pool_that_takes_no_calls_in_a_script(script: Hub) -> None:
    pool = tpool.Pool(1, name="closing")
    ended = threading.Event()
    pool._pool._core.close(RuntimeError("closed for today"), ended.set)
    for started in (False, True):
        assert script._started is started
        with pytest.raises(RuntimeError, match="closed for today"):
            pool.execute(int)
        green.sleep(0)
    assert ended.wait(PATIENCE)
    assert pool.statistics().queued == 0


# Straight to the green thread, and at that moment something else


async def test_a_green_thread_ends_and_is_cancelled_in_one_turn(loop_errors: LoopErrors) -> None:
    """It has run to its end straight from the mailbox when the cancellation of its task arrives: the end stands."""

    def inside() -> str:
        tpool.execute(int)
        asyncio.get_running_loop().call_soon(cancel)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        return "value"

    def cancel() -> None:
        assert thread.task is not None
        cancelled.append(thread.task.cancel())

    cancelled: list[bool] = []
    thread = green.spawn(inside)
    assert await thread == "value"
    await asyncio.sleep(0)
    assert cancelled in ([True], [False])
    assert loop_errors == []


async def test_a_cancellation_from_inside_just_before_the_next_call(loop_errors: LoopErrors) -> None:
    """The parking is cancelled while its green thread runs; the call that it then makes is never waited for."""
    pool = tpool.Pool(1, name="one")
    ran: list[str] = []

    def inside() -> str:
        pool.execute(int)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.cancel()
        try:
            pool.execute(ran.append, "ran")
        except asyncio.CancelledError:
            task.uncancel()
            task.uncancel()
            return pool.execute(str, "went on")
        raise AssertionError

    thread = green.spawn(inside)
    assert await thread == "went on"
    assert thread.task is not None
    assert thread.task.cancelling() == 0
    await green.run(pool.killall)
    assert loop_errors == []


async def test_two_interrupts_and_a_cancellation() -> None:
    def inside() -> NoReturn:
        with green.Timeout(60) as first, green.Timeout(60) as second:
            asyncio.get_running_loop().call_soon(strike, first, second)
            forever()
        raise AssertionError

    def strike(first: green.Timeout, second: green.Timeout) -> None:
        first._expire()
        second._expire()
        assert thread.task is not None
        thread.task.cancel()

    thread = green.spawn(inside)
    with pytest.raises(asyncio.CancelledError):
        await thread


async def test_an_interrupt_while_a_plain_greenlet_runs_in_a_green_thread() -> None:
    def inside() -> str:
        def other() -> None:
            limit._expire()  # as a limit that was reached while async code swallowed the cancellation
            steps.append("struck")
            green.sleep(0)

        steps: list[str] = []
        with pytest.raises(green.Timeout), green.Timeout(60) as limit:
            greenlet(other).switch()
        assert steps == ["struck"]
        green.sleep(0)
        return "went on"

    assert await green.run(inside) == "went on"


async def test_an_interrupt_before_a_future_is_awaited_cancels_it() -> None:
    def inside() -> None:
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(green.Timeout), green.Timeout(60) as limit:
            limit._expire()
            green.await_(future)
        assert future.cancelled()
        waiting = asyncio.sleep(0)
        with pytest.raises(green.Timeout), green.Timeout(60) as limit:
            limit._expire()
            green.await_(waiting)
        with pytest.raises(green.Timeout), green.Timeout(60) as limit:
            limit._expire()
            tpool.execute(int)
        assert tpool.execute(str, "went on") == "went on"

    await green.run(inside)
    await green.spawn(inside)


async def test_a_green_thread_killed_in_a_link_is_still_one_that_has_ended() -> None:
    def waits(thread: object) -> None:
        forever()

    calls: list[object] = []
    thread = green.spawn(str, "value")
    thread.link(waits)
    thread.link(calls.append)
    assert await thread == "value"
    assert thread.task is not None
    assert not thread.task.done()
    thread.task.cancel()
    await asyncio.wait([thread.task])
    assert calls == [thread]  # the next is called all the same
    assert await thread == "value"


# Loops that are closed or refuse


def test_a_loop_closed_over_one_that_never_gives_up() -> None:
    def work() -> bool:
        loop = asyncio.new_event_loop()
        spawned: list[green.GreenThread[None]] = []
        loop.call_soon(lambda: spawned.append(green.spawn(ignores_its_end)))
        loop.run_until_complete(asyncio.sleep(SOON))
        tasks = asyncio.all_tasks(loop)
        loop.close()
        with pytest.warns(RuntimeWarning, match="given up: ignores_its_end"):
            asyncio.run(green.run(int))
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        return spawned[0].dead

    assert in_thread(work)


def test_the_loop_of_a_script_closed_by_somebody_else() -> None:
    def work() -> str:
        steps = []

        def inside() -> None:
            try:
                forever()
            finally:
                steps.append("finally")

        thread = green.spawn(inside)
        green.sleep(0)
        hub = hubs.get_hub()
        task = thread.task
        assert task is not None
        hub.loop.close()
        assert green.spawn(str, "a new hub").wait() == "a new hub"
        assert hubs.get_hub() is not hub
        assert steps == ["finally"]
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return "ended"

    assert in_thread(work) == "ended"


def test_a_task_factory_that_fails_in_a_script(script: Hub) -> None:
    def factory(*args: object, **kwargs: object) -> NoReturn:
        raise ValueError("no tasks today")

    script.loop.set_task_factory(factory)
    with pytest.raises(ValueError, match="no tasks today"):
        green.await_(asyncio.sleep(0))
    script.loop.set_task_factory(None)


def test_an_error_at_the_end_of_a_thread_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        green.sleep(0)
        loops.append(hubs.get_hub().loop)
        monkeypatch.setattr(Hub, "close", fails)

    def fails(hub: Hub) -> NoReturn:
        raise ValueError("cannot close")

    reports: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)
    loops: list[asyncio.AbstractEventLoop] = []
    in_thread(work)
    monkeypatch.undo()
    loops[0].close()
    assert [str(report.exc_value) for report in reports] == ["cannot close"]


# Scripts


def test_a_limit_that_passed_before_the_wait(script: Hub) -> None:
    with pytest.raises(green.Timeout), green.Timeout(60) as limit:
        limit._expire()
        tpool.execute(int)
    with pytest.raises(green.Timeout), green.Timeout(60) as limit:
        limit._expire()
        green.await_(asyncio.sleep(60))
    with green.Timeout(60) as limit:
        limit._expire()  # and is over before it strikes
    assert tpool.execute(str, "went on") == "went on"
    assert script.loop.is_running() is False


def test_a_script_keeps_what_has_come_in_time(script: Hub) -> None:
    async def in_time() -> str:
        limit._expire()
        return "value"

    with pytest.raises(green.Timeout), green.Timeout(60) as limit:
        assert green.await_(in_time()) == "value"
        green.sleep(0)
    assert green.await_(asyncio.sleep(0, "went on")) == "went on"
    assert script._script.interrupts == []


def test_a_script_that_is_interrupted_while_its_job_asks_for_a_loop(script: Hub) -> None:
    begun = Gate()
    caught: list[BaseException] = []

    def asks() -> None:
        begun()
        try:
            from_thread.run_sync(int)
        except asyncio.CancelledError as error:
            caught.append(error)

    def interrupts() -> None:
        begun.wait_begun()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    pool = tpool.Pool(1, name="one")
    interrupter = threading.Thread(target=interrupts)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        pool.execute(asks)
    interrupter.join()
    begun.open()
    pool.killall()
    assert len(caught) == 1
    assert script._started  # by killall


def test_a_queued_call_of_a_script_that_is_interrupted_never_runs(script: Hub) -> None:
    gate = Gate()
    pool = tpool.Pool(1, name="one")
    first = threading.Thread(target=pool.execute, args=(gate,))
    first.start()
    gate.wait_begun()

    def interrupts() -> None:
        while not pool.statistics().queued:
            pass
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupter = threading.Thread(target=interrupts)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        pool.execute(pytest.fail, "this has been dropped")
    interrupter.join()
    statistics = pool.statistics()
    assert (statistics.queued, statistics.cancelled) == (0, 1)
    gate.open()
    first.join()
    pool.killall()
    assert not script.green_threads
