"""Starting and ending green threads, and giving way."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

import greenlet

from tpool_asyncio._green.current import get_hub
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.waiting import await_, give_way, interruptible
from tpool_asyncio._pool.refusal import close_unused, shown

__all__ = ["check_delay", "getcurrent", "kill", "sleep", "spawn", "spawn_after", "spawn_after_local", "spawn_n"]

P = ParamSpec("P")
T = TypeVar("T")


def spawn(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> GreenThread[T]:
    """Start a green thread that runs ``fn(*args, **kwargs)``. It begins when the caller waits or returns to the loop.

    It sees a copy of the caller's context variables. If it raises an exception, and nobody asks for its outcome, the
    exception is logged when the green thread is dropped.

    Args:
        fn: What to run. All arguments that follow are its own.

    Returns:
        The green thread, to be waited for, killed or forgotten; it runs on in any case.

    Raises:
        TypeError: ``fn`` is not callable. A coroutine is closed.

    May be called from any thread, in green threads, scripts and async code. What is spawned in a script runs while the
    script waits, and is ended at the end of its thread.

    .. versionadded:: 0.1.0
    """
    green: GreenThread[T] = _new(fn, args, kwargs)
    green._start()
    return green


def spawn_n(fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> GreenThread[Any]:
    """Start a green thread like `spawn`, for its effect: if it raises an exception, that is logged at once.

    Args:
        fn: What to run. All arguments that follow are its own.

    Returns:
        The green thread. It can be waited for and killed all the same.

    Raises:
        TypeError: ``fn`` is not callable. A coroutine is closed.

    May be called from any thread, in green threads, scripts and async code.

    .. versionadded:: 0.1.0
    """
    green: GreenThread[Any] = _new(fn, args, kwargs)
    green._forgotten = True
    green._start()
    return green


def spawn_after(seconds: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> GreenThread[T]:
    """Start a green thread after a delay. Until then, ``cancel()`` on the green thread takes it back.

    Args:
        seconds: The delay. With 0 or less it starts as `spawn` does.
        fn: What to run. All arguments that follow are its own.

    Returns:
        The green thread.

    Raises:
        TypeError: ``fn`` is not callable, or ``seconds`` is no number. A coroutine is closed.
        ValueError: ``seconds`` is not a number (NaN).

    May be called from any thread, in green threads, scripts and async code. In a script, time only passes for it while
    the script waits.

    .. versionadded:: 0.1.0
    """
    delay = check_delay(seconds)
    green: GreenThread[T] = _new(fn, args, kwargs)
    green._timer = green._hub.loop.call_later(delay, green._ensure_task)
    return green


def spawn_after_local(seconds: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> GreenThread[T]:
    """Start a green thread after a delay like `spawn_after`, unless the calling green thread has ended by then.

    It is killed then, without having run. A script counts as a green thread that does not end.

    Args:
        seconds: The delay. With 0 or less it starts in the next turn of the loop.
        fn: What to run. All arguments that follow are its own.

    Returns:
        The green thread.

    Raises:
        TypeError: ``fn`` is not callable, or ``seconds`` is no number. A coroutine is closed.
        ValueError: ``seconds`` is not a number (NaN).
        RuntimeError: This is async code, which is in no green thread; or a greenlet of another library.

    To be called in a green thread or script.

    .. versionadded:: 0.1.0
    """
    delay = check_delay(seconds)
    try:
        caller, _ = interruptible()
    except RuntimeError:
        close_unused(fn)
        raise

    def begin() -> None:
        if isinstance(caller, GreenThread) and caller._over:
            green.kill()
        else:
            green._ensure_task()

    green: GreenThread[T] = _new(fn, args, kwargs)
    green._timer = green._hub.loop.call_later(delay, begin)
    return green


def _new(fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> GreenThread[T]:
    if not callable(fn):
        close_unused(fn)
        raise TypeError(f"a green thread runs a function, not {shown(fn)}; pass the function itself and its arguments")
    return GreenThread(get_hub(), fn, args, kwargs)


def sleep(seconds: float = 0) -> None:
    """Let others of this thread run for a time.

    Args:
        seconds: How long. 0 and negative values give way for one turn of the loop, as in Eventlet and asyncio.

    Raises:
        RuntimeError: This is plain async code, which uses `asyncio.sleep`.
        TypeError: ``seconds`` is no number.
        ValueError: ``seconds`` is not a number (NaN).

    Cancellation: Ends the sleep.

    May be called in any thread, in green threads and scripts.

    .. versionadded:: 0.1.0
    """
    delay = check_delay(seconds)
    if delay:
        await_(asyncio.sleep(delay))
    else:
        give_way()


def check_delay(seconds: object) -> float:
    """Return a delay in seconds that is not negative; raise if it is no number."""
    delay = math.nan
    if not isinstance(seconds, (str, bytes)):
        with suppress(TypeError, ValueError):
            delay = float(seconds)  # type: ignore[arg-type]
    if math.isnan(delay):
        kind = ValueError if isinstance(seconds, float) else TypeError
        raise kind(f"a time must be a number of seconds, not {shown(seconds)}")
    return max(0.0, delay)


def kill(green_thread: GreenThread[Any], *throw_args: Any) -> None:
    """End a green thread: ``green_thread.kill(*throw_args)``, see `GreenThread.kill`.

    Args:
        green_thread: Which one.
        throw_args: What to raise in it, a `GreenletExit` if there is nothing.

    Raises:
        RuntimeError: It belongs to another thread.
        TypeError: It is no green thread, or what is to be raised is no exception.

    To be called in a green thread, script or async code, in the thread that it was spawned in.

    .. versionadded:: 0.1.0
    """
    if not isinstance(green_thread, GreenThread):
        raise TypeError(f"kill ends what spawn returns, and {shown(green_thread)} is no green thread")
    green_thread.kill(*throw_args)


def getcurrent() -> greenlet.greenlet:
    """Return the green thread that calls this, or another greenlet if the caller runs in none.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    return greenlet.getcurrent()
