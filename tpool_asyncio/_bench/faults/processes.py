"""Forks, exits and signals: what happens to the process."""

import asyncio
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.faults.case import case, program
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable, check
from tpool_asyncio._bench.faults.waiters import Gate, until
from tpool_asyncio._bench.faults.ways import WAYS, Ended, Way

__all__ = ["in_another_process"]


async def _some_calls(way: Way) -> None:
    for number in range(4):
        check(await way.within(way.call(pow, 2, number), "a call") == 2**number, "a wrong value")
    if "tasks" in way.has:
        values = await way.within(asyncio.gather(*(way.start(pow, 2, n) for n in range(8))), "calls at once")
        check(values == [2**number for number in range(8)], "wrong values")


def _works(way: Way) -> None:
    way.run(lambda: _some_calls(way))


def _ended_well(ended: Ended) -> None:
    last = ended.stderr.strip().rpartition("\n")[2]
    check(ended.code == 0 and not ended.stderr, f"exit code {ended.code}: {last}")


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
    _works(way)
    child = _in_fork(lambda: _works(way))
    _works(way)
    _wait_for(child)
    _works(way)


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
        _works(way)
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
    _works(way)


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
        await _some_calls(way)

    way.run(main)


def _fork_here(way: Way) -> None:
    _wait_for(_in_fork(lambda: _works(way)))


def in_another_process(name: str, loop: str) -> None:
    """Use a contestant. Of this module, so that processes find it however they are started."""
    try:
        _works(WAYS[name](loop))
    except Hangs:
        sys.stderr.flush()
        os._exit(2)


@program
def _processes(way: Way) -> None:
    _works(way)
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
    _ended_well(ended)


@program
def _exits_busy(way: Way) -> None:
    way.set_size(2)
    loop = way.new_loop()

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
    _ended_well(ended)
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


@program
def _waits(way: Way) -> None:
    async def main() -> None:
        await way.call(_say_and_sleep)

    way.run(main)


def _say_and_sleep() -> None:
    print("running", flush=True)
    time.sleep(1.0)


@case("process", alone=True)
def ctrl_c(way: Way) -> None:
    """Ctrl-C while the program waits for a call of one second.

    The process ends with a KeyboardInterrupt, at the latest when the call has ended.
    """
    ended = _waits(way, signal=signal.SIGINT)
    check("KeyboardInterrupt" in ended.stderr, "no KeyboardInterrupt")
    check(ended.code in (-signal.SIGINT, 130, 1), f"exit code {ended.code}")


@case("process", alone=True)
def sigterm(way: Way) -> None:
    """SIGTERM while the program waits for a call: the process ends at once."""
    ended = _waits(way, signal=signal.SIGTERM)
    check(ended.code == -signal.SIGTERM, f"exit code {ended.code}")


def _needs_alarms() -> None:
    if not hasattr(signal, "setitimer"):
        raise NotApplicable("this system has no alarms")


@case("process")
def storm_of_signals(way: Way) -> None:
    """A storm of signals whose handler returns.

    While 3,000 calls are made one after another, an alarm goes off every half a millisecond. All get their values.
    """
    _needs_alarms()
    rung = []

    async def main() -> None:
        for number in range(way.many(3_000)):
            check(await way.within(way.call(abs, -number), "a call") == number, "a wrong value")

    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        way.run(main)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    check(rung, "no alarm went off")


class _AlarmError(Exception):
    """What the handler raises."""


class _Raiser:
    """A handler that raises, up to three times in a row, while it is armed."""

    def __init__(self) -> None:
        self.left = 0
        self.raised = 0

    def __call__(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            self.raised += 1
            raise _AlarmError

    def strike(self, body: Callable[[], object], after: float, again: float) -> None:
        """Run something, and raise in the middle of it."""
        self.left = 3
        try:
            signal.setitimer(signal.ITIMER_REAL, after, again)
            body()
        except BaseException as error:
            self.left = 0
            if not _is_alarm(error):
                raise
        finally:
            self.left = 0
            signal.setitimer(signal.ITIMER_REAL, 0)


def _is_alarm(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, (_AlarmError, TimeoutError, asyncio.CancelledError)):
            return True
        error = error.__context__
    return False


@case("process", alone=True)
def storm_of_raising_signals(way: Way) -> None:
    """A storm of signals whose handler raises, between any two steps of the main thread.

    The main thread makes calls that are cut short by an exception out of a handler, 400 times. What it strikes may be
    lost, asyncio itself included. But the calls of another thread go on all the time, and when the storm is over,
    calls work in the main thread too.
    """
    _needs_alarms()
    if way.name == "eventlet":
        raise NotApplicable("has one thread that makes calls")
    chance = random.Random(13)
    stop = threading.Event()
    done = [0]
    problems: list[BaseException] = []

    async def calls() -> None:
        while not stop.is_set():
            await way.within(way.call(int), "a call in the thread that is not struck")
            done[0] += 1

    async def struck() -> None:
        if "tasks" not in way.has:
            for _ in range(200):
                await way.call(int)
            return
        for _ in range(20):
            await asyncio.gather(*(way.start(int) for _ in range(5)))

    def run_struck() -> None:
        if "loops" not in way.has:
            way.run(struck)
            return
        # No more of asyncio than that, since all of it may be struck; uvloop closes files of other loops then.
        loop = asyncio.new_event_loop()
        way.equip(loop)
        try:
            loop.call_later(0.2, loop.stop)
            loop.run_until_complete(struck())
        except RuntimeError:
            pass  # it was stopped
        finally:
            asyncio._set_running_loop(None)  # which a loop that is struck may leave behind
            with suppress(RuntimeError):
                loop.close()

    def other() -> None:
        try:
            way.run(calls)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    handler = _Raiser()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for turn in range(way.many(400)):
            with suppress(_AlarmError):
                handler.strike(run_struck, 0.0001 + chance.random() / 400, 0.00002 if turn % 4 else 0.0003)
    finally:
        handler.left = 0
        signal.signal(signal.SIGALRM, before)
    count, deadline = done[0], time.monotonic() + PATIENCE
    while done[0] == count and not problems:
        if time.monotonic() > deadline:
            raise Hangs("the calls of the thread that is not struck")
        time.sleep(0.001)
    stop.set()
    thread.join(2 * PATIENCE)
    if thread.is_alive():
        raise Hangs("the thread that is not struck")
    if problems:
        raise problems[0]
    check(handler.raised, "nothing was struck")
    _works(way)
    way.may_be_noisy = True  # whatever was struck may complain, now or when it is collected


@case("process")
def traced(way: Way) -> None:
    """A debugger or profiler is attached, by threading.settrace and threading.setprofile.

    Both see the function run in its thread, and calls work.
    """
    seen: set[tuple[str, str]] = set()

    def trace(frame: Any, *_: object) -> None:
        seen.add(("trace", frame.f_code.co_name))

    def profile(frame: Any, *_: object) -> None:
        seen.add(("profile", frame.f_code.co_name))

    threading.settrace(trace)
    threading.setprofile(profile)
    try:
        sys.settrace(trace)
        sys.setprofile(profile)
        way.run(lambda: _traced_calls(way))
    finally:
        sys.settrace(None)
        sys.setprofile(None)
        threading.settrace(None)
        threading.setprofile(None)
    missing = {("trace", _be_traced.__name__), ("profile", _be_traced.__name__)} - seen
    check(not missing, f"not seen: {', '.join(kind for kind, _ in missing)}")


def _be_traced() -> int:
    return 1


async def _traced_calls(way: Way) -> None:
    check(await way.within(way.call(_be_traced), "a call that is traced") == 1, "a wrong value")
    await _some_calls(way)


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
