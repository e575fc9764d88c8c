"""Rare ways through the green floor, each made to happen: loops that are stopped or closed, calls thrown out, links."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, NoReturn

import greenback
import pytest
from greenlet import GreenletExit
from sqlalchemy.util import await_only

from tests.conftest import LoopErrors
from tests.gate import Gate
from tests.test_hubs import forever, in_thread
from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio._green import visit as visit_module
from tpool_asyncio._green.ctrl_c import CtrlC
from tpool_asyncio._green.script_call import ScriptCall
from tpool_asyncio._loop.gate import post
from tpool_asyncio._pool.job import SPENT
from tpool_asyncio._pool.native import allocate_lock
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.hubs import Hub

# Which hub


def test_each_loop_of_a_thread_keeps_its_hub(script: Hub) -> None:
    async def hub_here() -> Hub:
        return hubs.get_hub()

    assert hubs.get_hub() is script
    with asyncio.Runner() as first, asyncio.Runner() as second:
        found = [runner.run(hub_here()) for runner in (first, second, first, second)]
        assert found[:2] == found[2:]
        assert found[0] is not found[1]
        assert script.loop.run_until_complete(hub_here()) is script
    assert hubs.get_hub() is script


# The waiting of a script


def test_somebody_stops_the_loop_of_a_script_that_waits(script: Hub) -> None:
    script.loop.call_soon(script.loop.stop)
    assert green.await_(asyncio.sleep(0.001, "went on")) == "went on"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_callback_ends_the_program_while_a_script_waits(script: Hub, error: type[BaseException]) -> None:
    def leave() -> NoReturn:
        raise error("leave")

    script.loop.call_soon(leave)
    waiting = script.loop.create_future()
    with pytest.raises(error, match="leave"):
        green.await_(waiting)
    assert waiting.cancelled()
    assert green.await_(asyncio.sleep(0, "went on")) == "went on"


# Green threads


@pytest.mark.parametrize("kind", ["long", "short"])
def test_a_script_waits_just_before_its_loop_runs_for_another_wait(
    script: Hub, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # As a destructor does, or the handler of a signal.
    take, seconds = CtrlC.take, 0.001 if kind == "long" else 0

    def wait_inside(ctrl_c: CtrlC) -> bool:
        monkeypatch.undo()
        green.sleep(seconds)
        return take(ctrl_c)

    monkeypatch.setattr(CtrlC, "take", wait_inside)
    ready = script.loop.create_future()
    script.loop.call_soon(ready.set_result, "ready")  # which comes to pass in the inner wait
    assert green.await_(ready) == "ready"
    assert green.await_(asyncio.sleep(0, "went on")) == "went on"


async def test_the_collector_finds_an_iteration_just_after_a_call_has_been_queued(
    pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # If it waited there for the end of the async generator, the outcome of the call would end that waiting.
    closed = asyncio.Event()
    core = pool._core
    submit = core.submit

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.001)
            closed.set()

    def work() -> list[int]:
        items = green.iter_(numbers())
        next(items)
        cycle: list[object] = [items]
        cycle.append(cycle)
        del items, cycle

        def collect(job: Any) -> None:
            monkeypatch.undo()
            submit(job)
            gc.collect()

        monkeypatch.setattr(core, "submit", collect)
        return [handle.execute(abs, number) for number in (-1, -2)]

    handle = green_tpool.Pool.__new__(green_tpool.Pool)
    handle._pool = pool
    assert await green.run(work) == [1, 2]
    await closed.wait()  # the loop has seen to it


def test_a_green_thread_whose_timer_cannot_be_set_never_runs(script: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> NoReturn:
        raise OverflowError("too late for this clock")

    with monkeypatch.context() as patch:
        patch.setattr(script.loop, "call_later", refuse)
        with pytest.raises(OverflowError):
            green.spawn_after(1, pytest.fail, "this was never to run")
    script.close()
    assert not script.green_threads


async def test_a_link_may_end_with_the_exception_that_ends_green_threads(loop_errors: LoopErrors) -> None:
    def leaves(_: object) -> NoReturn:
        raise GreenletExit

    calls = list[object]()
    thread = green.spawn(str, "value")
    thread.link(leaves)
    thread.link(calls.append)
    assert await thread == "value"
    thread.link(leaves)  # which is called at once, as it has ended
    assert calls == [thread]
    assert loop_errors == []


@pytest.mark.parametrize("end", ["kill", "cancel", "limit"])
async def test_who_links_too_late_can_be_ended_in_the_function(end: str) -> None:
    ended = green.spawn(str)
    await ended
    steps = list[str]()

    def waits(_: object) -> None:
        steps.append("called")
        forever()

    def links() -> None:
        with green.Timeout(0 if end == "limit" else None):
            ended.link(waits)
        steps.append("went on")

    linking = green.spawn(links)
    while not steps:
        await asyncio.sleep(0)
    assert linking.task is not None
    if end == "kill":
        linking.kill()
    elif end == "cancel":
        linking.task.cancel()
    kinds = {"kill": GreenletExit, "cancel": asyncio.CancelledError, "limit": green.Timeout}
    with pytest.raises(kinds[end]):
        await linking
    assert steps == ["called"]


async def test_a_link_is_taken_back_while_another_one_is_called() -> None:
    steps = list[object]()

    def first(thread: green.GreenThread[str]) -> None:
        green.sleep(0)
        steps.append(thread.unlink(second))

    def second(thread: green.GreenThread[str]) -> None:
        steps.append("second")

    thread = green.spawn(str)
    thread.link(first)
    thread.link(second)
    thread.link(steps.append)
    while thread in hubs.get_hub().green_threads:
        await asyncio.sleep(0)
    assert steps == [True, thread]


@pytest.mark.parametrize("begins", ["by its timer", "to be killed"])
async def test_one_whose_task_cannot_be_made_ends_with_the_error(begins: str, loop_errors: LoopErrors) -> None:
    class Odd:
        def __call__(self) -> None:
            pytest.fail("this was never to run")

        def __getattr__(self, name: str) -> NoReturn:
            raise ValueError(f"no {name} today")

    thread = green.spawn_after(0 if begins == "by its timer" else 3600, Odd())
    waiting = asyncio.ensure_future(asyncio.wait_for(thread, 30))
    await asyncio.sleep(0)
    if begins == "to be killed":
        with pytest.raises(ValueError, match="no __qualname__ today"):
            thread.kill()
    with pytest.raises(ValueError, match="no __qualname__ today"):
        await waiting
    assert thread.dead
    assert not hubs.get_hub().green_threads
    assert [str(report["exception"]) for report in loop_errors] == ["no __qualname__ today"] * (
        begins != "to be killed"
    )


async def test_a_hub_that_is_closed_cancels_those_who_run_a_function_in_it() -> None:
    begun = asyncio.Event()

    def waits() -> None:
        begun.set()
        forever()

    task = asyncio.create_task(green.run(waits))
    await begun.wait()
    hubs.get_hub().close()
    with pytest.raises(asyncio.CancelledError, match="the hub of this thread has been closed"):
        await task


async def test_a_function_that_ends_itself_as_green_threads_end() -> None:
    def leaves() -> NoReturn:
        green.sleep(0)
        raise GreenletExit("mine")

    with pytest.raises(GreenletExit, match="mine"):
        await green.run(leaves)


async def test_a_call_that_is_thrown_out_before_anybody_has_taken_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def strike(_: object) -> NoReturn:
        raise KeyboardInterrupt  # as a signal handler may, in the middle of it

    pool = green_tpool.Pool(1)
    core = pool._pool._core

    def inside() -> str:
        monkeypatch.setattr(core, "submit", strike)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                pool.execute(int)
        monkeypatch.undo()
        return pool.execute(str, "went on")

    assert await green.run(inside) == "went on"
    await green.run(pool.killall)


async def test_a_cancellation_just_after_a_call_while_the_green_thread_only_gives_way() -> None:
    def inside() -> None:
        green_tpool.execute(int)
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        try:
            green.sleep(0)
        except asyncio.CancelledError:
            raised.append("in sleep")
            raise

    raised = list[str]()
    tasks = [asyncio.ensure_future(green.run(inside))]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert raised == ["in sleep"]


class ThrowsAtTheSecondStep:
    """Awaits something, and throws an exception into it in place of its second step, as another library might."""

    def __init__(self, awaited: Any, error: BaseException) -> None:
        self._awaited = awaited
        self._error = error

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaited.__await__()
        yield steps.send(None)
        try:
            wanted = steps.throw(self._error)
            while True:
                yield wanted
                wanted = steps.send(None)
        except StopIteration as stop:
            return stop.value


async def test_an_exception_of_somebody_else_just_after_a_call_is_raised_where_the_green_thread_waits() -> None:
    async def never_begun() -> None:
        raise AssertionError

    def inside() -> str:
        green_tpool.execute(int)
        try:
            await_only(never_begun())
        except LookupError as caught:
            return str(caught)
        raise AssertionError

    assert await ThrowsAtTheSecondStep(green.run(inside), LookupError("thrown in")) == "thrown in"


# Calls of a script


def test_a_loop_that_takes_its_time_to_be_made_for_a_call_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._green.script_call.LOOK_AGAIN", 0.001)
    looked, has_loop = Gate(), ScriptCall._has_loop

    def look(call: ScriptCall) -> bool:
        found = has_loop(call)
        looked.open()
        return found

    def make() -> asyncio.AbstractEventLoop:
        looked()  # until the worker has looked up, and waits on
        return asyncio.new_event_loop()

    monkeypatch.setattr(ScriptCall, "_has_loop", look)

    def work() -> object:
        hubs.use_hub(make)
        return green_tpool.execute(from_thread.run_sync, threading.get_ident) == threading.get_ident()

    assert in_thread(work) is True


def test_a_loop_that_cannot_be_made_for_a_call_back() -> None:
    caught = list[BaseException]()

    def asks() -> None:
        try:
            from_thread.run_sync(int)
        except asyncio.CancelledError as error:
            caught.append(error)

    def make() -> NoReturn:
        raise OSError("too many open files")

    def work() -> None:
        hubs.use_hub(make)
        with pytest.raises(OSError, match="too many open files"):
            green_tpool.execute(asks)
        hubs.use_hub()

    pool = tpool.default_pool()
    in_thread(work)
    asyncio.run(pool.killall())
    assert len(caught) == 1
    assert "has stopped waiting" in str(caught[0])


def new_call(hub: Hub, kind: type[ScriptCall] = ScriptCall) -> ScriptCall:
    """A call of a script that a worker has taken."""
    call = kind()
    call.hub, call.loop, call.loop_made = hub, None, None
    call.bell = allocate_lock()
    call.bell.acquire()
    call.over = call.given_up = False
    call.claim, call.fn, call.error = SPENT, None, None
    call.culprit = "job"
    return call


def test_the_bell_of_a_script_may_be_rung_by_two(script: Hub) -> None:
    call = new_call(script)
    call._ring()  # by another thread that has made the loop
    call._ring()  # by the worker
    assert call.bell.acquire(False)
    assert not call.bell.acquire(False)


def test_the_outcome_comes_just_as_the_script_gives_up(script: Hub, caplog: pytest.LogCaptureFixture) -> None:
    # (1) The script sees that its call is not over. (2) The worker sees that the script has not given up, and leaves
    # the outcome. (3) The script gives up. It must drop the outcome, and say so if that is an error.
    class Late(ScriptCall):
        def done(self) -> bool:
            done = super().done()
            self.error = LookupError("late")
            assert self.deliver() is not None
            return done

    call = new_call(script, Late)
    call.cancel()
    assert call.error is None
    assert "job raised an exception after its caller had stopped waiting for it" in caplog.text


# Visits


def test_a_visit_to_a_loop_that_is_closed_just_then(script: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed_first(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> bool:
        loop.close()
        return post(loop, callback)

    monkeypatch.setattr(visit_module, "post", closed_first)
    with pytest.raises(RuntimeError, match="the hub of the thread 'MainThread' is closed"):
        script.run_threadsafe(asyncio.sleep, 0)


# Portals of greenback


async def test_a_coroutine_is_closed_over_one_who_waits_in_a_portal() -> None:
    raised = list[BaseException]()

    def waits() -> None:
        try:
            green.await_(waited_for)
        except BaseException as error:
            raised.append(error)
            raise

    async def in_portal() -> None:
        await greenback.with_portal_run_sync(waits)

    waited_for = asyncio.get_running_loop().create_future()
    waiting = in_portal()
    task = asyncio.create_task(waiting)
    while not waited_for._callbacks:
        await asyncio.sleep(0)
    waiting.close()  # as happens to those that a closed loop has left
    assert [type(error) for error in raised] == [GeneratorExit]
    waited_for.set_result(None)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await task
