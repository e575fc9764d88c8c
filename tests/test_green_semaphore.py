"""Semaphores: tokens are neither lost nor doubled, and first come is first served."""

import asyncio
import contextvars
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from greenlet import GreenletExit

from tests.test_green_event import in_a_thread
from tpool_asyncio import green, hubs
from tpool_asyncio._green.event import Event
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.semaphore import BoundedSemaphore, Semaphore

KINDS = [Semaphore, BoundedSemaphore]


@pytest.fixture(autouse=True)
def hub_closed() -> Iterator[None]:
    yield
    if asyncio._get_running_loop() is None:
        hubs.get_hub().close()


def take_turns(kind: type[Semaphore]) -> None:
    semaphore = kind(2)
    gate = Event()
    order = []
    inside = most = 0

    def work(number: int) -> None:
        nonlocal inside, most
        with semaphore:
            inside += 1
            most = max(most, inside)
            order.append(number)
            if number < 2:
                gate.wait()
            green.sleep(0)
            inside -= 1

    threads = [green.spawn(work, number) for number in range(6)]
    green.sleep(0)
    assert semaphore.locked()
    assert semaphore.counter == 0
    assert semaphore.balance == -4
    gate.send()
    for thread in threads:
        thread.wait()
    assert order == list(range(6))
    assert most == 2
    assert semaphore.counter == semaphore.balance == 2
    assert not semaphore.locked()
    assert not semaphore.bounded()


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_script(kind: type[Semaphore]) -> None:
    take_turns(kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_in_a_green_thread(kind: type[Semaphore]) -> None:
    await green.run(take_turns, kind)


def test_a_script_waits_for_a_token() -> None:
    semaphore = Semaphore(0)
    green.spawn(semaphore.release)
    assert semaphore.acquire()
    assert semaphore.counter == 0


async def test_async_code_takes_and_brings_tokens_but_cannot_wait_for_one() -> None:
    semaphore = Semaphore()
    assert semaphore.acquire() is True
    assert semaphore.acquire(blocking=False) is False
    with pytest.raises(RuntimeError, match="use await"):
        semaphore.acquire()
    assert semaphore.balance == 0  # nobody is left in the line
    waiting = green.spawn(semaphore.acquire)
    asyncio.get_running_loop().call_soon(semaphore.release)
    assert await waiting is True
    assert semaphore.release() is True
    assert semaphore.counter == 1


def test_nobody_overtakes_who_has_been_given_a_token() -> None:
    semaphore = Semaphore(0)
    first = green.spawn(semaphore.acquire)
    green.sleep(0)
    semaphore.release()
    assert semaphore.acquire(blocking=False) is False
    assert first.wait() is True


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_when_the_time_is_over_nothing_is_taken(timeout: float) -> None:
    semaphore = Semaphore(0)
    assert semaphore.acquire(timeout=timeout) is False
    assert semaphore.balance == 0
    semaphore.release()
    assert semaphore.acquire(timeout=timeout) is True
    assert semaphore.counter == 0


def test_minus_one_waits_for_ever_as_in_threading() -> None:
    semaphore = Semaphore(0)
    waiting = green.spawn(semaphore.acquire, timeout=-1)
    green.sleep(0)
    assert semaphore.balance == -1
    semaphore.release()
    assert waiting.wait() is True


def test_a_token_that_comes_as_the_time_is_over_is_taken_or_left() -> None:
    for seconds in (0.0, 0.0005):
        semaphore = Semaphore(0)
        waiting = green.spawn(semaphore.acquire, timeout=seconds)
        green.spawn_after(seconds, semaphore.release)
        taken = waiting.wait()
        green.sleep(0.002)
        assert semaphore.counter == (0 if taken else 1)


class LimitedError(Exception):
    pass


def kill(green_thread: GreenThread[Any]) -> None:
    green_thread.kill()


def cancel(green_thread: GreenThread[Any]) -> None:
    assert green_thread.task
    green_thread.task.cancel()


def limit(green_thread: GreenThread[Any]) -> None:
    green_thread.kill(LimitedError())


INTERRUPTS = [(kill, GreenletExit), (cancel, asyncio.CancelledError), (limit, LimitedError)]


@pytest.mark.parametrize(("interrupt", "error"), INTERRUPTS)
@pytest.mark.parametrize("kind", [lambda: Semaphore(1), lambda: BoundedSemaphore(1)])
async def test_who_is_interrupted_as_it_gets_the_token_passes_it_on(
    kind: Callable[[], Semaphore], interrupt: Callable[[GreenThread[Any]], None], error: type[BaseException]
) -> None:
    semaphore = kind()
    semaphore.acquire()
    first, second = green.spawn(semaphore.acquire), green.spawn(semaphore.acquire)
    await asyncio.sleep(0)
    semaphore.release()
    interrupt(first)
    with pytest.raises(error):
        await first
    assert await second is True
    assert semaphore.counter == semaphore.balance == 0
    third = green.spawn(semaphore.acquire)
    await asyncio.sleep(0)
    semaphore.release()
    interrupt(third)
    with pytest.raises(error):
        await third
    assert semaphore.counter == semaphore.balance == 1
    assert not semaphore._line.woken


@pytest.mark.parametrize(("interrupt", "error"), INTERRUPTS)
async def test_who_is_interrupted_before_the_token_comes_does_not_get_it(
    interrupt: Callable[[GreenThread[Any]], None], error: type[BaseException]
) -> None:
    semaphore = Semaphore(0)
    first, second = green.spawn(semaphore.acquire), green.spawn(semaphore.acquire)
    await asyncio.sleep(0)
    interrupt(first)
    assert semaphore.balance == -1
    semaphore.release()
    assert await second is True
    with pytest.raises(error):
        await first
    assert semaphore.counter == 0


def test_a_killed_waiter_of_a_script() -> None:
    semaphore = Semaphore(0)
    first, second = green.spawn(semaphore.acquire), green.spawn(semaphore.acquire)
    green.sleep(0)
    semaphore.release()
    first.kill()
    assert second.wait() is True
    assert semaphore.counter == 0


def test_a_time_limit_that_strikes_as_the_token_comes() -> None:
    semaphore = Semaphore(0)
    timed_out = False

    def work() -> None:
        nonlocal timed_out
        with green.Timeout(3600) as limit:
            assert limit._timer
            green.spawn(lambda: (semaphore.release(), limit._expire()))
            try:
                semaphore.acquire()
            except green.Timeout:
                timed_out = True

    green.spawn(work).wait()
    assert timed_out
    assert semaphore.counter == 1


def test_a_script_that_is_interrupted_as_it_gets_the_token() -> None:
    semaphore = Semaphore(0)
    limit = green.Timeout(3600)
    green.spawn(lambda: (semaphore.release(), limit._expire()))
    with pytest.raises(green.Timeout):
        semaphore.acquire()
    limit.cancel()
    assert semaphore.counter == 1


async def test_asyncio_timeout_around_a_waiting_green_thread() -> None:
    semaphore = Semaphore(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await green.run(semaphore.acquire)
    assert semaphore.balance == 0


async def test_tokens_are_neither_lost_nor_doubled_whatever_happens() -> None:
    chance = random.Random(3)
    semaphore = BoundedSemaphore(3)
    holding = contextvars.ContextVar("holding", default=False)
    held = 0

    def work() -> None:
        nonlocal held
        for _ in range(5):
            if not semaphore.acquire(timeout=chance.choice([None, None, 0, 0.0001])):
                continue
            try:
                held += 1
                holding.set(True)
                assert held <= 3
                for _ in range(chance.randrange(3)):
                    green.sleep(0)
            finally:
                held -= 1
                semaphore.release()

    threads = [green.spawn(work) for _ in range(60)]
    while victims := [thread for thread in threads if not thread.dead]:
        chance.choice([kill, limit, cancel])(chance.choice(victims))
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
    await asyncio.gather(*threads, return_exceptions=True)
    assert semaphore.counter == semaphore.balance == 3
    assert not semaphore._line.woken


def test_bounded_refuses_one_release_too_many() -> None:
    semaphore = BoundedSemaphore()
    with pytest.raises(ValueError, match="release once for each acquire"):
        semaphore.release()
    assert semaphore.acquire()
    assert semaphore.release()
    assert Semaphore().release()


@pytest.mark.parametrize("kind", KINDS)
def test_bad_values_are_refused(kind: type[Semaphore]) -> None:
    bad: Any
    for bad in ("x", None, 1.5, [], float("nan"), float("inf")):
        with pytest.raises(TypeError, match="the value of a semaphore must be a whole number"):
            kind(bad)
    with pytest.raises(ValueError, match="must be 0 or more, not -1"):
        kind(-1)
    text: Any = "2"
    assert kind(text).counter == 2  # as in Eventlet


def test_bad_timeouts_are_refused() -> None:
    semaphore = Semaphore()
    timeout: Any = "soon"
    with pytest.raises(TypeError, match="a number of seconds"):
        semaphore.acquire(timeout=timeout)
    with pytest.raises(ValueError, match="0 seconds or more, not -2"):
        semaphore.acquire(timeout=-2)
    with pytest.raises(ValueError, match="never waits"):
        semaphore.acquire(blocking=False, timeout=1)
    assert semaphore.counter == 1


def test_repr() -> None:
    assert repr(Semaphore(3)).endswith("counter=3, 0 waiting>")


def test_it_belongs_to_the_thread_that_first_uses_it() -> None:
    semaphore = BoundedSemaphore(2)
    assert in_a_thread(semaphore.acquire)
    for use in (semaphore.acquire, semaphore.release):
        with pytest.raises(RuntimeError, match="this BoundedSemaphore belongs to the thread 'other'"):
            use()
    assert semaphore.counter == 1


def test_a_token_is_not_lost_on_a_closed_loop() -> None:
    semaphore = Semaphore(0)

    async def leave_one_waiting() -> None:
        green.spawn(semaphore.acquire)
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # that a task was destroyed is what this test is about
    loop.run_until_complete(leave_one_waiting())
    loop.close()
    waiting = green.spawn(semaphore.acquire)
    green.sleep(0)
    semaphore.release()
    assert waiting.wait() is True
    assert semaphore.counter == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_destructor_that_brings_a_token_in_the_middle_of_it(kind: type[Semaphore]) -> None:
    def release_with_another(moment: int) -> bool:
        """Bring a token, and one more in the middle of that, at the next call of a function; return if there is one."""
        semaphore = kind(4)
        assert [semaphore.acquire() for _ in range(4)] == [True] * 4
        waiting = [green.spawn(semaphore.acquire) for _ in range(3)]
        green.sleep(0)
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            if event == "call":
                calls += 1
                if calls == moment:
                    semaphore.release()  # which is not watched itself

        sys.setprofile(count)
        try:
            semaphore.release()
        finally:
            sys.setprofile(None)
        green.sleep(0)
        came = calls >= moment
        assert [thread.dead for thread in waiting] == [True, came, False]
        assert semaphore.counter == 0
        semaphore.release()
        semaphore.release()
        for thread in waiting:
            assert thread.wait()
        return came

    moment = 1
    while release_with_another(moment):
        moment += 1
    assert moment > 3
