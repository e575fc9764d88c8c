"""What a thread wants of a loop, and how it waits for that.

An **errand** is a function to call, or an awaitable to await, in the thread of the loop. The thread that asks posts it
through the gate and waits.

Who asks
    A worker is parked while it waits, so that the pool may start a spare one for it, and it is known to wait in all
    that the errand calls. Any other thread just waits.

For whom
    Each errand has a `Token`. If that is the token of a call, awaitables are cancelled when nobody waits for the call
    any more; else they have nobody but the thread that asks.

Why the thread looks up now and then
    A loop that is closed drops what it has taken, or takes it too late, without a word to anybody. One that does not
    run, or not yet, gets round to the errand when it does. And a signal that comes a moment before a thread begins to
    wait on a lock does not wake it. A thread that is interrupted, as by Ctrl-C, withdraws its errand.

Who may touch what
    What an errand is made of is written before it is posted, and posting hands it over. ``_task`` belongs to the thread
    of the loop, and ``_held``, too, until that is closed. ``value`` and ``error`` are written there before ``bell``, a
    lock, is released, and read by the thread that asks after it has taken that. ``_withdrawn`` only ever becomes true,
    in any thread, which then posts `Errand._stop`: if `Errand.start` has come before, and has not seen it, ``_stop``
    finds the task.
"""

import asyncio
import inspect
import weakref
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from tpool_asyncio._loop.gate import post
from tpool_asyncio._pool.asking import Asker
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.native import allocate_lock
from tpool_asyncio._pool.refusal import not_callable_error, shown
from tpool_asyncio._pool.worker import current_worker

if TYPE_CHECKING:
    from tpool_asyncio._loop.token import Token

__all__ = ["AsyncErrand", "Errand", "LoopClosedError", "send"]

_LOOK_AGAIN = 1.0
"""Seconds after which a waiting thread looks whether the loop has been closed."""


class LoopClosedError(RuntimeError):
    """There is no loop any more that could do an errand."""


class Errand:
    """A function to call in the loop. Everything but the construction and `withdraw` happens in the loop's thread."""

    what = "run_sync"

    def __init__(
        self,
        token: "Token",
        context: Context,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._token = token
        self._context = context
        self._fn = fn
        self._args = args
        self._kwargs = kwargs
        self._withdrawn = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.bell = allocate_lock()  # released when the outcome is there
        self.bell.acquire()

    def start(self) -> None:
        """Call the function and send its outcome back."""
        if self._withdrawn:
            return
        try:
            value = self._context.run(self._fn, *self._args, **self._kwargs)
        except BaseException as error:
            self._finish(None, error)
        else:
            self._finish(value, None)

    def withdraw(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note that nobody waits for the outcome any more. Any thread."""
        self._withdrawn = True
        post(loop, self._stop)

    def _stop(self) -> None:
        """End what has been started."""

    def let_go(self) -> None:
        """Hold nothing of a loop that is closed."""

    def _finish(self, value: Any, error: BaseException | None) -> None:
        self.value = value
        self.error = error
        self.bell.release()


class AsyncErrand(Errand):
    """An awaitable to await in the loop."""

    what = "run"

    _task: "weakref.ref[asyncio.Task[Any]] | None" = None
    _held: "asyncio.Task[Any] | None" = None
    """The task again, for as long as a thread waits for it: what it awaits may be held by nobody but itself."""

    def start(self) -> None:
        """Start a task for the awaitable, unless it is not wanted any more."""
        if self._withdrawn:
            return
        if self._token._unwanted:
            self._finish(None, asyncio.CancelledError("the caller of this call has stopped waiting for it"))
            return
        waiting = self._wait()
        try:
            task = asyncio.get_running_loop().create_task(waiting, context=self._context)
        except BaseException as error:  # from a task factory that minds the context, for instance
            waiting.close()
            self._finish(None, error)
            return
        self._task = weakref.ref(task)
        self._hold(task)
        self._token._include(task)
        task.add_done_callback(self._collect)

    def _hold(self, task: "asyncio.Task[Any]") -> None:
        self._held = task

    async def _wait(self) -> Any:
        awaitable = self._fn(*self._args, **self._kwargs)
        if not inspect.isawaitable(awaitable):
            raise TypeError(
                f"{call_name(self._fn)} returned {shown(awaitable)}, which cannot be awaited;"
                " use from_thread.run_sync for a plain function"
            )
        return await awaitable

    def let_go(self) -> None:
        self._held = None

    def _stop(self) -> None:
        task = None if self._task is None else self._task()
        if task is not None:
            task.cancel()

    def _collect(self, task: "asyncio.Task[Any]") -> None:
        self._held = None
        if task.cancelled():
            self._finish(None, asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._finish(None, error)
        else:
            self._finish(task.result(), None)


def send(token: "Token", kind: type[Errand], fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Have an errand done in the loop of a token; return or raise its outcome. Any thread but the loop's."""
    if not callable(fn):
        raise not_callable_error(fn, f"from_thread.{kind.what}")
    loop = token._find_loop(fn, kind.what)
    worker = current_worker()
    context = copy_context()
    errand = kind(token, context, fn, args, kwargs)
    error = asker = None
    try:
        if worker is None:
            _wait_for(errand, loop, token, fn)
        else:
            asker = Asker(worker)
            asker.ask_in(context)
            with worker.crew.parking(worker):
                _wait_for(errand, loop, token, fn)
        error, errand.error = errand.error, None
        if error is not None:
            raise error
        return errand.value
    finally:
        if asker is not None:
            asker.answered()
        error = None  # or else its traceback and this frame would hold each other


def _wait_for(errand: Errand, loop: asyncio.AbstractEventLoop, token: "Token", fn: object) -> None:
    try:
        if not post(loop, errand.start):
            raise token._loop_closed(fn)
        while not errand.bell.acquire(True, _LOOK_AGAIN):
            if loop.is_closed():
                if errand.bell.acquire(False):
                    return
                errand.let_go()
                raise token._loop_closed(fn)
    except BaseException:
        errand.withdraw(loop)
        raise
