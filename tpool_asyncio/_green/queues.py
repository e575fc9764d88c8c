"""Queues between green threads, and between them and async code of the same thread.

How items pass from those who put to those who get is told in `light_queue`.
"""

import heapq
from typing import Any, TypeVar

from tpool_asyncio._green.confined import Line
from tpool_asyncio._green.light_queue import Empty, Full, LightQueue

__all__ = ["Empty", "Full", "LifoQueue", "LightQueue", "PriorityQueue", "Queue"]

T = TypeVar("T")


class Queue(LightQueue[T]):
    """A queue for the green threads and the async code of one thread. First in, first out; also among those who wait.

    Like `queue.Queue`, but for ``maxsize``. It belongs to the thread that first puts or gets.

    Args:
        maxsize: How many items fit in. None and negative values for any number. 0 makes it a channel: `put` waits until
            somebody gets the item, and the queue is always both empty and full.

    Raises:
        TypeError: ``maxsize`` is no whole number.

    .. versionadded:: 0.1.0
    """

    def __init__(self, maxsize: int | None = None) -> None:
        super().__init__(maxsize)
        self.unfinished_tasks = 0
        self._joining: Line[None] = Line()

    def _accept(self, item: T) -> None:
        self._put(item)
        self.unfinished_tasks += 1

    def task_done(self) -> None:
        """Tell that an item that was got has been dealt with.

        Raises:
            ValueError: This was told more often than items have been put.
            RuntimeError: The queue belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the queue.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() was called more often than items were put; call it once for each get()")
        self.unfinished_tasks -= 1
        if not self.unfinished_tasks:
            self._joining.wake_all(None)

    def join(self) -> None:
        """Wait until all items that have been put have been dealt with, as told by `task_done`.

        Raises:
            RuntimeError: The queue belongs to another thread; or this is async code, where synchronous code cannot
                wait.

        Cancellation: Ends the waiting only.

        To be called in a green thread or script. Where it need not wait, in async code as well.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        if self.unfinished_tasks:
            woken = self._joining.woken
            turn = self._joining.wait(None, None, woken.pop)
            assert turn is not None
            del woken[turn]


class LifoQueue(Queue[T]):
    """A `Queue` that gives the latest item first.

    .. versionadded:: 0.1.0
    """

    _first_in_first_out = False

    def _init(self, maxsize: int | None) -> None:  # noqa: ARG002
        self.queue = []

    def _get(self) -> T:
        return self.queue.pop()  # type: ignore[no-any-return]

    def _put_back(self, item: T) -> None:
        self.queue.append(item)


class PriorityQueue(Queue[T]):
    """A `Queue` that gives the smallest item first, such as a tuple ``(priority, number, data)``.

    Items have to be comparable: `put` raises what comparing them raises, and the item is not put.

    .. versionadded:: 0.1.0
    """

    _first_in_first_out = False

    def _init(self, maxsize: int | None) -> None:  # noqa: ARG002
        self.queue = []

    def _put(self, item: T) -> None:
        heap = self.queue
        try:
            heapq.heappush(heap, item)
        except BaseException:
            _undo_push(heap, item)
            raise

    def _get(self) -> T:
        return heapq.heappop(self.queue)  # type: ignore[no-any-return]

    def _put_back(self, item: T) -> None:
        heapq.heappush(self.queue, item)


def _undo_push(heap: list[Any], item: Any) -> None:
    """Take out an item whose way up from the end of the heap was stopped by an exception."""
    overtaken = []
    place = len(heap) - 1
    while heap[place] is not item:
        overtaken.append(heap[place])
        place = (place - 1) // 2
    place = len(heap) - 1
    for other in overtaken:
        place = (place - 1) // 2
        heap[place] = other
    heap.pop()
