"""From another thread back to a loop: what threads of a pool, and other threads with a token, ask of it.

How an errand gets there and back is told in `tpool_asyncio._loop.errand`, to which loop it goes in
`tpool_asyncio._loop.token`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from tpool_asyncio._loop.errand import AsyncErrand, Errand, send
from tpool_asyncio._loop.token import effective_token, no_token_error, running_call, token_here

__all__ = ["check_cancelled", "run", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")


def run(fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``await fn(*args, **kwargs)`` in the loop that made this call, and wait for its outcome.

    In a thread with a `Token` it is the loop of the token.

    Args:
        fn: A coroutine function, or any other callable that returns an awaitable.

    Returns:
        What the awaitable returns.

    Raises:
        RuntimeError: This is neither a thread of a pool nor one with a token, or the loop is closed, or it is that of
            this very thread, or too many threads of the pool wait like this.
        TypeError: ``fn`` is not callable, or does not return an awaitable.
        asyncio.CancelledError: The caller of this call has been cancelled or timed out.
        BaseException: Whatever the awaitable raises, as the same object.

    Cancellation: When the caller of this call is cancelled or timed out, the awaitable is cancelled; also when Ctrl-C
    strikes a main thread that waits here.

    To be called in a thread of a pool, inside a call, or in a thread with a `Token`. A thread of a pool does not count
    against the size while it waits. The awaitable sees the context variables of this thread.

    .. versionadded:: 0.1.0
    """
    return send(token_here("run"), AsyncErrand, fn, args, kwargs)  # type: ignore[no-any-return]


def run_sync(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``fn(*args, **kwargs)`` in the thread of the loop that made this call, and wait for its outcome.

    In a thread with a `Token` it is the loop of the token.

    Args:
        fn: A function that does not block: the loop stands still while it runs.

    Returns:
        What ``fn`` returns.

    Raises:
        RuntimeError: This is neither a thread of a pool nor one with a token, or the loop is closed, or it is that of
            this very thread, or too many threads of the pool wait like this.
        TypeError: ``fn`` is not callable.
        BaseException: Whatever ``fn`` raises, as the same object.

    Cancellation: None; it also works when the caller of this call has gone away.

    To be called in a thread of a pool, inside a call, or in a thread with a `Token`. A thread of a pool does not count
    against the size while it waits. ``fn`` sees the context variables of this thread.

    .. versionadded:: 0.1.0
    """
    return send(token_here("run_sync"), Errand, fn, args, kwargs)  # type: ignore[no-any-return]


def check_cancelled() -> None:
    """Raise `asyncio.CancelledError` if nobody waits for this call any more.

    That is so when its caller was cancelled or timed out, or when the loop that made the call has been closed. In a
    thread with the `Token` of a call it is so, too, when the call has ended; with one of a loop, when that is closed.

    To be called now and then by a long call, so that its thread becomes free. It asks nobody and does not wait.

    Raises:
        asyncio.CancelledError: Nobody waits. Let it pass; nothing is logged.
        RuntimeError: This is neither a thread of a pool nor one with a token.

    To be called in a thread of a pool, inside a call, or in a thread with a `Token`.

    .. versionadded:: 0.1.0
    """
    token = effective_token()
    call = running_call() if token is None else None
    if token is None and call is None:
        raise no_token_error("check_cancelled")
    if (token is not None and token._deserted()) or (call is not None and call.deserted()):
        raise asyncio.CancelledError("the caller of this call has stopped waiting for it")
