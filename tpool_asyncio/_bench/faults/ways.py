"""The contestants, each plugged into the same cases.

A case is written once, as async code. In the green spelling it awaits a green thread that makes the call; in a script,
where nothing but the call may wait, the coroutine is driven to its end in one go; Eventlet runs it on its asyncio hub.

What a case may need of a contestant, and else does not apply to it: ``tasks`` (several calls at once in one loop),
``loops`` (loops that the case makes, closes and replaces as it likes), ``pool`` (a pool that can be resized and killed
while it is in use), ``green`` (green threads).
"""

# ruff: noqa: ARG002 - not every way needs what others do

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.faults.verdicts import PATIENCE, Hangs, NotApplicable

__all__ = ["LOOPS", "OURS", "WAYS", "Ended", "Way"]

LOOPS = ("asyncio", "uvloop")


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class Way:
    """One way to make a call; this one is `asyncio.to_thread`."""

    name = "to_thread"
    title = "asyncio.to_thread"
    module = "asyncio"
    has = frozenset({"tasks", "loops"})
    loops: tuple[str, ...] = LOOPS
    documented: Mapping[str, str] = {
        "exit_with_a_stuck_call": "waits for its threads at exit, as the documentation of concurrent.futures says",
    }
    """By the case: what the package says of itself that is not what the case demands."""

    def __init__(self, loop: str, *, quick: bool = False) -> None:
        self.loop_name = loop
        self.quick = quick
        self.size = 4
        self.noise: list[str] = []
        self.may_be_noisy = False
        import_module(self.module)
        self.set_up()

    def set_up(self) -> None:
        """Make what is made once for a process."""

    def set_size(self, size: int) -> None:
        """Have this many threads, if that can be said. Before the first call."""
        self.size = size

    def many(self, number: int) -> int:
        """Return how many of so many there are to be when it has to be quick."""
        return max(10, number // 20) if self.quick else number

    def call(self, fn: Callable[..., Any], /, *args: Any) -> "asyncio.Future[Any] | Coroutine[Any, Any, Any]":
        """Call a function in a thread."""
        return asyncio.to_thread(fn, *args)

    def back(self, loop: asyncio.AbstractEventLoop, fn: Callable[..., Any]) -> Any:
        """From a thread: have the loop make another call and wait for it, in the way that the package has for that."""
        return asyncio.run_coroutine_threadsafe(self.to_coroutine(fn), loop).result()

    async def to_coroutine(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Do what `call` does, as a coroutine."""
        return await self.call(fn, *args)

    def start(self, fn: Callable[..., Any], /, *args: Any) -> "asyncio.Task[Any]":
        """Make a call in a task of its own."""
        return asyncio.get_running_loop().create_task(self.to_coroutine(fn, *args))

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make a loop on which calls can be made."""
        if self.loop_name == "uvloop":
            loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        self.equip(loop)
        return loop

    def equip(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give a loop what the contestant needs there."""
        loop.set_default_executor(ThreadPoolExecutor(self.size))

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]], *, debug: bool = False) -> Any:
        """Run a coroutine function in a loop of its own."""
        with asyncio.Runner(loop_factory=self.new_loop, debug=debug) as runner:
            return runner.run(main())

    async def within(self, awaitable: Any, what: str, seconds: float = PATIENCE) -> Any:
        """Await something that must come soon, whatever it is."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await awaitable
        except TimeoutError:
            if limit.expired():
                raise Hangs(what) from None
            raise

    def resize(self, size: int) -> None:
        """Change the number of threads while they are in use."""
        raise NotApplicable("has no resize")

    async def killall(self, timeout: float | None = None) -> None:
        """Have all threads end when they have done what they have."""
        raise NotApplicable("has no killall")

    def counters_wrong(self) -> str:
        """Return what is wrong with the counters of the pool now that nothing runs, or nothing."""
        return ""

    def process(self, name: str, *, seconds: float = PATIENCE, signal: int = 0, options: tuple[str, ...] = ()) -> Ended:
        """Run a program with this contestant in a process of its own, and say how that ended.

        With a signal, it is sent as soon as the program prints something.
        """
        begun = time.monotonic()
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-W", "ignore", *options, "-m", "tpool_asyncio._bench.faults"),
                *("--program", name, self.name, self.loop_name),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        try:
            if signal:
                assert process.stdout is not None
                process.stdout.readline()
                process.send_signal(signal)
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Hangs(f"the process has not ended in {seconds:g} s") from None
        finally:
            process.kill()
            process.wait()
        return Ended(process.returncode, stdout, stderr, time.monotonic() - begun)


class _Executor(Way):
    name = "run_in_executor"
    title = "ThreadPoolExecutor"
    module = "concurrent.futures"
    documented: Mapping[str, str] = {
        **Way.documented,
        "nested_at_size_1": "waits for itself, as its documentation warns",
        "back_and_forth_at_size_1": "waits for itself, as its documentation warns",
    }

    def set_up(self) -> None:
        self.executor = ThreadPoolExecutor(self.size)

    def set_size(self, size: int) -> None:
        super().set_size(size)
        self.executor = ThreadPoolExecutor(size)

    def equip(self, loop: asyncio.AbstractEventLoop) -> None:
        pass

    def call(self, fn: Callable[..., Any], /, *args: Any) -> "asyncio.Future[Any] | Coroutine[Any, Any, Any]":
        return asyncio.get_running_loop().run_in_executor(self.executor, partial(fn, *args))


class _Anyio(Way):
    name = "anyio"
    title = "anyio.to_thread"
    module = "anyio.to_thread"
    documented: Mapping[str, str] = {}

    def set_up(self) -> None:
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def equip(self, loop: asyncio.AbstractEventLoop) -> None:
        pass

    def _limiter(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._limiters:
            self._limiters[loop] = import_module("anyio").CapacityLimiter(self.size)
        return self._limiters[loop]

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Coroutine[Any, Any, Any]:
        return import_module("anyio.to_thread").run_sync(fn, *args, limiter=self._limiter())  # type: ignore[no-any-return]

    def back(self, loop: asyncio.AbstractEventLoop, fn: Callable[..., Any]) -> Any:
        return import_module("anyio.from_thread").run(self.to_coroutine, fn)


class _Asgiref(_Executor):
    name = "asgiref"
    title = "asgiref.sync_to_async"
    module = "asgiref.sync"

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Coroutine[Any, Any, Any]:
        sync_to_async = import_module("asgiref.sync").sync_to_async
        return sync_to_async(fn, thread_sensitive=False, executor=self.executor)(*args)  # type: ignore[no-any-return]

    def back(self, loop: asyncio.AbstractEventLoop, fn: Callable[..., Any]) -> Any:
        return import_module("asgiref.sync").async_to_sync(self.to_coroutine)(fn)


class _Tpool(Way):
    name = "tpool"
    title = "tpool.execute"
    module = "tpool_asyncio.tpool"
    documented: Mapping[str, str] = {}
    has = frozenset({"tasks", "loops", "pool"})

    def set_up(self) -> None:
        self.pool = import_module(self.module).Pool(self.size, exit_grace=1.0)

    def set_size(self, size: int) -> None:
        super().set_size(size)
        self.pool.resize(size)

    def use(self, **options: Any) -> None:
        """Have another pool of this size, with these options."""
        self.pool = import_module(self.module).Pool(self.size, **options)

    def equip(self, loop: asyncio.AbstractEventLoop) -> None:
        pass

    def call(self, fn: Callable[..., Any], /, *args: Any) -> "asyncio.Future[Any] | Coroutine[Any, Any, Any]":
        return self.pool.execute(fn, *args)  # type: ignore[no-any-return]

    def back(self, loop: asyncio.AbstractEventLoop, fn: Callable[..., Any]) -> Any:
        return import_module("tpool_asyncio.from_thread").run(self.to_coroutine, fn)

    def resize(self, size: int) -> None:
        self.pool.resize(size)

    async def killall(self, timeout: float | None = None) -> None:
        await self.pool.killall(timeout)

    def counters_wrong(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while True:
            counts = self.pool.statistics()
            ended = counts.completed + counts.failed + counts.cancelled
            busy = counts.busy or counts.parked or counts.queued or counts.abandoned
            if not busy and counts.submitted == ended:
                return ""
            if time.monotonic() > deadline:
                return f"the counters do not add up: {counts}"
            time.sleep(0.01)


class _Green(_Tpool):
    name = "green"
    title = "green.tpool.execute"
    module = "tpool_asyncio.green.tpool"
    has = frozenset({"tasks", "loops", "pool", "green"})

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Coroutine[Any, Any, Any]:
        return import_module("tpool_asyncio.green").run(self.pool.execute, fn, *args)  # type: ignore[no-any-return]

    async def killall(self, timeout: float | None = None) -> None:
        await import_module("tpool_asyncio.green").run(self.pool.killall, timeout)

    def spawn(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Start a green thread. In a script."""
        return import_module("tpool_asyncio.green").spawn(fn, *args)

    def sleep(self, seconds: float) -> None:
        """Let other green threads run."""
        import_module("tpool_asyncio.green").sleep(seconds)


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise NotApplicable("waits in other ways than by the call")


class _Script(_Tpool):
    """The green spelling where no loop runs."""

    name = "script"
    title = "green.tpool in a script"
    module = "tpool_asyncio.green.tpool"
    has = frozenset({"pool"})
    loops: tuple[str, ...] = ("asyncio",)

    async def to_coroutine(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return self.pool.execute(fn, *args)

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Coroutine[Any, Any, Any]:
        return self.to_coroutine(fn, *args)

    async def killall(self, timeout: float | None = None) -> None:
        self.pool.killall(timeout)

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]], *, debug: bool = False) -> Any:
        return drive(main())

    async def within(self, awaitable: Any, what: str, seconds: float = PATIENCE) -> Any:
        return await awaitable


class _Eventlet(Way):
    name = "eventlet"
    title = "eventlet.tpool"
    module = "eventlet"
    documented: Mapping[str, str] = {}
    has = frozenset({"tasks", "green"})
    loops: tuple[str, ...] = ("asyncio",)

    def set_up(self) -> None:
        eventlet = import_module("eventlet")
        eventlet.hubs.use_hub("asyncio")
        self.tpool: Any = import_module("eventlet.tpool")
        vars(self.tpool)["QUIET"] = True  # it would print every error
        self.set_size(self.size)
        self._spawn = eventlet.spawn

    def set_size(self, size: int) -> None:
        super().set_size(size)
        self.tpool.set_num_threads(size)

    def equip(self, loop: asyncio.AbstractEventLoop) -> None:
        pass

    def _outcome(self, fn: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
        try:
            return self.tpool.execute(fn, *args), None
        except BaseException as error:
            return None, error

    async def to_coroutine(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():  # inside a call, where there is no hub
            return self.tpool.execute(fn, *args)
        value, error = await self._spawn(self._outcome, fn, *args)
        if error is not None:
            try:
                raise error
            finally:
                error = None
        return value

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Coroutine[Any, Any, Any]:
        return self.to_coroutine(fn, *args)

    def back(self, loop: asyncio.AbstractEventLoop, fn: Callable[..., Any]) -> Any:
        raise NotApplicable("has no way back from a thread")

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]], *, debug: bool = False) -> Any:
        if debug:
            raise NotApplicable("has a loop of its own")
        if threading.current_thread() is not threading.main_thread():
            return drive(main())
        return import_module("eventlet.asyncio").spawn_for_awaitable(main()).wait()

    def spawn(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Start a green thread."""
        return self._spawn(fn, *args)

    def sleep(self, seconds: float) -> None:
        """Let other green threads run."""
        import_module("eventlet").sleep(seconds)


WAYS: dict[str, type[Way]] = {
    way.name: way for way in (_Tpool, _Green, _Script, Way, _Executor, _Anyio, _Asgiref, _Eventlet)
}
"""By the word for it on the command line, in the order of the columns."""

OURS = ("tpool", "green", "script")
