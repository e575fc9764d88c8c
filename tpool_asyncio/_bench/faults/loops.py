"""Loops that do not do what is expected of loops."""

import asyncio
import gc
import sys
import threading
import time
from typing import Any

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable, check
from tpool_asyncio._bench.faults.waiters import Gate, until
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []


async def _ask(way: Way, number: int = 3) -> Any:
    return await way.within(way.call(pow, 2, number), "a call")


def _works(way: Way) -> None:
    check(way.run(lambda: _ask(way)) == 8, "a wrong value from a new loop")


@case("loops", "loops")
def closed_in_mid_call(way: Way) -> None:
    """A loop is closed while its calls run: they end, without a word, and other loops work.

    Three calls of a loop run or wait when it is closed. The functions end as if nothing had happened, nothing is
    logged, and a new loop gets its outcomes.
    """
    way.set_size(2)
    gates = [Gate(), Gate()]
    loop = way.new_loop()

    async def begin() -> None:
        for gate in (*gates, gates[0]):
            way.start(gate)
        for gate in gates:
            await until(gate.begun)

    loop.run_until_complete(begin())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was ours to leave them
    loop.close()
    for gate in gates:
        gate.opened.set()
    for gate in gates:
        check(gate.ended.wait(PATIENCE), "a function did not end")
    time.sleep(0.05)
    _works(way)
    del loop, begin
    gc.collect()
    _works(way)


@case("loops", "loops")
def stopped_and_run_again(way: Way) -> None:
    """A loop is stopped in mid-call, and runs again later: it gets the outcome.

    The call ends while the loop stands still. When it runs again, the waiter gets the value.
    """
    gate = Gate()
    loop = way.new_loop()
    tasks = []

    async def begin() -> None:
        tasks.append(way.start(gate, 42))
        await until(gate.begun)

    loop.run_until_complete(begin())
    gate.opened.set()
    gate.ended.wait(PATIENCE)
    time.sleep(0.02)
    check(loop.run_until_complete(way.within(tasks.pop(), "the value")) == 42, "a wrong value")
    loop.close()


@case("loops", "loops")
def replaced_in_mid_call(way: Way) -> None:
    """Another loop runs in the same thread before the first one goes on.

    A call of the first loop runs while a second loop makes and gets calls. Each gets its own values.
    """
    gate = Gate()
    first, second = way.new_loop(), way.new_loop()
    tasks = []

    async def begin() -> None:
        tasks.append(way.start(gate, 42))
        await until(gate.begun)

    async def others() -> list[Any]:
        return await asyncio.gather(*(way.start(pow, 2, number) for number in range(10)))

    first.run_until_complete(begin())
    values = second.run_until_complete(way.within(others(), "the calls of the second loop"))
    check(values == [2**number for number in range(10)], "wrong values in the second loop")
    gate.opened.set()
    gate.ended.wait(PATIENCE)
    check(first.run_until_complete(way.within(tasks.pop(), "the first loop's value")) == 42, "a wrong value")
    second.run_until_complete(_ask(way))
    for loop in (first, second):
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@case("loops", "loops")
def never_runs_again(way: Way) -> None:
    """A loop never runs again, though it is not closed: nobody else notices.

    A loop stops while calls of it keep three of four threads busy, and is kept. Other loops work at once, and all
    three functions end.
    """
    gates = [Gate() for _ in range(3)]
    loop = way.new_loop()

    async def begin() -> None:
        for gate in gates:
            way.start(gate)
        for gate in gates:
            await until(gate.begun)

    loop.run_until_complete(begin())
    _works(way)
    for gate in gates:
        gate.opened.set()
    check(all(gate.ended.wait(PATIENCE) for gate in gates), "a function has not ended")
    for _ in range(5):
        _works(way)
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()


@case("loops", "loops")
def debug_mode(way: Way) -> None:
    """asyncio's debug mode: all works, and nothing is complained of.

    With debug on, 200 calls at once, fifty of them cancelled and fifty failing, end as they should; nothing is logged.
    """

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 60  # how fast this machine is, is no matter here
        calls = [way.start(pow, number % 4, number % 4 - 1) for number in range(200)]
        await asyncio.sleep(0)
        for call in calls[1::4]:
            call.cancel()
        results = await way.within(asyncio.gather(*calls, return_exceptions=True), "all calls")
        for number, result in enumerate(results):
            if number % 4 == 0:
                check(isinstance(result, ZeroDivisionError), f"{result!r} in place of an error")
            elif number % 4 > 1:
                check(result == (number % 4) ** (number % 4 - 1), f"{result!r} is the wrong value")

    way.run(main, debug=True)


@case("loops", "tasks")
def eager_tasks(way: Way) -> None:
    """Eager tasks, which begin before anybody waits for them.

    With asyncio's eager task factory, 200 calls at once get their own values.
    """
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        raise NotApplicable("comes with Python 3.12")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        try:
            await loop.create_task(asyncio.sleep(0))
        except TypeError:
            raise NotApplicable("this version of the loop does not work with them") from None
        finally:
            loop.set_task_factory(None)
        loop.set_task_factory(factory)
        values = await way.within(asyncio.gather(*(way.start(pow, 2, n % 8) for n in range(200))), "all values")
        loop.set_task_factory(None)
        check(values == [2 ** (n % 8) for n in range(200)], "wrong values")

    way.run(main)


@case("loops", "loops")
def one_after_another(way: Way) -> None:
    """A hundred loops one after another, each with some calls.

    All get their values, threads do not add up from loop to loop, and nothing is logged.
    """

    async def main() -> None:
        values = await way.within(asyncio.gather(*(way.start(pow, 2, n) for n in range(5))), "all values")
        check(values == [1, 2, 4, 8, 16], "wrong values")

    for _ in range(way.many(100)):
        way.run(main)
    check(threading.active_count() < 3 * way.size, f"{threading.active_count()} threads are left")


@case("loops", "loops")
def ten_at_once(way: Way) -> None:
    """Ten loops in ten threads at once.

    Each makes 200 calls, in rounds of twenty. All get their own values, and no thread hangs.
    """
    problems: list[object] = []

    async def main(thread: int) -> None:
        for turn in range(10):
            numbers = range(turn * 20, turn * 20 + 20)
            calls = [way.start(lambda *pair: pair, thread, number) for number in numbers]
            values = await way.within(asyncio.gather(*calls), "all values")
            check(values == [(thread, number) for number in numbers], "values of other loops")

    def body(thread: int) -> None:
        try:
            way.run(lambda: main(thread))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
        if thread.is_alive():
            raise Hangs("one of ten loops")
    if problems:
        raise problems[0]  # type: ignore[misc]
    assert sys.exc_info() == (None, None, None)
