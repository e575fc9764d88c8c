"""Green threads: their life, their end, and who may touch them."""

import asyncio
import contextvars
import math
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest

from tests.conftest import LoopErrors
from tpool_asyncio import green, hubs
from tpool_asyncio.green import tpool
from tpool_asyncio.hubs import Hub

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


def forever() -> None:
    green.await_(hubs.get_hub().loop.create_future())


def fails(error: BaseException) -> NoReturn:
    green.sleep(0)
    raise error


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# spawn and wait


async def test_waits_with_time_limits_leave_nothing_behind() -> None:
    green_thread = green.spawn(forever)

    def look(times: int) -> None:
        for _ in range(times):
            with green.Timeout(0, False):
                green_thread.wait()

    await green.run(look, 20)
    assert len(green_thread._waiters or ()) == 1
    green_thread.kill()
    await turns()
    assert green_thread.dead


def test_green_threads_take_turns_in_a_script(script: Hub) -> None:
    steps = []

    def work(name: str, *, times: int) -> str:
        for _ in range(times):
            steps.append(name)
            green.sleep(0)
        return name

    threads = [green.spawn(work, name, times=2) for name in "ab"]
    assert steps == []  # spawning does not run anything
    assert script.green_threads == set(threads)
    assert [thread.wait() for thread in threads] == ["a", "b"]
    assert steps == ["a", "b", "a", "b"]
    assert [thread.wait() for thread in threads] == ["a", "b"]  # once more
    assert all(thread.dead for thread in threads)
    assert not script.green_threads


async def test_async_code_awaits_green_threads() -> None:
    threads = [green.spawn(tpool.execute, int, number) for number in "123"]
    assert await threads[0] == 1
    assert await asyncio.gather(*threads) == [1, 2, 3]
    async with asyncio.timeout(20):
        assert await threads[2] == 3
    async with asyncio.TaskGroup() as group:
        task = group.create_task(green.run(green.spawn(str, "x").wait))
    assert task.result() == "x"


async def test_to_await_does_not_end_it_but_its_task_does() -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    thread = green.spawn(green.await_, gate)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await thread
    assert not thread.dead
    gate.set_result("went on")
    assert await thread == "went on"

    thread = green.spawn(green.await_, asyncio.get_running_loop().create_future())
    await turns(1)
    assert thread.task is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await thread.task
    assert thread.dead
    with pytest.raises(asyncio.CancelledError):
        await thread


async def test_it_sees_a_copy_of_the_context_variables() -> None:
    def inside() -> str:
        value = VAR.get()
        VAR.set("inside")
        green.sleep(0)
        return value + VAR.get()

    VAR.set("outside")
    assert await green.spawn(inside) == "outsideinside"
    assert VAR.get() == "outside"


async def test_an_error_reaches_everybody_who_waits() -> None:
    error = ValueError("for all")
    thread = green.spawn(fails, error)
    for waiting in [thread, green.spawn(thread.wait), green.spawn(thread.wait)]:
        with pytest.raises(ValueError, match="for all") as caught:
            await waiting
        assert caught.value is error
        names = [entry.name for entry in caught.traceback]
        assert "fails" in names


async def test_the_traceback_does_not_grow_with_every_wait() -> None:
    thread = green.spawn(fails, ValueError())

    async def length() -> int:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            await thread
        return len(caught.traceback)

    first = await length()
    assert [await length() for _ in range(3)] == [first] * 3


@pytest.mark.parametrize("error", [StopIteration("value"), KeyError("key"), asyncio.CancelledError(), GeneratorExit()])
async def test_every_error_is_an_error_and_not_an_end(error: BaseException) -> None:
    thread = green.spawn(fails, error)
    with pytest.raises((type(error), RuntimeError)) as caught:
        await thread
    assert caught.value is error or caught.value.__cause__ is error
    with pytest.raises((type(error), RuntimeError)) as caught:
        await green.run(thread.wait)
    assert caught.value is error or caught.value.__cause__ is error


async def test_an_error_that_nobody_collects_is_logged(loop_errors: LoopErrors) -> None:
    green.spawn(fails, ValueError("lost"))
    await turns(4)
    (report,) = loop_errors
    assert "never retrieved" in str(report["message"])
    assert str(report["exception"]) == "lost"
    assert "fails" in repr(report["future"])  # its task is named after the function


async def test_an_error_that_somebody_collects_is_not_logged(loop_errors: LoopErrors) -> None:
    thread = green.spawn(fails, ValueError("collected"))
    with pytest.raises(ValueError, match="collected"):
        await green.run(thread.wait)
    del thread
    await turns()
    assert loop_errors == []


async def test_spawn_n_logs_at_once(loop_errors: LoopErrors) -> None:
    thread = green.spawn_n(fails, ValueError("at once"))
    await turns(4)
    (report,) = loop_errors
    assert str(report["exception"]) == "at once"
    assert "fails" in str(report["message"])
    assert thread.dead


async def test_nothing_is_logged_of_one_that_is_killed(loop_errors: LoopErrors) -> None:
    for thread in [green.spawn(forever), green.spawn_n(forever)]:
        await turns(1)
        thread.kill()
        await turns()
        assert thread.dead
        del thread
    await turns()
    assert loop_errors == []


async def test_what_cannot_be_spawned_is_refused() -> None:
    for spawn in [green.spawn, green.spawn_n]:
        with pytest.raises(TypeError, match="a green thread runs a function, not 1"):
            spawn(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a green thread runs a function"):
        green.spawn_after(0, 1)  # type: ignore[arg-type]
    assert not hubs.get_hub().green_threads


async def test_waiting_for_oneself_is_an_error() -> None:
    def waits() -> str:
        thread = green.getcurrent()
        assert isinstance(thread, green.GreenThread)
        with pytest.raises(RuntimeError, match="would wait for itself"):
            thread.wait()

        async def awaits() -> None:
            await thread

        with pytest.raises(RuntimeError, match="would wait for itself"):
            green.await_(awaits())
        return "went on"

    assert await green.spawn(waits) == "went on"
    assert await green.run(waits) == "went on"


async def test_getcurrent_and_repr() -> None:
    def inside() -> tuple[object, str]:
        return green.getcurrent(), repr(green.getcurrent())

    thread = green.spawn(inside)
    assert repr(thread).startswith("<GreenThread test_getcurrent_and_repr.<locals>.inside not started")
    current, text = await thread
    assert current is thread
    assert " running " in text
    assert " ended " in repr(thread)
    assert thread.name == "test_getcurrent_and_repr.<locals>.inside"


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks are new in Python 3.12")
async def test_an_eager_task_factory_does_not_start_it_early() -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("uvloop hands its task factories an argument that this one does not know")
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    steps: list[str] = []
    thread = green.spawn(steps.append, "ran")
    assert steps == []
    await thread
    assert steps == ["ran"]

    def nested() -> str:
        return tpool.execute(str, green.spawn(tpool.execute, str, "nested").wait())

    assert await green.spawn(nested) == "nested"


async def test_a_task_factory_that_fails_leaves_nothing() -> None:
    def factory(*args: object, **kwargs: object) -> NoReturn:
        raise ValueError("no tasks today")

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        with pytest.raises(ValueError, match="no tasks today"):
            green.spawn(int)
    finally:
        loop.set_task_factory(None)
    assert not hubs.get_hub().green_threads


# kill and cancel


async def test_kill_raises_where_it_waits_and_finally_may_wait() -> None:
    steps = []

    def inside() -> None:
        try:
            forever()
        finally:
            green.sleep(0)
            steps.append("finally")

    def kills() -> None:
        green.sleep(0)
        thread.kill()
        green.sleep(0)
        assert steps == ["finally"]

    thread = green.spawn(inside)
    await green.run(kills)
    with pytest.raises(green.GreenletExit):
        await thread
    assert thread.task is not None
    assert thread.task.cancelled()


@pytest.mark.parametrize(
    ("throw_args", "kind", "text"),
    [
        ((), green.GreenletExit, ""),
        ((ValueError,), ValueError, ""),
        ((ValueError, "text"), ValueError, "text"),
        ((ValueError, ("text",)), ValueError, "text"),
        ((ValueError("text"),), ValueError, "text"),
        ((ValueError, ValueError("text")), ValueError, "text"),
    ],
)
@pytest.mark.parametrize("started", [True, False])
async def test_kill_takes_what_raise_takes(
    throw_args: tuple[Any, ...], kind: type[BaseException], text: str, started: bool
) -> None:
    thread = green.spawn(forever)
    if started:
        await turns(1)
    green.kill(thread, *throw_args)
    with pytest.raises(kind) as caught:
        await thread
    assert type(caught.value) is kind
    assert str(caught.value) == text


async def test_kill_refuses_what_is_no_exception() -> None:
    thread = green.spawn(forever)
    with pytest.raises(TypeError, match="kill raises an exception or a class of exceptions, not 'reason'"):
        thread.kill("reason")
    with pytest.raises(TypeError, match="is no green thread"):
        green.kill("thread")  # type: ignore[arg-type]
    thread.kill()
    await turns()


async def test_one_that_has_not_started_never_runs() -> None:
    calls: list[str] = []
    links: list[object] = []
    killed, cancelled = green.spawn(calls.append, "killed"), green.spawn(calls.append, "cancelled")
    killed.link(links.append)
    killed.kill()
    cancelled.cancel()
    for thread in (killed, cancelled):
        with pytest.raises(green.GreenletExit):
            await thread
        assert thread.dead
    assert calls == []
    assert links == [killed]
    assert not hubs.get_hub().green_threads


async def test_cancel_leaves_one_alone_that_has_started() -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    thread = green.spawn(green.await_, gate)
    await turns(1)
    thread.cancel()
    gate.set_result("went on")
    assert await thread == "went on"
    thread.cancel()
    thread.kill()  # one that has ended is left alone
    assert await thread == "went on"


async def test_kill_of_oneself_raises_at_once() -> None:
    def inside() -> None:
        thread = green.getcurrent()
        assert isinstance(thread, green.GreenThread)
        with pytest.raises(KeyError):
            thread.kill(KeyError)
        thread.kill()

    with pytest.raises(green.GreenletExit):
        await green.spawn(inside)


async def test_one_that_swallows_its_end_goes_on() -> None:
    def inside() -> str:
        try:
            forever()
        except green.GreenletExit:
            green.sleep(0)
        return "went on"

    thread = green.spawn(inside)
    await turns(1)
    thread.kill()
    assert await thread == "went on"
    assert thread.task is not None
    assert thread.task.cancelling() == 0


async def test_kill_at_the_moment_of_its_wake_up() -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    thread = green.spawn(green.await_, gate)
    await turns(1)
    gate.set_result("too late")
    thread.kill()
    with pytest.raises(green.GreenletExit):
        await thread


async def test_a_task_cancelled_before_its_first_step() -> None:
    thread = green.spawn(forever)
    waiter = green.spawn(thread.wait)
    assert thread.task is not None
    thread.task.cancel()
    for waiting in (thread, waiter):
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert thread.dead
    assert not hubs.get_hub().green_threads


async def test_a_cancellation_beats_a_kill() -> None:
    thread = green.spawn(forever)
    await turns(1)
    thread.kill()
    assert thread.task is not None
    thread.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await thread


async def test_kill_of_the_green_thread_around() -> None:
    async def kills(thread: green.GreenThread[Any]) -> None:
        await green.run(thread.kill)

    def inside() -> None:
        thread = green.getcurrent()
        assert isinstance(thread, green.GreenThread)
        green.await_(kills(thread))

    with pytest.raises(green.GreenletExit):
        await green.spawn(inside)
    with pytest.raises(green.GreenletExit):
        await green.run(inside)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


# spawn_after


async def test_spawn_after() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    thread = green.spawn_after(0.01, loop.time)
    assert thread.task is None
    assert thread.name.endswith("time")
    assert await thread - begun >= 0.0099
    assert await green.spawn_after(-1, str, "at once") == "at once"


async def test_spawn_after_can_be_taken_back() -> None:
    calls: list[str] = []
    for end in (green.GreenThread.cancel, green.GreenThread.kill):
        thread = green.spawn_after(60, calls.append, "ran")
        end(thread)
        with pytest.raises(green.GreenletExit):
            await thread
    assert calls == []
    assert not hubs.get_hub().green_threads


async def test_spawn_after_local_needs_its_caller_alive() -> None:
    def spawns(gate: "asyncio.Future[None] | None") -> green.GreenThread[str]:
        thread = green.spawn_after_local(0.001, ran, gate)
        if gate is not None:
            green.await_(gate)
        return thread

    def ran(gate: "asyncio.Future[None] | None") -> str:
        assert gate is not None
        gate.set_result(None)
        return "ran"

    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    assert await (await green.spawn(spawns, gate)) == "ran"
    with pytest.raises(green.GreenletExit):
        await (await green.spawn(spawns, None))
    with pytest.raises(RuntimeError, match="use await"):
        green.spawn_after_local(0, str)


@pytest.mark.usefixtures("script")
def test_a_script_is_a_caller_that_does_not_end() -> None:
    assert green.spawn_after_local(0, str, "ran").wait() == "ran"


# sleep


@pytest.mark.parametrize("seconds", [0, -1, -math.inf, 0.0])
async def test_no_time_is_one_turn(seconds: float) -> None:
    steps = []

    def sleeps() -> None:
        steps.append("before")
        green.sleep(seconds)
        steps.append("after")

    thread = green.spawn(sleeps)
    await turns(1)
    assert steps == ["before"]
    await turns(1)
    assert steps == ["before", "after"]
    await thread


@pytest.mark.parametrize(("seconds", "kind"), [(math.nan, ValueError), ("soon", TypeError), (None, TypeError)])
async def test_times_that_are_none(seconds: Any, kind: type[Exception]) -> None:
    for function in (green.sleep, lambda seconds: green.spawn_after(seconds, int), green.Timeout):
        with (
            pytest.raises(kind, match="number of seconds")
            if seconds is not None
            else pytest.raises((TypeError, RuntimeError))
        ):
            await green.run(function, seconds)
            raise RuntimeError("a Timeout of None never comes")


# links


async def test_links_are_called_in_order_with_the_outcome_there() -> None:
    calls: list[tuple[object, ...]] = []

    def link(thread: green.GreenThread[str], *args: object, **kwargs: object) -> None:
        green.sleep(0)
        calls.append((thread.wait(), *args, *kwargs.items()))

    thread = green.spawn(str, "value")
    thread.link(link, 1, key="word")
    thread.link(link, 2)
    thread.link(link, 3)
    assert thread.unlink(link, 2)
    assert not thread.unlink(link, 2)
    assert await thread == "value"
    await turns(4)
    assert calls == [("value", 1, ("key", "word")), ("value", 3)]


async def test_a_link_to_one_that_has_ended_is_called_now() -> None:
    thread = green.spawn(str)
    await thread
    calls: list[object] = []
    thread.link(calls.append)
    assert calls == [thread]
    with pytest.raises(TypeError, match="link takes a function"):
        thread.link(1)  # type: ignore[arg-type]


async def test_an_error_in_a_link_is_logged_and_the_others_are_called(loop_errors: LoopErrors) -> None:
    calls: list[object] = []

    def bad(thread: object) -> None:
        raise ValueError("in a link")

    thread = green.spawn(str, "value")
    thread.link(bad)
    thread.link(calls.append)
    assert await thread == "value"
    thread.link(bad)
    assert calls == [thread]
    assert [str(report["exception"]) for report in loop_errors] == ["in a link"] * 2
    assert all("linked to the end of green thread str" in str(report["message"]) for report in loop_errors)


# Confinement


@pytest.mark.parametrize(
    "touch",
    [
        green.GreenThread.wait,
        green.GreenThread.kill,
        green.GreenThread.cancel,
        lambda thread: thread.link(print),
        lambda thread: thread.unlink(print),
        lambda thread: green.await_(thread),
    ],
)
async def test_from_another_thread_it_cannot_be_touched(touch: Callable[[Any], object]) -> None:
    thread = green.spawn(forever)
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            touch(thread)
        except BaseException as error:
            errors.append(error)

    other = threading.Thread(target=elsewhere)
    other.start()
    await tpool_join(other)
    (error,) = errors
    assert isinstance(error, RuntimeError)
    assert "belongs to the thread 'MainThread'" in str(error)
    assert "call_soon_threadsafe" in str(error)
    assert not thread.dead
    thread.kill()
    await turns()


async def tpool_join(thread: threading.Thread) -> None:
    await asyncio.to_thread(thread.join)


async def test_a_program_that_wants_to_end_does_not_lose_its_loop() -> None:
    def leaves() -> None:
        raise SystemExit(3)

    def main() -> None:
        with pytest.raises(SystemExit):
            green.spawn(leaves).wait()

    other = threading.Thread(target=main)
    other.start()
    await tpool_join(other)


async def test_an_error_after_a_call_that_somebody_collects_is_not_logged(loop_errors: LoopErrors) -> None:
    def fails_after_a_call() -> None:
        tpool.execute(int)
        raise KeyError

    thread = green.spawn(fails_after_a_call)
    with pytest.raises(KeyError):
        await thread
    linked = green.spawn(fails_after_a_call)
    collected: list[type[BaseException]] = []

    def collects(thread: green.GreenThread[None]) -> None:
        try:
            thread.wait()
        except KeyError as error:
            collected.append(type(error))

    linked.link(collects)
    while not linked.dead:
        await asyncio.sleep(0)
    del thread, linked
    await turns()
    assert collected == [KeyError]
    assert loop_errors == []


async def test_a_coroutine_function_is_refused_when_it_shows(loop_errors: LoopErrors) -> None:
    async def function() -> None:
        raise AssertionError

    waiting: Awaitable[object]
    for waiting in (green.spawn(function), green.run(function)):
        with pytest.raises(TypeError, match=r"function is a coroutine function, .* await it, or wait for it in a gr"):
            _ = await waiting
    green.spawn_n(function)
    await turns(4)
    assert [type(report["exception"]) for report in loop_errors] == [TypeError]
