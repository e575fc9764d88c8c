"""Two OS threads, each with a hub and green threads of its own, share one pool.

One hub runs on asyncio's own event loop, the other on uvloop where that is installed. Nothing crosses from one thread
to the other but the answers, which go through a `queue.SimpleQueue`: between threads, use what is made for threads.
"""

import hashlib
import importlib.util
import json
import queue
import threading
from pathlib import Path

from tpool_asyncio import green, hubs
from tpool_asyncio.green import tpool

FILES = sorted(Path(json.__file__).parent.glob("*.py"))
ROUNDS = 10

Answer = tuple[str, str, int, set[str]]


def hash_file(path: Path) -> tuple[str, str]:
    """Hash a file and say which thread did it. Blocks."""
    return hashlib.sha256(path.read_bytes()).hexdigest(), threading.current_thread().name


def ask(path: Path) -> tuple[str, str]:
    """Make a call and check that its outcome came to where it belongs. The body of a green thread."""
    home, hub, me = threading.current_thread(), hubs.get_hub(), green.getcurrent()
    digest, worker = tpool.execute(hash_file, path)
    assert threading.current_thread() is home is hub.thread
    assert hubs.get_hub() is hub
    assert green.getcurrent() is me
    assert worker != home.name
    return digest, worker


def run_a_hub(loop_name: str, expected: dict[Path, str], answers: "queue.SimpleQueue[Answer]") -> None:
    """The body of each OS thread: choose a loop, then do what a script does."""
    hubs.use_hub(loop_name)
    green_threads = [(path, green.spawn(ask, path)) for _ in range(ROUNDS) for path in FILES]
    served = set()
    for path, green_thread in green_threads:
        digest, worker = green_thread.wait()
        assert digest == expected[path]
        served.add(worker)
    loop = type(hubs.get_hub().loop)
    answers.put((threading.current_thread().name, f"{loop.__module__}.{loop.__name__}", len(green_threads), served))
    # Its hub ends with the thread: nothing has to be closed.


def main() -> None:
    loops = ["asyncio", "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"]
    expected = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in FILES}
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=run_a_hub, args=[loop, expected, answers], name=f"hub {number} ({loop})")
        for number, loop in enumerate(loops)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    calls, workers = 0, set()
    for _ in threads:
        name, loop_name, made, served = answers.get(timeout=1)
        print(f"{name}: {made} green threads on {loop_name}, served by {len(served)} threads of the pool")
        calls += made
        workers |= served
    statistics = tpool.statistics()
    print(f"{calls} calls of {len(threads)} hubs, by {len(workers)} threads of at most {statistics.size}")
    assert statistics.completed == calls == len(threads) * ROUNDS * len(FILES)
    assert len(workers) <= statistics.size, "the hubs did not share one pool"


if __name__ == "__main__":
    main()
