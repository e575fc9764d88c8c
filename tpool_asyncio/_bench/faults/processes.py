"""Forks, processes of multiprocessing, and subinterpreters."""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.faults.case import case, program
from tpool_asyncio._bench.faults.some_calls import ended_well, some_calls, works
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable, check
from tpool_asyncio._bench.faults.waiters import Gate, until
from tpool_asyncio._bench.faults.ways import WAYS, Way

__all__ = ["in_another_process"]


def _in_fork(body: Callable[[], object]) -> int:
    """Run something in a forked child and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(int(PATIENCE))  # whose default ends the process
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


def in_another_process(name: str, loop: str) -> None:
    """Use a contestant. Of this module, so that processes find it however they are started."""
    try:
        works(WAYS[name](loop))
    except Hangs:
        sys.stderr.flush()
        os._exit(2)


@program
def _processes(way: Way) -> None:
    works(way)
    for method in multiprocessing.get_all_start_methods()[: 1 if os.environ.get("TPOOL_FAULTS_QUICK") else 3]:
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=in_another_process, args=(way.name, way.loop_name))
        process.start()
        process.join(PATIENCE)
        print(f"{method}: {process.exitcode}", flush=True)
        process.kill()


@case("process", alone=True)
def multiprocessing_of_all_kinds(way: Way) -> None:
    """multiprocessing, by every start method.

    Calls work in processes started by fork, spawn and forkserver, though the parent has used the pool.
    """
    ended = _processes(way, seconds=4 * PATIENCE)
    for line in ended.stdout.splitlines():
        method, _, code = line.partition(": ")
        if code in ("None", "2"):
            raise Hangs(f"a process started by {method}")
        check(code == "0", f"a process started by {method} ends with {code}")
    ended_well(ended)


_IN_SUBINTERPRETER = """
import sys
sys.path[:] = {path!r}
try:
    from tpool_asyncio._bench.faults.processes import in_another_process
    in_another_process({name!r}, {loop!r})
except (ImportError, RuntimeError) as error:
    print(type(error).__name__, error, flush=True)
else:
    print("works", flush=True)
"""


@program
def _subinterprets(way: Way) -> None:
    code = _IN_SUBINTERPRETER.format(path=sys.path, name=way.name, loop=way.loop_name)
    for module in ("_interpreters", "_xxsubinterpreters"):
        with suppress(ImportError):
            interpreters = import_module(module)
            interpreter = interpreters.create()
            interpreters.run_string(interpreter, code)
            interpreters.destroy(interpreter)
            return
    print("none", flush=True)


@case("process", alone=True)
def subinterpreter(way: Way) -> None:
    """A subinterpreter, which shares no modules with the main one.

    Calls work there, or end with a RuntimeError or ImportError; nothing hangs, and the process ends well.
    """
    ended = _subinterprets(way)
    if ended.code < 0 and sys.version_info[:2] == (3, 12):
        # The first versions of 3.12 break their memory when a subinterpreter ends that has imported asyncio.
        raise NotApplicable("this Python does not survive asyncio in a subinterpreter")
    if "none" in ended.stdout:
        raise NotApplicable("this Python has no subinterpreters")
    check(ended.stdout.strip(), f"exit code {ended.code}: {ended.stderr.strip().rpartition(chr(10))[2]}")
    check(ended.code == 0, f"{ended.stdout.strip()}, but exit code {ended.code}")
