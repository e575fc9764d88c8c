"""Corners of the green floor: what rarely happens, and must still end well."""

import asyncio
import gc
import signal
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest
from greenlet import greenlet

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tests.test_hubs import forever, ignores_its_end, in_thread
from tpool_asyncio import from_thread, green, hubs
from tpool_asyncio._green import ctrl_c
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


# What a review found


async def test_a_cancellation_as_a_nested_green_thread_ends_after_a_call_is_not_lost() -> None:
    def inside() -> None:
        tpool.execute(int)  # so that its end comes straight from the mailbox
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)

    async def main() -> NoReturn:
        await green.run(inside)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise AssertionError("the cancellation was lost")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(main())


async def test_time_limits_around_many_short_green_threads_are_kept() -> None:
    async def one(seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await green.run(tpool.execute, int)
        except TimeoutError:
            return True

    async with asyncio.timeout(PATIENCE):
        assert all(await asyncio.gather(*(one(number * SOON / 20) for number in range(100))))


async def test_a_plain_greenlet_that_waits_after_a_call() -> None:
    def outer() -> tuple[object, bool]:
        tpool.execute(int)
        inner = greenlet(lambda: (green.sleep(SOON), tpool.execute(str, "inner"))[1])
        return inner.switch(), inner.dead

    assert await green.run(outer) == ("inner", True)
    assert await green.spawn(outer) == ("inner", True)

    def interrupted() -> str:
        tpool.execute(int)
        with pytest.raises(green.Timeout), green.Timeout(SOON):
            greenlet(forever).switch()
        return tpool.execute(str, "went on")

    assert await green.run(interrupted) == "went on"


async def test_a_cancellation_just_after_a_call_waits_for_what_it_cancels() -> None:
    steps = []
    gate = Gate()

    def outer() -> None:
        tpool.execute(int)
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        loop.call_soon(lambda: (gate.wait_begun(), task.cancel(), loop.call_later(10 * SOON, opens)))
        try:
            tpool.options(on_cancel="wait").execute(gate)
        finally:
            steps.append("the caller went on")

    def opens() -> None:
        steps.append("the call ended")
        gate.open()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(green.run(outer))
    assert steps == ["the call ended", "the caller went on"]


async def test_a_cancellation_just_after_a_call_lets_an_awaited_task_clean_up() -> None:
    steps = []

    async def other() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(SOON)
            steps.append("cleaned up")

    def outer(task: "asyncio.Task[None]") -> None:
        tpool.execute(int)
        current = asyncio.current_task()
        assert current is not None
        asyncio.get_running_loop().call_soon(current.cancel)
        try:
            green.await_(task)
        finally:
            steps.append("went on")

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(green.run(outer, task))
    assert steps == ["cleaned up", "went on"]


@pytest.mark.parametrize("function", [int, lambda: tpool.execute(int)])
async def test_any_exception_of_a_link_is_reported(function: Callable[[], int], loop_errors: LoopErrors) -> None:
    class Odd(BaseException):
        pass

    def odd(thread: object) -> NoReturn:
        raise Odd

    calls: list[object] = []
    thread = green.spawn(function)
    thread.link(odd)
    thread.link(calls.append)
    assert await thread == 0
    assert thread.task is not None
    await asyncio.wait([thread.task])
    assert thread.task.result() == 0
    assert calls == [thread]
    assert [type(report["exception"]) for report in loop_errors] == [Odd]


async def test_a_limit_in_a_link() -> None:
    steps = []

    def link(thread: object) -> None:
        assert thread in hubs.get_hub().green_threads
        with green.Timeout(SOON, False):
            forever()
        steps.append("went on")

    thread = green.spawn(int)
    thread.link(link)
    assert thread.task is not None
    await asyncio.wait([thread.task], timeout=PATIENCE)
    assert steps == ["went on"]
    assert thread not in hubs.get_hub().green_threads


async def test_a_cancellation_in_a_pool_without_threads_is_one() -> None:
    pool = tpool.Pool(0)

    def inside() -> None:
        pool.execute(forever)

    with pytest.warns(RuntimeWarning, match="has no threads"):
        thread = green.spawn(inside)
        await asyncio.sleep(0)
    assert thread.task is not None
    thread.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await thread
    thread = green.spawn(inside)
    await asyncio.sleep(0)
    thread.kill()
    with pytest.raises(green.GreenletExit):
        await thread


@pytest.mark.parametrize("kind", ["call", "coroutine", "own"])
async def test_an_error_that_leaves_a_green_thread_leads_back_to_nothing(kind: str) -> None:
    class OddError(Exception):
        pass

    def fails() -> NoReturn:
        raise OddError

    async def fails_later() -> NoReturn:
        await asyncio.sleep(0)
        raise OddError

    def inside() -> None:
        if kind == "call":
            tpool.execute(fails)
        elif kind == "coroutine":
            green.await_(fails_later())
        else:
            fails()

    async def once(run: Callable[[], Awaitable[None]]) -> "weakref.ref[OddError]":
        try:
            await run()
        except OddError as error:
            return weakref.ref(error)
        raise AssertionError

    gc.collect()
    gc.disable()
    try:
        for run in (lambda: green.run(inside), lambda: green.spawn(inside)):
            reference = await once(run)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert reference() is None
    finally:
        gc.enable()


async def test_an_item_that_comes_back_after_the_end_was_seen_is_not_lost() -> None:
    def inside() -> list[object]:
        gate = green.Event()
        results = green.GreenPool(3).imap(lambda number: (gate.wait(), number)[1], range(1))
        first = green.spawn(next, results)
        green.sleep(0)
        green.sleep(0)
        got: list[object] = []
        second = green.spawn(lambda: got.append(next(results, "end")))
        for _ in range(5):
            green.sleep(0)
        first.kill()
        gate.send()
        second.wait()
        return [*got, next(results, "end")]

    got = await green.run(inside)
    assert sorted(got, key=str) == [0, "end"]


# What a second review found


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("way", ["call", "options", "coroutine"])
def test_ctrl_c_a_moment_before_the_wait(way: str, started: bool, script: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noted, and must still end the wait although that has not begun."""
    gate = Gate()
    pool = tpool.Pool(1, name="one")
    run_until = Hub._run_until

    def strikes_first(hub: Hub, awaited: Any, *, keeps: bool) -> None:
        if not struck:
            struck.append(True)
            signal.raise_signal(signal.SIGINT)
        run_until(hub, awaited, keeps=keeps)

    struck: list[bool] = []
    if started:
        green.sleep(0)
    monkeypatch.setattr(Hub, "_run_until", strikes_first)
    with pytest.raises(KeyboardInterrupt):
        if way == "call":
            if not started:
                signal_soon()
            pool.execute(gate)
        elif way == "options":
            pool.options(name="gate").execute(gate)
        else:
            green.await_(asyncio.sleep(60))
    gate.open()
    monkeypatch.undo()
    assert pool.execute(str, "went on") == "went on"
    assert green.await_(asyncio.sleep(0, "as well")) == "as well"
    pool.killall()
    assert script._script.interrupts == []


def signal_soon() -> None:
    """Send Ctrl-C to the main thread from another one, in a moment."""
    main = threading.main_thread().ident or 0
    threading.Timer(0.02, signal.pthread_kill, (main, signal.SIGINT)).start()


def test_ctrl_c_in_the_last_turn_of_a_wait_leaves_the_next_one_alone(script: Hub) -> None:
    async def strikes() -> int:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        return 1

    followings: list[Callable[[], str]] = [
        lambda: green.await_(asyncio.sleep(0, "went on")),
        lambda: tpool.execute(str, "went on"),
        lambda: tpool.options(timeout=PATIENCE).execute(str, "went on"),
        lambda: green.spawn(str, "went on").wait(),
    ]
    for following in followings:
        with pytest.raises(KeyboardInterrupt):
            green.await_(strikes())
        assert following() == "went on"
    assert script._script.interrupts == []


def test_a_handler_that_is_set_during_a_wait_stays(script: Hub) -> None:
    def own(number: int, frame: object) -> None:
        struck.append(number)

    struck: list[int] = []
    try:
        green.spawn(signal.signal, signal.SIGINT, own).wait()
        signal.raise_signal(signal.SIGINT)
        assert struck == [signal.SIGINT]
        assert tpool.execute(str, "went on") == "went on"
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert hubs.get_hub() is script


def test_code_of_the_user_that_drops_an_outcome_holds_nobody_up() -> None:
    """The loop of the first call is closed; its outcome is dropped in the worker, which must not count as idle then."""
    entered, leave = threading.Event(), threading.Event()

    class Slow:
        def __del__(self) -> None:
            entered.set()
            leave.wait(PATIENCE)

    def makes(gate: Gate) -> Slow:
        gate()
        return Slow()

    pool = tpool.Pool(2, name="two")
    gate = Gate()

    def first() -> None:
        async def main() -> None:
            pool._pool.execute(makes, gate)
            await asyncio.to_thread(gate.wait_begun)

        asyncio.run(main())

    in_thread(first)
    gate.open()
    assert entered.wait(PATIENCE)
    assert in_thread(lambda: pool.execute(str, "another thread")) == "another thread"
    leave.set()
    in_thread(pool.killall)


async def test_close_in_async_code_tells_those_who_handled_another_exception() -> None:
    steps = []

    def inside() -> None:
        try:
            forever()
        except ValueError:
            steps.append("handled")
        forever()

    thread = green.spawn(inside)
    await asyncio.sleep(0)
    thread.kill(ValueError)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hubs.get_hub().close()
    with pytest.raises(green.GreenletExit):
        await thread
    assert steps == ["handled"]


def test_close_without_a_time_limit_tells_those_again_who_swallowed_a_kill(script: Hub) -> None:
    def inside() -> None:
        try:
            forever()
        except green.GreenletExit:
            forever()

    thread = green.spawn(inside)
    green.sleep(0)
    thread.kill()
    thread._told_to_end -= 60  # it was long ago
    script.grace = None
    script.close()
    with pytest.raises(green.GreenletExit):
        thread.wait()


async def test_a_cancellation_in_a_link_of_a_nested_green_thread_is_not_lost() -> None:
    def inside() -> int:
        current = green.getcurrent()
        assert isinstance(current, green.GreenThread)
        current.link(lambda thread: forever())
        return 3

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await green.run(inside)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_an_error_that_a_cancellation_overtakes_is_its_context() -> None:
    def inside() -> NoReturn:
        tpool.execute(int)
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        raise ValueError("lost otherwise")

    with pytest.raises(asyncio.CancelledError) as caught:
        await asyncio.create_task(green.run(inside))
    assert isinstance(caught.value.__context__, ValueError)


def test_a_script_refuses_a_future_of_another_loop(script: Hub) -> None:
    loop = asyncio.new_event_loop()
    try:
        future = loop.create_future()
        with pytest.raises(RuntimeError, match="belongs to another loop than this script's"):
            green.await_(future)
        assert green.await_(asyncio.sleep(0, "went on")) == "went on"
    finally:
        loop.close()
    assert hubs.get_hub() is script


def test_another_signal_strikes_as_ctrl_c_is_being_taken(script: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def struck(number: int, handler: Any) -> None:
        monkeypatch.undo()
        signal.signal(number, handler)
        raise LookupError

    monkeypatch.setattr(ctrl_c, "signal", struck)
    with pytest.raises(LookupError):
        green.await_(asyncio.sleep(0))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (script._script.awaited, script._script.loop) == (None, None)
    assert green.await_(asyncio.sleep(0, "went on")) == "went on"
