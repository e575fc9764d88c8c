"""A thread that runs one event loop after another, and in each of them all that async code can do with a pool."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from tpool_asyncio import from_thread, tpool
from tpool_asyncio._bench.soak.ledger import Ledger, WrongError

__all__ = ["async_life"]

SESSION = 200
"""Deeds between one loop and the next."""

CROWD = 1_000

Deed = Callable[["Life"], Awaitable[None]]


class Life:
    """What the deeds need."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.dice = random.Random(seed)


def async_life(
    ledger: Ledger, seed: int, stopped: threading.Event, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Live until told to stop. The body of a thread."""
    life = Life(ledger, seed)
    while not stopped.is_set():
        with asyncio.Runner(loop_factory=new_loop, debug=False) as runner:
            runner.run(_session(life, stopped))
        ledger.add("loops")


async def _session(life: Life, stopped: threading.Event) -> None:
    for _ in range(SESSION):
        if stopped.is_set():
            return
        deed = life.dice.choices(DEEDS, WEIGHTS)[0]
        await deed(life)
        life.ledger.add("deeds of async code")


async def _crowd(life: Life) -> None:
    batch = life.ledger.batch(CROWD)
    calls = [tpool.execute(batch.work, number) for number in range(CROWD)]
    for number, call in enumerate(calls):
        batch.answered(number, await call)
    batch.close()


async def _cancels(life: Life) -> None:
    number_of = 300
    batch = life.ledger.batch(number_of)
    calls = [tpool.execute(batch.work, number) for number in range(number_of)]
    for _ in range(life.dice.randrange(3)):
        await asyncio.sleep(0)
    doomed = life.dice.sample(range(number_of), 100)
    for number in doomed:
        calls[number].cancel()
    for number, call in enumerate(calls):
        try:
            value = await call
        except asyncio.CancelledError:
            batch.given_up(number)
        else:
            batch.answered(number, value)
    batch.close()


async def _limits(life: Life) -> None:
    number_of = 100
    batch = life.ledger.batch(number_of)
    ways = [
        tpool.options(timeout=life.dice.choice((0.0, 0.0001, 0.001, 5.0))),
        tpool.options(queue_timeout=life.dice.choice((0.0, 0.001))),
        tpool.options(timeout=0.0005, on_cancel="wait"),
    ]
    calls = [life.dice.choice(ways).execute(batch.work, number) for number in range(number_of)]
    for number, call in enumerate(calls):
        try:
            value = await call
        except TimeoutError:
            batch.given_up(number)
        else:
            batch.answered(number, value)
    batch.close()


async def _callbacks(life: Life) -> None:
    number_of = 20
    batch = life.ledger.batch(number_of)

    async def inside(number: int) -> tuple[int, int]:
        return await tpool.execute(batch.work, number)

    calls = [tpool.execute(from_thread.run, inside, number) for number in range(number_of)]
    for number, call in enumerate(calls):
        batch.answered(number, await call)
    batch.close()


class _Source:
    """Numbers, and whether they have been closed."""

    def __init__(self, number_of: int) -> None:
        self._number_of = number_of
        self.closed = threading.Event()

    def numbers(self) -> Iterator[int]:
        try:
            yield from range(self._number_of)
        finally:
            self.closed.set()


async def _iteration(life: Life) -> None:
    source = _Source(5_000)
    last = life.dice.choice((10, 4_999))
    expected = 0
    async with tpool.iterate(source.numbers) as numbers:
        async for number in numbers:
            if number != expected:
                raise WrongError(f"item {expected} of an iteration was {number}")
            expected += 1
            if number == last:
                break
    if not source.closed.is_set():
        raise WrongError("an iteration that is closed has left its source open")


class _Counter:
    """An object with a thread of its own."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.number = 0

    def count(self) -> int:
        if threading.get_ident() != self.thread:
            raise WrongError("a pinned object was used in another thread")
        self.number += 1
        return self.number

    def close(self) -> None:
        self.count()


async def _proxy(_: Life) -> None:
    counter: Any = await tpool.Proxy.create(_Counter, pin=True)
    async with tpool.closing(counter):
        for expected in range(1, 20):
            if (number := await counter.count()) != expected:
                raise WrongError(f"a counter said {number} and not {expected}")


async def _errors(_life: Life) -> None:
    class MineError(Exception):
        pass

    def fail(error: MineError) -> None:
        raise error

    for _ in range(20):
        error = MineError()
        try:
            await tpool.execute(fail, error)
        except MineError as caught:
            if caught is not error:
                raise WrongError("another error came back") from None
        else:
            raise WrongError("an error was lost")


async def _own_pool(life: Life) -> None:
    number_of = 200
    batch = life.ledger.batch(number_of)
    async with tpool.Pool(life.dice.randrange(1, 5)) as pool:
        calls = [pool.execute(batch.work, number) for number in range(number_of)]
        pool.resize(life.dice.randrange(1, 9))
        if life.dice.random() < 0.5:
            await pool.killall(timeout=60)
        for number, call in enumerate(calls):
            batch.answered(number, await call)
    seen = pool.statistics()
    if (seen.submitted, seen.completed) != (number_of, number_of):
        raise WrongError(f"a pool that has made {number_of} calls says {seen}")
    batch.close()


async def _left_alone(life: Life) -> None:
    """Make calls that nobody waits for."""
    batch = life.ledger.batch(50)
    for number in range(50):
        tpool.execute(batch.work, number)
        batch.given_up(number)
    batch.close()


DEEDS: list[Deed] = [
    _crowd, _cancels, _limits, _callbacks, _iteration, _proxy, _errors, _own_pool, _left_alone
]  # fmt: skip
WEIGHTS = [40, 10, 5, 3, 3, 3, 3, 1, 3]
