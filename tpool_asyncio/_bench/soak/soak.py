"""All of it together, and what is to be found at the end."""

import asyncio
import logging
import random
import threading
import time
import traceback
from collections.abc import Callable
from statistics import median
from typing import Any

from tpool_asyncio import tpool
from tpool_asyncio._bench.soak.async_life import async_life
from tpool_asyncio._bench.soak.green_life import green_life
from tpool_asyncio._bench.soak.ledger import Ledger
from tpool_asyncio._bench.soak.process import Sample, fork, sample
from tpool_asyncio._bench.soak.watched_loop import watched

__all__ = ["soak"]

LIVES = 2
"""Threads of each kind for each kind of loop."""

_PAUSE = 0.5
"""Seconds between two disturbances."""

_MOST = 20
"""How much of what goes wrong again and again is told."""

GROWTH = 0.10
"""By how much the memory may have grown from the second quarter of the time to the last one, as a fraction."""


class _Listener(logging.Handler):
    """Has what is logged count as wrong: an error in the middle of a delivery, for instance, is only told there."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.WARNING)
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        self._ledger.blame(f"logged: {self.format(record)}")


class _Lives:
    """The threads that make calls."""

    def __init__(self, ledger: Ledger, seed: int, loops: list[Callable[[], asyncio.AbstractEventLoop]]) -> None:
        self.stopped = threading.Event()
        self.wrong: list[str] = []
        watching = [watched(loop, ledger) for loop in loops]
        lives = [(life, loop) for life in (async_life, green_life) for loop in watching for _ in range(LIVES)]
        self.threads = [
            threading.Thread(target=self._live, args=(life, ledger, seed + number, loop), name=f"life-{number}")
            for number, (life, loop) in enumerate(lives)
        ]

    def _live(self, life: Callable[..., None], ledger: Ledger, seed: int, loop: Any) -> None:
        try:
            life(ledger, seed, self.stopped, loop)
        except BaseException:
            self.wrong.append(traceback.format_exc())
            self.stopped.set()


def soak(
    seconds: float,
    *,
    calls: int = 0,
    seed: int = 0,
    loops: list[Callable[[], asyncio.AbstractEventLoop]] | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Have everything go on at once for so long, or for so many calls if that takes longer; return what was found.

    ``wrong`` in what it returns is a list of all that was not as it should be. To be called in the main thread.
    """
    ledger = Ledger()
    dice = random.Random(seed)
    loops = loops or [asyncio.new_event_loop]
    tpool.set_num_threads(8)
    for loop in loops:  # libuv keeps two file descriptors for good
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(_warm_up())
    begun = time.monotonic()
    before = sample(begun)
    lives = _Lives(ledger, seed, loops)
    listener = _Listener(ledger)
    logging.getLogger().addHandler(listener)
    for thread in lives.threads:
        thread.start()
    samples: list[Sample] = []
    try:
        while not lives.stopped.wait(_PAUSE):
            _disturb(ledger, dice)
            samples.append(sample(begun))
            done = ledger.totals["answered"] + ledger.totals["given up"]
            tell(f"{samples[-1].seconds:6.0f} s  {done:>12,} calls  {samples[-1].memory / 2**20:6.0f} MB")
            if samples[-1].seconds >= seconds and done >= calls:
                break
    except BaseException:
        lives.wrong.append(traceback.format_exc())
    lives.stopped.set()
    for thread in lives.threads:
        thread.join()
    asyncio.run(tpool.killall())
    logging.getLogger().removeHandler(listener)
    after = sample(begun)
    wrong = [*lives.wrong, *ledger.wrong[:_MOST], *_unaccounted(), *_left_over(before, after), *_grown(samples)]
    return {
        "seconds": round(after.seconds, 1),
        "totals": dict(sorted(ledger.totals.items())),
        "samples": [each.as_dict() for each in (before, *samples, after)],
        "wrong": wrong,
    }


async def _warm_up() -> None:
    await tpool.execute(time.sleep, 0)
    await tpool.killall()


def _disturb(ledger: Ledger, dice: random.Random) -> None:
    kind = dice.choice(("fork", "resize", "killall"))
    if kind == "fork":
        fork()
    elif kind == "resize":
        tpool.default_pool().resize(dice.randrange(1, 20))
    else:
        asyncio.run(tpool.killall(timeout=60))
    ledger.add(f"{kind}s" if kind != "killall" else kind)


def _unaccounted() -> list[str]:
    seen = tpool.statistics()
    ended = seen.completed + seen.failed + seen.cancelled
    if seen.submitted == ended and not (seen.queued or seen.threads or seen.pinned):
        return []
    return [f"the default pool says {seen}"]


def _left_over(before: Sample, after: Sample) -> list[str]:
    return [
        f"{getattr(after, what)} {what} at the end, {getattr(before, what)} at the beginning"
        for what in ("files", "threads")
        if getattr(after, what) > getattr(before, what)
    ]


def _grown(samples: list[Sample]) -> list[str]:
    quarter = len(samples) // 4
    if quarter < 3:
        return []  # too short a time to tell
    first = median(each.memory for each in samples[quarter : 2 * quarter])
    last = median(each.memory for each in samples[-quarter:])
    if last <= first * (1 + GROWTH):
        return []
    return [f"the memory has grown from {first / 2**20:.0f} to {last / 2**20:.0f} MB"]
