"""Green threads whose results come in the order in which they were spawned."""

from collections.abc import Callable
from typing import Generic, ParamSpec, Self, TypeVar

from tpool_asyncio._green.green_map import outcome_in_order
from tpool_asyncio._green.green_pool import GreenPool
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.light_queue import LightQueue

__all__ = ["GreenPile"]

P = ParamSpec("P")
T = TypeVar("T")


class GreenPile(Generic[T]):
    """Green threads whose results are iterated over in the order in which they were spawned.

    .. code-block:: python

        pile = GreenPile(10)
        for url in urls:
            pile.spawn(fetch, url)
        for page in pile: ...                # ends when as many results have been given as were spawned

    Args:
        size_or_pool: A `GreenPool` to spawn in, or the size of one.

    Raises:
        TypeError: It is neither.
        ValueError: The size is negative.

    .. versionadded:: 0.1.0
    """

    def __init__(self, size_or_pool: GreenPool | int = 1000) -> None:
        self.pool = size_or_pool if isinstance(size_or_pool, GreenPool) else GreenPool(size_or_pool)
        self._threads: LightQueue[GreenThread[T] | None] = LightQueue()
        self._due = 0  # spawned or about to be, minus those that somebody waits for

    def spawn(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a function as `GreenPool.spawn` does. Its result is for whoever iterates over the pile.

        Args:
            func: What to run. All arguments that follow are its own.

        Raises:
            TypeError: ``func`` is not callable. A coroutine is closed.
            RuntimeError: As for `GreenPool.spawn`.

        Cancellation: Ends the waiting, and nothing is run.

        To be called in a green thread or script. Where it need not wait, in async code as well.

        .. versionadded:: 0.1.0
        """
        self._due += 1
        try:
            green = self.pool.spawn(func, *args, **kwargs)
        except BaseException:
            self._due -= 1
            if self._due < 0:  # somebody waits for it already
                self._threads.put_nowait(None)  # pragma: no cover - after a switch of greenlets
            raise
        self._threads.put_nowait(green)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while self._due > 0:
            self._due -= 1
            try:
                green = self._threads.get()
            except BaseException:  # pragma: no cover - after a switch of greenlets
                self._due += 1
                raise
            if green is not None:
                return outcome_in_order(green, self._return)
            self._due += 1  # for a spawn that failed; whoever was to be told of it may have been interrupted long ago
        raise StopIteration

    def _return(self, green: GreenThread[T] | None) -> None:
        self._due += 1
        self._threads._return(green)
