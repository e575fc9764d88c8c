"""The options of a call: time limits, limiter, name, and what they refuse."""

import asyncio
import gc
import sys
import weakref
from typing import Any

import anyio
import pytest

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tpool_asyncio import from_thread, tpool


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timeuot": 1}, TypeError, "timeuot"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds"),
        ({"timeout": True}, TypeError, "timeout must be a number of seconds"),
        ({"timeout": -1}, ValueError, "timeout must be 0 seconds or more"),
        ({"queue_timeout": float("nan")}, ValueError, "queue_timeout must be 0 seconds or more"),
        ({"on_cancel": "ignore"}, ValueError, "'abandon' or 'wait', not 'ignore'"),
        ({"limiter": 3}, TypeError, "limiter must be an anyio.CapacityLimiter"),
        ({"context": {}}, TypeError, r"contextvars.Context, such as copy_context\(\) returns"),
        ({"name": 3}, TypeError, "name must be a string"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tpool.options(**options)


async def test_a_handle_is_reusable_and_hands_all_keywords_on(pool: tpool.Pool) -> None:
    options = pool.options(timeout=20, queue_timeout=20, on_cancel="wait", name="n")
    for _ in range(3):
        assert await options.execute(dict, timeout=1, name=2, fn=3) == {"timeout": 1, "name": 2, "fn": 3}


async def test_timeout_abandons_a_running_call(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.options(timeout=0.01).execute(gate)
    gate.wait_begun()
    with pytest.raises(TimeoutError, match=r"Gate took longer than its timeout of 0.01 s"):
        await call
    assert pool.statistics().abandoned == 1
    gate.open()


async def test_timeout_drops_a_queued_call() -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()
        blocker = pool.execute(gate)
        gate.wait_begun()
        with pytest.raises(TimeoutError):
            await pool.options(timeout=0).execute(int)
        assert pool.statistics().cancelled == 1
        gate.open()
        await blocker


async def test_timeout_with_on_cancel_wait_comes_after_the_real_end(pool: tpool.Pool, loop_errors: LoopErrors) -> None:
    gate = Gate()
    call = pool.options(timeout=0.001, on_cancel="wait").execute(gate)
    gate.wait_begun()
    while not pool.statistics().abandoned:
        await asyncio.sleep(0.001)
    assert not call.done()
    gate.open()
    with pytest.raises(TimeoutError, match="took longer"):
        await call
    assert loop_errors == []


async def test_cancelled_after_the_timeout_with_on_cancel_wait_is_cancelled(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.options(timeout=0.001, on_cancel="wait").execute(gate)
    gate.wait_begun()
    while not pool.statistics().abandoned:
        await asyncio.sleep(0.001)
    call.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_timeout_after_cancellation_with_on_cancel_wait_changes_nothing(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.options(timeout=0.01, on_cancel="wait").execute(gate)
    gate.wait_begun()
    call.cancel()
    await asyncio.sleep(0.03)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_that_is_in_time_stops_its_clocks(pool: tpool.Pool) -> None:
    call = pool.options(timeout=3_600, queue_timeout=3_600).execute(int)
    assert await call == 0
    reference = weakref.ref(call)
    del call
    while reference() is not None:  # a clock that still runs would hold it, and find it done
        gc.collect()
        await asyncio.sleep(0)


async def test_queue_timeout_drops_a_queued_call_and_leaves_a_running_one_alone() -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()
        options = pool.options(queue_timeout=0.01)
        running = options.execute(gate, "value")
        gate.wait_begun()
        with pytest.raises(TimeoutError, match=r"int waited longer than its queue_timeout of 0.01 s for a thread"):
            await options.execute(int)
        await asyncio.sleep(0.02)
        assert not running.done()
        gate.open()
        assert await running == "value"


async def test_the_name_is_what_messages_say(pool: tpool.Pool) -> None:
    gate = Gate()
    with pytest.raises(TimeoutError, match=r"^fetch took longer"):
        await pool.options(timeout=0.001, name="fetch").execute(gate)
    gate.open()


async def test_a_limiter_admits_in_order_and_counts_threads_that_are_busy() -> None:
    async with tpool.Pool(4) as pool:
        limiter = anyio.CapacityLimiter(1)
        options = pool.options(limiter=limiter)
        gates = [Gate() for _ in range(3)]
        calls = [options.execute(gate, number) for number, gate in enumerate(gates)]
        for number, gate in enumerate(gates):
            while gate.calls == 0:
                await asyncio.sleep(0.001)
            assert [other.calls for other in gates] == [1] * (number + 1) + [0] * (2 - number)
            assert limiter.borrowed_tokens == 1
            gate.open()
            assert await calls[number] == number
        assert limiter.borrowed_tokens == 0


async def test_an_abandoned_call_keeps_its_token_until_it_has_really_ended(pool: tpool.Pool) -> None:
    limiter = anyio.CapacityLimiter(1)
    options = pool.options(limiter=limiter)
    gate = Gate()
    call = options.execute(gate)
    while not gate.calls:
        await asyncio.sleep(0.001)
    call.cancel()
    second = options.execute(int)
    await asyncio.sleep(0.01)
    assert (limiter.borrowed_tokens, second.done()) == (1, False)
    gate.open()
    assert await second == 0
    assert limiter.borrowed_tokens == 0


async def test_a_queued_call_gives_its_token_back_when_it_is_cancelled() -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()
        blocker = pool.execute(gate)
        gate.wait_begun()
        limiter = anyio.CapacityLimiter(1)
        call = pool.options(limiter=limiter).execute(int)
        while not pool.statistics().queued:
            await asyncio.sleep(0)
        call.cancel()
        assert limiter.borrowed_tokens == 0
        gate.open()
        await blocker


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_a_call_that_waits_for_its_limiter_can_be_ended(pool: tpool.Pool, how: str) -> None:
    limiter = anyio.CapacityLimiter(1)
    await limiter.acquire_on_behalf_of("somebody")
    ran = list[int]()
    call = pool.options(limiter=limiter, timeout=0.001 if how == "timeout" else None).execute(ran.append, 1)
    await asyncio.sleep(0)
    if how == "cancel":
        call.cancel()
    with pytest.raises(TimeoutError if how == "timeout" else asyncio.CancelledError):
        await call
    limiter.release_on_behalf_of("somebody")
    await asyncio.sleep(0.01)
    assert limiter.borrowed_tokens == 0
    assert (ran, pool.statistics().submitted) == ([], 0)


async def test_cancelled_at_the_moment_the_token_arrives(pool: tpool.Pool) -> None:
    limiter = anyio.CapacityLimiter(1)
    call = pool.options(limiter=limiter).execute(int)
    for _ in range(20):
        if limiter.borrowed_tokens:
            break
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    await pool.killall()
    await asyncio.sleep(0.01)
    assert limiter.borrowed_tokens == 0


async def test_a_limiter_that_fails_is_an_error_of_the_call(pool: tpool.Pool) -> None:
    class Broken:
        async def acquire_on_behalf_of(self, borrower: object) -> None:
            raise LookupError("broken")

        def release_on_behalf_of(self, borrower: object) -> None:
            raise AssertionError

    with pytest.raises(LookupError, match="broken"):
        await pool.options(limiter=Broken(), timeout=20).execute(int)


def eager(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
    """Do what `asyncio.eager_task_factory` does; that of Python 3.13.0 does not know all the keywords of uvloop."""
    kwargs["eager_start"] = True
    return asyncio.Task(coro, loop=loop, **kwargs)


async def test_a_limiter_that_never_yields_under_eager_tasks(pool: tpool.Pool) -> None:
    class Free:
        tokens = 0

        async def acquire_on_behalf_of(self, borrower: object) -> None:
            self.tokens += 1

        def release_on_behalf_of(self, borrower: object) -> None:
            self.tokens -= 1

    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(eager)
    limiter = Free()
    options = pool.options(limiter=limiter, timeout=3_600)
    assert await options.execute(int) == 0
    gate = Gate()
    calls = [options.execute(gate) for _ in range(2)]
    while gate.calls < 2:
        await asyncio.sleep(0)
    queued = options.execute(int)
    while not pool.statistics().queued:
        await asyncio.sleep(0)
    queued.cancel()
    assert (limiter.tokens, pool.statistics().cancelled) == (2, 1)
    gate.open()
    await asyncio.gather(*calls)
    assert limiter.tokens == 0


@pytest.mark.parametrize("fails", [False, True])
async def test_a_limiter_that_minds_no_cancellation(pool: tpool.Pool, fails: bool) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    borrowers = list[object]()

    class Stubborn:
        async def acquire_on_behalf_of(self, borrower: object) -> None:
            entered.set()
            try:
                await leave.wait()
            except asyncio.CancelledError:
                if fails:
                    raise LookupError from None
                await leave.wait()
            borrowers.append(borrower)

        def release_on_behalf_of(self, borrower: object) -> None:
            borrowers.remove(borrower)

    call = pool.options(limiter=Stubborn()).execute(int)
    await entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0)
    leave.set()
    while asyncio.all_tasks() != {asyncio.current_task()}:
        await asyncio.sleep(0)
    assert (borrowers, pool.statistics().submitted) == ([], 0)


async def test_a_call_ends_with_its_admission(pool: tpool.Pool) -> None:
    # As when somebody cancels all tasks of the loop.
    limiter = anyio.CapacityLimiter(1)
    await limiter.acquire_on_behalf_of("somebody")
    call = pool.options(limiter=limiter, timeout=3_600).execute(int)
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_an_admission_that_cannot_be_made_is_an_error_of_the_call(pool: tpool.Pool) -> None:
    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
        raise LookupError("no task")

    loop = asyncio.get_running_loop()
    options = pool.options(limiter=anyio.CapacityLimiter(1), timeout=3_600)
    loop.set_task_factory(factory)
    try:
        with pytest.raises(LookupError, match="no task"):
            options.execute(int)
    finally:
        loop.set_task_factory(None)


async def test_a_call_that_has_ended_in_time_is_not_failed_by_a_late_clock(pool: tpool.Pool) -> None:
    call = pool.options(timeout=0).execute(int)
    while not pool.statistics().completed:  # the loop does not get round to clocks or outcomes
        pass
    assert await call == 0


async def test_a_pool_that_refuses_gives_the_token_back(pool: tpool.Pool) -> None:
    limiter = anyio.CapacityLimiter(1)
    pool._core.refuse(ValueError("bad size"))
    try:
        with pytest.raises(ValueError, match="bad size"):
            await pool.options(limiter=limiter).execute(int)
    finally:
        pool.resize(2)
    assert limiter.borrowed_tokens == 0


async def test_check_cancelled_sees_a_timeout(pool: tpool.Pool) -> None:
    gate, seen = Gate(), list[str]()

    def job() -> None:
        gate()
        try:
            from_thread.check_cancelled()
        except asyncio.CancelledError:
            seen.append("unwanted")

    call = pool.options(timeout=0.001).execute(job)
    gate.wait_begun()  # the loop stands still, and its clocks with it
    with pytest.raises(TimeoutError):
        await call
    gate.open()
    await pool.killall()
    assert seen == ["unwanted"]


async def test_a_queue_timeout_in_admission_names_the_limiter(pool: tpool.Pool) -> None:
    limiter = anyio.CapacityLimiter(1)
    await limiter.acquire_on_behalf_of("somebody")
    with pytest.raises(TimeoutError, match=r"queue_timeout of 0.001 s for its limiter; raise the limiter's tokens"):
        await pool.options(limiter=limiter, queue_timeout=0.001).execute(int)


def test_a_limiter_serves_one_loop_at_a_time() -> None:
    pool = tpool.Pool(1)
    options = pool.options(limiter=anyio.CapacityLimiter(1))

    async def main() -> int:
        return await options.execute(int)

    async def other() -> None:
        with pytest.raises(RuntimeError, match="a limiter serves the calls of one event loop"):
            options.execute(int)

    assert asyncio.run(main()) == 0
    loop, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    assert loop.run_until_complete(main()) == 0  # the first one is closed
    second.run_until_complete(other())
    loop.run_until_complete(pool.killall())
    loop.close()
    second.close()


async def test_what_a_handle_says_of_itself(pool: tpool.Pool) -> None:
    assert repr(pool.options()) == "<Options of pool 'test'>"
    handle = pool.options(timeout=3, on_cancel="wait", name="slow one")
    assert repr(handle) == "<Options of pool 'test' timeout=3 on_cancel='wait' name='slow one'>"


async def test_a_cancelled_call_can_be_gathered(pool: tpool.Pool) -> None:
    call = pool.options(timeout=60).execute(abs, -1)
    call.cancel("not wanted")
    gathered = asyncio.gather(call, return_exceptions=True)
    await asyncio.wait([gathered], timeout=PATIENCE)  # which `gather` itself would never end
    (error,) = gathered.result()
    assert isinstance(error, asyncio.CancelledError)
    assert error.args == ("not wanted",)


@pytest.mark.parametrize("options", [{"timeout": 0.001}, {"queue_timeout": 0.001}])
async def test_a_time_limit_leaves_alone_what_somebody_has_set(
    options: dict[str, Any], loop_errors: LoopErrors
) -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()
        calls = [pool.options(**options).execute(gate) for _ in range(2)]  # one that runs, and one that waits
        try:
            gate.wait_begun()
            for call in calls:
                call.set_result("set")
            await asyncio.sleep(0.01)  # which ends after the time limits have struck
            assert [await call for call in calls] == ["set", "set"]
        finally:
            gate.open()
    assert not loop_errors
