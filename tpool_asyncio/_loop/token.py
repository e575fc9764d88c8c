"""With what a thread gets back to a loop, and on whose behalf.

Which token is in effect
    Inside a call, that of the call; nobody has to name it. A thread that has entered another one (``with token:``) uses
    that one, until it leaves it. Entered tokens are kept by thread and not by context: contexts are copied into calls
    and errands, which run in other threads and have tokens of their own.

What a token holds
    Nothing. The loop is known weakly, since a token that lies about somewhere must not keep a loop from being
    collected, and so is the call, whose outcome belongs to the user. A call that has ended counts as one for which
    nobody waits: what it has started belongs to it.

A token is never changed, so any thread may use it, and several at the same time.
"""

import asyncio
import functools
import inspect
import os
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from tpool_asyncio._loop.errand import AsyncErrand, Errand, LoopClosedError, send
from tpool_asyncio._loop.loop_job import LoopJob
from tpool_asyncio._pool.inline import InlineJob
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.native import get_ident, local
from tpool_asyncio._pool.refusal import close_unused, shown
from tpool_asyncio._pool.worker import current_worker

__all__ = ["Token", "current_token", "effective_token", "find_token", "running_call", "token_here"]

P = ParamSpec("P")
T = TypeVar("T")


class Token:
    """The way back to an event loop, for threads that are not of a pool. `current_token` returns one.

    .. code-block:: python

        threading.Thread(target=token.bind(work)).start()  # in ``work``, from_thread works

    It can be handed to any thread, and used in several at once. ``with token:`` has the functions of
    `tpool_asyncio.from_thread` go to its loop, in the thread that is in that block.

    A token that was made inside a call is a token of that call: what is awaited through it is cancelled when nobody
    waits for the call any more, which ``check_cancelled`` then tells. That is so, too, when the call has ended. A token
    that was made in the loop has no call, and its ``check_cancelled`` tells when the loop has been closed.

    A thread that is not of a pool counts nowhere, so waiting parks nothing: a call that waits for such a thread, as
    with ``join``, keeps its own thread of the pool busy.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("__weakref__", "_call", "_loop", "_made_in", "_process")

    def __init__(self, loop: asyncio.AbstractEventLoop, call: LoopJob | None = None) -> None:
        self._loop = weakref.ref(loop)
        self._call = None if call is None else weakref.ref(call)
        self._made_in = get_ident()
        self._process = os.getpid()

    def run(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``await fn(*args, **kwargs)`` in the loop of this token, and wait for its outcome.

        Everything said of `tpool_asyncio.from_thread.run` holds.

        Args:
            fn: A coroutine function, or any other callable that returns an awaitable.

        May be called from any thread but that of the loop.

        .. versionadded:: 0.1.0
        """
        return send(self, AsyncErrand, fn, args, kwargs)  # type: ignore[no-any-return]

    def run_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` in the thread of the loop of this token, and wait for its outcome.

        Everything said of `tpool_asyncio.from_thread.run_sync` holds.

        Args:
            fn: A function that does not block: the loop stands still while it runs.

        May be called from any thread but that of the loop.

        .. versionadded:: 0.1.0
        """
        return send(self, Errand, fn, args, kwargs)  # type: ignore[no-any-return]

    def bind(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Make a function that runs ``fn`` with this token in effect, for a thread or an executor.

        Args:
            fn: A synchronous function, in which ``from_thread`` is to work.

        Returns:
            A function of the same arguments, which returns what ``fn`` returns.

        Raises:
            TypeError: ``fn`` is not callable, or is a coroutine function.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        if inspect.iscoroutinefunction(fn) or not callable(fn):
            close_unused(fn)
            raise TypeError(f"bind takes a synchronous function for another thread to run, not {shown(fn)}")

        @functools.wraps(fn)
        def bound(*args: P.args, **kwargs: P.kwargs) -> T:
            with self:
                return fn(*args, **kwargs)

        return bound

    def __enter__(self) -> Self:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "a token is for threads in which no event loop runs; in the thread of a loop, await or call the"
                " function itself"
            )
        _here.tokens += (self,)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        tokens = list(_here.tokens)
        for place in reversed(range(len(tokens))):
            if tokens[place] is self:  # mostly the last one
                del tokens[place]
                break
        _here.tokens = tuple(tokens)

    @property
    def _unwanted(self) -> bool:
        """Whether the call is over, or nobody waits for it."""
        if self._call is None:
            return False
        call = self._call()
        return call is None or call.fn is None or call.unwanted

    def _deserted(self) -> bool:
        """Return whether nobody can get an outcome any more."""
        loop = self._loop()
        return loop is None or loop.is_closed() or self._unwanted

    def _include(self, task: "asyncio.Task[Any]") -> None:
        """Have a task cancelled when nobody waits for the call any more. In the thread of the loop."""
        call = None if self._call is None else self._call()
        if call is not None:
            if not hasattr(call, "errands"):
                call.errands = weakref.WeakSet()
            call.errands.add(task)

    def _in_effect(self) -> bool:
        """Return whether errands of this thread are for the same call or loop as those of this token."""
        entered = effective_token()
        if entered is not None:
            return self._call == entered._call and self._loop == entered._loop
        call = running_call()
        return call is not None and self._call is not None and self._call() is call

    def _living_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop, which may be closed, or None if it is gone."""
        return self._loop()

    def _find_loop(self, fn: object, what: str) -> asyncio.AbstractEventLoop:
        """Return the loop for an errand of this thread; raise what helps if it cannot be done."""
        loop = self._loop()
        if loop is None:
            raise self._loop_closed(fn)
        running = asyncio._get_running_loop()
        if running is loop:
            raise RuntimeError(
                f"from_thread.{what} would wait for the loop that this very thread is running;"
                " await or call the function itself"
            )
        if self._process != os.getpid():
            raise RuntimeError(
                f"{call_name(fn)} could not run: the loop of this token is one of the process that this one was forked"
                " from; get a token in the child"
            )
        if self._call is None and running is None and self._made_in == get_ident() and not loop.is_running():
            if loop.is_closed():
                raise self._loop_closed(fn)
            raise RuntimeError(
                f"from_thread.{what} would wait for a loop that this very thread is to run; a script waits with"
                " green.await_"
            )
        return loop

    def _loop_closed(self, fn: object) -> LoopClosedError:
        """Return the error for an errand that came too late."""
        whose = "of this token" if self._call is None else "that made this call"
        return LoopClosedError(f"{call_name(fn)} could not run: the loop {whose} has been closed")

    def __repr__(self) -> str:
        loop = self._loop()
        if loop is None or loop.is_closed():
            return "<Token of a loop that has been closed>"
        if self._call is None:
            return f"<Token of {loop!r}>"
        call = self._call()
        return f"<Token of {'a call that has ended' if call is None else call.name}>"


class _Here(local):
    tokens: tuple[Token, ...] = ()
    """Those that this thread has entered and not left, the innermost last."""

    own: Token | None = None
    """That of the call for which one was asked last; to make one costs 1 µs."""


_here = _Here()


def running_call() -> LoopJob | None:
    """Return the call that this thread runs, if it is a worker."""
    worker = current_worker()
    call = None if worker is None or worker.orphaned else worker.job
    while isinstance(call, InlineJob):
        call = call.outer
    return call if isinstance(call, LoopJob) else None


def effective_token() -> Token | None:
    """Return the token that this thread has entered last, if there is one."""
    tokens = _here.tokens
    if tokens and tokens[-1]._process != os.getpid():  # those of the parent of a fork
        tokens = _here.tokens = ()
    return tokens[-1] if tokens else None


def token_here(what: str) -> Token:
    """Return the token for what this thread wants of a loop; raise what helps if there is none."""
    here = _here
    tokens = here.tokens
    if tokens:
        return tokens[-1]
    call = running_call()
    if call is None:
        raise no_token_error(what)
    token = here.own
    if token is None or token._call is None or token._call() is not call:
        token = here.own = Token(call.get_loop(), call)
    return token


def no_token_error(what: str) -> RuntimeError:
    return RuntimeError(
        f"from_thread.{what} works in a thread of a pool, inside a call made with tpool.execute, and in other threads"
        " that have a token: Thread(target=tpool.current_token().bind(function));"
        " in the thread of the loop, await or call the function itself. A call on an engine (Pool.over), or in another"
        " process, cannot call back: have it return what the caller is to do"
    )


def find_token() -> Token | None:
    """Return what `current_token` does, or None if there is nothing to make one of."""
    running = asyncio._get_running_loop()
    if running is not None:
        return Token(running)
    token = effective_token()
    if token is not None:
        return token
    call = running_call()
    return None if call is None else Token(call.get_loop(), call)


def current_token() -> Token:
    """Return what another thread needs to get back to the loop, see `Token`.

    In async code and in callbacks it is a token of the running loop; inside a call, of that call; and in a thread that
    has a token already, that one.

    Raises:
        RuntimeError: There is nothing of that here.
        asyncio.CancelledError: This is inside a call of a script that has stopped waiting for it.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    token = find_token()
    if token is None:
        raise RuntimeError(
            "there is no token here: no event loop runs in this thread, and it runs no call; get the token in the loop"
            " or in the call, and hand it to this thread"
        )
    return token
