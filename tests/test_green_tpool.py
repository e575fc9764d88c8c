"""The green spelling of tpool, and that both spellings say the same."""

import asyncio
import contextvars
import functools
import gc
import inspect
import logging
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import pytest

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tests.test_execute import ClasslessError
from tests.test_hubs import in_thread
from tpool_asyncio import from_thread, green, hubs
from tpool_asyncio import tpool as async_tpool
from tpool_asyncio._pool.worker import current_worker
from tpool_asyncio.green import tpool
from tpool_asyncio.hubs import Hub

if TYPE_CHECKING:
    from tpool_asyncio._pool.thread_pool import ThreadPool

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


@pytest.fixture
def pool() -> Iterator[tpool.Pool]:
    """A pool of two threads that is used in green threads and scripts."""
    pool = tpool.Pool(2, name="test")
    yield pool
    core: ThreadPool = pool._pool._core
    ended = threading.Event()
    core.dismiss(ended.set)
    assert ended.wait(PATIENCE)


# The two spellings


def test_both_spellings_have_the_same_names() -> None:
    assert tpool.__all__ == async_tpool.__all__


def parameters(thing: Callable[..., object]) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(thing).parameters.values()]


def described(thing: object) -> set[str]:
    """The names of parameters that a docstring describes."""
    text = inspect.getdoc(thing) or ""
    section = text.partition("Args:\n")[2].partition("\n\n")[0]
    return {
        line.strip().partition(":")[0] for line in section.splitlines() if line.startswith("    ") and line[4] != " "
    }


@pytest.mark.parametrize("name", [name for name in tpool.__all__ if callable(getattr(tpool, name))])
def test_both_spellings_have_the_same_parameters(name: str) -> None:
    ours, theirs = getattr(tpool, name), getattr(async_tpool, name)
    if name in ("RunningCall", "Statistics", "StillRunningError", "get_num_threads", "set_num_threads", "setup"):
        assert ours is theirs
    if inspect.isclass(ours) and ours is not theirs:
        public = {key for key in vars(ours) if not key.startswith("_")}
        assert public == {key.replace("aclose", "close") for key in vars(theirs) if not key.startswith("_")}
        for key in sorted(public - {"close"}):
            assert parameters(getattr(ours, key)) == parameters(getattr(theirs, key))
            assert described(getattr(ours, key)) == described(getattr(theirs, key))
    if name != "Options":  # which nobody makes
        assert parameters(ours) == parameters(theirs)
        assert described(ours) == described(theirs)


def test_what_waits_is_a_plain_function_here_and_awaitable_there() -> None:
    assert not inspect.iscoroutinefunction(tpool.killall)
    assert inspect.iscoroutinefunction(async_tpool.killall)


# Where it works


def fails() -> None:
    raise KeyError("as it is")


def outcomes() -> list[object]:
    got: list[object] = [
        tpool.execute(threading.get_ident) != threading.get_ident(),
        tpool.execute(functools.partial(int, base=2), "101"),
        tpool.execute(dict, key="word"),
        tpool.options(timeout=PATIENCE, name="named").execute(str, 1),
    ]
    try:
        tpool.execute(fails)
    except KeyError as error:
        got.append(str(error))
    return got


EXPECTED = [True, 5, {"key": "word"}, "1", "'as it is'"]


@pytest.mark.combination(caller="green thread", library="tpool_asyncio.green.tpool")
async def test_in_green_threads() -> None:
    assert await green.run(outcomes) == EXPECTED
    assert await asyncio.gather(*(green.spawn(outcomes) for _ in range(20))) == [EXPECTED] * 20


@pytest.mark.combination(caller="script", library="tpool_asyncio.green.tpool")
def test_in_a_script_without_and_with_a_started_hub(script: Hub) -> None:
    assert [tpool.execute(int, "1"), tpool.execute(str, 2)] == [1, "2"]
    assert not script._started  # no loop is needed to wait
    assert outcomes() == EXPECTED  # but options do
    assert script._started
    assert outcomes() == EXPECTED
    assert green.spawn(outcomes).wait() == EXPECTED


def test_in_other_threads() -> None:
    assert in_thread(outcomes) == EXPECTED
    assert in_thread(lambda: green.spawn(outcomes).wait()) == EXPECTED
    assert in_thread(lambda: asyncio.run(green.run(outcomes))) == EXPECTED


@pytest.mark.combination(caller="worker", library="tpool_asyncio.green.tpool")
def test_in_a_worker_it_runs_in_place(script: Hub) -> None:
    def nested(depth: int) -> list[int]:
        here = threading.get_ident()
        return [here] if depth == 0 else [here, *tpool.execute(nested, depth - 1)]

    pool = tpool.Pool(1, name="one")

    def in_pool(depth: int) -> list[int]:
        here = threading.get_ident()
        return [here] if depth == 0 else [here, *pool.options(name="inner").execute(in_pool, depth - 1)]

    with pool:
        assert len(set(tpool.execute(nested, 30))) == 1
        idents = pool.execute(in_pool, 30)
        assert len(idents) == 31
        assert len(set(idents)) == 1
        assert pool.statistics().completed == 31
        assert pool.execute(lambda: tpool.execute(pool.execute, str, "across pools")) == "across pools"
    assert hubs.get_hub() is script


def test_what_runs_in_place_has_its_keywords_and_its_name(script: Hub) -> None:
    def name_of_running() -> str:
        worker = current_worker()
        assert worker is not None
        assert worker.job is not None
        return worker.job.name

    def outer() -> tuple[object, str]:
        return tpool.execute(dict, a=1), tpool.options(name="the inner one").execute(name_of_running)

    assert tpool.execute(outer) == ({"a": 1}, "the inner one")


def test_what_runs_in_place_fails_as_any_other() -> None:
    def stops() -> None:
        raise StopIteration("value")

    def inside() -> str:
        with pytest.raises(RuntimeError, match="stops raised StopIteration") as caught:
            tpool.execute(stops)
        assert isinstance(caught.value.__cause__, StopIteration)
        with pytest.raises(KeyError):
            tpool.execute(fails)
        with pytest.raises(TypeError, match="first argument must be callable"):
            tpool.execute(1)  # type: ignore[arg-type]
        context = contextvars.copy_context()
        context.run(VAR.set, "given")
        assert tpool.options(context=context).execute(VAR.get) == "given"
        VAR.set("mine")
        assert tpool.execute(VAR.get) == "mine"
        return "went on"

    assert tpool.execute(inside) == "went on"


def test_in_a_worker_with_a_limiter(script: Hub) -> None:
    async def limiter() -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(1)

    def inside() -> str:
        return tpool.options(limiter=green.await_(limiter())).execute(str, "limited")

    assert tpool.execute(inside) == "limited"
    handle = tpool.options(limiter=green.await_(limiter()))
    assert handle.execute(str, "limited") == "limited"
    assert hubs.get_hub() is script


async def test_plain_async_code_is_refused_with_the_remedy() -> None:
    async def never() -> None:
        raise AssertionError

    for call in (tpool.execute, tpool.options(timeout=1).execute):
        with pytest.raises(RuntimeError, match=r"from tpool_asyncio import tpool' and 'await tpool.exec.*green\.run"):
            call(int)
    with pytest.raises(RuntimeError, match="use await"):
        tpool.killall()
    coroutine = never()
    with pytest.raises(RuntimeError):
        tpool.execute(coroutine)  # type: ignore[arg-type]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_what_cannot_be_called_is_refused() -> None:
    async def coroutine() -> None:
        raise AssertionError

    def inside() -> None:
        for call in (tpool.execute, tpool.options(name="x").execute):
            with pytest.raises(TypeError, match="the first argument must be callable, not 1"):
                call(1)  # type: ignore[arg-type]
        waiting = coroutine()
        with pytest.raises(TypeError):
            tpool.execute(waiting)  # type: ignore[arg-type]
        assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED

    await green.run(inside)
    in_thread(inside)
    waiting = coroutine()
    with pytest.raises(TypeError):
        async_tpool.execute(waiting)  # type: ignore[arg-type]
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED


async def test_a_test_that_replaces_execute_is_honoured() -> None:
    def code_under_test() -> object:
        return tpool.execute(open, "/nowhere")

    with mock.patch("tpool_asyncio.green.tpool.execute", return_value="replaced") as execute:
        assert await green.run(code_under_test) == "replaced"
        assert green.tpool.execute(str) == "replaced"
    execute.assert_any_call(open, "/nowhere")
    with pytest.raises(FileNotFoundError):
        await green.run(code_under_test)


async def test_only_the_calling_green_thread_waits(pool: tpool.Pool) -> None:
    gate = Gate()
    waiting = green.spawn(pool.execute, gate, "value")
    assert await green.run(pool.execute, str, "another") == "another"
    assert not waiting.dead
    gate.open()
    assert await waiting == "value"


async def test_calls_mixed_with_every_other_kind_of_wait(pool: tpool.Pool) -> None:
    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return number

    def inside(number: int) -> list[int]:
        got = []
        for step in range(5):
            got.append(pool.execute(int, number))
            got.append(green.await_(later(number)))
            got.append(pool.execute(int, number))
            got.append(pool.execute(int, number))
            green.sleep(0)
            if step % 2:
                green.sleep(0.0001)
                got.append(green.await_(asyncio.ensure_future(later(number))))
            got.append(pool.options(timeout=PATIENCE).execute(int, number))
        return got

    async def main(number: int) -> list[int]:
        return await green.run(inside, number) if number % 2 else await green.spawn(inside, number)

    for number, got in enumerate(await asyncio.gather(*(main(number) for number in range(50)))):
        assert got == [number] * 27


async def test_calls_in_nested_green_threads_of_one_task(pool: tpool.Pool) -> None:
    def inner(number: int) -> list[int]:
        got = [pool.execute(int, number) for _ in range(3)]
        green.sleep(0)
        return got + [pool.execute(int, number) for _ in range(3)]

    async def between(number: int) -> list[int]:
        return [*await green.run(inner, number), await async_tpool.execute(int, number)]

    def outer(number: int) -> list[int]:
        return [pool.execute(int, number), *green.await_(between(number)), pool.execute(int, number)]

    got = await asyncio.gather(*(green.spawn(outer, number) for number in range(20)))
    assert got == [[number] * 9 for number in range(20)]


async def test_a_context_is_copied_in(pool: tpool.Pool) -> None:
    def changes() -> str:
        value = VAR.get()
        VAR.set("in the call")
        return value

    def inside() -> list[str]:
        VAR.set("mine")
        return [pool.execute(changes), pool.execute(changes), VAR.get()]

    assert await green.run(inside) == ["mine"] * 3
    assert await green.spawn(inside) == ["mine"] * 3


# The end of the waiting


@pytest.mark.parametrize("end", ["kill", "cancel", "timeout"])
@pytest.mark.parametrize("calls_before", [0, 2])
async def test_a_call_whose_caller_goes_is_abandoned_or_dropped(
    end: str, calls_before: int, loop_errors: LoopErrors
) -> None:
    pool = tpool.Pool(1, name="one")
    gate = Gate()
    ends: list[BaseException] = []

    def inside(fn: Callable[[], object]) -> None:
        for _ in range(calls_before):  # so that the outcome comes straight to the green thread
            pool.execute(int)
        limit = green.Timeout(None)
        if end == "timeout":
            limits.append(limit)
            limit.seconds = 60
            limit.start()
        try:
            pool.execute(fn)
        except BaseException as error:
            ends.append(error)
            raise
        finally:
            limit.cancel()

    def never() -> None:
        raise AssertionError("this has been dropped")

    def strike(thread: green.GreenThread[None]) -> None:
        if end == "kill":
            thread.kill()
        elif end == "cancel":
            assert thread.task is not None
            thread.task.cancel()
        else:
            limits.pop(0)._expire()

    limits: list[green.Timeout] = []
    running = green.spawn(inside, gate)
    await asyncio.to_thread(gate.wait_begun)
    queued = green.spawn(inside, never) if calls_before == 0 else None
    await asyncio.sleep(0)
    for thread in (running, queued):
        if thread is not None:
            strike(thread)
            with pytest.raises((green.GreenletExit, asyncio.CancelledError, green.Timeout)):
                await thread
    kind = {"kill": green.GreenletExit, "cancel": asyncio.CancelledError, "timeout": green.Timeout}[end]
    assert [type(error) for error in ends] == [kind] * (1 if queued is None else 2)
    statistics = pool.statistics()
    assert (statistics.abandoned, statistics.cancelled) == (1, 0 if queued is None else 1)
    gate.open()
    await green.run(pool.killall)
    assert loop_errors == []


async def test_a_late_error_is_logged(pool: tpool.Pool, loop_errors: LoopErrors) -> None:
    gate = Gate()

    def fails() -> None:
        gate()
        raise ValueError("too late")

    thread = green.spawn(pool.execute, fails)
    await asyncio.to_thread(gate.wait_begun)
    thread.kill()
    with pytest.raises(green.GreenletExit):
        await thread
    gate.open()
    await green.run(pool.killall)
    await asyncio.sleep(0)
    (report,) = loop_errors
    assert str(report["exception"]) == "too late"
    assert "fails raised an exception after its caller had stopped" in str(report["message"])


async def test_a_running_call_can_ask_whether_it_is_wanted(pool: tpool.Pool) -> None:
    begun, killed = Gate(), Gate()
    asked: list[str] = []

    def asks() -> None:
        from_thread.check_cancelled()
        asked.append("wanted")
        begun()
        killed()
        try:
            tpool_check()
        except asyncio.CancelledError:
            asked.append("unwanted")

    def tpool_check() -> None:
        pool.execute(from_thread.check_cancelled)  # in place, and still about the call around

    begun.open()
    thread = green.spawn(pool.execute, asks)
    await asyncio.to_thread(begun.wait_begun)
    thread.kill()
    await asyncio.sleep(0)
    killed.open()
    await green.run(pool.killall)
    assert asked == ["wanted", "unwanted"]


async def test_the_task_that_cancels_itself_between_two_calls(pool: tpool.Pool) -> None:
    ran = []

    def inside() -> None:
        pool.execute(int)
        pool.execute(int)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        ran.append("cancelled")
        pool.execute(int)

    thread = green.spawn(inside)
    with pytest.raises(asyncio.CancelledError):
        await thread
    assert ran == ["cancelled"]
    await asyncio.sleep(0)


async def test_on_cancel_wait(pool: tpool.Pool) -> None:
    gate = Gate()

    def inside() -> None:
        pool.options(on_cancel="wait").execute(gate)

    thread = green.spawn(inside)
    await asyncio.to_thread(gate.wait_begun)
    thread.kill()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not thread.dead
    gate.open()
    with pytest.raises(green.GreenletExit):
        await thread


async def test_options(pool: tpool.Pool) -> None:
    gate = Gate()

    def inside() -> None:
        with pytest.raises(TimeoutError, match="slow took longer than its timeout"):
            pool.options(timeout=0.001, name="slow").execute(gate)
        with pytest.raises(TimeoutError, match="waited longer than its queue_timeout"):
            [green.spawn(pool.execute, gate) for _ in range(2)]
            green.sleep(0)
            pool.options(queue_timeout=0.001).execute(int)
        with pytest.raises(ValueError, match="on_cancel must be"):
            pool.options(on_cancel="never")  # type: ignore[arg-type]

    await green.run(inside)
    gate.open()
    for thread in hubs.get_hub().green_threads:
        await thread


# Back to the loop


async def test_a_call_goes_back_to_the_loop(pool: tpool.Pool) -> None:
    loop = asyncio.get_running_loop()

    async def in_loop(value: str) -> str:
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        return await green.run(pool.execute, str, value)

    def calls_back() -> list[str]:
        return [from_thread.run(in_loop, "run"), from_thread.run_sync(str, "run_sync")]

    assert await green.run(pool.execute, calls_back) == ["run", "run_sync"]


def test_a_call_of_a_script_goes_back_to_its_loop(script: Hub) -> None:
    async def in_loop(value: str) -> str:
        assert asyncio.get_running_loop() is script.loop
        await asyncio.sleep(0)
        return value

    def calls_back() -> list[object]:
        from_thread.check_cancelled()
        return [from_thread.run(in_loop, "run"), from_thread.run_sync(threading.get_ident)]

    assert not script._started
    assert tpool.execute(calls_back) == ["run", threading.get_ident()]
    assert script._started
    assert tpool.execute(calls_back) == ["run", threading.get_ident()]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            tpool.execute(from_thread.run_sync, lambda: 1 // 0)


# Everything else


def test_killall_in_a_script(script: Hub) -> None:
    for _ in range(2):
        tpool.execute(int)
        assert tpool.statistics().threads >= 1
        tpool.killall()
        assert tpool.statistics().threads == 0
    gate = Gate()
    thread = green.spawn(tpool.execute, gate)
    green.sleep(0)
    gate.wait_begun()
    with pytest.raises(tpool.StillRunningError, match="still run after"):
        tpool.killall(0.01)
    gate.open()
    assert thread.wait() is None
    assert hubs.get_hub() is script


async def test_killall_in_a_green_thread_lets_others_go_on(pool: tpool.Pool) -> None:
    gate = Gate()
    waiting = green.spawn(pool.execute, gate, "value")
    await asyncio.to_thread(gate.wait_begun)
    ending = green.spawn(pool.killall)
    await asyncio.sleep(0)
    assert not ending.dead
    gate.open()
    await ending
    assert await waiting == "value"
    assert await green.run(pool.execute, lambda: (pool.killall(), "from inside")[1]) == "from inside"


def test_the_default_pool_is_one() -> None:
    assert tpool.default_pool()._pool is async_tpool.default_pool()
    tpool.set_num_threads(3)
    assert async_tpool.get_num_threads() == 3
    assert tpool.statistics().size == 3
    tpool.setup()
    assert async_tpool.statistics().threads == 3


def test_pools() -> None:
    with tpool.Pool(1, name="mine") as pool:
        assert pool.execute(lambda: threading.current_thread().name).startswith("mine-")
        pool.resize(2)
        assert repr(pool) == "<Pool 'mine' size=2>"
        assert repr(pool.options(queue_timeout=0.5)) == "<Options of pool 'mine' queue_timeout=0.5>"
    assert pool.statistics().threads == 0
    with pytest.raises(ValueError, match="-1"):
        tpool.Pool(-1)
    hubs.get_hub().close()


@pytest.mark.parametrize("started", [True, False])
def test_size_0_runs_in_place_in_scripts_and_green_threads(started: bool, script: Hub) -> None:
    pool = tpool.Pool(0)
    if started:
        assert not script.loop.is_closed()
    with pytest.warns(RuntimeWarning, match="has no threads") as warnings:
        assert pool.execute(threading.get_ident) == threading.get_ident()
    assert warnings[0].filename == __file__
    assert pool.execute(lambda: asyncio.run(green.run(str, "a loop of its own"))) == "a loop of its own"
    assert green.spawn(pool.execute, threading.get_ident).wait() == threading.get_ident()
    with pytest.raises(KeyError):
        pool.execute(fails)

    def nested() -> str:
        return pool.execute(green.sync(asyncio.sleep), 0, pool.execute(str, "nested"))

    assert green.spawn(nested).wait() == "nested"


def test_a_script_that_gives_up_a_call(script: Hub, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    caught: list[type[BaseException]] = []

    def late() -> None:
        gate()
        try:
            from_thread.check_cancelled()
        except asyncio.CancelledError as error:
            caught.append(type(error))
        try:
            from_thread.run(asyncio.sleep, 0)
        except asyncio.CancelledError as error:
            caught.append(type(error))
        raise ValueError("too late")

    def interrupts() -> None:
        gate.wait_begun()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    pool = tpool.Pool(1, name="one")
    interrupter = threading.Thread(target=interrupts)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        pool.execute(late)
    interrupter.join()
    assert pool.statistics().abandoned == 1
    gate.open()
    with caplog.at_level(logging.ERROR, "tpool_asyncio"):
        pool.killall()
    assert caught == [asyncio.CancelledError] * 2
    assert "late raised an exception after its caller had stopped waiting for it" in caplog.text
    assert hubs.get_hub() is script


def test_a_script_lets_green_threads_run_between_its_calls(script: Hub) -> None:
    steps: list[int] = []

    def others() -> None:
        for number in range(100):
            steps.append(number)
            green.sleep(0)

    green.spawn_n(others)
    for _ in range(100):
        tpool.execute(int)
    assert len(steps) >= 99
    green.sleep(0)
    green.sleep(0)
    assert hubs.get_hub() is script


async def test_nothing_is_kept_alive(pool: tpool.Pool) -> None:
    class Thing:
        pass

    def fails(thing: Thing) -> None:
        raise ValueError(thing)

    def inside() -> bool:
        gc.collect()
        gc.disable()
        try:
            thing = Thing()
            reference = weakref.ref(thing)
            for way in (pool, pool.options(timeout=PATIENCE)):
                assert way.execute(lambda thing: thing, thing) is thing
                try:
                    way.execute(fails, thing)
                except ValueError:
                    pass
                green.sleep(0)  # a loop holds a future as long as it wakes those who wait for it
            del thing
            return reference() is None
        finally:
            gc.enable()

    assert await green.run(inside)
    assert await green.spawn(inside)
    assert in_thread(inside)


async def test_a_hundred_green_threads_and_every_outcome_right(pool: tpool.Pool) -> None:
    def work(number: int) -> list[Any]:
        return [pool.execute(lambda step=step: (number, step)) for step in range(100)]  # type: ignore[misc]

    got = await asyncio.gather(*(green.spawn(work, number) for number in range(100)))
    assert got == [[(number, step) for step in range(100)] for number in range(100)]
    assert pool.statistics().completed == 10_000


async def test_calls_one_after_another_need_one_thread() -> None:
    pool = tpool.Pool(5, name="lone")

    def inside() -> int:
        for number in range(300):
            assert pool.execute(abs, -number) == number
        return pool.statistics().threads

    assert await green.run(inside) == 1
    await green.run(pool.killall)


@pytest.mark.parametrize("way", ["green thread", "call", "call in a green thread"])
def test_an_error_that_does_not_tell_its_class(way: str, script: Hub) -> None:
    def fail() -> None:
        raise ClasslessError

    run: Callable[[], object] = {
        "green thread": lambda: green.spawn(fail).wait(),
        "call": lambda: tpool.execute(fail),
        "call in a green thread": lambda: green.spawn(tpool.execute, fail).wait(),
    }[way]
    with pytest.raises(ClasslessError):
        run()
    assert green.spawn(tpool.execute, int).wait() == 0
    assert hubs.get_hub() is script


async def test_a_call_that_looks_cancelled_while_its_pool_is_killed(pool: tpool.Pool) -> None:
    def fails() -> None:
        pool._pool._core.dismiss(lambda: None)
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="fails raised CancelledError"):
        await green.run(pool.execute, fails)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot send a signal to a thread")
@pytest.mark.parametrize("starts", [False, True])
def test_a_call_of_a_signal_handler_while_the_script_waits_on_its_lock(script: Hub, starts: bool) -> None:
    state = script._script
    handled = threading.Event()
    inside: list[bool] = []

    def handler(number: int, frame: object) -> None:
        if starts:  # the loop, in which Ctrl-C must not strike
            green.spawn(lambda: inside.append(state.at_bell)).wait()
        else:
            assert tpool.execute(str, "as well") == "as well"
        handled.set()

    def strikes() -> bool:
        deadline = time.monotonic() + PATIENCE
        while not state.at_bell:
            assert time.monotonic() < deadline
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        assert handled.wait(PATIENCE)
        return starts or state.ring is not None  # so that others can still have the loop run

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert tpool.execute(strikes)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert inside == [False] * starts
    assert not state.at_bell
    assert state.ring is None
