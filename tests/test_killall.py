"""`killall`: from several places, with a time limit, with stuck calls, and what comes after it."""

import asyncio
import pickle
import threading
import traceback
import types
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._pool.worker import Worker


async def test_everything_runs_to_its_end_and_the_threads_are_gone(pool: tpool.Pool) -> None:
    gate = Gate()
    calls = [pool.execute(gate, number) for number in range(5)]
    gate.wait_begun(2)
    killing = asyncio.ensure_future(pool.killall())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not killing.done()
    gate.open()
    await killing
    assert [thread for thread in threading.enumerate() if thread.name.startswith("test-")] == []
    assert await asyncio.gather(*calls) == list(range(5))
    assert pool.statistics().threads == 0
    assert await pool.execute(int) == 0


async def test_the_next_call_starts_afresh_while_a_killall_waits(pool: tpool.Pool) -> None:
    gate = Gate()
    old = pool.execute(gate)
    gate.wait_begun()
    killing = asyncio.ensure_future(pool.killall())
    await asyncio.sleep(0)
    assert await pool.execute(int) == 0
    assert not killing.done()
    gate.open()
    await killing
    await old


async def test_twice_and_without_any_threads(pool: tpool.Pool) -> None:
    await pool.killall()
    await pool.execute(int)
    await asyncio.gather(pool.killall(), pool.killall())
    await pool.killall(timeout=0)
    await pool.execute(int)
    await pool.killall(timeout=0)  # no time for the threads to end, but no call runs
    assert pool.statistics().threads == 0


async def test_from_two_loops_at_once(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.execute(gate)
    gate.wait_begun()
    other = threading.Thread(target=lambda: asyncio.run(pool.killall()))
    other.start()
    killing = asyncio.ensure_future(pool.killall())
    await asyncio.sleep(0.01)
    gate.open()
    await killing
    await asyncio.to_thread(other.join, PATIENCE)
    assert not other.is_alive()
    await call
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_with_stuck_calls(pool: tpool.Pool) -> None:
    gate = Gate()

    def stuck_here() -> object:
        return gate("value")

    calls = [pool.options(name="slow one").execute(stuck_here), pool.execute(stuck_here)]
    gate.wait_begun(2)
    queued = pool.execute(int)
    with pytest.raises(
        tpool.StillRunningError, match=r"2 call\(s\) of pool 'test' still run after 0.01 s, and 1 wait for them;"
    ) as caught:
        await pool.killall(0.01)
    assert isinstance(caught.value, TimeoutError)
    assert sorted(call.name for call in caught.value.calls)[0] == "slow one"
    assert all("in stuck_here" in call.stack for call in caught.value.calls)
    assert "slow one in thread test-" in str(caught.value)
    assert "in stuck_here" in "".join(traceback.format_exception_only(caught.value))
    assert pool.statistics().threads == 0
    await pool.killall(PATIENCE)  # the stuck ones are not waited for again
    assert await pool.execute(int) == 0
    gate.open()
    assert await asyncio.gather(*calls, queued) == ["value", "value", 0]


async def test_from_two_loops_at_once_with_a_stuck_call(pool: tpool.Pool) -> None:
    gate, together = Gate(), threading.Barrier(2)
    after: list[object] = []
    errors: list[tpool.StillRunningError] = []

    async def end_it() -> None:
        together.wait(PATIENCE)
        try:
            await pool.killall(0.01)
        except tpool.StillRunningError as error:
            errors.append(error)
        after.append(await pool.execute(pow, 2, 3))

    stuck = pool.options(name="slow one").execute(gate, "value")
    gate.wait_begun()
    other = threading.Thread(target=lambda: asyncio.run(end_it()))
    other.start()
    await end_it()
    await asyncio.to_thread(other.join, PATIENCE)
    assert not other.is_alive()
    assert after == [8, 8]
    assert errors  # the one that gives up first detaches the thread, and the other may have nothing left to wait for
    assert all([call.name for call in error.calls] == ["slow one"] for error in errors)
    gate.open()
    assert await stuck == "value"
    await pool.killall(PATIENCE)
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_with_a_stuck_pinned_call(pool: tpool.Pool) -> None:
    gate = Gate()
    proxy: Any = tpool.Proxy(
        types.SimpleNamespace(stuck=gate, thread=threading.get_ident, close=int), pin=True, pool=pool
    )
    thread = await proxy.thread()
    call = proxy.stuck("value")
    gate.wait_begun()
    queued = proxy.thread()
    with pytest.raises(tpool.StillRunningError, match=r"detached from it, but for pinned ones\n") as caught:
        await pool.killall(0.01)
    assert [each.name for each in caught.value.calls] == ["tests.gate.Gate"]
    statistics = pool.statistics()
    assert (statistics.threads, statistics.pinned, statistics.busy, statistics.queued) == (1, 1, 1, 1)
    gate.open()
    assert await call == "value"
    assert await queued == await proxy.thread() == thread  # it goes on as before
    await proxy.close()


async def test_a_killall_that_gives_up_frees_one_that_waits_for_ever(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.execute(gate)
    gate.wait_begun()
    for_ever = asyncio.ensure_future(pool.killall())
    await asyncio.sleep(0)
    with pytest.raises(tpool.StillRunningError, match=r"1 call\(s\) of pool 'test' still run after 0.01 s; their"):
        await pool.killall(0.01)
    await for_ever
    gate.open()
    await call


async def test_cancelling_it_ends_only_the_waiting(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.execute(gate)
    gate.wait_begun()
    (worker,) = pool._core._crews[-1].workers
    killing = asyncio.ensure_future(pool.killall())
    await asyncio.sleep(0)
    killing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killing
    gate.open()
    await call
    worker.join(PATIENCE)
    assert not worker.is_alive()


async def test_the_error_survives_pickling() -> None:
    error = tpool.StillRunningError("message", [tpool.RunningCall("name", "thread", "stack")])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.calls) == (str(error), error.calls)


async def test_the_loop_goes_on_while_the_last_destructors_run(pool: tpool.Pool) -> None:
    local, opened = threading.local(), threading.Event()

    class Slow:
        def __del__(self) -> None:
            assert opened.wait(PATIENCE)

    await pool.execute(lambda: setattr(local, "slow", Slow()))
    killing = asyncio.ensure_future(pool.killall())
    await asyncio.sleep(0.02)
    assert not killing.done()
    opened.set()
    await killing


@pytest.mark.parametrize("timeout", [-1, "1"])
async def test_a_bad_timeout_changes_nothing(pool: tpool.Pool, timeout: float) -> None:
    await pool.execute(int)
    with pytest.raises((TypeError, ValueError), match="timeout must be"):
        await pool.killall(timeout)
    assert pool.statistics().threads == 1


async def test_from_a_worker_through_its_loop() -> None:
    async with tpool.Pool(1) as pool:
        calls = list[asyncio.Future[int]]()

        async def call_and_kill() -> None:
            calls.extend(pool.execute(int, n) for n in range(3))
            await pool.killall()

        assert await asyncio.wait_for(pool.execute(from_thread.run, call_and_kill), PATIENCE) is None
        assert await asyncio.gather(*calls) == [0, 1, 2]


async def test_from_a_worker_below_a_worker() -> None:
    async with tpool.Pool(1) as pool:

        async def inner() -> None:
            await pool.execute(from_thread.run, pool.killall)

        await asyncio.wait_for(pool.execute(from_thread.run, inner), PATIENCE)


async def test_from_a_loop_inside_a_worker() -> None:
    async with tpool.Pool(1) as pool:
        gate = Gate()

        def job() -> None:
            gate()
            asyncio.run(pool.killall())

        call = pool.execute(job)
        gate.wait_begun()
        queued = pool.execute(int)  # a spare thread has to run it, since killall waits for it
        gate.open()
        await asyncio.wait_for(call, PATIENCE)
        assert await queued == 0


async def test_of_the_default_pool() -> None:
    await tpool.execute(int)
    tpool.set_num_threads(3)
    await tpool.killall()
    tpool.setup()
    assert tpool.statistics().threads == 3


async def test_a_killall_whose_time_is_over_between_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    between = Gate()
    run_job = Worker.run_job

    def run_later(self: Worker, *args: Any) -> None:
        between()
        run_job(self, *args)

    monkeypatch.setattr(Worker, "run_job", run_later)
    pool = tpool.Pool(1)
    calls = [pool.options(name=f"call {number}").execute(int) for number in range(2)]
    between.wait_begun()
    with pytest.raises(tpool.StillRunningError) as caught:
        await pool.killall(0.01)
    assert [call.name for call in caught.value.calls] == ["call 0"]
    between.open()
    assert await asyncio.gather(*calls) == [0, 0]
    while any(crew.workers for crew in pool._core._detached):
        await asyncio.sleep(0.001)
