"""`Hub.run_threadsafe`: the loop of a hub, used from other threads."""

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.test_tokens import Other, add
from tpool_asyncio import green, hubs, tpool
from tpool_asyncio._green.script_call import ScriptCall
from tpool_asyncio.green import tpool as green_tpool

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def where() -> tuple[object, int]:
    await asyncio.sleep(0)
    return asyncio.get_running_loop(), threading.get_ident()


@pytest.mark.combination(caller="another thread", library="tpool_asyncio.hubs")
async def test_the_loop_of_async_code() -> None:
    hub = hubs.get_hub()
    here = asyncio.get_running_loop(), threading.get_ident()
    assert await Other(lambda: hub.run_threadsafe(where).result(PATIENCE)).result() == here
    assert await Other(lambda: hub.run_threadsafe(add, 1, b=2).result(PATIENCE)).result() == 3


@pytest.mark.combination(caller="another thread", library="tpool_asyncio.hubs", loop="asyncio")
def test_the_loop_of_a_script_runs_while_the_script_waits(script: hubs.Hub) -> None:
    future = Other(lambda: script.run_threadsafe(where)).outcome()
    assert not future.done()
    while not future.done():
        green.sleep(0.001)
    assert future.result() == (script.loop, threading.get_ident())


def test_a_script_that_waits_for_a_call_without_a_loop_gets_one(
    script: hubs.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpool_asyncio._green.script_call.LOOK_AGAIN", 2 * PATIENCE)
    for number in range(10):
        gate = Gate()

        hub = hubs.get_hub()
        assert not hub._started

        def work(gate: Gate = gate, hub: hubs.Hub = hub) -> tuple[object, int]:
            gate.wait_begun()
            found = hub.run_threadsafe(where).result(PATIENCE)
            gate.open()
            return found

        other = Other(work)
        assert green_tpool.execute(gate, number) == number
        assert other.outcome()[1] == threading.get_ident()
        hub.close()


def test_the_call_of_a_script_ends_while_another_thread_rings(
    script: hubs.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # (1) Another thread makes the loop and rings. (2) The script goes to its loop, but before it says so (3) the worker
    # is over, and rings as well. (4) The script must not wait in the loop for the worker to stop it.
    over = threading.Event()
    original: Any = vars(hubs.Hub)["loop"].fget

    def slow(self: hubs.Hub) -> Any:
        if threading.current_thread() is threading.main_thread() and not over.is_set():
            gate.open()
            assert over.wait(PATIENCE)
        return original(self)

    gate = Gate()

    def deliver(self: Any, original: Any = ScriptCall.deliver) -> Any:
        wake = original(self)

        def ring() -> None:
            wake()
            over.set()

        return ring

    monkeypatch.setattr(ScriptCall, "deliver", deliver)
    monkeypatch.setattr(hubs.Hub, "loop", property(slow))
    hub = hubs.get_hub()

    def work() -> concurrent.futures.Future[Any]:
        gate.wait_begun()
        return hub.run_threadsafe(add, 1)

    other = Other(work)
    assert green_tpool.execute(gate, "value") == "value"
    future = other.outcome()
    monkeypatch.undo()
    while not future.done():
        green.sleep(0)
    assert future.result() == 1


def test_several_threads_make_the_loop_of_a_hub_at_once(script: hubs.Hub) -> None:
    barrier = threading.Barrier(5)

    def work() -> concurrent.futures.Future[Any]:
        barrier.wait(PATIENCE)
        return script.run_threadsafe(where)

    others = [Other(work) for _ in range(5)]
    futures = [other.outcome() for other in others]
    while not all(future.done() for future in futures):
        green.sleep(0)
    assert {future.result()[0] for future in futures} == {script.loop}


async def test_context_variables_of_the_thread_that_asks() -> None:
    hub = hubs.get_hub()

    async def read() -> str:
        return variable.get()

    def work() -> str:
        variable.set("thread")
        return hub.run_threadsafe(read).result(PATIENCE)

    assert await Other(work).result() == "thread"
    assert variable.get() == "unset"


async def test_errors() -> None:
    hub = hubs.get_hub()
    raised = LookupError("in the loop")

    async def fail() -> None:
        raise raised

    with pytest.raises(LookupError) as caught:
        await asyncio.wrap_future(hub.run_threadsafe(fail))
    assert caught.value is raised
    with pytest.raises(TypeError, match="cannot be awaited"):
        await asyncio.wrap_future(hub.run_threadsafe(int))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="first argument must be callable"):
        hub.run_threadsafe(add(1, 2))  # type: ignore[arg-type]


async def test_cancelling_the_future_cancels_the_task() -> None:
    hub = hubs.get_hub()
    reached, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        reached.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    future = hub.run_threadsafe(forever)
    await reached.wait()
    assert await Other(future.cancel).result()
    await cancelled.wait()
    never = hub.run_threadsafe(add, pytest.fail)  # type: ignore[arg-type]  # which would fail to add
    assert never.cancel()
    await asyncio.sleep(0)


async def test_a_task_that_is_cancelled_cancels_the_future() -> None:
    async def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    future = hubs.get_hub().run_threadsafe(cancel)
    while not future.done():
        await asyncio.sleep(0)
    assert future.cancelled()


# The end


def in_thread(fn: Callable[[], Any]) -> Any:
    return Other(fn).outcome()


def test_a_hub_that_is_closed(script: hubs.Hub) -> None:
    async def main() -> hubs.Hub:
        return hubs.get_hub()

    green.sleep(0)
    script.close()
    over = [
        script,
        asyncio.run(main()),
        in_thread(hubs.get_hub),
        in_thread(lambda: (green.sleep(0), hubs.get_hub())[1]),
    ]
    for hub in over:
        with pytest.raises(RuntimeError, match=r"the hub of the thread '.*' is closed"):
            hub.run_threadsafe(add, 1)


def test_what_is_pending_when_a_hub_is_closed() -> None:
    async def forever() -> None:
        await asyncio.sleep(3600)

    def work() -> list[concurrent.futures.Future[Any]]:
        hub = hubs.get_hub()
        running = hub.run_threadsafe(forever)
        green.sleep(0)
        pending = hub.run_threadsafe(add, 1)
        hub.close()
        return [running, pending]

    running, pending = in_thread(work)
    assert running.cancelled()
    assert pending.cancelled() or "is closed" in str(pending.exception(PATIENCE))


@pytest.mark.parametrize("started", [True, False])
def test_what_is_pending_when_a_thread_ends(started: bool) -> None:
    def work() -> tuple[Any, ...]:
        hub = hubs.get_hub()
        if started:
            green.sleep(0)
        return in_thread(lambda: hub.run_threadsafe(add, 1)), hub

    future, hub = in_thread(work)
    done, _ = concurrent.futures.wait([future], PATIENCE)
    assert done
    assert future.cancelled() or "is closed" in str(future.exception())
    with pytest.raises(RuntimeError, match="is closed"):
        hub.run_threadsafe(add, 1)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_what_is_pending_when_a_loop_is_closed_that_is_not_the_hubs() -> None:
    async def make(do: Callable[[hubs.Hub], Awaitable[Any]]) -> Any:
        return await do(hubs.get_hub())

    async def post_only(hub: hubs.Hub) -> Any:
        return hub.run_threadsafe(add, 1)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    future = loop.run_until_complete(make(post_only))
    loop.close()
    assert "is closed" in str(future.exception(PATIENCE))
    future = asyncio.run(make(post_only))
    assert future.cancelled() or future.exception(PATIENCE)


@pytest.mark.combination(caller="worker", library="tpool_asyncio.hubs")
async def test_from_a_worker_to_the_hub_of_another_thread(pool: tpool.Pool) -> None:
    stop = threading.Event()
    ready: concurrent.futures.Future[hubs.Hub] = concurrent.futures.Future()

    def script() -> None:
        ready.set_result(hubs.get_hub())
        while not stop.is_set():
            green.sleep(0.001)

    other = Other(script)
    hub = ready.result(PATIENCE)
    found, ident = await pool.execute(lambda: hub.run_threadsafe(where).result(PATIENCE))
    assert found is not asyncio.get_running_loop()
    assert ident == other.ident
    assert await asyncio.wrap_future(hub.run_threadsafe(add, 1, b=2)) == 3
    stop.set()
    await other.result()
