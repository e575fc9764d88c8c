"""Blocking sources that tests iterate over, and that tell what becomes of them."""

import threading
from collections.abc import Iterator

from tests.gate import PATIENCE


class Stepped:
    """A generator function that goes on to each item only when it is let, but for the first ``fast`` ones."""

    def __init__(self, fast: int = 0) -> None:
        self._fast = fast
        self._steps = threading.Semaphore(0)
        self._closed = threading.Event()
        self.asked = 0
        """How many items have been asked for."""
        self.threads = list[int]()
        """The threads in which it ran, the one that closed it included, without repetitions in a row."""

    def __call__(self, number: int = 1 << 30) -> Iterator[int]:
        """Generate so many numbers."""
        try:
            for item in range(number):
                self.asked += 1
                self._note_thread()
                if item >= self._fast:
                    assert self._steps.acquire(timeout=PATIENCE), "the source was never let go on"
                yield item
        finally:
            self._note_thread()
            self._closed.set()

    def go(self, times: int = 1) -> None:
        """Let it go on by so many items."""
        self._steps.release(times)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def wait_closed(self) -> None:
        """Wait, blocking, until it has been closed."""
        assert self._closed.wait(PATIENCE), "the source was never closed"

    def _note_thread(self) -> None:
        if self.threads[-1:] != [threading.get_ident()]:
            self.threads.append(threading.get_ident())


class Rows:
    """An iterator with a ``close``, as a cursor is, that is no generator. An exception among its items is raised."""

    def __init__(self, items: "list[object]", close_error: BaseException | None = None) -> None:
        self._items = iter(items)
        self._close_error = close_error
        self.closed = 0

    def __iter__(self) -> "Rows":
        return self

    def __next__(self) -> object:
        item = next(self._items)
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self.closed += 1
        if self._close_error is not None:
            raise self._close_error
