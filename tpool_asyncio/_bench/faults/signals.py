"""Signals, debuggers and profilers: what strikes a program in the middle."""

import asyncio
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tpool_asyncio._bench.faults.case import case, program
from tpool_asyncio._bench.faults.some_calls import some_calls, works
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable, check
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []


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


@contextmanager
def _silence() -> Iterator[None]:
    """Have nobody log: a thread that is struck in the middle of that keeps a lock, and others wait for it for ever."""
    logging.disable()
    for name in ("asyncio", "tpool_asyncio"):
        for level in range(logging.DEBUG, logging.CRITICAL + 1, 10):
            logging.getLogger(name).isEnabledFor(level)  # which takes a lock, but only once
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@case("process", alone=True)
def storm_of_raising_signals(way: Way) -> None:
    """A storm of signals whose handler raises, between any two steps of the main thread.

    The main thread makes calls that are cut short by an exception out of a handler, 400 times. What it strikes may be
    lost, asyncio itself included, and the locks of logging, so that nothing is logged meanwhile. But the calls of
    another thread go on all the time, and when the storm is over, calls work in the main thread too.
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

    with _silence():
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
    works(way)
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
    await some_calls(way)
