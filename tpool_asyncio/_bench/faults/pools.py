"""Pools that change, end and fail while they are in use."""

import asyncio
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable, Wrong, check
from tpool_asyncio._bench.faults.waiters import Gate, until
from tpool_asyncio._bench.faults.ways import Way

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__: list[str] = []


def _in_threads(way: Way, mains: "list[Callable[[], Coroutine[Any, Any, Any]]]") -> None:
    """Run coroutine functions in loops of their own, all at once."""
    problems: list[BaseException] = []

    def body(main: "Callable[[], Coroutine[Any, Any, Any]]") -> None:
        try:
            way.run(main)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=body, args=(main,), daemon=True) for main in mains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE)
        if thread.is_alive():
            raise Hangs("one of several loops")
    if problems:
        raise problems[0]


def _brief(number: int) -> int:
    if number % 5 == 0:
        time.sleep(0.0005)
    return number


async def _calls(way: Way, rounds: int) -> None:
    for turn in range(rounds):
        numbers = range(turn * 10, turn * 10 + 10)
        calls = [way.start(_brief, number) for number in numbers]
        values = await way.within(asyncio.gather(*calls), "calls under load", 2 * PATIENCE)
        check(values == list(numbers), "wrong values under load")


@case("pool", "pool", "tasks")
def resized_under_load(way: Way) -> None:
    """Grown and shrunk while three loops make calls.

    Every call gets its own value, whatever the size is meanwhile, and in the end there are not more threads than that.
    """

    async def resize() -> None:
        chance = random.Random(3)
        for _ in range(way.many(200)):
            way.resize(chance.randint(1, 8))
            await asyncio.sleep(0.001)
        way.resize(2)

    _in_threads(way, [resize, *[lambda: _calls(way, way.many(100))] * 3])
    deadline = time.monotonic() + PATIENCE
    while way.pool.statistics().threads > 2:  # type: ignore[attr-defined]
        check(time.monotonic() < deadline, "there are more threads than the size allows")
        time.sleep(0.005)


@case("pool", "pool", "tasks")
def killed_under_load(way: Way) -> None:
    """Killed again and again while three loops make calls.

    Two loops kill the pool over and over, with and without time limits. Every call gets its own value.
    """

    async def kill() -> None:
        for turn in range(way.many(60)):
            with suppress(TimeoutError):
                await way.within(way.killall(None if turn % 2 else 0.001), "killall", 2 * PATIENCE)
            await asyncio.sleep(0.002)

    _in_threads(way, [kill, kill, *[lambda: _calls(way, way.many(100))] * 3])
    way.run(way.killall)


@case("pool", "pool", "tasks")
def idle_time_outs(way: Any) -> None:
    """Threads that leave for want of work, just when some comes.

    With an idle time of a millisecond, calls come about a millisecond apart, from two loops. All get their values.
    """
    way.use(idle_timeout=0.001)

    async def main() -> None:
        chance = random.Random(5)
        for number in range(way.many(400)):
            check(await way.within(way.call(_brief, number), "a call") == number, "a wrong value")
            await asyncio.sleep(chance.random() / 500)

    _in_threads(way, [main, main])


@case("pool", "pool", "tasks")
def killall_in_calls(way: Any) -> None:
    """killall from inside calls, two at a time, without a time limit.

    Two calls end the pool they run in, through their loop, while a third one runs. Both come back when the third one
    has ended, rather than wait for each other, and the next call works.
    """
    gate = Gate()
    both = threading.Barrier(2)

    def end_it() -> bool:
        both.wait(PATIENCE)
        from tpool_asyncio import from_thread

        from_thread.run(way.killall)
        return gate.ended.is_set()

    async def main() -> None:
        third = way.start(gate)
        await until(gate.begun)
        calls = [way.start(end_it), way.start(end_it)]
        await asyncio.sleep(0.05)
        check(not any(call.done() for call in calls), "killall has not waited for the third call")
        gate.opened.set()
        results = await way.within(asyncio.gather(*calls), "two calls that both call killall")
        check(results == [True, True], "killall came back before the third call had ended")
        await third
        check(await way.within(way.call(len, "abc"), "the next call") == 3, "the next call")

    try:
        way.run(main)
    finally:
        gate.opened.set()


@case("pool", "pool")
def killall_in_a_call_of_a_script(way: Any) -> None:
    """killall from inside the one call that runs.

    It comes back, and the next call works.
    """
    if way.name == "tpool":
        raise NotApplicable("has to await it: see the case above")

    def end_it() -> str:
        way.pool.killall()
        return "back"

    async def main() -> None:
        check(await way.within(way.call(end_it), "killall in a call") == "back", "a wrong value")
        check(await way.within(way.call(len, "abc"), "the next call") == 3, "the next call")

    way.run(main)


@case("pool", "pool", "tasks")
def killall_in_two_loops(way: Way) -> None:
    """killall from two loops at once, while calls run.

    Both come back when the calls have ended, and the next calls of both work.
    """
    together = threading.Barrier(2)

    async def main() -> None:
        ended: list[int] = []

        def job(number: int) -> None:
            time.sleep(0.02)
            ended.append(number)

        calls = [way.start(job, number) for number in range(6)]
        await asyncio.sleep(0)
        together.wait(PATIENCE)
        await way.within(way.killall(), "killall")
        check(len(ended) == len(calls), f"killall came back before {len(calls) - len(ended)} calls had ended")
        await way.within(asyncio.gather(*calls), "calls that have ended")
        check(await way.within(way.call(len, "abc"), "the next call") == 3, "the next call")

    _in_threads(way, [main, main])


@case("pool", "pool", "tasks")
def killall_with_a_stuck_call(way: Way) -> None:
    """killall with a time limit, and a call that does not end.

    It raises an error that names the call, the pool works on, and the call's value still arrives.
    """
    gate = Gate()

    async def main() -> None:
        stuck = way.start(gate, 42)
        await until(gate.begun)
        try:
            await way.within(way.killall(0.05), "killall")
        except TimeoutError as error:
            check("Gate" in str(error), "the error does not name the call")
        else:
            raise Wrong("killall comes back although a call still runs")
        calls = [way.start(pow, 2, number) for number in range(10)]
        values = await way.within(asyncio.gather(*calls), "calls beside the stuck one")
        check(values == [2**number for number in range(10)], "wrong values beside the stuck call")
        gate.opened.set()
        check(await way.within(stuck, "the value of the stuck call") == 42, "the stuck call's value")

    try:
        way.run(main)
    finally:
        gate.opened.set()


class _NoThreads:
    """While it is in force, the system starts no threads."""

    names = ("_start_new_thread", "_start_joinable_thread")

    def __enter__(self) -> None:
        self.originals = {name: getattr(threading, name) for name in self.names if hasattr(threading, name)}
        for name in self.originals:
            setattr(threading, name, self._refuse)

    def _refuse(self, *_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    def __exit__(self, *_: object) -> None:
        for name, original in self.originals.items():
            setattr(threading, name, original)


@case("pool", "tasks")
def no_thread_to_be_had(way: Way) -> None:
    """The system starts no more threads for a while.

    Calls made meanwhile end with an error, or run when there are threads again; none hangs, and none runs whose caller
    was given an error. Afterwards calls work.
    """
    ran: list[int] = []

    def job(number: int) -> int:
        ran.append(number)
        return number

    async def main() -> None:
        with _NoThreads():
            calls = [way.start(job, number) for number in range(5)]
            await asyncio.sleep(0.05)
        check(await way.within(way.call(job, 100), "a call when there are threads again") == 100, "a wrong value")
        results = await way.within(asyncio.gather(*calls, return_exceptions=True), "calls made without threads")
        await way.within(way.call(job, 101), "the last call")
        refused = {number for number, result in enumerate(results) if isinstance(result, BaseException)}
        ghosts = refused.intersection(ran)
        check(not ghosts, f"{len(ghosts)} of {len(refused)} calls run although their callers were given an error")
        check(all(result == number for number, result in enumerate(results) if number not in refused), "wrong values")

    if way.name == "eventlet":
        raise NotApplicable("starts all its threads beforehand")
    way.run(main)


@case("pool", "tasks")
def no_thread_but_some(way: Way) -> None:
    """The system starts no more threads, but some are there.

    One thread is there when the system starts no more. Twenty calls at once all run in it.
    """

    async def main() -> None:
        await way.within(way.call(int), "the first call")
        with _NoThreads():
            calls = [way.start(pow, 2, number) for number in range(20)]
            values = await way.within(asyncio.gather(*calls, return_exceptions=True), "calls without further threads")
        refused = sum(isinstance(value, BaseException) for value in values)
        check(not refused, f"{refused} of 20 calls are refused although there is a thread")
        check(values == [2**number for number in range(20)], "wrong values")

    if way.name == "eventlet":
        raise NotApplicable("starts all its threads beforehand")
    way.run(main)


@case("pool")
def nested_at_size_1(way: Way) -> None:
    """A call inside a call, in a pool of one thread.

    The function starts a loop of its own and makes a call there, or makes it as a script. It gets its value.
    """
    way.set_size(1)

    def inner() -> Any:
        return way.run(lambda: way.to_coroutine(len, "abc"))

    async def main() -> None:
        check(await way.within(way.call(inner), "a call inside a call") == 3, "a wrong value")

    way.run(main)


@case("pool", "tasks")
def back_and_forth_at_size_1(way: Way) -> None:
    """From a thread to its loop, and from there to a thread, in a pool of one thread.

    The function asks its loop for a call by the way that the package has for this, three deep. It gets its value.
    """
    way.set_size(1)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def outer(depth: int) -> Any:
            return way.back(loop, lambda: outer(depth - 1)) if depth else "bottom"

        check(await way.within(way.call(outer, 3), "a call by way of the loop") == "bottom", "a wrong value")

    way.run(main)
