"""From a worker back to the loop that made the call.

What is wanted of the loop is an **errand**. The worker posts it through the gate and waits, parked, so that the pool
may start a spare worker for it. A loop that is closed drops what it has taken, or takes it too late, without a word to
anybody; so the worker looks now and then whether its loop is still there.
"""

import asyncio
import inspect
import weakref
from _thread import allocate_lock
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar

from tpool_asyncio._loop.gate import post
from tpool_asyncio._loop.loop_job import LoopJob
from tpool_asyncio._pool.asking import Asker
from tpool_asyncio._pool.inline import InlineJob
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.worker import Worker, current_worker

__all__ = ["check_cancelled", "run", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")

_LOOK_AGAIN = 1.0
"""Seconds after which a waiting worker looks whether its loop has been closed."""


def run(fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``await fn(*args, **kwargs)`` in the loop that made this call, and wait for its outcome.

    Args:
        fn: A coroutine function, or any other callable that returns an awaitable.

    Returns:
        What the awaitable returns.

    Raises:
        RuntimeError: This is not a thread of a pool, or its loop is closed, or too many threads wait like this.
        TypeError: ``fn`` is not callable, or does not return an awaitable.
        asyncio.CancelledError: The caller of this call has been cancelled or timed out.
        BaseException: Whatever the awaitable raises, as the same object.

    Cancellation: When the caller of this call is cancelled or timed out, the awaitable is cancelled.

    To be called in a thread of a pool, inside a call. The thread does not count against the size of the pool while it
    waits. The awaitable sees the context variables of this thread.

    .. versionadded:: 0.1.0
    """
    return _send(_AsyncErrand, fn, args, kwargs)  # type: ignore[no-any-return]


def run_sync(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``fn(*args, **kwargs)`` in the thread of the loop that made this call, and wait for its outcome.

    Args:
        fn: A function that does not block: the loop stands still while it runs.

    Returns:
        What ``fn`` returns.

    Raises:
        RuntimeError: This is not a thread of a pool, or its loop is closed, or too many threads wait like this.
        TypeError: ``fn`` is not callable.
        BaseException: Whatever ``fn`` raises, as the same object.

    Cancellation: None; it also works when the caller of this call has gone away.

    To be called in a thread of a pool, inside a call. The thread does not count against the size of the pool while it
    waits. ``fn`` sees the context variables of this thread.

    .. versionadded:: 0.1.0
    """
    return _send(_Errand, fn, args, kwargs)  # type: ignore[no-any-return]


def check_cancelled() -> None:
    """Raise `asyncio.CancelledError` if nobody waits for this call any more.

    That is so when its caller was cancelled or timed out, or when the loop that made the call has been closed.

    To be called now and then by a long call, so that its thread becomes free. It asks nobody and does not wait.

    Raises:
        asyncio.CancelledError: Nobody waits. Let it pass; nothing is logged.
        RuntimeError: This is not a thread of a pool.

    To be called in a thread of a pool, inside a call.

    .. versionadded:: 0.1.0
    """
    if _running_call("check_cancelled")[1].deserted():
        raise asyncio.CancelledError("the caller of this call has stopped waiting for it")


def _running_call(what: str) -> tuple[Worker, LoopJob]:
    worker = current_worker()
    call = None if worker is None else worker.job
    while isinstance(call, InlineJob):
        call = call.outer
    if worker is None or not isinstance(call, LoopJob) or worker.orphaned:
        raise RuntimeError(
            f"from_thread.{what} works in a thread of a pool, inside a call made with tpool.execute;"
            " in the thread of the loop, await or call the function itself. A call on an engine (Pool.over), or in"
            " another process, cannot call back: have it return what the caller is to do"
        )
    return worker, call


def _send(kind: "type[_Errand]", fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    what = "run_sync" if kind is _Errand else "run"
    worker, call = _running_call(what)
    if not callable(fn):
        raise TypeError(f"the first argument of from_thread.{what} must be callable, not {fn!r}")
    loop = call.get_loop()
    if asyncio._get_running_loop() is loop:
        raise RuntimeError(
            f"from_thread.{what} would wait for the loop that this very thread is running;"
            " await or call the function itself"
        )
    asker = Asker(worker)
    context = copy_context()
    asker.ask_in(context)
    errand = kind(call, context, fn, args, kwargs)
    try:
        with worker.crew.parking(worker):
            if not post(loop, errand.start):
                raise _loop_gone(fn)
            while not errand.bell.acquire(True, _LOOK_AGAIN):
                if loop.is_closed():
                    if errand.bell.acquire(False):
                        break
                    raise _loop_gone(fn)
        error, errand.error = errand.error, None
        if error is not None:
            raise error
        return errand.value
    finally:
        asker.answered()
        error = None  # or else its traceback and this frame would hold each other


def _loop_gone(fn: object) -> RuntimeError:
    return RuntimeError(f"{call_name(fn)} could not run: the loop that made this call has been closed")


class _Errand:
    """A function to call in the loop. Everything but the construction happens in the loop's thread."""

    def __init__(
        self,
        call: LoopJob,
        context: Context,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._call = call
        self._context = context
        self._fn = fn
        self._args = args
        self._kwargs = kwargs
        self.value: Any = None
        self.error: BaseException | None = None
        self.bell = allocate_lock()  # released when the outcome is there
        self.bell.acquire()

    def start(self) -> None:
        """Call the function and send its outcome back."""
        try:
            value = self._context.run(self._fn, *self._args, **self._kwargs)
        except BaseException as error:
            self._finish(None, error)
        else:
            self._finish(value, None)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        self.value = value
        self.error = error
        self.bell.release()


class _AsyncErrand(_Errand):
    """An awaitable to await in the loop."""

    def start(self) -> None:
        """Start a task for the awaitable, unless the caller has gone away."""
        call = self._call
        if call.unwanted:
            self._finish(None, asyncio.CancelledError("the caller of this call has stopped waiting for it"))
            return
        waiting = self._wait()
        try:
            task = call.get_loop().create_task(waiting, context=self._context)
        except BaseException as error:  # from a task factory that minds the context, for instance
            waiting.close()
            self._finish(None, error)
            return
        if not hasattr(call, "errands"):
            call.errands = weakref.WeakSet()
        call.errands.add(task)
        task.add_done_callback(self._collect)

    async def _wait(self) -> Any:
        awaitable = self._fn(*self._args, **self._kwargs)
        if not inspect.isawaitable(awaitable):
            raise TypeError(
                f"{call_name(self._fn)} returned {awaitable!r}, which cannot be awaited;"
                " use from_thread.run_sync for a plain function"
            )
        return await awaitable

    def _collect(self, task: "asyncio.Task[Any]") -> None:
        if task.cancelled():
            self._finish(None, asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._finish(None, error)
        else:
            self._finish(task.result(), None)
