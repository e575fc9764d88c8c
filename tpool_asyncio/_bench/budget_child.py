"""Does the scenarios of one kind: ``python -m tpool_asyncio._bench.budget_child KIND EACH ROUNDS WARM_UP CLOCK``.

``CLOCK`` is ``time``, or ``callgrind`` if this runs under it. It says in one line of JSON what it has done, in order,
and with the marks.
"""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from tpool_asyncio._bench.budget_marks import Scenario, bases, take_rounds
from tpool_asyncio._bench.one_processor import keep_to_one_processor

__all__ = ["KINDS", "main"]


@asynccontextmanager
async def _by_hand(each: int) -> AsyncIterator[list[Scenario]]:
    from tpool_asyncio._bench.budget_by_hand import ByHand, asyncio_by_hand

    by_hand = ByHand(each)
    yield by_hand.scenarios() + asyncio_by_hand(each)
    by_hand.close()


@asynccontextmanager
async def _green(each: int) -> AsyncIterator[list[Scenario]]:
    from tpool_asyncio._bench.budget_green import GreenByHand

    green = GreenByHand(each)
    await green.start()
    yield green.scenarios()
    await green.close()


@asynccontextmanager
async def _threads(each: int) -> AsyncIterator[list[Scenario]]:
    from tpool_asyncio._bench.budget_threads import with_threads

    async with with_threads(each) as scenarios:
        yield scenarios


KINDS = {"by_hand": _by_hand, "green": _green, "threads": _threads}


async def _measure(kind: str, each: int, rounds: int, warm_up: int, *, counted: bool) -> None:
    async with KINDS[kind](each) as opened:
        scenarios = bases(each) + opened
        gc.collect()
        gc.disable()
        taken = await take_rounds(scenarios, rounds, warm_up, counted=counted)
        gc.enable()
    done = [
        {"name": scenario.name, "each": scenario.each, "steps": [asdict(step) for step in scenario.steps]}
        for scenario in scenarios
    ]
    print(json.dumps({"scenarios": done, "taken": taken}))


def main(kind: str, each: str, rounds: str, warm_up: str, clock: str) -> None:
    """Do what the command line says."""
    keep_to_one_processor()
    with asyncio.Runner(debug=False) as runner:
        runner.run(_measure(kind, int(each), int(rounds), int(warm_up), counted=clock == "callgrind"))


if __name__ == "__main__":
    main(*sys.argv[1:])
