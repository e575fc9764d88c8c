"""Time limits of synchronous code."""

import asyncio
from typing import Any

import pytest

from tests.gate import Gate
from tpool_asyncio import green, hubs
from tpool_asyncio.green import tpool

SOON = 0.001


def forever() -> None:
    green.await_(hubs.get_hub().loop.create_future())


async def in_green_thread(inside: Any) -> None:
    """Run it in both kinds of green thread, and see that the task is left as it was."""
    task = asyncio.current_task()
    assert task is not None
    await green.run(inside)
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    thread = green.spawn(inside)
    await thread
    assert thread.task is not None
    assert thread.task.cancelling() == 0


async def test_a_limit_raises_itself_where_the_code_waits() -> None:
    def inside() -> None:
        with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as limit:
            assert limit.pending
            forever()
        assert caught.value is limit
        assert not limit.pending
        green.sleep(0)

    await in_green_thread(inside)


@pytest.mark.parametrize("exception", [KeyError("slow"), KeyError, True, None])
async def test_what_is_raised(exception: Any) -> None:
    def inside() -> None:
        limit = green.Timeout(SOON, exception)
        expected = green.Timeout if exception is None or exception is True else KeyError
        with pytest.raises(expected) as caught:
            forever()
        limit.cancel()
        if isinstance(exception, KeyError):
            assert caught.value is exception
        elif expected is green.Timeout:
            assert caught.value is limit

    await in_green_thread(inside)


async def test_the_silent_form() -> None:
    def inside() -> None:
        with green.Timeout(SOON, False):
            forever()
        outer = green.Timeout(None)
        with pytest.raises(green.Timeout) as caught, green.Timeout(60, False):  # only its own is swallowed
            raise outer
        assert caught.value is outer

    await in_green_thread(inside)


async def test_one_that_is_not_reached_does_nothing() -> None:
    def inside() -> None:
        with green.Timeout(60) as limit:
            green.sleep(0)
        assert not limit.pending
        with green.Timeout(None) as limit:
            green.sleep(0)
            assert not limit.pending

    await in_green_thread(inside)


async def test_a_free_standing_limit_goes_on_until_it_is_cancelled() -> None:
    def inside() -> None:
        limit = green.Timeout(SOON)
        with pytest.raises(RuntimeError, match="runs already"):
            limit.start()
        limit.cancel()
        limit.cancel()
        green.sleep(2 * SOON)
        limit.start()
        with pytest.raises(green.Timeout):
            forever()
        green.sleep(2 * SOON)  # it is raised once
        with pytest.raises(green.Timeout), limit:
            forever()

    await in_green_thread(inside)


async def test_nested_limits() -> None:
    def inside() -> None:
        with pytest.raises(green.Timeout) as caught, green.Timeout(60), green.Timeout(SOON) as inner:
            forever()
        assert caught.value is inner
        with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as outer, green.Timeout(60):
            forever()
        assert caught.value is outer
        with green.Timeout(60), green.Timeout(SOON, False), green.Timeout(60, KeyError):
            forever()
        green.sleep(0)

    await in_green_thread(inside)


async def test_two_limits_reached_in_one_turn_are_both_raised() -> None:
    def inside() -> list[str]:
        raised = []
        limits = [green.Timeout(SOON, KeyError(name)) for name in "ab"]
        hubs.get_hub().loop.call_later(SOON, lambda: None)
        block(2 * SOON)
        for _ in limits:
            with pytest.raises(KeyError) as caught:
                forever()
            raised.append(caught.value.args[0])
        green.sleep(0)
        return raised

    def block(seconds: float) -> None:
        loop = hubs.get_hub().loop
        end = loop.time() + seconds
        while loop.time() < end:
            pass

    async def checked() -> None:
        assert await green.run(inside) == ["a", "b"]

    await checked()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_limit_around_async_code_around_green_code() -> None:
    """It passes through the inner green thread, whose own limit is not the one that is over."""
    steps = []

    def inner() -> None:
        with green.Timeout(60):
            try:
                forever()
            except asyncio.CancelledError:
                steps.append("inner cancelled")
                raise

    async def between() -> None:
        try:
            await green.run(inner)
        except asyncio.CancelledError:
            steps.append("between cancelled")
            raise

    def outer() -> None:
        with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as limit:
            green.await_(between())
        assert caught.value is limit
        green.sleep(0)

    await in_green_thread(outer)
    assert steps == ["inner cancelled", "between cancelled"] * 2


async def test_an_inner_limit_is_caught_in_the_inner_green_thread() -> None:
    def inner() -> str:
        with green.Timeout(SOON, False):
            forever()
        return "went on"

    async def between() -> str:
        return await green.run(inner)

    def outer() -> None:
        with green.Timeout(60):
            assert green.await_(between()) == "went on"

    await in_green_thread(outer)


async def test_the_cancellation_of_the_task_wins() -> None:
    caught: list[BaseException] = []

    def inside() -> None:
        try:
            with green.Timeout(SOON):
                forever()
        except BaseException as error:
            caught.append(error)
            raise

    thread = green.spawn(inside)
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert thread.task is not None
    loop.call_later(SOON, thread.task.cancel)
    end = loop.time() + 4 * SOON
    while loop.time() < end:  # so that both come in one turn
        pass
    with pytest.raises(asyncio.CancelledError):
        await thread
    assert [type(error) for error in caught] == [asyncio.CancelledError]
    assert thread.dead


async def test_a_limit_of_a_green_thread_that_has_ended_strikes_nobody() -> None:
    def inside() -> green.Timeout:
        return green.Timeout(SOON)

    limits = [await green.run(inside), await green.spawn(inside)]
    await asyncio.sleep(3 * SOON)
    assert not any(limit.pending for limit in limits)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_call_whose_caller_is_timed_out_is_abandoned() -> None:
    gate = Gate()
    with_one = tpool.Pool(1, name="one")

    def inside() -> None:
        with green.Timeout(60) as limit:
            hubs.get_hub().loop.call_later(SOON, strike, limit)
            with pytest.raises(green.Timeout):
                with_one.execute(gate)
            with pytest.raises(green.Timeout), green.Timeout(SOON):
                with_one.execute(never)  # which is queued behind it

    def strike(limit: green.Timeout) -> None:
        gate.wait_begun()
        limit._expire()

    def never() -> None:
        raise AssertionError("this has been dropped")

    await green.run(inside)
    statistics = with_one.statistics()
    assert (statistics.abandoned, statistics.cancelled, statistics.queued) == (1, 1, 0)
    gate.open()
    await green.run(with_one.killall)
    assert with_one.statistics().completed == 1


async def test_with_timeout() -> None:
    def inside() -> None:
        assert green.with_timeout(60, str, 1) == "1"
        assert green.with_timeout(None, dict, key="word") == {"key": "word"}
        assert green.with_timeout(SOON, forever, timeout_value="late") == "late"
        assert green.with_timeout(SOON, forever, timeout_value=None) is None
        with pytest.raises(green.Timeout):
            green.with_timeout(SOON, forever)

        def raises_another() -> None:
            raise green.Timeout(None)

        with pytest.raises(green.Timeout):
            green.with_timeout(60, raises_another, timeout_value="not this one")

    await in_green_thread(inside)
    with pytest.raises(TypeError, match="with_timeout takes a function"):
        green.with_timeout(1, 1)  # type: ignore[call-overload]


@pytest.mark.usefixtures("script")
def test_limits_in_a_script() -> None:
    with pytest.raises(green.Timeout) as caught, green.Timeout(SOON) as limit:
        forever()
    assert caught.value is limit
    green.sleep(0)
    with green.Timeout(SOON, False):
        green.await_(asyncio.sleep(60))
    assert green.with_timeout(SOON, green.sleep, 60, timeout_value="late") == "late"
    gate = Gate()
    with pytest.raises(green.Timeout), green.Timeout(SOON):
        tpool.execute(gate)
    gate.open()
    with green.Timeout(60):
        assert tpool.execute(str, "in time") == "in time"


@pytest.mark.parametrize("seconds", [0, -1])
@pytest.mark.usefixtures("script")
def test_a_limit_of_no_time_comes_with_the_next_wait(seconds: float) -> None:
    with pytest.raises(green.Timeout), green.Timeout(seconds):
        forever()


async def test_bad_input() -> None:
    with pytest.raises(RuntimeError, match=r"use asyncio.timeout\(seconds\), or call the synchronous code in a gr"):
        green.Timeout(1)
    for exception in ("text", int, 1):
        with pytest.raises(TypeError, match="Timeout raises an exception or a class"):
            green.Timeout(1, exception)  # type: ignore[arg-type]


def test_text() -> None:
    assert str(green.Timeout(None)) == ""
    limit = green.Timeout(None, False)
    for seconds, exception, text in [
        (1, None, "1 second"),
        (1.5, True, "1.5 seconds"),
        (2, False, "2 seconds (silent)"),
        (2, KeyError("k"), "2 seconds ('k')"),
    ]:
        limit.seconds, limit.exception = seconds, exception
        assert str(limit) == text
    assert repr(green.Timeout(None)) == "<Timeout seconds=None>"
    assert repr(green.Timeout(None, False)) == "<Timeout seconds=None exception=False>"
    assert limit.is_timeout
    assert not isinstance(limit, Exception)
