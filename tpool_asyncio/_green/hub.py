"""The hub: what one thread has of green threads, over one event loop.

There are two kinds. One is made over a loop that somebody else runs, such as `asyncio.run`, and keeps its hands off it.
The other has a loop of its own, for threads in which none runs: a **script** that waits has its hub run the loop until
the wait is over. All of a hub belongs to its thread, but for `Hub.run_threadsafe`, which may have to make the loop of a
hub that has not been started.

How green threads end
    - One by one, when their functions end.
    - With their tasks: `asyncio.run` cancels all tasks at its end. Synchronous code may swallow that and go on, which
      would keep `asyncio.run` waiting for ever. So the hub looks, `GRACE` seconds after a green thread has gone on, and
      again and again: if everything that is left on the loop has been cancelled, the loop is at its end, and the hub
      gives up the green threads that hold it up.
    - With `close`, by a `GreenletExit`, and after `GRACE` seconds they are given up.
    - When their loop has been closed over their heads: then they get a `GreenletExit` and can wait no more.

    To be given up means: the task ends, the greenlet is never switched to again, and a warning names it.

What other threads may touch
    The loop is made under ``_making``, a lock, by whoever needs it first, and ``_loop`` is written there. ``_loop``,
    ``_runner_closed`` and ``_forked`` are read by other threads by one load each. The last two only ever become true,
    in the thread of the hub, and ``_runner_closed`` before the loop is closed. So who reads them too early finds a loop
    that refuses what is posted, or drops it, which a visit notices; and who comes later makes no second loop. How the
    bell of a script is rung is told in `tpool_asyncio._green.script_call`. ``_given_up`` is a list to which any thread
    adds by single operations, and which nobody looks through. All else belongs to the thread of the hub.
"""

import asyncio
import warnings
import weakref
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from greenlet import GreenletExit

from tpool_asyncio._green.ctrl_c import CtrlC
from tpool_asyncio._green.driven import Driven, finish_at_once
from tpool_asyncio._green.interrupts import Awaited, ScriptWait
from tpool_asyncio._green.visit import visit
from tpool_asyncio._pool.native import allocate_lock, get_ident

if TYPE_CHECKING:
    import concurrent.futures
    import threading

    from tpool_asyncio._green.green_thread import GreenThread

__all__ = ["HUB_ENDS", "Hub", "LoopFactory"]

P = ParamSpec("P")
T = TypeVar("T")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

HUB_ENDS = ("its hub has been closed",)
"""The arguments of the `GreenletExit` that a hub raises at its end."""

GRACE = 5.0
"""Seconds that green threads have to end after they have been told to."""

_given_up: "list[Driven]" = []
"""Greenlets never to be switched to again. A greenlet that nobody holds would be, to end it."""


class Hub:
    """The green threads of one OS thread, over one event loop. `get_hub` returns it; nobody makes one.

    Attributes:
        thread: The `threading.Thread` that this hub belongs to.
        grace: Seconds that green threads have to end after they have been told to, before they are given up with a
            `RuntimeWarning`: in `close`, at the end of the thread, and at the end of `asyncio.run`. None for ever.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None, factory: LoopFactory, thread: "threading.Thread"
    ) -> None:
        self._making = allocate_lock()  # held while the loop is made, which any thread may have to do
        self.thread = thread
        self.grace: float | None = GRACE
        self._script = ScriptWait()
        self._ctrl_c = CtrlC(self._script)
        self._owner = get_ident()
        self._runner = asyncio.Runner(loop_factory=factory) if loop is None else None
        self._runner_closed = False
        self._loop: Callable[[], asyncio.AbstractEventLoop | None] = _no_loop if loop is None else weakref.ref(loop)
        self._greens: set[GreenThread[Any]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._watched: set[Hashable] = set()  # what `trampoline` waits for
        self._leaver: GreenThread[Any] | None = None  # a green thread that has raised `SystemExit` or the like
        self._forked = False  # the thread is gone without its end, as in a fork

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop. The first look at it makes the loop of a hub that has one of its own.

        Raises:
            RuntimeError: The loop is gone.

        .. versionadded:: 0.1.0
        """
        loop = self._loop()
        if loop is None:
            loop = self._make_loop()
            if loop is None:
                raise RuntimeError("the loop of this hub is gone; get_hub() returns the one of today")
        return loop

    def _make_loop(self) -> asyncio.AbstractEventLoop | None:
        """Make the loop, if that has not been done and there can be one. Any thread."""
        with self._making:
            loop = self._loop()
            if loop is None and self._runner is not None and not self._runner_closed:
                loop = self._runner.get_loop()
                self._loop = weakref.ref(loop)
        return loop

    @property
    def _started(self) -> bool:
        """Whether the loop is there. Looking at this does not make it."""
        return self._loop() is not None

    @property
    def _closed(self) -> bool:
        """Whether the hub is of no use any more. One that has not been started is."""
        loop = self._loop()
        return self._runner_closed if loop is None else loop.is_closed()

    @property
    def green_threads(self) -> "frozenset[GreenThread[Any]]":
        """A snapshot of the green threads that have not ended, linked functions included. For use in the hub's thread.

        .. versionadded:: 0.1.0
        """
        return frozenset(green for green in self._greens if green or not green._over)

    def _check_thread(self, what: str) -> None:
        """Refuse to be used from another thread; ``what`` is the beginning of the message."""
        if get_ident() != self._owner:
            raise RuntimeError(
                f"{what} belongs to the thread {self.thread.name!r} and can only be used there; from other threads,"
                " hand a function to its loop: hub.loop.call_soon_threadsafe(function), or"
                " hub.run_threadsafe(async_function)"
            )

    # What other threads want

    def run_threadsafe(
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> "concurrent.futures.Future[T]":
        """Run ``await fn(*args, **kwargs)`` in the loop of this hub, from another thread.

        It runs in a task of its own, with the context variables of the thread that asks, while the loop runs. The loop
        of a script runs while the script waits for something; until then it is pending.

        Args:
            fn: A coroutine function, or any other callable that returns an awaitable. It is called in the loop.

        Returns:
            A `concurrent.futures.Future` of what the awaitable returns or raises. To wait for it in the hub's own
            thread would take for ever; there, ``green.await_(fn(...))`` does.

        Raises:
            RuntimeError: The hub is closed, or its loop is gone, or the thread is one of the process that this one was
                forked from. From the future: the hub or its loop was closed before the awaitable could be started.
            TypeError: ``fn`` is not callable. From the future: it returned something that cannot be awaited.

        Cancellation: ``cancel()`` of the future cancels the task. When the hub is closed, or the loop ends as at the
        end of `asyncio.run`, what still runs is cancelled, and so is the future.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return visit(self, fn, args, kwargs)

    def _loop_for_visitors(self) -> asyncio.AbstractEventLoop:
        """Return the loop, which is made if need be; raise a `RuntimeError` if there is none any more. Any thread."""
        if not self._forked and not self._closed:
            loop = self._loop() or self._make_loop()
            if loop is not None:
                return loop
        raise self._closed_error()

    def _closed_error(self) -> RuntimeError:
        return RuntimeError(
            f"the hub of the thread {self.thread.name!r} is closed; hubs.get_hub() returns, in that thread, the one of"
            " today"
        )

    # The waiting of a script

    def _run(self, future: "asyncio.Future[T]", *, keeps: bool = False) -> T:
        """Run the loop until a future is done; return or raise its outcome. Where no loop runs. See `_run_until`."""
        if future.get_loop() is not self.loop:
            raise RuntimeError(
                f"{future!r} belongs to another loop than this script's, which would wait for it for ever; await it in"
                " that loop, or make it with get_hub().loop"
            )
        future.add_done_callback(self._stop)
        try:
            self._run_until(future, keeps=keeps)
            return future.result()
        finally:
            future.remove_done_callback(self._stop)
            del future  # or else its error would lead back to itself

    def _stop(self, awaited: Awaited) -> None:
        """Have the loop stop, if this is still what the script waits for. In a callback of the loop."""
        if self._script.awaited is awaited:
            self.loop.stop()

    def _run_until(self, awaited: Awaited, *, keeps: bool) -> None:
        """Run the loop until something is done that then stops the loop; raise the interrupt if there is one.

        With ``keeps``, an interrupt that did not end the wait is for the next one, so that what has come is not lost;
        as when a green thread awaits a coroutine. But Ctrl-C is for now in any case.
        """
        script = self._script
        loop = self.loop
        taken = False
        # Of a wait in whose middle a destructor or a signal handler waits:
        outer = script.awaited, script.loop, script.at_bell
        try:
            script.awaited = awaited
            script.loop = loop
            script.at_bell = False
            taken = self._ctrl_c.take()
            if script.interrupts:
                awaited.cancel()
                loop.call_soon(loop.stop)  # which the other can only do to a loop that runs
            while True:  # for one turn at least, so that green threads get theirs
                loop.run_forever()
                if awaited.done():
                    break
        except BaseException:  # of a green thread that wants to end the program, or from the second Ctrl-C
            awaited.cancel()
            if self._leaver is not None:
                self._leaver._outcome()  # it is being raised, so that nobody need be told of it once more
                self._leaver = None
            raise
        finally:
            script.awaited, script.loop, script.at_bell = outer
            if script.awaited is not None and script.awaited.done():
                loop.call_soon(loop.stop)  # which it has had done while this one was waited for
            if taken:
                self._ctrl_c.give_back()
        script.raise_ctrl_c()
        if script.interrupts and (not keeps or awaited.cancelled()):
            raise script._exchange(asyncio.CancelledError())

    # The end of green threads

    def close(self) -> None:
        """End all green threads of this hub, and then the loop, if it is the hub's own.

        Each gets a `GreenletExit` where it waits; its ``finally`` blocks run, and may wait. Those that have not ended
        after `grace` seconds are given up with a `RuntimeWarning`. The next call that waits starts a new hub. A hub
        that has been closed, or never was used, can be closed again.

        While the loop runs, that is in green threads and in async code, nothing can wait for that end: then all green
        threads but the calling one are told to end, they do so in the next turns of the loop, and the loop is left
        alone. Those that have been killed less than `grace` seconds ago are left to their cleanup.

        Nobody needs to call this: hubs are closed at the end of their thread, and the loop of `asyncio.run` ends the
        green threads with all its tasks.

        Raises:
            RuntimeError: This is another thread.

        To be called in the hub's thread.

        .. versionadded:: 0.1.0
        """
        self._check_thread("this hub")
        loop = self._loop()
        if loop is None or self._forked:
            return
        if loop.is_closed():
            self._end_without_loop()
        elif loop.is_running():
            self._kill_all()
        else:
            try:
                told, before = self._kill_all()
                if told or before:
                    loop.run_until_complete(self._wait_for_end(told, before))
            finally:
                if self._runner is not None:
                    self._runner_closed = True
                    self._runner.close()

    def _end(self) -> None:
        """Close this hub at the end of its thread; of one that has no loop, no other thread is to make one now."""
        with self._making:
            if self._runner is not None and self._loop() is None:
                self._runner_closed = True
        self.close()

    def _kill_all(self) -> "tuple[list[GreenThread[Any]], list[GreenThread[Any]]]":
        """Tell all green threads to end but the one that asks; return whom this tells, and who was told before.

        The latter may be busy ending, in ``finally`` blocks that wait, and are not disturbed. Who was told longer ago
        than the time that there is for it is told again.
        """
        current = asyncio.current_task() if asyncio._get_running_loop() is not None else None
        patience = GRACE if self.grace is None else self.grace
        told: list[GreenThread[Any]] = []
        before: list[GreenThread[Any]] = []
        for green in self.green_threads:
            green._ensure_task()
            if green._task is current:
                continue
            (before if monotonic() - green._told_to_end < patience else told).append(green)
        for green in told:
            green._tell_to_end(GreenletExit(*HUB_ENDS))
        return told, before

    async def _wait_for_end(self, told: "list[GreenThread[Any]]", before: "list[GreenThread[Any]]") -> None:
        """Wait until these have ended, and give up those that have not.

        Those who were told before may have swallowed that long ago: they are told again when half of the time is over.
        """
        half = (GRACE if self.grace is None else self.grace) / 2
        late = _not_ended([*told, *before])
        if late:
            await asyncio.wait([green._task for green in late if green._task], timeout=half)
        for green in _not_ended(before):
            green._interrupt(GreenletExit(*HUB_ENDS))
        late = _not_ended(late)
        if late:
            await asyncio.wait([green._task for green in late if green._task], timeout=self.grace and half)
        late = _not_ended(late)
        self._give_up(late)
        if late:
            await asyncio.wait([green._task for green in late if green._task], timeout=1)

    def _end_without_loop(self) -> None:
        """End what a loop that has been closed has left."""
        left, self._greens = list(self._greens), set()
        self._give_up([green for green in left if not finish_at_once(green, _loop_closed())])
        for green in left:
            if not green._over:
                green._end_without_running(GreenletExit())  # pragma: no cover - after a switch of greenlets

    def _went_on(self, driven: Driven) -> None:
        """Note that a green thread has waited again after an exception. See the top of this module."""
        if self._watch is None and self.grace is not None and driven in self._greens:
            assert driven._task is not None
            if driven._task.cancelling():
                self._watch = self.loop.call_later(self.grace, self._look)

    def _look(self) -> None:
        self._watch = None
        holding_up = [green for green in self._greens if not green._over and green._task and green._task.cancelling()]
        if not holding_up:
            return
        if all(task.cancelling() for task in asyncio.all_tasks(self.loop)):
            self._give_up(holding_up)
        else:
            self._went_on(holding_up[0])

    def _give_up(self, greens: "list[GreenThread[Any]]") -> None:
        if not greens:
            return
        for green in greens:
            green._given_up = True
            self._greens.discard(green)
            if green._task is not None and not green._task.get_loop().is_closed():
                green._task.cancel()
        _given_up.extend(greens)
        names = ", ".join(sorted({green.name for green in greens}))
        warnings.warn(
            f"{len(greens)} green thread(s) did not end when they were told to, and are given up: {names}; let"
            " GreenletExit and asyncio.CancelledError pass where they come from a wait (a bare 'except:' stops both)",
            RuntimeWarning,
            stacklevel=2,
        )

    def _abandon(self) -> None:
        """Touch nothing any more: the thread is not here, and in a fork, the parent shares the loop's descriptors."""
        self._forked = True
        _given_up.extend(self._greens)
        _abandoned.append((self, self._runner, self._loop()))
        self._greens = set()

    def __repr__(self) -> str:
        state = f"loop={self._loop()!r}" if self._started else "not started"
        return f"<Hub of {self.thread.name!r}, {state}, {len(self.green_threads)} green thread(s)>"


_abandoned: list[object] = []
"""Hubs whose threads are gone. To close or collect the loop of a process that this was forked from would disturb it."""


def _not_ended(greens: "list[GreenThread[Any]]") -> "list[GreenThread[Any]]":
    return [green for green in greens if green or not green._over]


def _no_loop() -> None:
    return None


def _loop_closed() -> RuntimeError:
    return RuntimeError("the loop of this green thread has been closed, so that it cannot wait any more")
