"""What all queues have in common, and the one that has nothing else.

An item goes straight to the first getter in line, and room goes straight to the first putter in line, who then puts its
item itself: a `put` that raises has not put anything. With one exception: who gets from an empty queue, or puts into
one, while putters are on their way there, does not overtake them, but takes their items from them. If such a putter is
interrupted in this very turn of the loop, its item has been put all the same.

What holds whenever nobody is in the middle of a call: if getters wait, there is no item, and no putter either; if
putters wait, there is no room.

`asyncio.Queue` is not underneath: it has neither channels nor time limits, takes 0 for infinite, and lets newcomers
overtake those who wait.
"""

from collections import deque
from queue import Empty, Full
from typing import Any, ClassVar, Generic, TypeVar

from tpool_asyncio._green.confined import Confined, Line, Turn, whole_number
from tpool_asyncio._green.spawning import check_delay

__all__ = ["Empty", "Full", "LightQueue"]

T = TypeVar("T")

_NOTHING: Any = object()


class LightQueue(Confined, Generic[T]):
    """A `Queue` without `Queue.task_done` and `Queue.join`.

    Args:
        maxsize: How many items fit in. None and negative values for any number. 0 makes it a channel: `put` waits until
            somebody gets the item, and the queue is always both empty and full.

    Raises:
        TypeError: ``maxsize`` is no whole number.

    .. versionadded:: 0.1.0
    """

    _first_in_first_out: ClassVar[bool] = True

    def __init__(self, maxsize: int | None = None) -> None:
        self.maxsize = _limit(maxsize)
        self._getters: Line[T] = Line()
        self._putters: Line[T] = Line()
        self._settling = False
        self._again = False  # whether something has come in the middle of it
        self.queue: Any = None
        self._init(maxsize)

    # What makes a kind of queue, as in `queue.Queue`

    def _init(self, maxsize: int | None) -> None:  # noqa: ARG002 - as in `queue.Queue`
        self.queue = deque()

    def _put(self, item: T) -> None:
        self.queue.append(item)

    def _get(self) -> T:
        return self.queue.popleft()  # type: ignore[no-any-return]

    def _put_back(self, item: T) -> None:
        """Undo `_get`."""
        self.queue.appendleft(item)

    # What happens between those who put and those who get

    def _accept(self, item: T) -> None:
        self._put(item)

    def _room(self) -> bool:
        if self.maxsize is None or (self._getters.waiting and self._getters.first() is not None):
            return True
        return self.qsize() + len(self._putters.woken) < self.maxsize

    def _settle(self) -> None:
        """Serve who can be served.

        A destructor or a signal handler may put something in the middle of this. It only says so, and is served here.
        """
        if self._settling:
            self._again = True
            return
        while self._getters.waiting or self._putters.waiting:
            self._again = False
            self._settling = True
            try:
                self._serve()
            finally:
                self._settling = False
            if not self._again:
                return

    def _serve(self) -> None:
        if self._getters.waiting:
            while self.qsize() and (getter := self._getters.first()) is not None:
                self._getters.wake(getter, self._get())
        if self._putters.waiting:
            while (putter := self._putters.first()) is not None and self._room():
                self._putters.wake(putter, self._putters.waiting[putter])

    def _fetch(self) -> bool:
        """Take the item of the putter that is next; return whether there is one. The queue is empty."""
        line = self._putters
        while not self._let_in_woken(1):
            if (putter := line.first()) is None:
                return False
            line.wake(putter, line.waiting[putter])
        return True

    def _missed_room(self, putter: Turn) -> None:
        del self._putters.woken[putter]
        self._settle()

    def _missed_item(self, getter: Turn) -> None:
        """Give the item of a getter that was interrupted to the next; what the last one had goes back."""
        handed = self._getters.woken
        item = handed[getter]
        if self._first_in_first_out:
            getters = list(handed)
            for later in getters[getters.index(getter) + 1 :]:
                handed[later], item = item, handed[later]
        del handed[getter]
        self._return(item)

    def _return(self, item: T) -> None:
        """Take back what somebody has got, as if it had not been got."""
        self._put_back(item)
        self._settle()

    # What its users see

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item into the queue; wait for room if it is full.

        Args:
            item: Anything.
            block: False to raise `Full` rather than wait.
            timeout: How many seconds to wait at most; None for ever.

        Raises:
            Full: There is no room, and ``block`` is false or the time is over.
            TypeError: ``timeout`` is no number.
            RuntimeError: The queue belongs to another thread; or it is full, and this is async code, where synchronous
                code cannot wait.

        Cancellation: Ends the waiting. The item is not put, unless a getter has taken it in this turn of the loop.

        To be called in a green thread or script. Where it need not wait, in async code and callbacks as well.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        seconds = None if timeout is None else check_delay(timeout)
        if self._room():
            if self._putters.woken:
                self._let_in_woken()
        else:
            if not block:
                raise Full
            turn = self._putters.wait(item, seconds, self._missed_room)
            if turn is None:
                raise Full
            if self._putters.woken.pop(turn, _NOTHING) is _NOTHING:
                return  # somebody has taken it
        try:
            self._accept(item)
        finally:
            self._settle()  # also if the item was refused, as its room is for the next one then

    def _let_in_woken(self, most: int | None = None) -> int:
        """Put the items of those who have room but have not run, so that a newcomer does not overtake them.

        Returns how many that were; no more than ``most``.
        """
        number = 0
        for putter, item in list(self._putters.woken.items()):
            if number == most:
                break
            try:
                self._accept(item)
            except Exception:
                continue  # which is to be raised in its own `put`
            del self._putters.woken[putter]
            number += 1
        return number

    def put_nowait(self, item: T) -> None:
        """Put an item into the queue, or raise `Full`. Into a channel, only if somebody waits for an item.

        Args:
            item: Anything.

        Raises:
            Full: There is no room.
            RuntimeError: The queue belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the queue.

        .. versionadded:: 0.1.0
        """
        self.put(item, False)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the next item out of the queue; wait for one if it is empty.

        Args:
            block: False to raise `Empty` rather than wait.
            timeout: How many seconds to wait at most; None for ever.

        Returns:
            The item.

        Raises:
            Empty: There is no item, and ``block`` is false or the time is over.
            TypeError: ``timeout`` is no number.
            RuntimeError: The queue belongs to another thread; or it is empty, and this is async code, where synchronous
                code cannot wait.

        Cancellation: Ends the waiting, and no item is taken.

        To be called in a green thread or script. Where it need not wait, in async code and callbacks as well.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        seconds = None if timeout is None else check_delay(timeout)
        if self.qsize() or self._fetch():
            item = self._get()
            self._settle()
            return item
        if not block:
            raise Empty
        turn = self._getters.wait(_NOTHING, seconds, self._missed_item)
        if turn is None:
            raise Empty
        return self._getters.woken.pop(turn)

    def get_nowait(self) -> T:
        """Take the next item out of the queue, or raise `Empty`. From a channel, what somebody waits to put.

        Raises:
            Empty: There is no item.
            RuntimeError: The queue belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the queue.

        .. versionadded:: 0.1.0
        """
        return self.get(False)

    def resize(self, size: int | None) -> None:
        """Change how many items fit in. No item is dropped; those who wait for room get it if there is more.

        Args:
            size: As ``maxsize`` of the constructor.

        Raises:
            TypeError: It is no whole number.
            RuntimeError: The queue belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the queue.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        self.maxsize = _limit(size)
        self._settle()

    def qsize(self) -> int:
        """Return the number of items. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return len(self.queue)

    def empty(self) -> bool:
        """Return whether there is no item. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return not self.qsize()

    def full(self) -> bool:
        """Return whether there is no room. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return self.maxsize is not None and self.qsize() + len(self._putters.woken) >= self.maxsize

    def putting(self) -> int:
        """Return how many wait to put an item. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return len(self._putters)

    def getting(self) -> int:
        """Return how many wait for an item. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return len(self._getters)

    def __repr__(self) -> str:
        waiting = f"{self.getting()} getting, {self.putting()} putting"
        return f"<{type(self).__qualname__} at {id(self):#x}, maxsize={self.maxsize}, {self.qsize()} items, {waiting}>"


def _limit(maxsize: object) -> int | None:
    if maxsize is None or (isinstance(maxsize, int | float) and maxsize < 0):
        return None
    return whole_number(maxsize, "the size of a queue")
