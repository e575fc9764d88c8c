"""From a worker back to the loop that made the call.

What is wanted of the loop is an **errand**. The worker posts it through the gate and waits, parked, so that the pool
may start a spare worker for it. An errand is referenced from the loop's side only by what will run it: the loop's
handle, then the task. When the loop drops those without running them, because it is closed, the errand is deleted,
and its deletion lets the worker go on with an error. So no worker waits for a loop that will never come.
"""

import asyncio
import inspect
import weakref
from _thread import allocate_lock
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, ParamSpec, TypeVar

from tpool_asyncio._loop.call import Call
from tpool_asyncio._loop.gate import post
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.thread_pool import current_worker
from tpool_asyncio._pool.worker import Worker

__all__ = ["asking_workers", "check_cancelled", "run", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")

_asking: ContextVar[tuple[Worker, ...]] = ContextVar("tpool_asyncio._asking", default=())


def asking_workers() -> tuple[Worker, ...]:
    """Return the workers that wait, one for another, for what runs here and now; ``killall`` must not wait for them."""
    worker = current_worker()
    return _asking.get() if worker is None else (*_asking.get(), worker)


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
    """Raise `asyncio.CancelledError` if nobody waits for this call any more: its caller was cancelled or timed out.

    To be called now and then by a long call, so that its thread becomes free. Costs less than a microsecond.

    Raises:
        asyncio.CancelledError: Nobody waits. Let it pass; nothing is logged.
        RuntimeError: This is not a thread of a pool.

    To be called in a thread of a pool, inside a call.

    .. versionadded:: 0.1.0
    """
    if _running_call("check_cancelled")[1].unwanted:
        raise asyncio.CancelledError("the caller of this call has stopped waiting for it")


def _running_call(what: str) -> tuple[Worker, Call[Any]]:
    worker = current_worker()
    call = None if worker is None else worker.job
    if worker is None or not isinstance(call, Call):
        raise RuntimeError(
            f"from_thread.{what} works in a thread of a pool, inside a call made with tpool.execute;"
            " in the thread of the loop, await or call the function itself"
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
    context = copy_context()
    context.run(_asking.set, asking_workers())
    receipt = _Receipt(call_name(fn))
    with worker.crew.parking(worker):
        posted = post(loop, kind(receipt, call, context, fn, args, kwargs).start)
        # (1) The loop finds itself open and is about to take the errand. (2) It is closed, and drops all it has.
        # (3) It takes the errand, which it will never run or drop. So the worker asks once more before it waits.
        if posted and not loop.is_closed():
            receipt.bell.acquire()
        elif not receipt.bell.acquire(False):
            raise _loop_gone(receipt.name)
    if receipt.error is not None:
        try:
            raise receipt.error
        finally:
            del receipt  # or else the error's traceback and this frame would hold each other
    return receipt.value


def _loop_gone(name: str) -> RuntimeError:
    return RuntimeError(f"{name} could not run: the loop that made this call has been closed")


class _Receipt:
    """What the waiting worker holds: the outcome of an errand, and the bell that says it is there."""

    __slots__ = ("bell", "error", "name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.bell = allocate_lock()
        self.bell.acquire()
        self.value: Any = None
        self.error: BaseException | None = None


class _Errand:
    """What the loop holds: a function to call there. Everything but the construction happens in the loop's thread."""

    def __init__(
        self,
        receipt: _Receipt,
        call: Call[Any],
        context: Context,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._receipt: _Receipt | None = receipt
        self._call = call
        self._context = context
        self._fn = fn
        self._args = args
        self._kwargs = kwargs

    def start(self) -> None:
        """Call the function and send its outcome back."""
        try:
            value = self._context.run(self._fn, *self._args, **self._kwargs)
        except BaseException as error:
            self._finish(None, error)
        else:
            self._finish(value, None)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        receipt, self._receipt = self._receipt, None
        assert receipt is not None
        receipt.value = value
        receipt.error = error
        receipt.bell.release()

    def __del__(self) -> None:
        if (receipt := getattr(self, "_receipt", None)) is not None:
            self._finish(None, _loop_gone(receipt.name))


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
