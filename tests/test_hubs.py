"""Hubs: one per thread, over which loop, and how they end."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from tests.conftest import LoopErrors
from tpool_asyncio import green, hubs
from tpool_asyncio.green import tpool
from tpool_asyncio.hubs import Hub


def forever() -> None:
    green.await_(hubs.get_hub().loop.create_future())


def in_thread(function: Callable[[], Any]) -> Any:
    """Run a function in a new thread to its end; return or raise its outcome."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.extend((function(), None))
        except BaseException as error:
            outcome.extend((None, error))

    thread = threading.Thread(target=run, name="other")
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    value, error = outcome
    if error is not None:
        raise error
    return value


def ignores_its_end() -> None:
    while True:
        try:
            forever()
        except BaseException:
            pass


# Which hub


async def test_the_hub_of_a_running_loop() -> None:
    hub = hubs.get_hub()
    assert hub is hubs.get_hub()
    assert hub.loop is asyncio.get_running_loop()
    assert hub.thread is threading.current_thread()
    assert hub.green_threads == frozenset()
    assert await green.run(hubs.get_hub) is hub


def test_a_hub_with_a_loop_of_its_own(script: Hub) -> None:
    assert "not started" in repr(script)
    assert script.loop is script.loop
    assert not script.loop.is_running()
    assert hubs.get_hub() is script
    loops = []
    green.spawn(lambda: loops.append(asyncio.get_running_loop())).wait()
    assert loops == [script.loop]
    assert "0 green thread(s)" in repr(script)


def test_the_hubs_of_a_script_and_of_asyncio_run_are_two(script: Hub) -> None:
    async def main() -> Hub:
        return hubs.get_hub()

    assert not script.loop.is_closed()
    other = asyncio.run(main())
    assert other is not script
    assert hubs.get_hub() is script
    with pytest.raises(RuntimeError, match="the loop of this hub is gone"):
        _ = other.loop
    other.close()  # again, for nothing


def test_several_threads_have_a_hub_each(script: Hub) -> None:
    def work() -> tuple[Hub, str, int]:
        hub = hubs.get_hub()
        threads = [green.spawn(tpool.execute, threading.get_ident) for _ in range(3)]
        idents = {thread.wait() for thread in threads}
        assert hub.thread is threading.current_thread()
        assert threading.get_ident() not in idents
        return hub, threading.current_thread().name, id(hub.loop)

    assert green.spawn(work).wait()[0] is script
    hub, name, _ = in_thread(work)
    assert hub is not script
    assert name == "other"


# use_hub


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ("asyncio", asyncio.SelectorEventLoop),
        ("uvloop", uvloop.Loop),
        (uvloop.new_event_loop, uvloop.Loop),
        (None, asyncio.AbstractEventLoop),
    ],
)
def test_use_hub(choice: Any, kind: type) -> None:
    def work() -> None:
        hubs.use_hub(choice)
        assert isinstance(hubs.get_hub().loop, kind)
        assert green.spawn(tpool.execute, str, "works").wait() == "works"
        with pytest.raises(RuntimeError, match=r"has been started; call get_hub\(\)\.close\(\)"):
            hubs.use_hub("asyncio")
        hubs.get_hub().close()
        hubs.use_hub("asyncio")
        assert isinstance(hubs.get_hub().loop, asyncio.SelectorEventLoop)
        hubs.get_hub().loop.close()
        hubs.use_hub(choice)
        assert isinstance(hubs.get_hub().loop, kind)

    in_thread(work)


def test_use_hub_takes_a_loop() -> None:
    def work() -> None:
        loop = asyncio.new_event_loop()
        hubs.use_hub(loop)
        assert hubs.get_hub().loop is loop
        green.sleep(0)
        hubs.get_hub().close()
        assert loop.is_closed()
        with pytest.raises(ValueError, match="neither closed nor running"):
            hubs.use_hub(loop)
        with pytest.raises(RuntimeError, match=r"that use_hub\(\) was given is closed.* call use_hub\(\) for the next"):
            green.sleep(0)
        hubs.use_hub()
        green.sleep(0)

    in_thread(work)


def test_use_hub_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no event loop named 'epolls'; use_hub knows 'asyncio' and 'uvloop'"):
        hubs.use_hub("epolls")
    with pytest.raises(TypeError, match="use_hub takes"):
        hubs.use_hub(1)  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    with pytest.raises(ImportError, match="needs uvloop"):
        hubs.use_hub("uvloop")


# close


def test_close_ends_green_threads_whose_finally_may_wait(script: Hub) -> None:
    steps = []

    def inside() -> None:
        try:
            forever()
        finally:
            green.sleep(0)
            steps.append(tpool.execute(str, "finally"))

    waiting = [green.spawn(inside), green.spawn(inside)]
    never = green.spawn_after(60, steps.append, "ran")
    green.sleep(0)
    loop = script.loop
    script.close()
    assert steps == ["finally", "finally"]
    assert loop.is_closed()
    for thread in [*waiting, never]:
        with pytest.raises(green.GreenletExit):
            thread.wait()
    script.close()
    assert hubs.get_hub() is not script
    assert green.spawn(str, "a new hub").wait() == "a new hub"
    hubs.get_hub().close()


def test_close_gives_up_those_that_ignore_their_end(script: Hub) -> None:
    script.grace = 0.01
    thread = green.spawn(ignores_its_end)
    green.sleep(0)
    with pytest.warns(RuntimeWarning, match=r"1 green thread\(s\) did not end .* given up: ignores_its_end; let Gr"):
        script.close()
    with pytest.raises(asyncio.CancelledError):
        thread.wait()
    assert thread.dead


async def test_close_while_the_loop_runs_tells_the_others_to_end() -> None:
    hub = hubs.get_hub()
    waiting = green.spawn(forever)
    await asyncio.sleep(0)
    hub.close()
    with pytest.raises(green.GreenletExit):
        await waiting

    def inside() -> str:
        waiting = green.spawn(forever)
        green.sleep(0)
        hub.close()
        with pytest.raises(green.GreenletExit):
            waiting.wait()
        return "went on"

    assert await green.run(inside) == "went on"
    assert not hub.loop.is_closed()


async def test_close_belongs_to_the_thread() -> None:
    hub = hubs.get_hub()
    with pytest.raises(RuntimeError, match="this hub belongs to the thread 'MainThread'"):
        await asyncio.to_thread(hub.close)


def test_the_end_of_asyncio_run_ends_green_threads() -> None:
    steps = []

    def inside() -> None:
        try:
            forever()
        finally:
            green.sleep(0)
            steps.append(tpool.execute(str, "finally"))

    async def main() -> None:
        green.spawn(inside)
        green.spawn_n(inside)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert steps == ["finally", "finally"]


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_end_of_asyncio_run_gives_up_those_that_ignore_it(factory: Callable[[], Any]) -> None:
    async def main() -> None:
        hubs.get_hub().grace = 0.01
        threads.append(green.spawn(ignores_its_end))
        await asyncio.sleep(0)

    threads: list[green.GreenThread[None]] = []
    with (
        pytest.warns(RuntimeWarning, match="given up: ignores_its_end"),
        asyncio.Runner(loop_factory=factory) as runner,
    ):
        runner.run(main())
    assert threads[0].dead


async def test_one_that_swallows_a_cancellation_while_others_live_is_left_alone() -> None:
    hub = hubs.get_hub()
    hub.grace = 0.001
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def inside() -> str:
        try:
            forever()
        except asyncio.CancelledError:
            pass
        return green.await_(gate)

    thread = green.spawn(inside)
    await asyncio.sleep(0)
    assert thread.task is not None
    thread.task.cancel()
    await asyncio.sleep(0.01)
    assert not thread.dead
    gate.set_result("went on")
    assert await thread == "went on"


def test_a_loop_closed_over_their_heads() -> None:
    def work() -> list[str]:
        steps = []

        def inside() -> None:
            try:
                forever()
            except green.GreenletExit:
                steps.append("exit")
                try:
                    tpool.execute(str)
                except RuntimeError as error:
                    steps.append(str(error)[:30])
                raise

        loop = asyncio.new_event_loop()
        for _ in range(2):
            loop.call_soon(green.spawn, inside)
        loop.run_until_complete(asyncio.sleep(0.001))
        tasks = asyncio.all_tasks(loop)
        loop.close()
        asyncio.run(green.run(int))  # a new hub sweeps up after the old
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        return steps

    assert in_thread(work)[0::2] == ["exit", "exit"]


def silence(threads: "list[green.GreenThread[Any]]") -> None:
    """Have no task complain that its loop was closed before its end."""
    for thread in threads:
        thread.task._log_destroy_pending = False  # type: ignore[union-attr]


def test_a_loop_that_is_closed_over_those_who_wait_for_each_other() -> None:
    def work() -> list[str]:
        steps = []

        def first() -> None:
            try:
                forever()
            finally:
                steps.append("first")

        def waits() -> None:
            try:
                threads[0].wait()
            finally:
                steps.append("waits")

        threads = [green.spawn(first)]
        threads += [green.spawn(waits) for _ in range(3)]
        green.sleep(0)
        green.sleep(0)
        hubs.get_hub().loop.close()
        green.sleep(0)  # in a new hub, which ends what the old one has left
        assert all(thread.dead for thread in threads)
        silence(threads)
        return sorted(steps)

    assert in_thread(work) == ["first", "waits", "waits", "waits"]


@pytest.mark.parametrize("asks", [hubs.get_hub, hubs.use_hub])
def test_what_is_spawned_by_one_that_ends_with_its_loop_runs_in_the_next_hub(asks: Callable[[], object]) -> None:
    def work() -> bool:
        spawned: list[green.GreenThread[str]] = []

        def spawns() -> None:
            try:
                forever()
            finally:
                spawned.append(green.spawn(str, "it runs"))

        thread = green.spawn(spawns)
        green.sleep(0)
        hubs.get_hub().loop.close()
        asks()
        silence([thread])
        green.sleep(0)
        return spawned[0].dead and spawned[0].wait() == "it runs"

    assert in_thread(work)


def test_there_is_one_hub_for_a_loop_though_one_that_is_ended_asks_for_it() -> None:
    def work() -> bool:
        asked = list[Hub]()

        def asks() -> None:
            try:
                forever()
            finally:
                asked.append(hubs.get_hub())

        loop = asyncio.new_event_loop()
        spawned: list[green.GreenThread[None]] = []
        loop.call_soon(lambda: spawned.append(green.spawn(asks)))
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        hub = asyncio.run(green.run(hubs.get_hub))
        silence(spawned)
        return asked == [hub]

    assert in_thread(work)


def test_what_is_spawned_by_one_that_ends_with_its_thread_ends_with_it_too() -> None:
    spawned: list[green.GreenThread[str]] = []

    def work() -> None:
        def spawns() -> None:
            try:
                forever()
            finally:
                spawned.append(green.spawn(str))

        loop = asyncio.new_event_loop()
        loop.call_soon(lambda: threads.append(green.spawn(spawns)))
        threads: list[green.GreenThread[None]] = []
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        silence(threads)
        loop.close()

    in_thread(work)
    assert spawned[0].dead


def test_the_end_of_a_thread_ends_its_green_threads_and_closes_its_loop() -> None:
    steps: list[object] = []

    def work() -> asyncio.AbstractEventLoop:
        def inside() -> None:
            try:
                forever()
            finally:
                green.sleep(0)
                steps.append((threading.get_ident(), tpool.execute(str, "finally")))

        green.spawn(inside)
        green.sleep(0)
        steps.append(threading.get_ident())
        return hubs.get_hub().loop

    loop = in_thread(work)
    ident, entry = steps
    assert entry == (ident, "finally")
    assert loop.is_closed()


# trampoline


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


Pair = tuple[socket.socket, socket.socket]


async def test_trampoline_waits_to_read_and_to_write(pair: Pair) -> None:
    left, right = pair

    def reads() -> bytes:
        hubs.trampoline(left, read=True, timeout=20)
        return left.recv(10)

    def writes() -> int:
        hubs.trampoline(right.fileno(), write=True)
        return right.send(b"data")

    reading = green.spawn(reads)
    await asyncio.sleep(0)
    assert not reading.dead
    assert await green.run(writes) == 4
    assert await reading == b"data"


async def test_trampoline_has_a_time_limit(pair: Pair) -> None:
    def inside() -> None:
        with pytest.raises(green.Timeout):
            hubs.trampoline(pair[0], read=True, timeout=0.001)
        with pytest.raises(TimeoutError, match="slow"):
            hubs.trampoline(pair[0], read=True, timeout=0.001, timeout_exc=TimeoutError("slow"))
        with pytest.raises(KeyError):
            hubs.trampoline(pair[0], True, None, 0.001, KeyError)
        green.sleep(0)

    await green.run(inside)


async def test_two_cannot_wait_for_the_same(pair: Pair) -> None:
    reading = green.spawn(hubs.trampoline, pair[0], read=True)
    await asyncio.sleep(0)

    def inside() -> None:
        with pytest.raises(RuntimeError, match="two green threads cannot both wait to read from file descriptor"):
            hubs.trampoline(pair[0], read=True)
        hubs.trampoline(pair[0], write=True)

    await green.run(inside)
    assert not reading.dead
    reading.kill()
    with pytest.raises(green.GreenletExit):
        await reading
    pair[1].send(b"x")
    await green.run(hubs.trampoline, pair[0], read=True)  # again, after the first is gone


async def test_trampoline_refuses_what_makes_no_sense(pair: Pair) -> None:
    for both in (True, False):
        with pytest.raises(ValueError, match="either to read or to write"):
            hubs.trampoline(pair[0], read=both, write=both)
    with pytest.raises(RuntimeError, match="use await"):
        hubs.trampoline(pair[0], read=True)
    pair[0].close()
    with pytest.raises(ValueError, match="has been closed"):
        hubs.trampoline(pair[0], read=True)


@pytest.mark.usefixtures("script")
def test_trampoline_in_a_script() -> None:
    reader, writer = os.pipe()
    try:
        green.spawn(os.write, writer, b"x")
        hubs.trampoline(reader, read=True, timeout=20)
        assert os.read(reader, 1) == b"x"
    finally:
        os.close(reader)
        os.close(writer)


async def test_errors_of_the_loop_are_not_made_by_us(loop_errors: LoopErrors) -> None:
    threads = [green.spawn(forever) for _ in range(3)]
    await asyncio.sleep(0)
    hubs.get_hub().close()
    await asyncio.wait([thread.task for thread in threads if thread.task is not None])
    assert loop_errors == []


# What a newcomer met


def test_a_green_thread_that_was_killed_has_time_to_clean_up(script: Hub) -> None:
    steps = []

    def inside() -> None:
        try:
            forever()
        finally:
            steps.append("begin")
            green.sleep(0.01)
            steps.append("end")

    thread = green.spawn(inside)
    green.sleep(0)
    thread.kill()
    script.close()
    assert steps == ["begin", "end"]


def test_one_that_swallowed_a_kill_long_ago_is_told_again(script: Hub) -> None:
    script.grace = 0.02
    steps = []

    def inside() -> None:
        try:
            forever()
        except green.GreenletExit:
            steps.append("swallowed")
        forever()

    thread = green.spawn(inside)
    green.sleep(0)
    thread.kill()
    green.sleep(0)
    script.close()
    assert steps == ["swallowed"]
    with pytest.raises(green.GreenletExit):
        thread.wait()


def test_what_never_started_never_runs(script: Hub) -> None:
    calls: list[str] = []
    green.spawn(calls.append, "ran")
    script.close()
    assert calls == []


def test_green_threads_of_a_script_do_not_run_while_another_loop_does(script: Hub) -> None:
    thread = green.spawn(str, "in the script")

    async def main() -> None:
        with pytest.warns(
            RuntimeWarning, match=r"1 green thread\(s\) of this thread's script .*: str; spawn them in th"
        ) as w:
            assert await green.run(str, 1) == "1"
        assert w[0].filename == __file__
        assert await green.run(str, 2) == "2"  # it is said once
        with pytest.raises(RuntimeError, match="green thread str belongs to another loop of this thread"):
            await thread
        with pytest.raises(RuntimeError, match="belongs to another loop"):
            await green.run(thread.wait)

    asyncio.run(main())
    assert thread.wait() == "in the script"
    assert hubs.get_hub() is script
