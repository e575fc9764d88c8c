"""Forks in every state of a pool."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.some_calls import some_calls, works
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable, check
from tpool_asyncio._bench.faults.waiters import Gate, until
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []


def _in_fork(body: Callable[[], object]) -> int:
    """Run something in a forked child and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(max(1, int(PATIENCE)))  # whose default ends the process
        body()
        code = 0
    except Hangs:
        code = 2
    finally:
        os._exit(code)


def _wait_for(pid: int) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status in (2, -signal.SIGALRM):
        raise Hangs("the child's first call")
    check(status == 0, f"the child ends with {status}")


def _needs_fork() -> None:
    if not hasattr(os, "fork"):
        raise NotApplicable("this system cannot fork")


@case("process", alone=True)
def fork_when_idle(way: Way) -> None:
    """A fork while nothing runs, after the pool has been used.

    Calls work in the child, and in the parent, before and after the child has ended.
    """
    _needs_fork()
    works(way)
    child = _in_fork(lambda: works(way))
    works(way)
    _wait_for(child)
    works(way)


@case("process", "loops", alone=True)
def fork_when_busy(way: Way) -> None:
    """A fork while calls run and wait.

    Three calls run or wait in a pool of two. In the child calls work, and nothing of the parent's is run; the parent
    gets all its values.
    """
    _needs_fork()
    way.set_size(2)
    gates = [Gate(), Gate(), Gate()]
    calls = []
    loop = way.new_loop()
    parent = os.getpid()
    ran_in = []

    def third() -> None:
        ran_in.append(os.getpid())

    async def begin() -> None:
        calls.extend([way.start(gates[0], 0), way.start(gates[1], 1), way.start(third)])
        await until(gates[0].begun)
        await until(gates[1].begun)

    def in_child() -> None:
        works(way)
        check(not ran_in, "the child runs what is the parent's")

    try:
        loop.run_until_complete(begin())
        child = _in_fork(in_child)
        for gate in gates:
            gate.opened.set()
        values = loop.run_until_complete(way.within(asyncio.gather(*calls), "the parent's calls"))
        check(values == [0, 1, None] and ran_in == [parent], "the parent's values are wrong")
        _wait_for(child)
        loop.close()
    finally:
        for gate in gates:
            gate.opened.set()
    works(way)


@case("process", alone=True)
def fork_in_a_call(way: Way) -> None:
    """A fork inside a call.

    The function forks; in the child, which has only this thread, calls work, and in the parent as well.
    """
    _needs_fork()
    if way.name == "eventlet":
        raise NotApplicable("has one thread that makes calls")

    async def main() -> None:
        check(await way.within(way.call(_fork_here, way), "the function that forks", 2 * PATIENCE) is None, "?")
        await some_calls(way)

    way.run(main)


def _fork_here(way: Way) -> None:
    _wait_for(_in_fork(lambda: works(way)))


@case("process", "loops", alone=True)
def fork_under_load(way: Way) -> None:
    """Forks while another thread makes call after call.

    Ten times, at any moment. In each child calls work, and the calls of the other thread go on.
    """
    _needs_fork()
    works(way)  # nothing is to be imported any more: the child could not, in the middle of the other thread's import
    begun, stop = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    async def calls() -> None:
        while not stop.is_set():
            await some_calls(way)
            begun.set()

    def other() -> None:
        try:
            way.run(calls)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    begun.wait(PATIENCE)
    for _ in range(way.many(10)):
        _wait_for(_in_fork(lambda: works(way)))
    stop.set()
    thread.join(2 * PATIENCE)
    if thread.is_alive():
        raise Hangs("the thread that makes calls")
    if problems:
        raise problems[0]
    works(way)


@case("process", "pool", "tasks", alone=True)
def fork_in_killall(way: Way) -> None:
    """A fork while killall waits for a call.

    In the child calls work, and killall comes back at once. In the parent killall comes back when the call has ended,
    and the next calls work.
    """
    _needs_fork()
    gate = Gate()
    loop = way.new_loop()
    tasks: list[Any] = []

    async def begin() -> None:
        tasks.append(way.start(gate, 42))
        await until(gate.begun)
        tasks.append(asyncio.ensure_future(way.killall()))
        await asyncio.sleep(0.02)
        check(not tasks[1].done(), "killall has not waited")

    def in_child() -> None:
        works(way)
        way.run(way.killall)
        works(way)

    async def end() -> None:
        gate.opened.set()
        check(await way.within(tasks[0], "the value") == 42, "a wrong value")
        await way.within(tasks[1], "killall")

    try:
        loop.run_until_complete(begin())
        _wait_for(_in_fork(in_child))
        loop.run_until_complete(end())
        loop.close()
    finally:
        gate.opened.set()
    works(way)
