"""Green threads, so many at a time.

A slot of a pool is a token of a semaphore. `GreenPool.spawn` takes it, and the end of the green thread brings it back,
in whatever way it ends: as a function linked to it. The pool is idle when all slots are free, which also means that
nobody has been given one and has not spawned yet.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tpool_asyncio._green import spawning
from tpool_asyncio._green.confined import Confined, Line, whole_number
from tpool_asyncio._green.current import get_hub
from tpool_asyncio._green.green_map import GreenMap
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.semaphore import Semaphore
from tpool_asyncio._green.waiting import current_driven
from tpool_asyncio._pool.refusal import not_callable_error

if TYPE_CHECKING:
    import asyncio

__all__ = ["GreenPool"]

P = ParamSpec("P")
T = TypeVar("T")


class GreenPool(Confined):
    """Runs functions in green threads, so many at a time. It belongs to the thread that first spawns in it.

    Args:
        size: How many green threads may run at a time.

    Raises:
        TypeError: ``size`` is no whole number.
        ValueError: ``size`` is negative.

    .. versionadded:: 0.1.0
    """

    def __init__(self, size: int = 1000) -> None:
        self.size = whole_number(size, "the size of a GreenPool")
        self._slots = Semaphore(self.size)
        self._running: dict[asyncio.Task[Any] | None, GreenThread[Any]] = {}
        self._joining: Line[None] = Line()

    def spawn(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> GreenThread[T]:
        """Run ``function(*args, **kwargs)`` in a green thread of this pool; wait while the pool is full.

        When a green thread of this pool calls this and the pool is full, the function is run in place, as waiting could
        be for ever. A `BaseException` that is no `Exception`, such as a kill, then comes out of this call.

        Args:
            function: What to run. All arguments that follow are its own.

        Returns:
            The green thread. One whose function was run in place has ended.

        Raises:
            TypeError: ``function`` is not callable. A coroutine is closed.
            RuntimeError: The pool belongs to another thread; or it is full, and this is async code, where synchronous
                code cannot wait.

        Cancellation: Ends the waiting, and nothing is run.

        To be called in a green thread or script. Where it need not wait, in async code as well.

        .. versionadded:: 0.1.0
        """
        if self._enter(function):
            return self._begin(spawning.spawn, function, args, kwargs)
        return _run_in_place(function, args, kwargs)

    def spawn_n(self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a function as `spawn` does, for its effect: if it raises an exception, that is logged at once.

        Args:
            function: What to run. All arguments that follow are its own.

        Raises:
            TypeError: ``function`` is not callable. A coroutine is closed.
            RuntimeError: As for `spawn`.

        Cancellation: Ends the waiting, and nothing is run.

        To be called in a green thread or script. Where it need not wait, in async code as well.

        .. versionadded:: 0.1.0
        """
        if self._enter(function):
            self._begin(spawning.spawn_n, function, args, kwargs)
            return
        try:
            function(*args, **kwargs)
        except Exception as error:
            message = "a function that a full GreenPool has run in place raised an exception"
            get_hub().loop.call_exception_handler({"message": message, "exception": error})

    def _enter(self, function: Callable[..., object]) -> bool:
        """Take a slot; return False if the function is to be run in place."""
        self._check_thread()
        if not callable(function):
            raise not_callable_error(function)
        if self._slots.locked() and self._inside():
            return False
        try:
            self._slots.acquire()
        except BaseException:
            self._tell_if_idle()  # it may have been given the last slot, and then be interrupted
            raise
        return True

    def _begin(
        self, start: Callable[..., GreenThread[Any]], fn: Callable[..., object], args: Any, kwargs: Any
    ) -> GreenThread[Any]:
        try:
            green = start(fn, *args, **kwargs)
        except BaseException:
            self._slots.release()
            self._tell_if_idle()
            raise
        self._running[green.task] = green
        green.link(self._leave)
        return green

    def _leave(self, green: GreenThread[Any]) -> None:
        del self._running[green.task]
        self._slots.release()
        self._tell_if_idle()

    def _inside(self) -> bool:
        """Whether this is called by a green thread of this pool, or by what that calls with `green.run`."""
        current = current_driven()
        return current is not None and current._task in self._running

    def _idle(self) -> bool:
        return self._slots.counter == self.size

    def _tell_if_idle(self) -> None:
        if self._idle():
            self._joining.wake_all(None)

    def waitall(self) -> None:
        """Wait until all green threads of this pool have ended, and those that wait for a slot have run as well.

        Raises:
            AssertionError: A green thread of this pool calls this, and would wait for itself; as in Eventlet.
            RuntimeError: The pool belongs to another thread; or green threads run, and this is async code, where
                synchronous code cannot wait.

        Cancellation: Ends the waiting only.

        To be called in a green thread or script. Where it need not wait, in async code as well.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        if self._inside():
            raise AssertionError(
                "waitall() would wait for the green thread that calls it, for ever; call it from outside the pool"
            )
        if not self._idle():
            woken = self._joining.woken
            turn = self._joining.wait(None, None, woken.pop)
            assert turn is not None
            del woken[turn]

    def resize(self, new_size: int) -> None:
        """Change how many green threads may run at a time. Those that run go on, even if they are too many now.

        Args:
            new_size: As ``size`` of the constructor.

        Raises:
            TypeError: It is no whole number.
            ValueError: It is negative.
            RuntimeError: The pool belongs to another thread.

        To be called in a green thread or script, in async code or a callback, in the thread of the pool.

        .. versionadded:: 0.1.0
        """
        size = whole_number(new_size, "the size of a GreenPool")
        self._check_thread()
        more = size - self.size
        self.size = size
        self._slots._add(more)

    def running(self) -> int:
        """Return how many green threads run in this pool. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return len(self._running)

    def free(self) -> int:
        """Return how many more may run; negative after `resize` to less than run. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return self._slots.counter

    def waiting(self) -> int:
        """Return how many wait to spawn. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return len(self._slots._line)

    def starmap(self, function: Callable[..., T] | None, iterable: Iterable[Iterable[Any]]) -> GreenMap[T]:
        """Call ``function(*args)`` in a green thread for each ``args`` of an iterable; return the results in order.

        It begins at once and reads ahead: as many run at a time as this pool has slots, and as many results are kept
        until somebody asks for them. It does not take the slots of this pool, but has as many of its own, as in
        Eventlet; so it can be used inside the pool, and `waitall` does not wait for it.

        Args:
            function: What to call; None for one that returns its arguments as a tuple.
            iterable: The arguments of each call. It is iterated over in a green thread of its own.

        Returns:
            An iterator of the results. An exception of a call is raised where its result would be, and the iteration
            can go on after it. An exception of the iterable is raised at the end of the results.

        Raises:
            TypeError: ``function`` is not callable, or ``iterable`` cannot be iterated over.
            ValueError: The size of the pool is 0.
            RuntimeError: The pool belongs to another thread.

        To be called in a green thread or script, or in async code, in the thread of the pool.

        .. versionadded:: 0.1.0
        """
        self._check_thread()
        if function is not None and not callable(function):
            raise not_callable_error(function)
        if not self.size:
            raise ValueError("a GreenPool of size 0 would never call the function; resize() it first")
        return GreenMap(_tuple if function is None else function, iter(iterable), GreenPool(self.size))

    def imap(self, function: Callable[..., T] | None, *iterables: Iterable[Any]) -> GreenMap[T]:
        """Call a function in green threads with the items of iterables, like `map`; return the results in order.

        Args:
            function: As for `starmap`.
            iterables: The first arguments of the calls, the second, and so on, up to the end of the shortest.

        Returns:
            What `starmap` returns, which says all about it.

        Raises:
            TypeError: ``function`` is not callable, or one of the iterables cannot be iterated over.
            ValueError: The size of the pool is 0.
            RuntimeError: The pool belongs to another thread.

        To be called in a green thread or script, or in async code, in the thread of the pool.

        .. versionadded:: 0.1.0
        """
        return self.starmap(function, zip(*iterables, strict=False))

    def __repr__(self) -> str:
        counts = f"{self.running()} running, {self.waiting()} waiting"
        return f"<{type(self).__qualname__} at {id(self):#x}, size={self.size}, {counts}>"


def _tuple(*args: Any) -> Any:
    return args


def _run_in_place(function: Callable[..., T], args: Any, kwargs: Any) -> GreenThread[T]:
    """Call a function, and return a green thread that has ended with its outcome."""
    value: Any = None
    failure: Exception | None = None
    try:
        value = function(*args, **kwargs)
    except Exception as error:
        failure = BaseException.with_traceback(error, error.__traceback__ and error.__traceback__.tb_next)
    green: GreenThread[T] = GreenThread(get_hub(), function, (), {})
    green._value, green._error = value, failure
    green._traceback = None if failure is None else failure.__traceback__
    green._over = True
    green._ended()
    return green
