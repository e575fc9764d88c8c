"""Iterations in async code and what may go away under them: loops, threads, the process."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.child import output_of
from tests.gate import Gate
from tests.sources import Stepped
from tests.test_hubs import in_thread
from tpool_asyncio import tpool

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.001)


# Loops


async def test_another_loop_at_the_same_time_is_refused(pool: tpool.Pool) -> None:
    source = Stepped()
    async with pool.iterate(source) as rows:
        waiting = asyncio.ensure_future(anext(rows))
        await until(lambda: source.asked)

        async def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="is being iterated in another event loop; give each loop an iter"):
                await anext(rows)

        in_thread(lambda: asyncio.run(elsewhere()))
        source.go()
        assert await waiting == 0
        source.go()


@pytest.mark.usefixtures("a_patient_end")
async def test_it_may_be_closed_from_another_loop(pool: tpool.Pool) -> None:
    source = Stepped()
    rows = pool.iterate(source)
    waiting = asyncio.ensure_future(anext(rows))
    await until(lambda: source.asked)
    closing = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(rows.aclose())))
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert not source.closed
    source.go()
    await closing
    assert source.closed
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.parametrize("kind", ["generator", "iterator"])
@pytest.mark.parametrize("batch", [1, 10, None])
def test_it_goes_on_in_another_loop_after_the_first(kind: str, batch: int | None) -> None:
    pool = tpool.Pool(1)
    source: Any = Stepped(1 << 30)(1_000) if kind == "generator" else iter(range(1_000))
    rows = pool.iterate(source, batch=batch)
    got = list[int]()

    async def some(number: int) -> None:
        async for item in rows:
            got.append(item)
            await asyncio.sleep(0)
            if len(got) >= number:
                return

    for number in (10, 500, 501, 2_000):
        asyncio.run(some(number))
    assert got == list(range(1_000))
    asyncio.run(pool.killall())


@pytest.mark.parametrize("ends", ["before", "after"])
@pytest.mark.usefixtures("a_batch_at_a_time")
def test_it_goes_on_although_a_trip_was_lost_with_its_loop(ends: str) -> None:
    source, pool = Stepped(3), tpool.Pool(1)
    rows = pool.iterate(source, 6)

    async def first() -> None:
        assert await anext(rows) == 0
        await until(lambda: source.asked == 4)

    async def second() -> list[int]:
        if ends == "after":
            asyncio.get_running_loop().call_later(0.01, source.go, 3)
        return [item async for item in rows]

    asyncio.run(first())
    if ends == "before":
        source.go(3)
    assert asyncio.run(second()) == [1, 2, 3, 4, 5]
    asyncio.run(pool.killall())
    assert pool.statistics().pinned == 0


@pytest.mark.parametrize("trip", ["none", "queued", "reading"])
@pytest.mark.usefixtures("a_batch_at_a_time")
def test_a_loop_closed_with_an_open_iteration(trip: str, capfd: pytest.CaptureFixture[str]) -> None:
    pool, gate = tpool.Pool(1), Gate()
    source = Stepped(3)
    made: Any = map(int, source(5)) if trip == "queued" else source
    held = [pool.iterate(made, batch=None if trip == "reading" else 1)]

    async def main() -> None:
        rows = held[0]
        assert await anext(rows) == 0
        if trip == "reading":
            await until(lambda: source.asked == 4)
            asyncio.ensure_future(anext(rows)).add_done_callback(lambda _: None)
            return
        stream = rows._stream
        stream._ahead = False
        await until(lambda: stream._trip is None)
        if trip == "queued":
            pool.execute(gate)
            gate.wait_begun()
            stream._start(asyncio.get_running_loop())

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    loop.run_until_complete(main())
    loop.close()
    held.clear()
    gc.collect()
    gate.open()
    source.go(2)
    asyncio.run(pool.killall())
    if trip != "queued":
        source.wait_closed()
        assert len(set(source.threads)) == 1
    assert pool.statistics().pinned == 0
    assert capfd.readouterr().err == ""


def test_a_loop_that_is_stopped_and_never_hears_of_the_end() -> None:
    pool, source = tpool.Pool(1), Stepped(1 << 30)
    rows = pool.iterate(source, batch=2)
    stream = rows._stream
    loop = asyncio.new_event_loop()

    async def step() -> int:
        return await anext(rows)

    assert [loop.run_until_complete(step()) for _ in range(1_000)] == list(range(1_000))
    while stream._trip is None:  # a trip that the loop knows to be under way
        loop.run_until_complete(step())
    in_thread(stream.stop)
    source.wait_closed()
    loop.close()
    asyncio.run(pool.killall())
    assert pool.statistics().pinned == 0


def test_the_end_of_asyncio_run_in_the_middle(capfd: pytest.CaptureFixture[str]) -> None:
    source = Stepped(1 << 30)
    kept = list[object]()

    async def consume() -> None:
        rows = tpool.iterate(source, batch=2)
        kept.append(rows)
        async for _ in rows:
            await asyncio.sleep(0)

    async def main() -> None:
        asyncio.create_task(consume()).add_done_callback(lambda _: None)
        await until(lambda: source.asked > 10)

    asyncio.run(main())
    kept.clear()
    gc.collect()  # since Python 3.12 the tasks that `asyncio.run` has cancelled are garbage for the collector
    source.wait_closed()
    if sys.version_info < (3, 12):  # or else the collector may find the generator as well, and close it where it runs
        assert len(set(source.threads)) == 1
    assert capfd.readouterr().err == ""


# The end of threads


@pytest.mark.parametrize("kind", ["generator", "list"])
async def test_killall_in_the_body(pool: tpool.Pool, kind: str) -> None:
    source: Any = Stepped(1 << 30)(200) if kind == "generator" else list(range(200))
    got = list[int]()
    async for item in pool.iterate(source, batch=10):
        got.append(item)
        if item % 50 == 5:
            await pool.killall()
    assert got == list(range(200))


EXIT = """
    import asyncio, os, sys
    from tpool_asyncio import tpool

    def source():
        try:
            for item in range(1 << 40):
                yield item
        finally:
            os.write(1, b"closed\\n")  # in one go, as the main thread may print at the same time

    held = []
    async def main():
        rows = tpool.iterate(source, batch=5)
        async for item in rows:
            if item == 12:
                HOLD
                break

    asyncio.run(main())
    os.write(1, b"end\\n")
"""


@pytest.mark.parametrize("hold", ["held.append(rows)", "sys.rows = rows", "pass"])
def test_exit_with_an_open_iteration(hold: str) -> None:
    printed = sorted(output_of(EXIT.replace("HOLD", hold)).splitlines())
    held_for_ever = ["end"] if "sys" in hold else None  # what `sys` holds, Python itself never drops
    assert printed in (["closed", "end"], held_for_ever)


@needs_fork
def test_a_fork_with_an_open_iteration() -> None:
    program = """
        import asyncio, os, threading
        from tpool_asyncio import tpool

        lines, go_on = iter(range(100)), threading.Event()

        def generator():
            yield from range(50)
            go_on.wait()
            yield 50

        async def take(rows, number):
            got = [await anext(rows) for _ in range(number)]
            stream = rows._stream
            while stream is not stuck._stream and stream._trip is not None:
                await asyncio.sleep(0.001)
            return got

        async def rest(rows):
            return [item async for item in rows]

        free = tpool.iterate(lines, batch=10)
        stuck = tpool.iterate(generator)
        print(asyncio.run(take(free, 3)), asyncio.run(take(stuck, 2)))
        pid = os.fork()
        if not pid:
            print(asyncio.run(rest(free)) == list(range(3, 100)))
            asyncio.run(stuck.aclose())
            print(asyncio.run(rest(stuck)), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print(asyncio.run(rest(free)) == list(range(3, 100)))
        go_on.set()
        print(asyncio.run(rest(stuck)) == list(range(2, 51)), flush=True)
    """
    options = ("-W", "ignore::DeprecationWarning")
    assert output_of(program, options=options).splitlines() == [
        "[0, 1, 2] [0, 1]",
        "True",
        "[]",
        "True",
        "True",
    ]


@needs_fork
def test_a_fork_while_an_iteration_is_read_by_a_thread_of_the_pool() -> None:
    # In the child there is no thread that reads, and none that could wait until that is over.
    program = """
        import asyncio, os, threading
        from tpool_asyncio import tpool

        class Rows:
            def __iter__(self):
                return self

            def __next__(self):
                begun.set()
                go_on.wait()
                raise StopIteration

            def close(self):  # by the parent if it stops before the end is reached
                if not pid:
                    print("closed in the child", flush=True)

        async def begin():
            reading = asyncio.ensure_future(anext(rows))
            await asyncio.to_thread(begun.wait)
            reading.cancel()

        async def leave():
            await rows.aclose()
            await pool.killall(10)

        begun, go_on = threading.Event(), threading.Event()
        pool = tpool.Pool(2)
        rows = pool.iterate(Rows())
        asyncio.run(begin())
        pid = os.fork()
        if not pid:
            asyncio.run(leave())
            print("child", flush=True)
            os._exit(0)
        print(os.waitpid(pid, 0)[1], flush=True)
        go_on.set()
        asyncio.run(leave())
    """
    options = ("-W", "ignore::DeprecationWarning")
    assert output_of(program, options=options).splitlines() == ["child", "0"]
