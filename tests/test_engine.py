"""Calls on an executor, which is driven by hand: every race in its worst order, and what is refused."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import anyio
import pytest

from tests.conftest import LoopErrors
from tests.gate import PATIENCE
from tests.hand_executor import HandExecutor, InPlaceExecutor, SilentExecutor
from tests.plain_job import PlainJob, end
from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio._pool import worker as worker_module
from tpool_asyncio._pool.engine import Engine
from tpool_asyncio._pool.outlet import Outlet
from tpool_asyncio._pool.ticket import Ticket
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.interop import starlette


@pytest.fixture
def hand() -> HandExecutor:
    return HandExecutor()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def wait_handed_over(pool: tpool.Pool) -> None:
    """Wait, with the loop standing still, until `Executor.submit` has returned for all calls."""
    engine: Any = pool._core
    while engine._feeding.locked():
        pass


def counts(pool: tpool.Pool) -> tuple[int, int, int, int]:
    numbers = pool.statistics()
    assert (
        numbers.submitted == sum(numbers[6:7]) + numbers.busy + numbers.completed + numbers.failed + numbers.cancelled
    )
    return numbers.submitted, numbers.completed, numbers.failed, numbers.cancelled


class Thing:
    """Something to hold a weak reference to."""

    def use(self, other: "Thing | None" = None) -> None:
        pass


# The way of a call


async def test_outcomes_come_back(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand, name="by hand")
    value, error = pool.execute(divmod, 7, 2), pool.execute(int, "x", base=10)
    hand.run()
    hand.run()
    assert await value == (3, 1)
    with pytest.raises(ValueError, match="invalid literal"):
        await error
    await pool.killall()
    assert counts(pool) == (2, 1, 1, 0)
    assert not hand.was_shut_down


async def test_calls_are_handed_over_in_order_with_all_keywords(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand)
    calls: list[Any] = [pool.execute(dict, number=number, fn=1, timeout=2) for number in range(20)]
    for number in range(20):
        fn, future = hand.start()
        assert fn() == {"number": number, "fn": 1, "timeout": 2}
        future.set_result(number)
    assert await asyncio.gather(*calls) == list(range(20))
    await pool.killall()


async def test_an_executor_that_has_the_outcome_at_once() -> None:
    pool = tpool.Pool.over(InPlaceExecutor)
    assert await asyncio.gather(*(pool.execute(abs, -number) for number in range(50))) == list(range(50))
    with pytest.raises(ZeroDivisionError):
        await pool.execute(divmod, 1, 0)
    await pool.killall()
    assert counts(pool) == (51, 50, 1, 0)


@pytest.mark.combination(caller="async code", library="ThreadPoolExecutor as an engine")
async def test_a_pool_of_threads_as_an_engine() -> None:
    pool = tpool.Pool.over(lambda: ThreadPoolExecutor(3))
    assert await asyncio.gather(*(pool.execute(pow, 2, number) for number in range(9))) == [2**n for n in range(9)]
    assert pool.statistics().size == 3
    assert repr(pool) == "<Pool 'engine' size=3>"
    await pool.killall()


@pytest.mark.usefixtures("script")
def test_a_script() -> None:
    with green_tpool.Pool.over(InPlaceExecutor) as pool:
        assert pool.execute(abs, -3) == 3
        assert pool.options(timeout=PATIENCE).execute(abs, -4) == 4
        with pytest.raises(RuntimeError, match="raised CancelledError"):
            pool.execute(cancelled)
        assert pool.statistics().completed == 2


async def test_a_green_thread() -> None:
    def legacy() -> list[int]:
        with green_tpool.Pool.over(InPlaceExecutor) as pool:
            with pytest.raises(RuntimeError, match="raised CancelledError"):
                pool.execute(cancelled)
            return [pool.execute(abs, -3), pool.options(timeout=PATIENCE).execute(abs, -4)]

    assert await green.run(legacy) == [3, 4]


def cancelled() -> None:
    raise asyncio.CancelledError


async def test_a_worker_of_a_pool_calls_an_engine() -> None:
    pool = green_tpool.Pool.over(InPlaceExecutor)
    assert await tpool.execute(pool.execute, abs, -3) == 3
    await green.run(pool.killall)


async def test_nothing_is_kept_of_a_call(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand)
    fn, argument, result = Thing(), Thing(), Thing()
    kept = [weakref.ref(thing) for thing in (fn, argument, result)]
    call = pool.execute(fn.use, argument)
    _, future = hand.start()
    future.set_result(result)
    assert await call is result
    del fn, argument, result, call, future, _
    await asyncio.sleep(0)  # the loop holds what it has just woken this test for
    assert [reference() for reference in kept] == [None] * 3
    await pool.killall()


# Calls that nobody wants any more


async def test_cancel_before_the_executor_is_there(hand: HandExecutor) -> None:
    connected = threading.Event()

    def connect() -> Executor:
        assert connected.wait(PATIENCE)
        return hand

    pool = tpool.Pool.over(connect)
    first = pool.execute(abs, -1)
    argument = Thing()
    kept = weakref.ref(argument)
    second, third = pool.execute(Thing().use, argument), pool.options(queue_timeout=0.001).execute(abs, -3)
    del argument
    second.cancel()
    assert kept() is None
    with pytest.raises(TimeoutError, match="waited longer than its queue_timeout"):
        await third
    assert pool.statistics().queued == 1
    connected.set()
    hand.run()
    assert await first == 1
    await pool.killall()
    assert counts(pool) == (3, 1, 0, 2)
    assert hand.calls == []


async def test_cancel_while_it_is_handed_over(hand: HandExecutor, loop_errors: LoopErrors) -> None:
    pool = tpool.Pool.over(hand)
    hand.open.clear()
    calls = [pool.execute(abs, -1), pool.options(timeout=0.001, on_cancel="wait").execute(abs, -2)]
    await until(hand.submitting.is_set)
    with pytest.raises(TimeoutError):
        await calls[1]
    assert (pool.statistics().busy, pool.statistics().queued) == (1, 0)
    calls[0].cancel()
    hand.open.set()
    _, future = hand.next()
    await pool.killall()
    assert future.cancelled()
    assert hand.calls == []
    assert counts(pool) == (2, 0, 0, 2)
    assert loop_errors == []


async def test_a_caller_that_waits_is_told_when_its_call_was_dropped_in_the_window(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand)
    hand.open.clear()
    call = pool.options(on_cancel="wait").execute(abs, -1)
    await until(hand.submitting.is_set)
    call.cancel()
    await asyncio.sleep(0)
    assert not call.done()
    hand.open.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    await pool.killall()
    assert counts(pool) == (1, 0, 0, 1)


async def test_cancel_what_the_executor_has_queued(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand)
    call = pool.execute(abs, -1)
    timed, waiting = pool.options(timeout=0.01), pool.options(queue_timeout=0.01, on_cancel="wait")
    others = [timed.execute(abs, -2), waiting.execute(abs, -3)]
    futures = [hand.next()[1] for _ in range(3)]
    wait_handed_over(pool)
    assert pool.statistics().queued == 3
    call.cancel()
    for other in others:
        with pytest.raises(TimeoutError):
            await other
    assert all(future.cancelled() for future in futures)
    assert counts(pool) == (3, 0, 0, 3)
    await pool.killall()


async def test_what_runs_is_abandoned(hand: HandExecutor, loop_errors: LoopErrors) -> None:
    pool = tpool.Pool.over(hand)
    call, waiting = pool.execute(abs, -1), pool.options(on_cancel="wait", timeout=0.001).execute(abs, -2)
    futures = [hand.start()[1] for _ in range(2)]
    call.cancel()
    assert (pool.statistics().busy, pool.statistics().abandoned) == (2, 1)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    futures[0].set_exception(ValueError("late"))
    futures[1].set_result(2)
    with pytest.raises(TimeoutError):
        await waiting
    await pool.killall()
    assert [str(error["exception"]) for error in loop_errors] == ["late"]
    assert counts(pool) == (2, 1, 1, 0)


async def test_somebody_else_cancels(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand, name="others")
    call = pool.execute(abs, -1)
    hand.next()[1].cancel()
    with pytest.raises(RuntimeError, match="abs was cancelled by the executor of pool 'others'"):
        await call
    await pool.killall()
    assert counts(pool) == (1, 0, 1, 0)


@pytest.fixture
def ticket() -> Iterator[tuple[PlainJob, Ticket, "Future[Any]"]]:
    """A job in the hands of an executor, whose future has not been connected."""
    engine = Engine(HandExecutor())
    job, future = PlainJob(abs, -1), Future[Any]()
    ticket = Ticket(job, future, Outlet(engine, HandExecutor()))
    job.claim = ticket
    yield job, ticket, future
    assert len(job.claim) == 0


def test_somebody_else_cancels_just_before_the_caller(ticket: tuple[PlainJob, Ticket, "Future[Any]"]) -> None:
    job, mine, future = ticket
    future.cancel()
    mine.ended(future)  # the callback of that cancellation comes before the caller's
    assert not job.drop()
    with pytest.raises(RuntimeError, match="was cancelled by the executor"):
        job.result()


def test_somebody_else_cancels_and_the_caller_is_faster(ticket: tuple[PlainJob, Ticket, "Future[Any]"]) -> None:
    job, mine, future = ticket
    future.cancel()
    assert job.drop()
    mine.ended(future)  # the callback of the first cancellation comes late
    assert not job.delivered.is_set()
    assert not job.drop()


def test_the_callback_comes_in_the_middle_of_the_cancellation(ticket: tuple[PlainJob, Ticket, "Future[Any]"]) -> None:
    job, mine, future = ticket
    future.add_done_callback(mine.ended)
    assert job.drop()
    assert not job.delivered.is_set()


def test_the_outcome_comes_while_the_caller_cancels(ticket: tuple[PlainJob, Ticket, "Future[Any]"]) -> None:
    job, mine, future = ticket
    future.set_running_or_notify_cancel()
    future.add_done_callback(mine.ended)
    cancel = future.cancel

    def slow_cancel() -> bool:
        future.set_result(1)  # in another thread
        return cancel()

    future.cancel = slow_cancel  # type: ignore[method-assign]
    assert not job.drop()
    assert job.result() == 1


async def test_limiter(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand)
    limited = pool.options(limiter=anyio.CapacityLimiter(1), name="limited")
    calls = [limited.execute(abs, -number) for number in range(4)]
    await until(lambda: hand.calls)
    wait_handed_over(pool)
    await asyncio.sleep(0.01)
    assert len(hand.calls) == 1
    calls[0].cancel()  # dropped by the executor
    calls[3].cancel()  # not admitted yet
    assert hand.next()[1].cancelled()
    for number in (1, 2):
        await until(lambda: hand.calls)
        hand.run()
        assert await calls[number] == number
    await pool.killall()
    assert counts(pool) == (3, 2, 0, 1)


async def test_an_executor_that_does_not_tell_when_a_call_starts() -> None:
    hand = SilentExecutor()
    pool = tpool.Pool.over(hand, name="silent")
    with pytest.raises(
        RuntimeError, match=r"queue_timeout cannot be kept on an engine .*: a SilentExecutor does not tell"
    ):
        await pool.options(queue_timeout=1).execute(abs, -1)
    call, waiting = pool.execute(abs, -1), pool.options(on_cancel="wait").execute(abs, -2)
    futures = [hand.next()[1] for _ in range(2)]
    assert pool.statistics().busy == 2
    call.cancel()
    waiting.cancel()
    assert futures[0].cancelled()
    assert not futures[1].cancelled()
    await asyncio.sleep(0)
    assert not waiting.done()
    futures[1].set_result(2)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await pool.killall()
    assert counts(pool) == (3, 1, 1, 1)


# Executors that come and go


async def test_a_factory_makes_an_executor_for_the_first_call_and_after_killall() -> None:
    made: list[HandExecutor] = []

    def make() -> Executor:
        assert threading.current_thread() is not threading.main_thread()
        made.append(HandExecutor())
        return made[-1]

    async with tpool.Pool.over(make) as pool:
        assert made == []
        for number in range(2):
            calls = [pool.execute(abs, -number) for _ in range(2)]
            await until(lambda: len(made) > number)  # noqa: B023 - called at once
            made[number].run()
            made[number].run()
            assert await asyncio.gather(*calls) == [number, number]
            await pool.killall()
            assert made[number].was_shut_down
    assert len(made) == 2


async def test_killall_waits_for_what_runs_and_names_it_in_time() -> None:
    hands = [HandExecutor(), HandExecutor()]
    left = hands.copy()
    pool = tpool.Pool.over(lambda: left.pop(0), name="patient")
    running, queued = pool.options(name="the report").execute(abs, -1), pool.execute(abs, -2)
    _, future = hands[0].start()
    wait_handed_over(pool)
    with pytest.raises(tpool.StillRunningError, match=r"1 call.* of pool 'patient' still run .* and 1 wait") as caught:
        await pool.killall(timeout=0.5)
    assert [call.name for call in caught.value.calls] == ["the report"]
    assert "the report in thread of a HandExecutor" in str(caught.value)
    third = pool.execute(abs, -3)
    hands[1].run()
    assert await third == 3
    future.set_result(1)
    hands[0].run()
    assert (await running, await queued) == (1, 2)
    await pool.killall()
    await pool.killall()
    assert hands[0].was_shut_down
    assert counts(pool) == (3, 3, 0, 0)


async def test_killall_while_the_executor_is_being_made(hand: HandExecutor) -> None:
    connected = threading.Event()
    pool = tpool.Pool.over(lambda: (connected.wait(PATIENCE), hand)[1])
    call = pool.execute(abs, -1)
    with pytest.raises(tpool.StillRunningError, match=r"0 call.* and 1 wait"):
        await pool.killall(timeout=0.02)
    connected.set()
    hand.run()
    assert await call == 1
    await pool.killall()
    await until(lambda: hand.was_shut_down)


async def test_a_dropped_pool_shuts_down_what_is_its_own(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(lambda: hand)
    call = pool.execute(abs, -1)
    del pool
    hand.run()
    assert await call == 1
    gc.collect()
    await until(lambda: hand.was_shut_down)


async def test_a_factory_that_fails_gives_its_error_to_all_that_wait(hand: HandExecutor) -> None:
    attempts = []
    started, go_on = threading.Event(), threading.Event()

    def connect() -> Executor:
        attempts.append(1)
        started.set()
        assert go_on.wait(PATIENCE)
        if len(attempts) == 1:
            raise OSError("no route to the cluster")
        return hand

    pool = tpool.Pool.over(connect, name="far")
    calls = [pool.execute(abs, -number) for number in range(3)]
    await until(started.is_set)
    go_on.set()
    for call in calls:
        with pytest.raises(OSError, match="no route") as caught:
            await call
        assert caught.value.__notes__ == [
            "Pool 'far' got no executor from its factory; none of the waiting calls was run."
        ]
    late = pool.execute(abs, -4)
    hand.run()
    assert await late == 4
    assert len(attempts) == 2
    await pool.killall()
    assert counts(pool) == (4, 1, 3, 0)


async def test_a_factory_that_returns_something_else() -> None:
    async def connect() -> Executor:
        raise AssertionError

    for factory in (connect, dict):
        pool = tpool.Pool.over(factory)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"is no Executor of concurrent.futures"):
            await pool.execute(abs, -1)
        await pool.killall()


async def test_an_executor_that_is_found_broken() -> None:
    broken, sound = HandExecutor(), HandExecutor()
    broken.error = BrokenExecutor("a process died")
    pool = tpool.Pool.over(broken, name="given")
    for _ in range(2):
        with pytest.raises(BrokenExecutor, match=r"abs has not been run: .* is broken .*; give Pool.over a factory"):
            await pool.execute(abs, -1)
    await pool.killall()

    broken.error = None
    made = [broken, sound]
    pool = tpool.Pool.over(lambda: made.pop(0))
    call = pool.execute(abs, -1)
    broken.run()
    assert await call == 1
    broken.error = BrokenExecutor("a process died")
    call = pool.execute(abs, -2)
    sound.run()
    assert await call == 2  # which had not been run yet
    await pool.killall()
    assert broken.was_shut_down
    assert counts(pool) == (2, 2, 0, 0)


async def test_a_new_executor_that_is_broken_from_the_start() -> None:
    made = []

    def make() -> Executor:
        made.append(1)
        executor = HandExecutor()
        executor.error = BrokenExecutor("no memory")
        return executor

    pool = tpool.Pool.over(make)
    with pytest.raises(BrokenExecutor, match="has not been run"):
        await pool.execute(abs, -1)
    assert len(made) == 1
    await pool.killall()


async def test_an_executor_that_breaks_under_a_call() -> None:
    class OddError(BrokenExecutor):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(one, two)

    hands = [HandExecutor(), HandExecutor(), HandExecutor()]
    left = hands.copy()
    pool = tpool.Pool.over(lambda: left.pop(0), name="p")
    for number, broken in enumerate((BrokenExecutor("killed"), OddError(1, 2))):
        calls = [pool.execute(abs, -1), pool.execute(abs, -2)]
        for future in [hands[number].start()[1] for _ in calls]:
            future.set_exception(broken)
        errors = await asyncio.gather(*calls, return_exceptions=True)
        for error in errors:
            assert isinstance(error, BrokenExecutor)
            assert error.__cause__ is broken
            assert "The call may have run, in part or as a whole, or not at all" in str(error)
        assert errors[0] is not errors[1]
    call = pool.execute(abs, -3)
    hands[2].run()
    assert await call == 3
    await pool.killall()
    assert all(hand.was_shut_down for hand in hands)


async def test_a_broken_executor_that_the_function_itself_has_met() -> None:
    def meets() -> None:
        raise BrokenExecutor("another one")

    pool = tpool.Pool.over(lambda: ThreadPoolExecutor(1))
    with pytest.raises(BrokenExecutor, match=r"^another one$"):
        await pool.execute(meets)
    await pool.killall()


async def test_an_executor_that_its_owner_has_shut_down() -> None:
    executor = ThreadPoolExecutor(1)
    pool = tpool.Pool.over(executor, name="mine")
    assert await pool.execute(abs, -1) == 1
    executor.shutdown()
    with pytest.raises(RuntimeError, match="abs has not been run: the executor of pool 'mine' takes no calls any more"):
        await pool.execute(abs, -1)
    await pool.killall()


async def test_other_errors_of_submit_leave_the_executor(hand: HandExecutor) -> None:
    hand.error = TypeError("cannot pickle a cat")
    pool = tpool.Pool.over(lambda: hand)
    for _ in range(2):
        with pytest.raises(TypeError, match="a cat") as caught:
            await pool.execute(abs, -1)
        assert len(caught.value.__notes__) == 1
        assert "picklable" in caught.value.__notes__[0]
    hand.error = None
    call = pool.execute(abs, -1)
    hand.run()
    assert await call == 1
    await pool.killall()


async def test_a_call_given_up_while_a_broken_executor_is_found_out() -> None:
    broken, sound = HandExecutor(), HandExecutor()
    made: list[Executor] = [broken, sound]
    pool = tpool.Pool.over(lambda: made.pop(0))
    first = pool.execute(abs, -1)
    broken.run()
    assert await first == 1
    broken.error = BrokenExecutor("died")
    broken.submitting.clear()
    broken.open.clear()
    call = pool.execute(abs, -2)
    await until(broken.submitting.is_set)
    call.cancel()
    broken.open.set()
    await pool.killall()
    assert sound.calls == []
    assert counts(pool) == (2, 1, 0, 1)


async def test_no_thread_can_be_started(hand: HandExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    pool = tpool.Pool.over(hand)
    with monkeypatch.context() as patch:
        patch.setattr(worker_module.Worker, "start", refuse)
        with pytest.raises(RuntimeError, match="no thread could be started to hand the call over"):
            await pool.execute(abs, -1)
        await pool.killall()
    call = pool.execute(abs, -2)
    hand.run()
    assert await call == 2
    await pool.killall()


async def test_no_thread_can_be_started_to_shut_an_executor_down(
    hand: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    pool = tpool.Pool.over(lambda: hand)
    call = pool.execute(abs, -1)
    hand.run()
    assert await call == 1
    end(pool._core._threads)  # type: ignore[attr-defined]  # as they do when there has been nothing to do
    with monkeypatch.context() as patch:
        patch.setattr(worker_module.Worker, "start", refuse)
        await asyncio.wait_for(pool.killall(), PATIENCE)
    assert hand.was_shut_down
    call = pool.execute(abs, -2)
    hand.run()
    assert await call == 2
    await pool.killall()


async def test_a_shutdown_that_fails_is_logged(hand: HandExecutor, caplog: pytest.LogCaptureFixture) -> None:
    def fail(wait: bool = True) -> None:
        raise OSError("gone")

    hand.shutdown = fail  # type: ignore[method-assign, assignment]
    pool = tpool.Pool.over(lambda: hand, name="p")
    call = pool.execute(abs, -1)
    hand.run()
    await call
    await pool.killall()
    assert "the executor of pool 'p' could not be shut down" in caplog.text


# What an engine cannot do


def test_what_over_refuses() -> None:
    for pool in (tpool.Pool, green_tpool.Pool):
        kind: Any = pool
        with pytest.raises(TypeError, match=r"takes an executor .*, or a function without arguments .*, not 4"):
            kind.over(4)
        with pytest.raises(TypeError, match="name must be a string"):
            kind.over(InPlaceExecutor, name=4)
        with pytest.raises(ValueError, match="exit_grace must be 0 seconds or more"):
            kind.over(InPlaceExecutor, exit_grace=-1)


async def test_what_needs_objects_of_this_process_is_refused() -> None:
    pool = tpool.Pool.over(InPlaceExecutor)
    legacy = green_tpool.Pool.over(InPlaceExecutor)
    words = "on an engine .Pool.over.: objects stay in this process"
    for refused in (
        lambda: pool.iterate([1, 2]),
        lambda: pool.iterate(range, 3),
        lambda: pool.options(timeout=1).iterate(x for x in "ab"),
        lambda: legacy.iterate([1]),
        lambda: tpool.Proxy([], pool=pool),
        lambda: tpool.Proxy([], pool=pool, pin=True),
        lambda: tpool.Proxy.create(list, pool=pool),
        lambda: green_tpool.Proxy([], pool=legacy),
    ):
        with pytest.raises(RuntimeError, match=words):
            refused()
    for options in (pool.options, legacy.options):
        with pytest.raises(RuntimeError, match="context variables stay in this process"):
            options(context=copy_context())


def test_resize_names_the_size_of_the_executor() -> None:
    with ThreadPoolExecutor(3) as executor:
        for pool in (tpool.Pool.over(executor, name="p"), green_tpool.Pool.over(executor, name="p")):
            with pytest.raises(RuntimeError, match=r"pool 'p' cannot be resized .* its executor \(3\)"):
                pool.resize(4)
            assert pool.statistics().size == 3
    with pytest.raises(RuntimeError, match="its size is that of its executor; give"):
        tpool.Pool.over(HandExecutor).resize(4)


@pytest.mark.parametrize("factory", [InPlaceExecutor, lambda: ThreadPoolExecutor(1)])
async def test_a_call_cannot_call_back(factory: Callable[[], Executor]) -> None:
    async with tpool.Pool.over(factory) as pool:
        for ask in (
            from_thread.check_cancelled,
            lambda: from_thread.run(asyncio.sleep, 0),
            lambda: from_thread.run_sync(int),
            lambda: next(from_thread.iterate(numbers())),
        ):
            with pytest.raises(RuntimeError, match=r"A call on an engine \(Pool.over\), or in another process, cannot"):
                await pool.execute(ask)


async def numbers() -> Any:
    yield 1


@pytest.mark.usefixtures("script")
def test_a_loop_that_closes_in_mid_call(hand: HandExecutor) -> None:
    pool = tpool.Pool.over(hand)

    async def main() -> None:
        pool.execute(abs, -1)
        await until(lambda: hand.calls)

    asyncio.run(main())
    hand.run()
    asyncio.run(pool.killall())
    assert pool.statistics().completed == 1


def test_many_calls_from_many_loops() -> None:
    pool = tpool.Pool.over(lambda: ThreadPoolExecutor(4))

    async def main() -> None:
        calls = [pool.execute(pow, number, 2) for number in range(300)]
        for call in calls[::7]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            assert outcome == number**2 if number % 7 else isinstance(outcome, asyncio.CancelledError)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    asyncio.run(pool.killall())
    numbers = pool.statistics()
    assert numbers.submitted == 1200
    assert numbers.completed + numbers.cancelled == 1200
    assert (numbers.busy, numbers.queued, numbers.failed) == (0, 0, 0)
    hubs.get_hub()


async def test_what_needs_threads_of_this_process_is_refused(hand: HandExecutor) -> None:
    for pool in (tpool.Pool.over(hand), tpool.Pool.over(lambda: hand)):
        with pytest.raises(RuntimeError, match=r"tpool.executor on an engine"):
            tpool.executor(pool)
        with pytest.raises(RuntimeError, match=r"adapter for Starlette on an engine"):
            starlette.install(pool)
