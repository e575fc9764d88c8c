"""A thread without a loop of its own, whose script starts green threads that do everything synchronous code can do."""

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tpool_asyncio import green, hubs
from tpool_asyncio._bench.soak.ledger import Batch, Ledger, WrongError
from tpool_asyncio.green import tpool

__all__ = ["green_life"]

SESSION = 100
"""Deeds between one hub and the next."""


def green_life(
    ledger: Ledger, seed: int, stopped: threading.Event, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Live until told to stop. The body of a thread."""
    dice = random.Random(seed)
    while not stopped.is_set():
        hubs.use_hub(new_loop)
        with closing(hubs.get_hub()):
            for _ in range(SESSION):
                if stopped.is_set():
                    break
                dice.choices(DEEDS, WEIGHTS)[0](ledger, dice)
                ledger.add("deeds of synchronous code")
        ledger.add("hubs")


def _share(batch: Batch, numbers: range) -> None:
    for number in numbers:
        batch.answered(number, tpool.execute(batch.work, number))


def _crowd(ledger: Ledger, _: random.Random) -> None:
    batch = ledger.batch(1_000)
    threads = [green.spawn(_share, batch, range(start, start + 10)) for start in range(0, 1_000, 10)]
    for thread in threads:
        thread.wait()
    ledger.add("green threads", len(threads))
    batch.close()


def _script(ledger: Ledger, _: random.Random) -> None:
    batch = ledger.batch(50)
    _share(batch, range(50))
    batch.close()


def _kills(ledger: Ledger, dice: random.Random) -> None:
    batch = ledger.batch(100)

    def one(number: int) -> None:
        try:
            value = tpool.execute(batch.work, number)
        except BaseException:
            batch.given_up(number)
            raise
        batch.answered(number, value)

    threads = [green.spawn(one, number) for number in range(100)]
    for _ in range(dice.randrange(3)):
        green.sleep(0)
    doomed = dice.sample(range(100), 30)
    for number in doomed:
        threads[number].kill()
    for number, thread in enumerate(threads):
        try:
            thread.wait()
        except green.GreenletExit:
            batch.given_up(number)  # also one that had not begun
    batch.close()


def _limits(ledger: Ledger, dice: random.Random) -> None:
    batch = ledger.batch(30)
    for number in range(30):
        try:
            with green.Timeout(dice.choice((0, 0.0002, 5))):
                value = tpool.execute(batch.work, number)
        except green.Timeout:
            batch.given_up(number)
        else:
            batch.answered(number, value)
    batch.close()


def _bridge(ledger: Ledger, _: random.Random) -> None:
    from tpool_asyncio import tpool as async_tpool

    batch = ledger.batch(20)

    async def ask(number: int) -> tuple[int, int]:
        return await async_tpool.execute(batch.work, number)

    for number in range(20):
        batch.answered(number, green.await_(ask(number)))
    batch.close()


def _items(_ledger: Ledger, _: random.Random) -> None:
    with tpool.iterate(range, 3_000) as numbers:
        if sum(numbers) != sum(range(3_000)):
            raise WrongError("items of an iteration were lost")


def _proxy(_ledger: Ledger, _: random.Random) -> None:
    items: Any = tpool.Proxy([], pin=True)
    for number in range(20):
        items.append(number)
    if items._obj != list(range(20)):
        raise WrongError("a proxy has lost calls")


DEEDS = [_crowd, _script, _kills, _limits, _bridge, _items, _proxy]
WEIGHTS = [20, 10, 10, 5, 5, 3, 3]
