"""What is left in memory: nothing that grows, nothing that outlives its use."""

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, check
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []

_LOOKS = 3


def _fail(_: object = None) -> NoReturn:
    raise LookupError("as it should")


def _blocks() -> int:
    for _ in range(3):
        gc.collect()
    return sys.getallocatedblocks()


def _looks(times: int, most: float, what: str) -> Iterator[None]:
    """Have something done so many times, and look how many blocks there are more; with too many, begin again.

    What grows with the number does so each time. What is there once, such as a module that somebody imports late or a
    table that has become larger, is not there twice.
    """
    for _ in range(_LOOKS):
        before = _blocks()
        yield
        grown = _blocks() - before
        if grown < most:
            return
    check(False, f"{grown} blocks of memory more after {times} {what}")


@case("memory")
def many_calls(way: Way) -> None:
    """Memory does not grow with the number of calls.

    After 20,000 calls, every tenth of which fails, there is less than a block of memory more for every ten calls.
    """

    async def calls(number: int) -> None:
        for index in range(number):
            if index % 10:
                await way.call(int)
            else:
                with suppress(LookupError):
                    await way.call(_fail)

    async def main() -> None:
        await calls(200)
        number = way.many(20_000)
        for _ in _looks(number, 300 + number / 10, "calls"):
            await calls(number)

    way.run(main)


@case("memory", "loops")
def many_loops(way: Way) -> None:
    """Memory and threads do not grow with the number of loops made and closed.

    After 500 loops, each with three calls, there are fewer than two blocks of memory more for each, and no more
    threads.
    """

    async def main() -> None:
        await asyncio.gather(*(way.start(int) for _ in range(3)))

    for _ in range(10):
        way.run(main)
    threads, number = threading.active_count(), way.many(500)
    for _ in _looks(number, 300 + 2 * number, "loops"):
        for _ in range(number):
            way.run(main)
    check(threading.active_count() <= threads + way.size, f"{threading.active_count()} threads")


@case("memory", "green")
def many_green_threads(way: Any) -> None:
    """Memory does not grow with the number of green threads.

    After 2,000 green threads that made a call each, there is less than a block of memory more for every ten.
    """
    execute = (way.tpool if way.name == "eventlet" else way.pool).execute

    def threads(number: int) -> None:
        for _ in range(number // 100):
            for thread in [way.spawn(execute, int) for _ in range(100)]:
                thread.wait()

    barrier = threading.Barrier(way.size)  # so that all threads of the pool are there
    for thread in [way.spawn(execute, barrier.wait) for _ in range(way.size)]:
        thread.wait()
    threads(200)
    number = max(200, way.many(2_000))
    for _ in _looks(number, 300 + number / 10, "green threads"):
        threads(number)


class _Thing:
    """What can be referred to weakly, be called, fail, and be returned."""

    def __call__(self, argument: object, fails: bool) -> object:
        if fails:
            raise _FailureError(self, argument)
        return _Thing()


class _FailureError(Exception):
    pass


@case("memory")
def let_go(way: Way) -> None:
    """Function, argument, value and error are let go of as soon as the caller has done with them.

    No garbage collection happens. When the caller has let go, all of them are gone within a moment, of a call that
    returns as well as of one that raises.
    """

    async def once(fails: bool) -> "list[weakref.ref[Any]]":
        fn, argument = _Thing(), _Thing()
        references: list[weakref.ref[Any]] = [weakref.ref(fn), weakref.ref(argument)]
        try:
            references.append(weakref.ref(await way.call(fn, argument, fails)))
        except _FailureError as error:
            references.append(weakref.ref(error))
            del error
        return references

    async def main() -> None:
        await once(True)
        gc.collect()
        gc.disable()
        try:
            for fails in (False, True):
                references = await once(fails)
                for _ in range(200):
                    await way.call(_nap)
                    if not any(reference() for reference in references):
                        break
                left = [
                    name
                    for name, reference in zip(("function", "argument", "outcome"), references, strict=True)
                    if reference()
                ]
                check(not left, f"of a call that {'raises' if fails else 'returns'}: {', '.join(left)} kept")
        finally:
            gc.enable()

    way.run(main)


def _nap() -> None:
    threading.Event().wait(0.001)


@case("memory", "tasks")
def let_go_when_cancelled(way: Way) -> None:
    """Function and argument of a call that is cancelled are let go of.

    No garbage collection happens. A call that waits in the queue is cancelled, and let go of at once, though the
    threads are busy for longer.
    """
    way.set_size(1)
    opened = threading.Event()

    async def main() -> None:
        running = way.start(opened.wait, 30)
        await asyncio.sleep(0.02)
        gc.collect()
        gc.disable()
        try:
            fn, argument = _Thing(), _Thing()
            references = [weakref.ref(fn), weakref.ref(argument)]
            waiting = way.start(fn, argument, False)
            del fn, argument
            await asyncio.sleep(0.02)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            del waiting
            await asyncio.sleep(0.02)
            check(not any(reference() for reference in references), "function or argument kept while others run")
        finally:
            gc.enable()
            opened.set()
        await way.within(running, "the call that ran")

    try:
        way.run(main)
    finally:
        opened.set()


@case("memory", "tasks")
def no_cycles(way: Way) -> None:
    """No call leaves work for the garbage collector.

    After 300 calls, a third of which fail and a third of which are cancelled, the collector finds fewer than one object
    for every ten.
    """

    async def calls(number: int) -> None:
        for _ in range(number // 3):
            await way.call(int)
            with suppress(LookupError):
                await way.call(_fail)
            call = way.start(int)
            await asyncio.sleep(0)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            del call
            await asyncio.sleep(0)

    async def main() -> None:
        await calls(30)
        await asyncio.sleep(0.02)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await calls(300)
            await asyncio.sleep(0.02)
            gc.collect()
            kinds = sorted({type(each).__name__ for each in gc.garbage})
            check(len(gc.garbage) < 30, f"{len(gc.garbage)} objects in cycles after 300 calls: {', '.join(kinds[:5])}")
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    way.run(main)


@case("memory", "loops")
def threads_end(way: Way) -> None:
    """When everything has been let go of, there is no thread left but those of the pool.

    Four threads with loops of their own make calls and end. Then no more threads are left than the pool may have.
    """

    async def main() -> None:
        await asyncio.gather(*(way.start(_nap) for _ in range(8)))

    before = threading.active_count()
    threads = [threading.Thread(target=way.run, args=(main,), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        if thread.is_alive():
            raise Hangs("a loop in a thread")
    left = threading.active_count() - before
    check(left <= way.size, f"{left} threads are left, and {way.size} is the size")
