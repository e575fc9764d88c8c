"""The results of `GreenPool.imap` and `GreenPool.starmap`."""

from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from greenlet import GreenletExit

from tpool_asyncio._green import spawning
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.light_queue import LightQueue
from tpool_asyncio._green.waiting import wait

if TYPE_CHECKING:
    from tpool_asyncio._green.green_pool import GreenPool

__all__ = ["GreenMap", "outcome_in_order"]

T = TypeVar("T")


class GreenMap(Iterator[T]):
    """The results of `GreenPool.imap` and `GreenPool.starmap`, in order; nobody makes one.

    When it is dropped or closed before its end, no more calls begin; those that run go on to their ends.

    How it works: a **feeder**, which is a green thread, iterates over the arguments, spawns green threads in a pool of
    their own, and puts them into a queue of bounded size. It knows nothing of this object, so that this can be dropped
    while the feeder waits. At its end, for whatever reason, a function linked to it puts None into the queue.

    .. versionadded:: 0.1.0
    """

    def __init__(self, function: Callable[..., T], iterator: Iterator[Iterable[Any]], pool: "GreenPool") -> None:
        self._over = False  # whether somebody has come to the end
        self._closed = False
        self._threads: LightQueue[GreenThread[T] | None] = LightQueue(pool.size)
        self._feeder = spawning.spawn(_feed, function, iterator, pool, self._threads)
        self._feeder.link(_end, self._threads)

    def __next__(self) -> T:
        if self._closed:
            raise StopIteration
        green = self._threads.get()
        if green is not None:
            return outcome_in_order(green, self._threads._return)
        self._threads.put_nowait(None)  # for others who wait
        if self._over or self._closed:
            raise StopIteration
        self._over = True
        try:
            error = self._feeder.wait()
        except BaseException as reason:
            raise RuntimeError("the green thread that iterates over the arguments has been ended") from reason
        raise StopIteration if error is None else error

    def close(self) -> None:
        """End the iteration: no more calls begin. May be called from any thread, and more than once.

        .. versionadded:: 0.1.0
        """
        self._closed = True
        feeder = self._feeder
        if not feeder._over and feeder._task is not None and not feeder._hub._forked:
            with suppress(RuntimeError):  # the loop has been closed, and the feeder has ended with it
                feeder._task.get_loop().call_soon_threadsafe(feeder._interrupt, GreenletExit())

    def __del__(self) -> None:
        if hasattr(self, "_feeder"):
            self.close()

    def __reduce__(self) -> NoReturn:
        # A copy that is dropped would end the feeder under the hands of whoever has the other one.
        raise TypeError(
            "results of imap or starmap can be neither copied nor pickled, as each comes once; call it anew"
        )


def _feed(
    function: Callable[..., T],
    iterator: Iterator[Iterable[Any]],
    pool: "GreenPool",
    threads: LightQueue[GreenThread[T] | None],
) -> BaseException | None:
    """Be the feeder; return the exception of the iterator."""
    try:
        for args in iterator:
            threads.put(pool.spawn(function, *args))
    except (GreenletExit, CancelledError, KeyboardInterrupt, SystemExit):
        raise  # pragma: no cover - after a switch of greenlets
    except BaseException as error:
        return error
    return None


def _end(_: GreenThread[Any], threads: LightQueue[Any]) -> None:
    threads.resize(None)
    threads.put_nowait(None)


def outcome_in_order(green: GreenThread[T], put_back: Callable[[GreenThread[T]], None]) -> T:
    """Wait for a green thread out of a queue, and return or raise its outcome; put it back if that is interrupted."""
    waiter = green._waiter()
    if waiter is not None:
        try:
            wait(waiter)
        except BaseException:
            put_back(green)
            raise
    try:
        return green.wait()
    except StopIteration as error:
        raise RuntimeError(
            f"{green.name} raised StopIteration, which would look like the end of the results"
        ) from error
