"""How a program ends while calls run."""

import asyncio
import sys
import threading
import time

from tpool_asyncio._bench.faults.case import case, program
from tpool_asyncio._bench.faults.some_calls import ended_well
from tpool_asyncio._bench.faults.verdicts import PATIENCE, NotApplicable, check
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []


@program
def _exits_busy(way: Way) -> None:
    way.set_size(2)
    loop = way.new_loop()
    vars(sys)["loop"] = loop  # one that is found by the garbage collector at exit may complain of its own sockets

    def job() -> None:
        time.sleep(0.3)
        print("ended", flush=True)

    async def begin() -> None:
        for _ in range(4):
            way.start(job)._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)

    loop.run_until_complete(begin())


@case("process", "loops", alone=True)
def exit_when_busy(way: Way) -> None:
    """The program ends while calls run and wait.

    Two calls of 0.3 s run and two wait when the main thread ends. The process ends by itself, without a word, and what
    ran has ended before.
    """
    ended = _exits_busy(way)
    ended_well(ended)
    check(ended.stdout.count("ended") >= 2, f"{ended.stdout.count('ended')} of the two functions that ran have ended")


@program
def _exits_stuck(way: Way) -> None:
    loop = way.new_loop()

    async def begin() -> None:
        gate = threading.Event()
        way.start(gate.wait)._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)

    loop.run_until_complete(begin())


@case("process", "loops", alone=True)
def exit_with_a_stuck_call(way: Way) -> None:
    """The program ends while a call runs that never ends.

    The process ends all the same, within 5 s.
    """
    check(_exits_stuck(way).code == 0, "a wrong exit code")


@program
def _exits_from_call(way: Way) -> None:
    async def main() -> None:
        await way.call(sys.exit, 3)

    way.run(main)


@case("process", alone=True)
def sys_exit_in_a_call(way: Way) -> None:
    """sys.exit in a call.

    The SystemExit reaches the caller, which does not catch it: the process ends with that exit code, without a word.
    """
    ended = _exits_from_call(way)
    check(ended.code == 3, f"exit code {ended.code} in place of 3")
    check(not ended.stderr, ended.stderr.strip().rpartition("\n")[2])


@program
def _exits_beside_loop(way: Way) -> None:
    begun = threading.Event()

    async def main() -> None:
        while True:
            begun.set()
            await way.call(time.sleep, 0.05)

    threading.Thread(target=way.run, args=(main,), daemon=True).start()
    begun.wait(PATIENCE)
    time.sleep(0.1)


@case("process", alone=True)
def exit_beside_another_loop(way: Way) -> None:
    """The program ends while a daemon thread makes call after call.

    The process ends by itself, with exit code 0.
    """
    if way.name == "eventlet":
        raise NotApplicable("has one thread that makes calls")
    ended = _exits_beside_loop(way)
    check(ended.code == 0, f"exit code {ended.code}")
