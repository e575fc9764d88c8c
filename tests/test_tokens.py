"""Threads that are not of a pool, and have a token: `from_thread` works in them."""

import asyncio
import gc
import inspect
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from tests.child import output_of
from tests.gate import PATIENCE, Gate
from tests.test_from_thread_closed_loop import run_in_own_loop
from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

T = TypeVar("T")


async def add(a: int, b: int = 0) -> int:
    await asyncio.sleep(0)
    return a + b


class Other(threading.Thread):
    """A thread that is not of a pool, and what its function has returned or raised."""

    def __init__(self, fn: Callable[[], Any]) -> None:
        super().__init__()
        self._fn = fn
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._fn()
        except BaseException as error:
            self._error = error

    def outcome(self) -> Any:
        """Wait for it, blocking."""
        self.join(PATIENCE)
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._value
        finally:
            del error

    async def result(self) -> Any:
        """Wait for it in a loop."""
        while self.is_alive():
            await asyncio.sleep(0)
        return self.outcome()


@contextmanager
def loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def token_of(loop: asyncio.AbstractEventLoop) -> tpool.Token:
    async def token() -> tpool.Token:
        return tpool.current_token()

    return asyncio.run_coroutine_threadsafe(token(), loop).result(PATIENCE)


# Tokens of a loop


@pytest.mark.combination(caller="thread with a token", library="tpool_asyncio.from_thread")
async def test_the_functions_work_in_a_thread_with_a_token() -> None:
    token = tpool.current_token()

    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    def work() -> list[object]:
        with token as entered:
            assert entered is token
            assert tpool.current_token() is token
            from_thread.check_cancelled()
            return [
                from_thread.run(add, 1, b=2),
                from_thread.run_sync(threading.get_ident),
                list(from_thread.iterate(numbers())),
            ]

    assert await Other(work).result() == [3, threading.get_ident(), [0, 1, 2]]


async def test_the_methods_of_a_token() -> None:
    token = tpool.current_token()
    assert await Other(lambda: (token.run(add, 1, b=2), token.run_sync(dict, a=1))).result() == (3, {"a": 1})


async def test_a_bound_function_takes_the_token_along() -> None:
    def work(a: int, b: int = 0) -> int:
        return from_thread.run(add, a, b=b)

    bound = tpool.current_token().bind(work)
    assert bound.__name__ == "work"
    assert await Other(lambda: bound(1, b=2)).result() == 3
    with ThreadPoolExecutor(2) as executor:
        assert await asyncio.wrap_future(executor.submit(bound, 3)) == 3
        with pytest.raises(RuntimeError, match="other threads that have a token"):  # and leaves nothing behind
            await asyncio.wrap_future(executor.submit(work, 3))


async def test_errors_come_back_as_the_same_object() -> None:
    token, error = tpool.current_token(), LookupError("x")

    async def fail() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        await Other(lambda: token.run(fail)).result()
    assert caught.value is error


async def test_tokens_are_entered_one_inside_another() -> None:
    here = asyncio.get_running_loop()
    outer = tpool.current_token()
    with loop_in_thread() as there:
        inner = token_of(there)

        def work() -> list[object]:
            with outer:
                first = from_thread.run_sync(asyncio.get_running_loop)
                with inner, outer, inner:
                    second = from_thread.run_sync(asyncio.get_running_loop)
                return [first, second, from_thread.run_sync(asyncio.get_running_loop)]

        assert await Other(work).result() == [here, there, here]


async def test_a_worker_can_enter_the_token_of_another_loop_and_is_parked(pool: tpool.Pool) -> None:
    with loop_in_thread() as there:
        token = token_of(there)

        def parked() -> int:
            return pool.statistics().parked

        def job() -> list[object]:
            with token:
                found = [from_thread.run_sync(asyncio.get_running_loop), from_thread.run_sync(parked)]
            return [*found, from_thread.run_sync(asyncio.get_running_loop)]

        assert await pool.execute(job) == [there, 1, asyncio.get_running_loop()]


async def test_where_there_is_no_token() -> None:
    def work() -> list[str]:
        said = []
        for ask in (
            tpool.current_token,
            from_thread.check_cancelled,
            lambda: from_thread.run(add, 1),
            lambda: next(from_thread.iterate(aiter_of())),
        ):
            try:
                ask()
            except RuntimeError as error:
                said.append(str(error))
        return said

    first, *others = await Other(work).result()
    assert first.startswith("there is no token here")
    assert len(others) == 3
    assert all("Thread(target=tpool.current_token().bind(function))" in text for text in others)


async def aiter_of(*items: T) -> AsyncIterator[T]:
    for item in items:
        yield item


async def test_what_cannot_be_bound() -> None:
    token = tpool.current_token()
    for thing in (3, add):
        with pytest.raises(TypeError, match="bind takes a synchronous function"):
            token.bind(thing)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"first argument of from_thread.run must be callable, not 3; pass the"):
        await Other(lambda: token.run(3)).result()  # type: ignore[arg-type]


async def test_a_coroutine_in_place_of_its_function_is_closed() -> None:
    for ask in (from_thread.run, from_thread.run_sync):
        coroutine = asyncio.sleep(0)
        with pytest.raises(TypeError, match=r"must be callable, not <coroutine object sleep.*pass the function itself"):
            await tpool.execute(ask, coroutine)  # type: ignore[arg-type]
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_in_the_thread_of_the_loop() -> None:
    token = tpool.current_token()
    for ask in (token.run, token.run_sync):
        with pytest.raises(RuntimeError, match="would wait for the loop that this very thread is running"):
            ask(add, 1)
    with pytest.raises(RuntimeError, match="for threads in which no event loop runs"), token:
        pass


def test_a_loop_that_is_closed() -> None:
    tokens = list[tpool.Token]()

    async def main() -> None:
        tokens.append(tpool.current_token())

    loop = run_in_own_loop(main())
    for ask in (tokens[0].run, tokens[0].run_sync):
        with pytest.raises(RuntimeError, match=r"add could not run: the loop of this token has been closed"):
            ask(add, 1)
    with tokens[0], pytest.raises(asyncio.CancelledError):
        from_thread.check_cancelled()
    assert repr(tokens[0]) == "<Token of a loop that has been closed>"
    reference = weakref.ref(loop)
    del loop
    gc.collect()
    assert reference() is None, "the token holds the loop"
    with pytest.raises(RuntimeError, match="has been closed"):
        tokens[0].run_sync(int)


def test_a_loop_that_does_not_run_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._loop.errand._LOOK_AGAIN", 0.001)
    loop = asyncio.new_event_loop()

    async def make() -> tpool.Token:
        return tpool.current_token()

    token = loop.run_until_complete(make())
    with pytest.raises(RuntimeError, match=r"a loop that this very thread is to run; a script waits with green.await_"):
        token.run(add, 1)
    asked = threading.Event()

    def work() -> int:
        asked.set()
        return token.run(add, 1, b=2)

    other = Other(work)
    assert asked.wait(PATIENCE)

    async def until_over() -> Any:
        return await other.result()

    assert loop.run_until_complete(until_over()) == 3
    loop.close()


# Tokens of a call


@pytest.mark.combination(caller="thread started in a worker", library="tpool_asyncio.from_thread")
async def test_threads_started_inside_a_call(pool: tpool.Pool) -> None:
    def job() -> list[int]:
        token = tpool.current_token()
        others = [Other(token.bind(lambda: from_thread.run(add, 1, b=2))) for _ in range(3)]
        return [other.outcome() for other in others]

    assert await pool.execute(job) == [3, 3, 3]
    assert await pool.options(name="with options").execute(job) == [3, 3, 3]


@pytest.mark.combination(caller="thread started in a worker of a green call", library="tpool_asyncio.from_thread")
async def test_threads_started_inside_a_green_call() -> None:
    def job() -> int:
        token = green_tpool.current_token()
        assert "job" in repr(token)
        return Other(lambda: token.run(add, 1, b=2)).outcome()  # type: ignore[no-any-return]

    assert await green.run(green_tpool.execute, job) == 3


@pytest.mark.usefixtures("script")
def test_threads_started_inside_the_call_of_a_script() -> None:
    def job() -> int:
        token = tpool.current_token()
        return Other(lambda: token.run(add, 1, b=2)).outcome()  # type: ignore[no-any-return]

    for _ in range(2):
        assert green_tpool.execute(job) == 3


async def test_the_errands_are_cancelled_with_the_call(pool: tpool.Pool, loop_errors: list[Any]) -> None:
    others, reached = list[Other](), asyncio.Event()
    gate = Gate()

    async def forever() -> None:
        reached.set()
        await asyncio.Event().wait()

    def work() -> None:
        try:
            from_thread.run(forever)
        except asyncio.CancelledError:
            from_thread.check_cancelled()

    def job() -> None:
        from_thread.check_cancelled()
        others.append(Other(tpool.current_token().bind(work)))
        gate()

    call = pool.execute(job)
    await reached.wait()
    gate.wait_begun()
    call.cancel()
    with pytest.raises(asyncio.CancelledError, match="has stopped waiting for it"):
        await others[0].result()
    gate.open()
    await pool.killall()
    assert loop_errors == []


async def test_what_a_thread_waits_for_is_not_collected(pool: tpool.Pool, loop_errors: list[Any]) -> None:
    reached = asyncio.Event()

    async def waits_for_what_nobody_else_has() -> None:
        event = asyncio.Event()
        reached.set()
        await event.wait()

    call = pool.execute(from_thread.run, waits_for_what_nobody_else_has)
    await reached.wait()
    await asyncio.sleep(0)
    gc.collect()
    assert loop_errors == []
    call.cancel()
    await pool.killall(PATIENCE)  # the errand is cancelled with the call


async def test_after_the_end_of_the_call_nobody_waits_for_what_it_has_started(pool: tpool.Pool) -> None:
    token = await pool.execute(tpool.current_token)
    gc.collect()
    assert repr(token).startswith("<Token of a call that has ended")
    with pytest.raises(asyncio.CancelledError):
        await Other(lambda: token.run(add, 1)).result()
    with pytest.raises(asyncio.CancelledError):
        await Other(token.bind(from_thread.check_cancelled)).result()
    assert await Other(lambda: token.run_sync(int)).result() == 0


async def test_a_token_holds_nothing_of_the_users(pool: tpool.Pool) -> None:
    class Thing:
        pass

    tokens = list[tpool.Token]()

    def job() -> Thing:
        tokens.append(tpool.current_token())
        return Thing()

    thing = weakref.ref(await pool.execute(job))
    await pool.killall()
    gc.collect()
    assert thing() is None


async def test_a_token_of_a_call_inside_a_call(pool: tpool.Pool) -> None:
    def outer() -> int:
        return Other(green_tpool.execute(tpool.current_token).bind(lambda: from_thread.run(add, 1))).outcome()  # type: ignore[no-any-return]

    assert await tpool.execute(outer) == 1


async def test_a_loop_inside_a_call_has_tokens_of_its_own(pool: tpool.Pool) -> None:
    def job() -> bool:
        async def main() -> bool:
            token = tpool.current_token()
            other = Other(lambda: token.run_sync(asyncio.get_running_loop))
            return await other.result() is asyncio.get_running_loop()

        return asyncio.run(main())

    assert await pool.execute(job)


# Iteration


async def test_an_iteration_that_is_left_early_closes_its_source() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    def work() -> int:
        for item in from_thread.iterate(source()):
            return item
        raise AssertionError

    token = tpool.current_token()
    assert await Other(token.bind(work)).result() == 1
    await closed.wait()
    closed.clear()

    def elsewhere() -> int:  # where the token is in effect no more
        with token:
            items = from_thread.iterate(source())
            first = next(items)
        items.close()
        return first

    assert await Other(elsewhere).result() == 1
    await closed.wait()


# Green code


@pytest.mark.combination(caller="thread with a token of a green thread", library="tpool_asyncio.from_thread")
async def test_a_token_from_a_green_thread() -> None:
    def work() -> int:
        token = green_tpool.current_token()
        other = Other(lambda: token.run(add, 1, b=2))
        while other.is_alive():
            green.sleep(0)
        return other.outcome()  # type: ignore[no-any-return]

    assert await green.run(work) == 3


@pytest.mark.combination(caller="thread with a token of a script", library="tpool_asyncio.from_thread")
def test_a_token_from_a_script(script: hubs.Hub) -> None:
    token = green_tpool.current_token()
    other = Other(lambda: token.run(add, 1, b=2))
    while other.is_alive():
        green.sleep(0.001)
    assert other.outcome() == 3
    with pytest.raises(RuntimeError, match=r"a script waits with green.await_"):
        token.run(add, 1)
    script.close()
    with pytest.raises(RuntimeError, match="the loop of this token has been closed"):
        Other(lambda: token.run(add, 1)).outcome()


# Signals and forks


def test_ctrl_c_in_the_main_thread_while_it_waits() -> None:
    program = """
    import asyncio, os, signal, threading
    from tpool_asyncio import from_thread, tpool

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    cancelled = threading.Event()

    async def make():
        return tpool.current_token()

    async def forever():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with asyncio.run_coroutine_threadsafe(make(), loop).result() as token:
        try:
            from_thread.run(forever)
        except KeyboardInterrupt:
            print("interrupted", cancelled.wait(10))
        print(from_thread.run(asyncio.sleep, 0, "and on"))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    """
    assert output_of(program) == "interrupted True\nand on\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_fork_the_token_is_of_no_use() -> None:
    program = """
    import asyncio, os, threading
    from tpool_asyncio import from_thread, tpool

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def make():
        return tpool.current_token()

    token = asyncio.run_coroutine_threadsafe(make(), loop).result()
    child = os.fork()
    if child == 0:
        try:
            token.run_sync(int)
        except RuntimeError as error:
            os.write(1, str(error).encode() + b"\\n")
        os._exit(0)
    os.waitpid(child, 0)
    print(token.run_sync(int))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    """
    said, there = output_of(program).splitlines()
    assert said.endswith("is one of the process that this one was forked from; get a token in the child")
    assert there == "0"
