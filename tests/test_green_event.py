"""Events: one value or exception, for all who wait."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from greenlet import GreenletExit

from tpool_asyncio import green, hubs
from tpool_asyncio._green.confined import Confined
from tpool_asyncio._green.event import Event


@pytest.fixture(autouse=True)
def hub_closed() -> Iterator[None]:
    yield
    if asyncio._get_running_loop() is None:
        hubs.get_hub().close()


def in_a_thread(fn: Any) -> Any:
    """Run a function in another thread; return its outcome or raise its exception."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((fn(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="other")
    thread.start()
    thread.join(20)
    ((value, error),) = outcome
    if error is not None:
        raise error
    return value


def exchange() -> None:
    event = Event()
    waiting = [green.spawn(event.wait) for _ in range(3)]
    green.sleep(0)
    assert not event.ready()
    assert "3 waiting" in repr(event)
    event.send({"answer": 42})
    assert event.ready()
    assert event.has_result()
    assert not event.has_exception()
    values = [thread.wait() for thread in waiting]
    assert values == [{"answer": 42}] * 3
    assert values[0] is values[1] is event.wait()  # now and later


def test_in_a_script_all_get_the_value() -> None:
    exchange()


async def test_in_a_green_thread_all_get_the_value() -> None:
    await green.run(exchange)


def test_a_script_waits_for_what_a_green_thread_sends() -> None:
    event = Event()
    green.spawn(event.send, "value")
    assert event.wait() == "value"


async def test_a_callback_and_async_code_send_and_look() -> None:
    event = Event()
    with pytest.raises(RuntimeError, match="use await"):
        event.wait()
    waiting = green.spawn(event.wait)
    asyncio.get_running_loop().call_soon(event.send, "value")
    assert await waiting == "value"
    assert event.wait() == "value"  # need not wait


async def test_waiters_are_woken_in_their_order() -> None:
    event = Event()
    order = []

    def wait(number: int) -> None:
        event.wait()
        order.append(number)

    threads = [green.spawn(wait, number) for number in range(5)]
    await asyncio.sleep(0)
    event.send()
    await asyncio.gather(*threads)
    assert order == [0, 1, 2, 3, 4]


def test_to_send_does_not_give_way() -> None:
    event = Event()
    steps = []
    waiting = green.spawn(lambda: (event.wait(), steps.append("woken")))
    green.sleep(0)
    event.send()
    assert steps == []
    waiting.wait()
    assert steps == ["woken"]


def test_twice_is_an_error_and_changes_nothing() -> None:
    event = Event()
    event.send(1)
    with pytest.raises(AssertionError, match=r"make a new Event, or call reset\(\)"):
        event.send(2)
    with pytest.raises(AssertionError, match="sent already"):
        event.send_exception(ValueError)
    assert event.wait() == 1


def test_reset_makes_it_new_and_a_fresh_one_refuses() -> None:
    event = Event()
    with pytest.raises(AssertionError, match=r"nothing to reset; see ready\(\)"):
        event.reset()
    event.send(1)
    event.reset()
    assert not event.ready()
    event.send(2)
    assert event.wait() == 2


def test_who_was_woken_before_a_reset_gets_what_was_sent() -> None:
    event = Event()
    waiting = green.spawn(event.wait)
    green.sleep(0)
    event.send("first")
    event.reset()
    event.send("second")
    assert waiting.wait() == "first"


def test_an_exception_is_raised_in_all_as_the_same_object_with_the_traceback_it_had() -> None:
    event = Event()
    error = KeyError("x")
    waiting = green.spawn(event.wait)
    green.sleep(0)
    event.send_exception(error)
    assert event.has_exception()
    assert not event.has_result()
    lengths = set()
    for wait in (waiting.wait, event.wait, event.wait, event.poll, event.poll_exception):
        with pytest.raises(KeyError) as caught:
            wait()
        assert caught.value is error
        lengths.add(len(caught.traceback))
    assert max(lengths) <= 4  # it does not grow from one to the next
    assert event.poll_result("none") == "none"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((ValueError("a"),), ValueError("a")),
        ((ValueError,), ValueError()),
        ((ValueError, "b"), ValueError("b")),
        ((ValueError, ("c", 1)), ValueError("c", 1)),
        ((ValueError, ValueError("d"), None), ValueError("d")),
        ((GreenletExit,), GreenletExit()),
        ((StopIteration, 3), StopIteration(3)),
    ],
)
def test_exceptions_are_sent_in_all_the_ways_of_raise(args: tuple[Any, ...], expected: BaseException) -> None:
    events = [Event(), Event()]
    events[0].send_exception(*args)
    events[1].send(exc=args)
    for event in events:
        with pytest.raises(type(expected)) as caught:
            event.wait()
        assert caught.value.args == expected.args


def test_send_takes_an_exception_as_well() -> None:
    event = Event()
    event.send(None, ValueError("x"))
    assert event.has_exception()
    with pytest.raises(ValueError, match="x"):
        event.wait()


def test_exc_info_keeps_its_traceback() -> None:
    def culprit() -> None:
        raise ValueError("x")

    event = Event()
    try:
        culprit()
    except ValueError:
        event.send_exception(*sys.exc_info())
    with pytest.raises(ValueError, match="x") as caught:
        event.wait()
    assert caught.traceback[-1].name == "culprit"


@pytest.mark.parametrize("args", [(), ("text",), (int,), (None,), (ValueError, "a", None, 4)])
def test_what_is_no_exception_is_refused_and_nothing_is_sent(args: tuple[Any, ...]) -> None:
    event = Event()
    with pytest.raises(TypeError, match="pass an exception, or a class"):
        event.send_exception(*args)
    assert not event.ready()


def test_polling() -> None:
    event = Event()
    assert event.poll() is None
    assert event.poll("no") == event.poll_result("no") == event.poll_exception("no") == "no"
    event.send(3)
    assert event.poll("no") == event.poll_result("no") == 3
    assert event.poll_exception("no") == "no"


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_when_the_time_is_over_wait_returns_none(timeout: float) -> None:
    event = Event()
    assert event.wait(timeout) is None
    assert event.wait(timeout=timeout) is None
    assert "0 waiting" in repr(event)
    event.send(1)
    assert event.wait(timeout) == 1


@pytest.mark.parametrize("timeout", ["soon", object()])
def test_a_timeout_must_be_a_number(timeout: Any) -> None:
    with pytest.raises(TypeError, match="a number of seconds"):
        Event().wait(timeout)


async def test_an_interrupted_waiter_leaves_the_line() -> None:
    event = Event()
    killed, cancelled, limited = (green.spawn(event.wait) for _ in range(3))
    await asyncio.sleep(0)
    killed.kill()
    assert cancelled.task
    cancelled.task.cancel()
    limited.kill(TimeoutError)
    results = await asyncio.gather(killed, cancelled, limited, return_exceptions=True)
    assert [type(result) for result in results] == [GreenletExit, asyncio.CancelledError, TimeoutError]
    assert "0 waiting" in repr(event)


async def test_who_is_killed_as_the_event_is_sent_is_killed_and_the_others_get_it() -> None:
    event = Event()
    first, second = green.spawn(event.wait), green.spawn(event.wait)
    await asyncio.sleep(0)
    event.send("value")
    first.kill()
    assert await second == "value"
    with pytest.raises(GreenletExit):
        await first
    assert not event._line.woken


def test_a_timeout_object_ends_the_wait() -> None:
    event = Event()
    with green.Timeout(0.001, False):
        event.wait()
        pytest.fail("the wait went on")
    assert "0 waiting" in repr(event)


def test_it_belongs_to_the_thread_that_first_uses_it() -> None:
    event = Event()  # made here, and used there
    assert in_a_thread(lambda: (event.send(1), event.wait())[1]) == 1
    for use in (event.wait, event.send, event.reset, lambda: event.send_exception(ValueError)):
        with pytest.raises(RuntimeError, match=r"this Event belongs to the thread 'other'.*call_soon_threadsafe"):
            use()
    assert event.ready()  # looking is allowed
    assert event.poll() == 1


def test_of_two_threads_one_is_the_first() -> None:
    for _ in range(50):
        thing = Confined()
        refused: list[str] = []
        both = threading.Barrier(2)

        def use(thing: Confined = thing, refused: list[str] = refused, both: threading.Barrier = both) -> None:
            both.wait(20)
            try:
                thing._check_thread()
            except RuntimeError as error:
                refused.append(str(error))
            both.wait(20)  # a thread that has ended may leave its identity to the other

        threads = [threading.Thread(target=use, name="first or second") for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(refused) == 1
        assert "'first or second'" in refused[0]


def test_an_event_outlives_a_loop_that_was_closed_over_its_waiters() -> None:
    event = Event()

    async def leave_one_waiting() -> None:
        green.spawn(event.wait)
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # that a task was destroyed is what this test is about
    loop.run_until_complete(leave_one_waiting())
    loop.close()
    waiting = green.spawn(event.wait)
    green.sleep(0)
    event.send("value")
    assert waiting.wait() == "value"
