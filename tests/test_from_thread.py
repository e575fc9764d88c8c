"""From a worker back to the loop that made the call."""

import asyncio
import contextvars
import gc
import threading
import weakref
from typing import Any

import pytest

from tests.gate import Gate
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._pool.asking import _asking

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def add(a: int, b: int = 0) -> int:
    await asyncio.sleep(0)
    return a + b


async def test_run_awaits_in_the_loop_that_asked(pool: tpool.Pool) -> None:
    async def where() -> tuple[int, asyncio.AbstractEventLoop]:
        return threading.get_ident(), asyncio.get_running_loop()

    assert await pool.execute(from_thread.run, where) == (threading.get_ident(), asyncio.get_running_loop())
    assert await pool.execute(from_thread.run, add, 1, b=2) == 3


async def test_run_many_times_in_one_call(pool: tpool.Pool) -> None:
    def job() -> int:
        return sum(from_thread.run(add, number, 1) for number in range(10))

    assert await pool.execute(job) == 55


async def test_run_takes_any_awaitable(pool: tpool.Pool) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.001, future.set_result, "future")

    class Thing:
        def __await__(self) -> Any:
            return asyncio.sleep(0, "thing").__await__()

    assert await pool.execute(from_thread.run, lambda: future) == "future"
    assert await pool.execute(from_thread.run, Thing) == "thing"
    assert await pool.execute(from_thread.run, lambda: pool.options().execute(int)) == 0


async def test_run_sync_calls_in_the_thread_of_the_loop(pool: tpool.Pool) -> None:
    assert await pool.execute(from_thread.run_sync, threading.get_ident) == threading.get_ident()
    assert await pool.execute(lambda: from_thread.run_sync(dict, a=1)) == {"a": 1}


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_errors_come_back_as_the_same_object(pool: tpool.Pool, error: type[BaseException]) -> None:
    raised = error("x")

    def fail() -> None:
        raise raised

    def job() -> bool:
        try:
            from_thread.run_sync(fail)
        except BaseException as caught:
            return caught is raised
        return False

    assert await pool.execute(job)


async def test_an_error_of_the_awaitable_comes_back(pool: tpool.Pool) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("from the loop")

    with pytest.raises(LookupError, match="from the loop"):
        await pool.execute(from_thread.run, fail)


async def test_an_error_is_not_kept_alive_by_the_frame_that_raised_it(pool: tpool.Pool) -> None:
    references = list[Any]()

    class FailError(LookupError):
        pass

    def fail() -> None:
        raise FailError

    def job() -> None:
        try:
            from_thread.run_sync(fail)
        except FailError as caught:
            references.append(weakref.ref(caught))

    gc.collect()
    gc.disable()
    try:
        await pool.execute(job)
        assert references[0]() is None
    finally:
        gc.enable()


async def test_a_task_that_cannot_be_made_is_an_error_of_the_errand(pool: tpool.Pool) -> None:
    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
        raise LookupError("no task")

    loop = asyncio.get_running_loop()
    call = pool.execute(lambda: from_thread.run(add, 1))
    loop.set_task_factory(factory)
    try:
        with pytest.raises(LookupError, match="no task"):
            await call
    finally:
        loop.set_task_factory(None)


async def test_context_variables_of_the_thread_are_seen_in_the_loop(pool: tpool.Pool) -> None:
    async def read() -> str:
        return variable.get()

    def job() -> tuple[str, str]:
        variable.set("thread")
        return from_thread.run(read), from_thread.run_sync(variable.get)

    variable.set("caller")
    assert await pool.execute(job) == ("thread", "thread")
    assert variable.get() == "caller"


async def test_worker_to_loop_to_worker_to_any_depth_with_one_thread() -> None:
    async with tpool.Pool(1) as pool:

        def down(depth: int) -> int:
            async def call() -> int:
                return await pool.execute(down, depth - 1)

            return 1 + from_thread.run(call) if depth else 0

        assert await pool.execute(down, 30) == 30
        assert pool.statistics().submitted == 31
        while pool.statistics().threads > 1:  # the spare ones go
            await asyncio.sleep(0)
        assert pool.statistics().parked == 0


async def test_a_parked_thread_does_not_count_against_the_size() -> None:
    async with tpool.Pool(1) as pool:
        release = asyncio.Event()
        waiting = pool.execute(from_thread.run, release.wait)
        while pool.statistics().parked == 0:
            await asyncio.sleep(0)
        assert (pool.statistics().busy, pool.statistics().threads) == (0, 1)
        assert await pool.execute(int) == 0
        release.set()
        assert await waiting


async def test_recursion_without_end_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._pool.crew.HARD_CAP", 20)
    async with tpool.Pool(2, name="deep") as pool:

        def endless() -> None:
            async def call() -> None:
                await pool.execute(endless)

            from_thread.run(call)

        with pytest.raises(RuntimeError, match=r"20 calls of pool 'deep' wait for their loops.*endless"):
            await pool.execute(endless)
        assert await pool.execute(int) == 0


@pytest.mark.parametrize("thing", [3, None])
async def test_not_callable(pool: tpool.Pool, thing: Any) -> None:
    for back in (from_thread.run, from_thread.run_sync):
        with pytest.raises(TypeError, match=rf"first argument of from_thread.{back.__name__} must be callable"):
            await pool.execute(back, thing)


async def test_run_with_a_plain_function_names_run_sync(pool: tpool.Pool) -> None:
    with pytest.raises(TypeError, match=r"int returned 0, which cannot be awaited; use from_thread.run_sync"):
        await pool.execute(from_thread.run, int)  # type: ignore[arg-type]


def test_outside_a_worker() -> None:
    for back in (from_thread.run, from_thread.run_sync):
        with pytest.raises(RuntimeError, match=rf"from_thread.{back.__name__} works in a thread of a pool"):
            back(int)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"from_thread.check_cancelled works in a thread of a pool"):
        from_thread.check_cancelled()


async def test_from_a_call_that_runs_in_place_it_would_wait_for_its_own_thread(pool: tpool.Pool) -> None:
    def outer() -> None:
        async def main() -> None:
            await pool.execute(from_thread.run_sync, int)

        asyncio.run(main())

    with pytest.raises(RuntimeError, match="would wait for the loop that this very thread is running"):
        await pool.execute(outer)


async def test_the_awaitable_is_cancelled_with_the_caller(pool: tpool.Pool) -> None:
    reached, cancelled, seen = asyncio.Event(), asyncio.Event(), list[BaseException]()

    async def forever() -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def job() -> None:
        try:
            from_thread.run(forever)
        except BaseException as error:
            seen.append(error)
            raise

    for execute in (pool.execute, pool.options(on_cancel="abandon").execute, pool.options(on_cancel="wait").execute):
        reached.clear()
        cancelled.clear()
        call = execute(job)
        await reached.wait()
        call.cancel()
        await cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await call
        await pool.killall()
        assert isinstance(seen.pop(), asyncio.CancelledError)


async def test_after_the_caller_is_gone_run_refuses_and_run_sync_works(pool: tpool.Pool) -> None:
    gate, seen = Gate(), list[object]()

    def job() -> None:
        gate()
        seen.append(from_thread.run_sync(threading.get_ident))
        try:
            from_thread.run(add, 1)
        except asyncio.CancelledError as error:
            seen.append(str(error))

    call = pool.execute(job)
    gate.wait_begun()
    call.cancel()
    gate.open()
    await pool.killall()
    assert seen == [threading.get_ident(), "the caller of this call has stopped waiting for it"]


async def test_a_task_that_outlives_its_errand_is_not_taken_to_be_waited_for() -> None:
    # A task started by an errand goes on after it; when it calls `killall`, its worker may run something else by then.
    async with tpool.Pool(1) as pool:
        gate, go_on = Gate(), asyncio.Event()
        killing = list[asyncio.Task[None]]()

        async def kill_later() -> None:
            await go_on.wait()
            await pool.killall()

        await pool.execute(lambda: from_thread.run_sync(lambda: killing.append(asyncio.ensure_future(kill_later()))))
        call = pool.execute(gate)
        gate.wait_begun()
        go_on.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not killing[0].done()
        gate.open()
        await killing[0]
        await call


async def test_a_call_that_starts_its_successor_for_ever_carries_no_past_along(pool: tpool.Pool) -> None:
    carried = list[int]()
    tasks = list[asyncio.Task[None]]()

    def succeed() -> None:
        carried.append(len(_asking.get()))
        if len(carried) < 5:
            tasks.append(asyncio.ensure_future(step()))

    async def step() -> None:
        while any(asker.worker for asker in _asking.get()):  # the worker may not have gone on yet
            await asyncio.sleep(0)
        await pool.execute(from_thread.run_sync, succeed)

    await step()
    while len(carried) < 5:
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert carried == [1] * 5
