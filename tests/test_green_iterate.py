"""Iterating over blocking sources in green threads, scripts and workers."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gate import PATIENCE
from tests.sources import Rows, Stepped
from tests.test_hubs import in_thread
from tpool_asyncio import from_thread, green
from tpool_asyncio.green import tpool
from tpool_asyncio.hubs import Hub


@pytest.fixture
def pool() -> Iterator[tpool.Pool]:
    """A pool of two threads; at its end none of them is bound to an iteration."""
    pool = tpool.Pool(2, name="test")
    yield pool
    wait_freed(pool)
    in_thread(pool.killall)


def wait_freed(pool: tpool.Pool) -> None:
    """Wait, blocking, until no iteration has a thread of its own any more."""
    deadline = time.monotonic() + PATIENCE
    while pool.statistics().pinned:
        assert time.monotonic() < deadline  # after a test has failed, there is no other limit


def numbers(number: int) -> Iterator[int]:
    yield from range(number)


def read_all(pool: tpool.Pool) -> None:
    for batch, number in ((1, 200), (7, 200), (None, 100_000)):
        assert list(pool.iterate(numbers, number, batch=batch)) == list(range(number))
        assert list(pool.iterate(range(number), batch=batch)) == list(range(number))
    assert list(pool.options(name="x", timeout=20).iterate(numbers(10))) == list(range(10))


async def test_in_green_threads(pool: tpool.Pool) -> None:
    await green.run(read_all, pool)
    await asyncio.gather(*(green.spawn(read_all, pool) for _ in range(5)))


def test_in_scripts(pool: tpool.Pool, script: Hub) -> None:
    read_all(pool)
    in_thread(lambda: read_all(pool))
    green.spawn(read_all, pool).wait()


@pytest.mark.parametrize("size", [1, 2])
def test_in_a_worker_of_the_same_pool(size: int, script: Hub) -> None:
    pool = tpool.Pool(size)

    def inside() -> list[int]:
        read_all(pool)
        with pool.iterate(numbers, 50, batch=1) as rows:
            got = []
            for item in rows:
                got.append(pool.execute(int, item))
                if item == 20:
                    break
        return got

    with pool:
        assert pool.execute(inside) == list(range(21))
        wait_freed(pool)


@pytest.mark.parametrize("size", [1, 2])
def test_in_a_worker_of_another_pool(size: int, script: Hub) -> None:
    one, two = tpool.Pool(size), tpool.Pool(size)
    with one, two:
        one.execute(read_all, two)
        one.execute(two.execute, read_all, one)  # each of them has its only thread wait for the other
        wait_freed(one)


async def test_async_code_iterates_inside_a_worker(pool: tpool.Pool) -> None:
    def inside() -> list[int]:
        async def main() -> list[int]:
            return [item async for item in pool._pool.iterate(numbers, 50, batch=3)]

        return asyncio.run(main())

    assert await pool._pool.execute(inside) == list(range(50))


async def test_plain_async_code_is_refused_with_the_remedy(pool: tpool.Pool) -> None:
    rows = pool.iterate([1])
    for use in (lambda: next(rows), rows.close):
        with pytest.raises(RuntimeError, match=r"from tpool_asyncio import tpool' and 'async for'"):
            use()


@pytest.mark.parametrize("fast", [0, 3, 200, 5_000])
async def test_a_slow_item_comes_before_the_source_goes_on(pool: tpool.Pool, fast: int) -> None:
    def inside() -> None:
        source = Stepped(fast)
        with pool.iterate(source, fast + 4) as rows:
            for item in range(fast):
                assert next(rows) == item
            for item in range(fast, fast + 4):
                source.go()
                assert next(rows) == item
            with pytest.raises(StopIteration):
                next(rows)

    await green.run(inside)
    in_thread(inside)


@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_it_reads_ahead_while_the_body_waits(pool: tpool.Pool) -> None:
    def inside() -> None:
        source = Stepped(1 << 30)
        with pool.iterate(source, batch=10) as rows:
            assert next(rows) == 0
            while source.asked < 20:
                green.sleep(0)
            for _ in range(10):
                green.sleep(0.001)
            assert source.asked == 20
        assert len(set(source.threads)) == 1

    await green.run(inside)
    in_thread(inside)


@pytest.mark.parametrize("way", ["break", "close", "with", "error", "kill"])
@pytest.mark.usefixtures("a_batch_at_a_time")
async def test_leaving_early_closes_the_source_in_its_thread(pool: tpool.Pool, way: str) -> None:
    source = Stepped(1 << 30)

    def inside() -> None:
        rows = pool.iterate(source, batch=3)
        if way == "with":
            with rows as same:
                assert next(same) == 0
            assert source.closed
        elif way == "close":
            assert next(rows) == 0
            rows.close()
            rows.close()
            assert source.closed
            assert list(rows) == []
        elif way == "error":
            with pytest.raises(LookupError), rows:
                raise LookupError(next(rows))
        else:
            for item in rows:
                if way == "kill" and item == 3:
                    green.sleep(20)
                if item == 5:
                    break

    thread = green.spawn(inside)
    if way == "kill":
        while source.asked < 6:
            await asyncio.sleep(0.001)
        thread.kill()
    await asyncio.gather(thread, return_exceptions=True)
    del thread
    gc.collect()
    while not source.closed:
        await asyncio.sleep(0.001)
        gc.collect()  # of the frames that an error leads to
    if way != "kill":  # a generator that is found together with its iteration may be closed by the collector itself
        assert len(set(source.threads)) == 1


def test_leaving_early_in_a_script(pool: tpool.Pool, script: Hub) -> None:
    source = Stepped(1 << 30)
    for item in pool.iterate(source, batch=3):
        if item == 10:
            break
    source.wait_closed()
    assert len(set(source.threads)) == 1


@pytest.mark.parametrize("way", ["kill", "timeout"])
async def test_an_interrupted_wait_loses_no_item(pool: tpool.Pool, way: str) -> None:
    source = Stepped(2)
    rows = pool.iterate(source, 5)
    taken = list[bool]()

    def first() -> None:
        assert [next(rows), next(rows)] == [0, 1]
        taken.append(True)
        if way == "timeout":
            with pytest.raises(green.Timeout), green.Timeout(0.001):
                next(rows)
        else:
            next(rows)

    thread = green.spawn(first)
    if way == "kill":
        while not (taken and source.asked == 3):
            await asyncio.sleep(0.001)
        thread.kill()
    await asyncio.gather(thread, return_exceptions=True)
    source.go(3)
    assert await green.run(list, rows) == [2, 3, 4]


async def test_errors(pool: tpool.Pool) -> None:
    raised = LookupError("x")

    def stops() -> list[int]:
        raise StopIteration("x")

    def inside() -> None:
        rows = pool.iterate(Rows([1, 2, raised]))
        assert [next(rows), next(rows)] == [1, 2]
        with pytest.raises(LookupError) as caught:
            next(rows)
        assert caught.value is raised
        with pytest.raises(StopIteration):
            next(rows)
        with pytest.raises(RuntimeError, match="stops raised StopIteration"):
            next(pool.iterate(stops))
        failing = pool.iterate(Rows([1, 2, 3], LookupError("in closing")), batch=1)
        assert next(failing) == 1
        with pytest.raises(LookupError, match="in closing"):
            failing.close()
        with pytest.raises(TypeError, match="iterate takes an iterable"):
            pool.iterate(3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="batch"):
            pool.iterate([1], batch=0)

    await green.run(inside)
    in_thread(inside)


async def test_several_green_threads_share_the_items(pool: tpool.Pool) -> None:
    rows = pool.iterate(numbers, 1_000, batch=5)

    def consume() -> list[int]:
        got = []
        for item in rows:
            got.append(item)
            green.sleep(0)
        return got

    shares = await asyncio.gather(*(green.spawn(consume) for _ in range(5)))
    assert sorted(item for share in shares for item in share) == list(range(1_000))


@pytest.mark.parametrize("in_cycle", [False, True])
def test_dropped_in_a_thread_that_has_no_loop(pool: tpool.Pool, in_cycle: bool, script: Hub) -> None:
    source = Stepped(1 << 30)
    held: list[Any] = [pool.iterate(source, batch=2)]
    assert next(held[0]) == 0
    if in_cycle:
        held.append(held)
        del held
        drop: Callable[[], object] = gc.collect
    else:
        drop = held.clear
    in_thread(drop)
    source.wait_closed()
    assert len(set(source.threads)) == 1


def test_dropped_after_its_hub_has_gone(pool: tpool.Pool) -> None:
    source = Stepped(3)
    held = list[tpool.Iteration[int]]()

    def inside() -> None:
        held.append(pool.iterate(source))
        assert next(held[0]) == 0
        with pytest.raises(green.Timeout), green.Timeout(0.001):
            for _ in held[0]:
                pass

    in_thread(inside)
    held.clear()
    assert not source.closed
    source.go()
    source.wait_closed()


async def test_check_cancelled_inside_a_source(pool: tpool.Pool) -> None:
    begun = threading.Event()

    def source() -> Iterator[int]:
        begun.set()
        while True:
            from_thread.check_cancelled()
        yield 1  # pragma: no cover - which makes it a generator

    def inside() -> None:
        while not begun.is_set():
            with pool.iterate(source) as rows, pytest.raises(green.Timeout), green.Timeout(0.01):
                next(rows)

    await green.run(inside)


async def test_killall_in_the_body(pool: tpool.Pool) -> None:
    def inside() -> list[int]:
        got = []
        for item in pool.iterate(numbers, 100, batch=10):
            got.append(item)
            if item % 30 == 5:
                pool.killall()
        return got

    assert await green.run(inside) == list(range(100))
    assert in_thread(inside) == list(range(100))


def test_a_closed_hub_and_a_new_one(pool: tpool.Pool) -> None:
    rows = pool.iterate(numbers, 1_000, batch=10)
    got = [in_thread(lambda: next(rows)) for _ in range(35)]  # each thread has a hub of its own
    assert got + in_thread(lambda: list(rows)) == list(range(1_000))
