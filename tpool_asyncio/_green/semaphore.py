"""Semaphores: so many at a time.

`asyncio.Semaphore` is not underneath. It hides its counter, has no time limit that is no exception, and belongs to the
loop in which somebody first waited. Here a token goes from the one who releases it straight to the first in line. See
`tpool_asyncio._green.confined` for why none is lost or doubled on the way.
"""

from types import TracebackType

from tpool_asyncio._green.confined import Confined, Line, Turn, whole_number
from tpool_asyncio._green.spawning import check_delay
from tpool_asyncio._pool.refusal import shown

__all__ = ["BoundedSemaphore", "Semaphore"]


class Semaphore(Confined):
    """A number of tokens, of which each `acquire` takes one and each `release` brings one. First come, first served.

    ``with semaphore:`` holds a token. It belongs to the thread that first takes or brings one.

    Args:
        value: How many tokens there are at first.

    Raises:
        TypeError: ``value`` is no whole number.
        ValueError: ``value`` is negative.

    .. versionadded:: 0.1.0
    """

    def __init__(self, value: int = 1) -> None:
        self._counter = whole_number(value, "the value of a semaphore")
        self._line: Line[None] = Line()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a token; wait for one if there is none.

        Args:
            blocking: False to return at once in any case.
            timeout: How many seconds to wait at most. None, and -1 as in `threading`, for ever.

        Returns:
            Whether a token was taken. False only if ``blocking`` is false or the time is over.

        Raises:
            ValueError: ``timeout`` is negative, or is given with ``blocking=False``.
            TypeError: ``timeout`` is no number.
            RuntimeError: The semaphore belongs to another thread; or there is no token, and this is async code, where
                synchronous code cannot wait.

        Cancellation: Ends the waiting, and no token is taken.

        To be called in a green thread or script. Where it need not wait, in async code and callbacks as well.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        seconds = None if timeout is None or timeout == -1 else check_delay(timeout)
        if seconds is not None:
            if not blocking:
                raise ValueError("acquire with blocking=False never waits; leave out either that or the timeout")
            if timeout is not None and timeout < 0:
                raise ValueError(f"a timeout must be 0 seconds or more, not {shown(timeout)}; None waits for ever")
        if self._counter > 0:
            self._counter -= 1
            return True
        if not blocking:
            return False
        turn = self._line.wait(None, seconds, self._missed)
        if turn is None:
            return False
        del self._line.woken[turn]
        return True

    def _missed(self, turn: Turn) -> None:
        del self._line.woken[turn]
        self._add(1)

    def _add(self, tokens: int) -> None:
        """Change the number of tokens, and hand out what there is. May make the counter negative."""
        self._counter += tokens
        while self._counter > 0 and self._line.waiting:
            self._counter -= 1
            if not self._line.wake_first(None):
                self._counter += 1

    def release(self, blocking: bool = True) -> bool:  # noqa: ARG002 - Eventlet has it too
        """Bring a token; the first who waits gets it. The caller does not give way.

        Args:
            blocking: Has no effect; it is there as in Eventlet.

        Returns:
            True.

        Raises:
            RuntimeError: The semaphore belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the semaphore.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        self._add(1)
        return True

    def locked(self) -> bool:
        """Return whether there is no token, so that `acquire` would wait. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return self._counter <= 0

    def bounded(self) -> bool:
        """Return whether `release` would wait: False, as it never does. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return False

    @property
    def counter(self) -> int:
        """The number of tokens there are. May be looked at from any thread.

        .. versionadded:: 0.1.0
        """
        return self._counter

    @property
    def balance(self) -> int:
        """The number of tokens there are; or if that is 0, minus the number of those who wait for one.

        May be looked at from any thread.

        .. versionadded:: 0.1.0
        """
        return self._counter - len(self._line)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x}, counter={self._counter}, {len(self._line)} waiting>"


class BoundedSemaphore(Semaphore):
    """A `Semaphore` that never has more tokens than at first: one release too many is a `ValueError`.

    Args:
        value: How many tokens there are.

    Raises:
        TypeError: ``value`` is no whole number.
        ValueError: ``value`` is negative.

    .. versionadded:: 0.1.0
    """

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self.original_counter = self._counter

    def release(self, blocking: bool = True) -> bool:
        """Bring back a token; the first who waits gets it. The caller does not give way.

        Args:
            blocking: Has no effect; it is there as in Eventlet.

        Returns:
            True.

        Raises:
            ValueError: All tokens are there already.
            RuntimeError: The semaphore belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the semaphore.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        if self._counter >= self.original_counter:
            raise ValueError("this semaphore was released more often than acquired; release once for each acquire")
        return super().release(blocking)
