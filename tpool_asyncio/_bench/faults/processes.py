"""Processes of multiprocessing, and subinterpreters."""

import multiprocessing
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.faults.case import case, program
from tpool_asyncio._bench.faults.some_calls import ended_well, works
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable, check
from tpool_asyncio._bench.faults.ways import WAYS, Way

__all__ = ["in_another_process"]


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
