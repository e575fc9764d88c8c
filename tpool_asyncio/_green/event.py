"""The event: one value or exception, for all who wait for it."""

from typing import TYPE_CHECKING, Any

from tpool_asyncio._green.confined import Confined, Line
from tpool_asyncio._green.green_thread import kill_error
from tpool_asyncio._green.spawning import check_delay
from tpool_asyncio._pool.refusal import shown

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Event"]


class _Sent:
    """What an event was sent."""

    __slots__ = ("error", "traceback", "value")

    def __init__(self, value: Any, error: BaseException | None) -> None:
        self.value = value
        self.error = error
        self.traceback: TracebackType | None = None if error is None else error.__traceback__

    def deliver(self) -> Any:
        if self.error is None:
            return self.value
        try:
            # So that it does not grow with each who gets it.
            raise BaseException.with_traceback(self.error, self.traceback)
        finally:
            del self


class Event(Confined):
    """Something that happens once: `send` gives a value to all who `wait` for it, now and later.

    .. code-block:: python

        event = Event()
        green.spawn(lambda: event.send("ready"))
        event.wait()                         # "ready"

    It belongs to the thread that first waits or sends. Unlike a `threading.Event` it carries a value or an exception.

    .. versionadded:: 0.1.0
    """

    def __init__(self) -> None:
        self._sent: _Sent | None = None
        self._line: Line[_Sent | None] = Line()

    def send(self, result: Any = None, exc: Any = None) -> None:
        """Wake all who wait, and have `wait` return at once from now on. The caller does not give way.

        Args:
            result: What `wait` returns.
            exc: What `wait` raises instead: an exception, a class, or a tuple as for `send_exception`.

        Raises:
            AssertionError: The event has been sent; as in Eventlet.
            TypeError: ``exc`` is no exception.
            RuntimeError: The event belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the event.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        error = None if exc is None else _error_of(exc if isinstance(exc, tuple) else (exc,))
        if self._sent is not None:
            raise AssertionError("this event has been sent already; make a new Event, or call reset() in between")
        self._sent = _Sent(result, error)
        self._line.wake_all(self._sent)

    def send_exception(self, *args: Any) -> None:
        """Wake all who wait with an exception, which `wait` raises from now on.

        Args:
            args: What to raise, as for ``raise``: an exception; or a class, perhaps with a value, and perhaps with a
                traceback, such as `sys.exc_info` returns.

        Raises:
            AssertionError: The event has been sent; as in Eventlet.
            TypeError: It is no exception.
            RuntimeError: The event belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the event.

        .. versionadded:: 0.1.0
        """
        self.send(None, args)

    def wait(self, timeout: float | None = None) -> Any:
        """Wait until the event is sent, and return its value. Returns at once if it has been sent.

        Args:
            timeout: How many seconds to wait at most; None for ever. 0 and less wait for one turn of the loop.

        Returns:
            What was sent; None if the time is over.

        Raises:
            BaseException: What was sent with `send_exception`, as the same object for each.
            TypeError: ``timeout`` is no number.
            RuntimeError: The event belongs to another thread; or it has not been sent, and this is async code, where
                synchronous code cannot wait.

        Cancellation: Ends the waiting only.

        To be called in a green thread or script. Where it need not wait, in async code as well.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        seconds = None if timeout is None else check_delay(timeout)
        if self._sent is not None:
            return self._sent.deliver()
        woken = self._line.woken
        turn = self._line.wait(None, seconds, woken.pop)
        sent = None if turn is None else woken.pop(turn)
        return None if sent is None else sent.deliver()

    def reset(self) -> None:
        """Make the event as good as new, to be sent again. Those who have been woken get what was sent.

        Raises:
            AssertionError: The event has not been sent; as in Eventlet.
            RuntimeError: The event belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the event.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        if self._sent is None:
            raise AssertionError("this event has not been sent, so there is nothing to reset; see ready()")
        self._sent = None

    def ready(self) -> bool:
        """Return whether the event has been sent, so that `wait` would not wait. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return self._sent is not None

    def has_exception(self) -> bool:
        """Return whether an exception has been sent. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return (sent := self._sent) is not None and sent.error is not None

    def has_result(self) -> bool:
        """Return whether a value has been sent. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return (sent := self._sent) is not None and sent.error is None

    def poll(self, notready: Any = None) -> Any:
        """Return or raise what was sent, without waiting.

        Args:
            notready: What to return if nothing has been sent.

        Raises:
            BaseException: What was sent with `send_exception`.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return notready if (sent := self._sent) is None else sent.deliver()

    def poll_result(self, notready: Any = None) -> Any:
        """Return the value that was sent, without waiting.

        Args:
            notready: What to return if no value has been sent.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return sent.value if (sent := self._sent) is not None and sent.error is None else notready

    def poll_exception(self, notready: Any = None) -> Any:
        """Raise the exception that was sent, without waiting.

        Args:
            notready: What to return if no exception has been sent.

        Raises:
            BaseException: What was sent with `send_exception`.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return sent.deliver() if (sent := self._sent) is not None and sent.error is not None else notready

    def __repr__(self) -> str:
        sent = self._sent
        state = "not sent" if sent is None else f"sent {sent.value!r}" if sent.error is None else f"sent {sent.error!r}"
        return f"<{type(self).__qualname__} at {id(self):#x}, {state}, {len(self._line)} waiting>"


def _error_of(args: tuple[Any, ...]) -> BaseException:
    kind = args[0] if 1 <= len(args) <= 3 else None
    if not (isinstance(kind, BaseException) or (isinstance(kind, type) and issubclass(kind, BaseException))):
        raise TypeError(
            f"an event sends what raise takes, not {shown(args)}; pass an exception, or a class and perhaps a value"
        )
    return kill_error(args)
