"""How synchronous code waits: the one place that switches out of a green thread.

There are four places to wait from.

1. **In a green thread.** Switch to its driver, which hands what is awaited to the task. Code in a plain greenlet of
   somebody else's making, inside a green thread, waits in the green thread's place.
2. **In a greenlet of a library that can wait itself**, such as Eventlet: let it, see `tpool_asyncio._green.hosts`.
3. **In a script**, where no loop runs: the hub runs its loop until the wait is over.
4. **Anywhere else a loop runs**, that is in plain async code or a callback: nothing can wait there, which is an error.

In a child that was forked in a green thread, that green thread counts as a script: its loop is the parent's.
"""

import asyncio
import inspect
from asyncio import CancelledError
from collections.abc import Awaitable, Coroutine
from contextvars import Context, ContextVar, copy_context
from types import CoroutineType
from typing import Any, NoReturn, TypeVar

from greenlet import getcurrent, greenlet

from tpool_asyncio._green.current import get_hub
from tpool_asyncio._green.driven import Driven
from tpool_asyncio._green.hosts import Host, current_host, wait_of
from tpool_asyncio._green.hub import Hub
from tpool_asyncio._green.interrupts import Interruptible
from tpool_asyncio._pool.refusal import close_unused, shown

__all__ = ["await_", "can_wait", "carry_back", "current_driven", "give_way", "interruptible", "script_hub", "wait"]

T = TypeVar("T")


def wait(future: "asyncio.Future[T]") -> T:
    """Wait for a future of this thread's loop, and return or raise its outcome. On the fast path of every call."""
    driven = getcurrent()
    failure: BaseException | None = None
    try:
        if not isinstance(driven, Driven) or driven._interrupts:
            return _wait_elsewhere(future)
        try:
            for wanted in future.__await__():
                driven.parent.switch(wanted)  # type: ignore[union-attr]
        except CancelledError as error:
            failure = driven._exchange(error)
            raise failure from None  # pragma: no cover - after a switch of greenlets
        return future.result()
    finally:
        wanted = None
        del future, driven, failure  # an error's traceback leads here, and must not lead back to it


def _wait_elsewhere(future: "asyncio.Future[T]") -> T:
    driven = current_driven()
    if driven is None:
        host = current_host()
        if host is None:
            return script_hub()._run(future)
        wait_in_host = wait_of(host)
        if wait_in_host is None:
            return host.await_(_coroutine_of(future))  # type: ignore[no-any-return]
        return wait_in_host(future)  # type: ignore[no-any-return]
    if driven._interrupts:
        future.cancel()
    return await_(_coroutine_of(future))


def await_(awaitable: Awaitable[T]) -> T:
    """Wait for an awaitable from synchronous code. Only the calling green thread waits; the event loop goes on.

    In a green thread, the awaitable runs as a part of its task: `asyncio.current_task`, context variables,
    cancellation, `asyncio.timeout` and the cancel scopes of anyio work through it, to any depth. In a script, where no
    loop runs, the hub of the thread runs its loop until the awaitable is done; context variables that it sets are set
    afterwards. In a greenlet of Eventlet (on its asyncio hub), SQLAlchemy, awaitlet, greenback or greenletio it waits
    in the way of that library.

    Args:
        awaitable: A coroutine, future, task, or any other object that ``await`` takes.

    Returns:
        What the awaitable returns.

    Raises:
        RuntimeError: This is plain async code, which has to use ``await``; the coroutine is closed. Or it is a future
            of another loop.
        TypeError: It is not awaitable.
        BaseException: Whatever the awaitable raises, as the same object.

    Cancellation: When the task of the green thread is cancelled, so is the awaitable; see it as an ``await``. A
    `Timeout` and `kill` cancel the awaitable too, and are raised when it has ended.

    May be called in any thread, in green threads, scripts, and greenlets of the libraries named above.

    .. versionadded:: 0.1.0
    """
    steps: Coroutine[Any, Any, T]
    if type(awaitable) is CoroutineType:
        steps = awaitable
    elif asyncio.isfuture(awaitable):
        future: asyncio.Future[T] = awaitable
        return wait(future)
    else:
        steps = _coroutine_of(_checked(awaitable))
    inner: greenlet | None = None
    driven = current = getcurrent()
    if not isinstance(driven, Driven) or driven._interrupts:
        try:
            place = _place_to_wait(awaitable)
        except BaseException:
            steps.close()
            raise
        if place is None:
            return _await_in_script(steps)  # type: ignore[no-any-return]
        if not isinstance(place, Driven):
            return place.await_(steps)  # type: ignore[no-any-return]
        inner, driven = current, place
    # Hand what the coroutine yields to the task, and what the task throws to the coroutine.
    failure: BaseException | None = None
    send = steps.send
    try:
        wanted = send(None)
        while True:
            if inner is not None:
                driven._detour = inner  # it waits in the green thread's place
            try:
                driven.parent.switch(wanted)  # type: ignore[union-attr]
            except BaseException as error:  # pragma: no cover - after a switch of greenlets
                wanted = steps.throw(error)
            else:
                wanted = send(None)  # pragma: no cover - after a switch of greenlets
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except CancelledError as error:
        failure = driven._exchange(error)
        raise failure from None
    finally:
        wanted = None
        del failure, driven, current, inner  # an error's traceback leads here, and must not lead back to it


def give_way() -> None:
    """Wait for one turn of the loop."""
    driven = getcurrent()
    if not isinstance(driven, Driven) or driven._interrupts:
        return await_(asyncio.sleep(0))
    failure: BaseException | None = None
    try:
        driven.parent.switch(None)  # type: ignore[union-attr]
    except CancelledError as error:
        failure = driven._exchange(error)
        raise failure from None
    finally:
        del failure, driven


def _place_to_wait(awaitable: object) -> Driven | Host | None:
    """Return the green thread or the host around this code, None for a script.

    Raise what an interrupt has left to be raised.
    """
    driven = current_driven()
    if driven is not None:
        if driven._interrupts:
            _raise_interrupt(driven)
        return driven
    try:
        host = current_host()
        if host is None:
            script_hub()
        return host
    except RuntimeError:
        close_unused(awaitable)
        raise


def _checked(awaitable: Awaitable[T]) -> Awaitable[T]:
    if not inspect.isawaitable(awaitable):
        called = "; call it: await_(function(...))" if inspect.iscoroutinefunction(awaitable) else ""
        raise TypeError(
            f"await_ takes what can be awaited, such as a coroutine or a future, not {shown(awaitable)}{called}"
        )
    return awaitable


async def _coroutine_of(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _raise_interrupt(driven: Driven) -> NoReturn:
    """Raise an interrupt that came while the green thread ran, or that what it awaited has swallowed."""
    if (current := getcurrent()) is not driven:
        driven._detour = current
    try:
        driven.parent.switch(None)  # type: ignore[union-attr]  # so that the task throws what it has to throw
    except CancelledError as error:  # pragma: no cover - after a switch of greenlets
        failure = driven._exchange(error)
    else:
        failure = driven._exchange(CancelledError())
    try:  # pragma: no cover - after a switch of greenlets
        raise failure
    finally:
        del failure, driven, current  # pragma: no cover - after a switch of greenlets


def _await_in_script(steps: Coroutine[Any, Any, T]) -> T:
    hub = get_hub()
    context = copy_context()
    try:
        task = hub.loop.create_task(steps, context=context)
    except BaseException:
        steps.close()
        raise
    try:
        return hub._run(task, keeps=True)
    except BaseException:
        task.cancel()  # if Ctrl-C has struck before the wait
        raise
    finally:
        del task
        carry_back(context)


def carry_back(context: Context) -> None:
    """Set the context variables that have been set in a copy of this context."""
    variable: ContextVar[Any]
    for variable, value in context.items():
        if variable.get(_UNSET) is not value:
            variable.set(value)


_UNSET: Any = object()


def current_driven() -> Driven | None:
    """Return the green thread that this code runs in, be it inside a plain greenlet; None outside of green threads."""
    current: greenlet | None = getcurrent()
    while current is not None:
        if isinstance(current, Driven) and not current._hub._forked:
            return current
        current = current.parent
    return None


def script_hub(remedy: str = "use await") -> Hub:
    """Return the hub of a script; raise a `RuntimeError` if this is async code."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "synchronous code cannot wait here: it was called by async code or by a callback, whose event loop would"
            f" stand still; {remedy}, or call the synchronous code in a green thread: await green.run(function, ...)"
        )
    return get_hub()


def interruptible(remedy: str = "use await") -> tuple[Interruptible, Hub]:
    """Return what waits when this code waits, and its hub; raise a `RuntimeError` if that is neither of ours.

    That is so in async code, and in greenlets of other libraries, which only lend us their waiting.
    """
    driven = current_driven()
    if driven is not None:
        return driven, driven._hub
    if current_host() is not None:
        raise RuntimeError(
            "this has to interrupt whoever calls it, and a greenlet of another library cannot be interrupted from here;"
            " call the synchronous code in a green thread: green.await_(green.run(function, ...))"
        )
    hub = script_hub(remedy)
    return hub._script, hub


def can_wait() -> bool:
    """Return whether synchronous code can wait here."""
    try:
        return current_driven() is not None or asyncio._get_running_loop() is None or current_host() is not None
    except RuntimeError:  # of a host that cannot
        return False
