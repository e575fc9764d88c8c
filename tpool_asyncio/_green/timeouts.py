"""Time limits for synchronous code that waits."""

from asyncio import CancelledError
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from tpool_asyncio._green.green_thread import kill_error
from tpool_asyncio._green.spawning import check_delay
from tpool_asyncio._green.waiting import interruptible
from tpool_asyncio._pool.refusal import close_unused, shown

if TYPE_CHECKING:
    import asyncio

    from tpool_asyncio._green.interrupts import Interrupt, Interruptible

__all__ = ["Timeout", "with_timeout"]

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")


class Timeout(BaseException):
    """A time limit for the calling green thread or script; it begins at once.

    .. code-block:: python

        with Timeout(10):                    # raises this Timeout where the code waits when 10 seconds are over
            rows = tpool.execute(query)

        with Timeout(10, False):             # ends the block without an exception
            rows = tpool.execute(query)

        timeout = Timeout(10, TimeoutError("the database is slow"))
        try:
            rows = tpool.execute(query)
        finally:
            timeout.cancel()

    It is raised in the green thread (or script) that made it, where that waits, be it deep inside; code that does not
    wait is not interrupted. It is no `Exception`, so that ``except Exception`` does not swallow it. Limits can be
    nested; each is raised once.

    Args:
        seconds: The limit. None for a limit that never comes; with 0 or less it comes at the next wait that is not over
            at once.
        exception: What to raise in place of this object: an exception or a class of exceptions. None or True for this
            object; False for this object, which the ``with`` statement then swallows.

    Raises:
        RuntimeError: This is async code, which uses `asyncio.timeout`; or a greenlet of another library, where only a
            green thread inside has time limits: ``green.await_(green.run(function, ...))``.
        TypeError: ``seconds`` is no number, or ``exception`` is no exception.
        ValueError: ``seconds`` is not a number (NaN).

    To be used in one green thread or script.

    .. versionadded:: 0.1.0
    """

    __module__ = "tpool_asyncio.green"  # where a reader of a traceback finds it

    def __init__(
        self, seconds: float | None = None, exception: BaseException | type[BaseException] | bool | None = None
    ) -> None:
        super().__init__(seconds, exception)
        self.seconds = seconds
        self.exception = exception
        if not (exception is None or isinstance(exception, bool)):
            kill_error((exception,), "Timeout")
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: Interruptible | None = None
        self._interrupt: Interrupt | None = None
        self._base = 0
        self.start()

    def start(self) -> Self:
        """Start the limit again after `cancel`; the constructor has done so the first time. Return this object.

        Raises:
            RuntimeError: It runs already, or this is async code.

        To be called in a green thread or script, from any thread.

        .. versionadded:: 0.1.0
        """
        if self.pending:
            raise RuntimeError(f"{self!r} runs already; cancel it before it is started again")
        self.cancel()
        if self.seconds is not None:
            delay = check_delay(self.seconds)
            self._waiting, hub = interruptible("use asyncio.timeout(seconds)")
            self._base = self._waiting._cancellations()
            self._timer = hub.loop.call_later(delay, self._expire)
        return self

    def _expire(self) -> None:
        self._timer = None
        own = self.exception is None or isinstance(self.exception, bool)
        error = self if own else kill_error((self.exception,))
        if self._waiting is not None:  # pragma: no branch - a timer that has been cancelled does not come here
            self._interrupt = self._waiting._interrupt(error, self._base)

    @property
    def pending(self) -> bool:
        """Whether the limit runs and has not been reached.

        .. versionadded:: 0.1.0
        """
        return self._timer is not None

    def cancel(self) -> None:
        """End the limit. What it has not raised by now is not raised. May be called again and again.

        To be called in the green thread or script that made it.

        .. versionadded:: 0.1.0
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        waiting, self._waiting = self._waiting, None
        interrupt, self._interrupt = self._interrupt, None
        if waiting is not None and interrupt is not None:
            waiting._withdraw(interrupt)

    @property
    def is_timeout(self) -> bool:
        """True, as for Eventlet's.

        .. versionadded:: 0.1.0
        """
        return True

    def __enter__(self) -> Self:
        if not self.pending:
            self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:  # not plain bool, or else type checkers would take every block for one that may be left half done
        failure = exc
        if isinstance(exc, CancelledError) and self._waiting is not None:
            failure = self._waiting._exchange(exc)  # if it came out of the waiting of another library
        self.cancel()
        if failure is self and self.exception is False:
            return True
        try:
            if failure is not None and failure is not exc:
                raise failure from None
        finally:
            del failure, exc, tb
        return None

    def __str__(self) -> str:
        if self.seconds is None:
            return ""
        text = f"{self.seconds} second{'' if self.seconds == 1 else 's'}"
        if self.exception is None or self.exception is True:
            return text
        return f"{text} (silent)" if self.exception is False else f"{text} ({self.exception})"

    def __repr__(self) -> str:
        exception = "" if self.exception is None else f" exception={self.exception!r}"
        return f"<{type(self).__qualname__} seconds={self.seconds}{exception}{' pending' if self.pending else ''}>"


@overload
def with_timeout(
    seconds: float | None, fn: Callable[..., T], /, *args: Any, timeout_value: V, **kwargs: Any
) -> T | V: ...
@overload
def with_timeout(seconds: float | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
def with_timeout(seconds: float | None, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call ``fn(*args, **kwargs)`` with a time limit.

    Args:
        seconds: The limit, None for none.
        fn: What to call. The arguments that follow are its own, but for ``timeout_value``.

    Keyword Args:
        timeout_value: What to return when the limit is reached, in place of raising a `Timeout`.

    Returns:
        What ``fn`` returns.

    Raises:
        Timeout: The limit was reached, and there is no ``timeout_value``.
        RuntimeError: This is async code, which uses `asyncio.timeout`; or a greenlet of another library, see `Timeout`.
        TypeError: ``fn`` is not callable, or ``seconds`` is no number.

    May be called in any thread, in green threads and scripts.

    .. versionadded:: 0.1.0
    """
    if not callable(fn):
        close_unused(fn)
        raise TypeError(f"with_timeout takes a function to call, not {shown(fn)}")
    has_value = "timeout_value" in kwargs
    timeout_value = kwargs.pop("timeout_value", None)
    limit = Timeout(seconds)
    try:
        with limit:
            return fn(*args, **kwargs)
    except Timeout as error:
        if error is not limit or not has_value:
            raise
    return timeout_value
