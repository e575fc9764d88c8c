"""One line of the program, and `asyncio.to_thread`, name look-ups and the libraries built on them use the pool.

Nothing in `main` knows of this package. Both kinds of loops do the very same work.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import tpool_asyncio

CALLS = 1_000
ROUNDS = 10


def word_count(text: str) -> int:
    """Stand for what blocks."""
    return len(text.split())


async def main() -> tuple[str, float]:
    """Make calls as any program on asyncio does; return which threads ran them, and how many there were in a second."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    assert found[0][4] == ("127.0.0.1", 80)
    thread = await asyncio.to_thread(lambda: threading.current_thread().name)

    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        calls = [loop.run_in_executor(None, word_count, "to be or not to be") for _ in range(CALLS)]
        for call in calls:
            assert await call == 6
        taken.append(time.perf_counter() - begun)
    return thread.rstrip("0123456789-_"), CALLS / min(taken)


def run(factory: Callable[[], asyncio.AbstractEventLoop] | None) -> tuple[str, float]:
    with asyncio.Runner(debug=False, loop_factory=factory) as runner:
        return runner.run(main())


if __name__ == "__main__":
    stock_threads, stock = run(None)
    threads, ours = run(tpool_asyncio.new_event_loop)  # the one line
    print(f"stock loop:      {stock:10,.0f} calls a second, in threads called {stock_threads}")
    print(f"new_event_loop:  {ours:10,.0f} calls a second, in threads called {threads}")
    print(f"{ours / stock:.1f} times the throughput, {CALLS:,} calls at once")
    assert (stock_threads, threads) == ("asyncio", "tpool")
