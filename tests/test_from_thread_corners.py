"""Corners of the way back to a loop: threads that look up or are interrupted at the wrong moment, and loops that go."""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.child import output_of
from tests.gate import PATIENCE
from tests.test_tokens import Other, loop_in_thread, token_of
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._loop import errand, feed
from tpool_asyncio._pool.native import allocate_lock

# The bell of an errand


class Bell:
    """The bell of an errand, and what happens in place of the first wait for it."""

    def __init__(self, instead: Callable[["Bell"], object]) -> None:
        self.lock = allocate_lock()
        self._instead = [instead]

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if timeout > 0 and self._instead:
            self._instead.pop()(self)
            return False
        return self.lock.acquire(blocking, timeout)

    def release(self) -> None:
        self.lock.release()


def use_bell(monkeypatch: pytest.MonkeyPatch, instead: Callable[[Bell], object]) -> None:
    monkeypatch.setattr(errand, "allocate_lock", lambda: Bell(instead))


async def test_a_thread_that_looks_up_while_the_loop_is_there_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[bool]()
    use_bell(monkeypatch, lambda bell: looked.append(bell.lock.locked()))
    token = tpool.current_token()
    assert await Other(lambda: token.run_sync(int, "3")).result() == 3
    assert looked == [True] or looked == [False]


def test_the_outcome_comes_and_the_loop_is_closed_before_the_thread_looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # (1) The thread's patience is over. (2) The outcome comes, and the loop is closed. (3) The thread, which finds the
    # loop closed, must not take its errand for lost.
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    token = token_of(loop)

    def close(bell: Bell) -> None:
        assert bell.lock.acquire(timeout=PATIENCE)
        bell.release()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()

    use_bell(monkeypatch, close)
    assert token.run_sync(int, "3") == 3


async def test_what_an_interrupted_thread_has_asked_for_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: Bell) -> None:
        raise KeyboardInterrupt

    use_bell(monkeypatch, interrupt)
    token, ran = tpool.current_token(), list[str]()

    async def ran_too() -> None:
        ran.append("run")

    for ask in (lambda: token.run_sync(ran.append, "run_sync"), lambda: token.run(ran_too)):
        with pytest.raises(KeyboardInterrupt):
            Other(ask).outcome()  # which blocks this loop
    await asyncio.sleep(0)
    assert ran == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Tokens


async def test_a_token_names_its_loop() -> None:
    assert repr(tpool.current_token()) == f"<Token of {asyncio.get_running_loop()!r}>"


def test_tokens_may_be_left_in_any_order() -> None:
    with loop_in_thread() as one, loop_in_thread() as other:
        first, second = token_of(one), token_of(other)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert from_thread.run_sync(asyncio.get_running_loop) is other
        second.__exit__(None, None, None)
        with pytest.raises(RuntimeError, match="there is no token here"):
            tpool.current_token()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_token_that_the_parent_of_a_fork_has_entered() -> None:
    program = """
    import asyncio, os, threading
    from tpool_asyncio import from_thread, tpool

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def make():
        return tpool.current_token()

    async def work():
        return await tpool.execute(from_thread.run_sync, os.getpid)

    def said_by(ask):
        try:
            ask()
        except RuntimeError as error:
            return str(error).replace(",", ":").partition(":")[0]

    try:
        with asyncio.run_coroutine_threadsafe(make(), loop).result() as token:
            child = os.fork()
            if child == 0:
                print(said_by(lambda: from_thread.run_sync(int)))
                print(said_by(tpool.current_token))
                print(said_by(from_thread.check_cancelled))
                print(asyncio.run(work()) == os.getpid(), flush=True)
            else:
                assert os.waitpid(child, 0)[1] == 0
                print(tpool.current_token() is token, from_thread.run_sync(int))
    finally:
        if child == 0:
            os._exit(0)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")).splitlines() == [
        "int could not run",
        "there is no token here",
        "from_thread.check_cancelled works in a thread of a pool",
        "True",
        "True 0",
    ]


# Iterations


async def test_two_iterations_at_the_same_time(pool: tpool.Pool) -> None:
    both = threading.Barrier(2)

    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number
            await asyncio.sleep(0)

    def consume() -> list[int]:
        items = from_thread.iterate(numbers(), batch=1)
        first = next(items)
        both.wait(PATIENCE)
        return [first, *items]

    assert [*await asyncio.gather(pool.execute(consume), pool.execute(consume))] == [[0, 1, 2]] * 2


def test_an_iteration_in_a_loop_that_is_gone() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def main() -> tuple[tpool.Token, "weakref.ref[asyncio.AbstractEventLoop]"]:
        return tpool.current_token(), weakref.ref(asyncio.get_running_loop())

    token, loop = asyncio.run(main())
    gc.collect()
    assert loop() is None
    with token, pytest.raises(RuntimeError, match="the loop of this token has been closed"):
        next(from_thread.iterate(numbers()))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_iterable_that_ends_the_program(error: type[BaseException]) -> None:
    pool = tpool.Pool(1)

    async def leaves() -> AsyncIterator[int]:
        yield 1
        raise error("leave")

    async def main() -> list[int]:
        got = list[int]()

        def consume() -> None:
            try:
                got.extend(from_thread.iterate(leaves()))
            except error:
                got.append(-1)

        calls.append(pool.execute(consume))
        await calls[0]
        return got

    calls = list[Any]()
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    with pytest.raises(error, match="leave"):  # it leaves the loop, as it does out of any task
        loop.run_until_complete(task)
    assert loop.run_until_complete(task) == [1, -1]  # and goes to the thread that iterates, too
    loop.run_until_complete(pool.killall())
    loop.close()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_pumps_of_loops_that_were_closed_over_them_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._loop.errand._LOOK_AGAIN", 0.01)
    pool, reached = tpool.Pool(1), threading.Event()

    async def waits() -> AsyncIterator[int]:
        reached.set()
        await never.wait()
        yield 1

    async def main(call: Callable[[], object]) -> object:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
        outcome = pool.execute(call)
        while not (outcome.done() or reached.is_set()):
            await asyncio.sleep(0)
        return outcome.result() if outcome.done() else None

    def consume() -> None:
        with pytest.raises(RuntimeError, match="has been closed"):
            list(from_thread.iterate(waits()))

    never = asyncio.Event()  # which this test holds, so that nothing is deleted
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(consume))
    (pump,) = feed._pumps
    assert pump.get_loop() is loop
    loop.close()
    reached.clear()

    async def one() -> AsyncIterator[int]:
        yield 1

    assert asyncio.run(main(lambda: list(from_thread.iterate(one())))) == [1]
    assert pump not in feed._pumps
    asyncio.run(pool.killall())
    with pytest.raises(RuntimeError, match="Event loop is closed"):  # of what waits for its items
        pump.get_coro().close()
