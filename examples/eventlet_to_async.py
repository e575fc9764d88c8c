"""From Eventlet to async code, one function after another, and in every stage a program that works.

    python examples/eventlet_to_async.py                                    # all stages, each in a process of its own
    EVENTLET_HUB=asyncio python -P examples/eventlet_to_async.py 3          # one of them

A shop: customers order, clerks look up the price of each article in a blocking library and write receipts, and a
watchman does his rounds. What a stage has in common with the one before it is not written again, so each shows what
has changed. From stage 1 on the program needs Eventlet's asyncio hub, which is chosen by EVENTLET_HUB=asyncio. (And -P
keeps Eventlet from taking the example ``dns.py`` for the library of that name.)
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
warnings.filterwarnings("ignore", "unclosed", ResourceWarning)  # the hub's loop at exit, up to Eventlet 0.40

PRICES = {"apples": 3, "pears": 4, "plums": 5}
ORDERS = [(article, number) for number in range(1, 11) for article in PRICES]

receipts: Counter[str] = Counter()
rounds: list[int] = []
"""What the watchman has seen: how many receipts there were when he came by."""

threads: set[int] = set()


def price_of(article: str) -> int:
    """Stand for a library that blocks."""
    threads.add(threading.get_ident())
    time.sleep(0.002)
    return PRICES[article]


# Stage 0: all of it in Eventlet, with the pool of Eventlet.


def stage_0() -> None:
    import eventlet  # type: ignore[import-untyped]
    import eventlet.queue  # type: ignore[import-untyped]
    from eventlet import tpool

    run_shop_in_eventlet(eventlet, lambda article: tpool.execute(price_of, article))


def run_shop_in_eventlet(eventlet: Any, look_up: Callable[[str], int]) -> None:
    orders = eventlet.queue.Queue()

    def customer() -> None:
        for order in ORDERS:
            orders.put(order)
            eventlet.sleep(0)

    def clerk() -> None:
        while (order := orders.get()) is not None:
            article, number = order
            price = look_up(article)
            receipts[article] += number * price

    def watchman() -> None:
        while True:
            rounds.append(receipts.total())
            eventlet.sleep(0.002)

    watching = eventlet.spawn(watchman)
    clerks = [eventlet.spawn(clerk) for _ in range(3)]
    eventlet.spawn(customer).wait()
    for _ in clerks:
        orders.put(None)
    for each in clerks:
        each.wait()
    watching.kill()


# Stage 1: our pool. One import line has changed; or none has, if the program begins with install().


def stage_1() -> None:
    import eventlet
    import eventlet.queue

    # from eventlet import tpool
    from tpool_asyncio.green import tpool

    run_shop_in_eventlet(eventlet, lambda article: tpool.execute(price_of, article))


def stage_2() -> None:
    import eventlet
    import eventlet.queue
    import eventlet.tpool  # type: ignore[import-untyped]

    from tpool_asyncio.interop import eventlet as interop

    interop.install()
    try:
        run_shop_in_eventlet(eventlet, lambda article: eventlet.tpool.execute(price_of, article))
    finally:
        interop.uninstall()


# Stage 3: the innermost function is async. The clerks, who are greenthreads still, wait for it.


async def look_up(article: str) -> int:
    from tpool_asyncio import tpool

    return await tpool.execute(price_of, article)


def stage_3() -> None:
    import eventlet
    import eventlet.queue

    from tpool_asyncio import green

    run_shop_in_eventlet(eventlet, lambda article: green.await_(look_up(article)))


# Stage 4: the clerks are async, too, and so is who sends them to work. The customer and the watchman are greenthreads
# as before: async code can await a greenthread, and a greenthread can use the queue of asyncio, in the same thread.


async def clerk(orders: "asyncio.Queue[tuple[str, int] | None]") -> None:
    while (order := await orders.get()) is not None:
        article, number = order
        price = await look_up(article)
        receipts[article] += number * price


def stage_4() -> None:
    import eventlet

    from tpool_asyncio import green

    async def shop() -> None:
        orders: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()

        def customer() -> None:
            for order in ORDERS:
                orders.put_nowait(order)
                eventlet.sleep(0)

        def watchman() -> None:
            while True:
                rounds.append(receipts.total())
                eventlet.sleep(0.002)

        watching = eventlet.spawn(watchman)
        async with asyncio.TaskGroup() as clerks:
            for _ in range(3):
                clerks.create_task(clerk(orders))
            await eventlet.spawn(customer)
            for _ in range(3):
                orders.put_nowait(None)
        watching.kill()

    green.await_(shop())


# Stage 5: all of it is async, and Eventlet is gone.


async def customer(orders: "asyncio.Queue[tuple[str, int] | None]") -> None:
    for order in ORDERS:
        orders.put_nowait(order)
        await asyncio.sleep(0)


async def watchman() -> None:
    while True:
        rounds.append(receipts.total())
        await asyncio.sleep(0.002)


async def shop() -> None:
    orders: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
    watching = asyncio.create_task(watchman())
    async with asyncio.TaskGroup() as clerks:
        for _ in range(3):
            clerks.create_task(clerk(orders))
        await customer(orders)
        for _ in range(3):
            orders.put_nowait(None)
    watching.cancel()


def stage_5() -> None:
    asyncio.run(shop())


STAGES = {
    stage_0: "all of it in Eventlet",
    stage_1: "the pool is ours: one import line",
    stage_2: "or none, with install()",
    stage_3: "greenthreads wait for an async function",
    stage_4: "async code waits for greenthreads",
    stage_5: "all of it in async code",
}


def main() -> None:
    if len(sys.argv) > 1:
        list(STAGES)[int(sys.argv[1])]()
        took_turns = len(set(rounds)) > 2  # the watchman has seen the work go on
        print(json.dumps({"receipts": receipts, "took turns": took_turns, "threads": len(threads)}))
        return
    environment = {**os.environ, "EVENTLET_HUB": "asyncio"}
    children = [
        subprocess.Popen([sys.executable, "-P", __file__, str(number)], env=environment, stdout=subprocess.PIPE)
        for number in range(len(STAGES))
    ]
    expected = {article: sum(n * price for a, n in ORDERS if a == article) for article, price in PRICES.items()}
    outputs = [child.communicate(timeout=30)[0] for child in children]
    for number, (output, what) in enumerate(zip(outputs, STAGES.values(), strict=True)):
        result = json.loads(output)
        assert result["receipts"] == expected
        assert result["took turns"]
        print(f"stage {number}, {what}: {sum(result['receipts'].values())} taken, {result['threads']} threads")


if __name__ == "__main__":
    main()
