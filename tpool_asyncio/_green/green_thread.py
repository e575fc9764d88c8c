"""The green thread as its users hold it."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Generator
from typing import Any, Generic, ParamSpec, TypeVar

from greenlet import GreenletExit

from tpool_asyncio._green.driven import Driven, begin, drive
from tpool_asyncio._green.hub import Hub
from tpool_asyncio._green.waiting import can_wait, current_driven, give_way, wait
from tpool_asyncio._pool.job import call_name, is_caught_by
from tpool_asyncio._pool.refusal import shown

__all__ = ["GreenThread", "kill_error"]

P = ParamSpec("P")
T = TypeVar("T")

Link = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]


class GreenThread(Driven, Generic[T]):
    """Synchronous code that waits like a coroutine. `spawn` returns it; nobody makes one.

    It belongs to the thread that it was spawned in, and so do its methods. Async code can await it, and gather it:
    ``await green_thread`` is the same as `wait`.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("_collected", "_forgotten", "_links", "_timer", "_waiters")

    def __init__(self, hub: Hub, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(hub, fn, args, kwargs)
        self._forgotten = False  # whether nobody is expected to ask for the outcome
        self._collected = False  # whether somebody has
        self._links: list[Link] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        hub._greens.add(self)

    # Its life

    def _start(self) -> None:
        """Make the task, which then runs the function in the next turn of the loop."""
        living = _live(self)
        try:
            task = self._hub.loop.create_task(living, name=getattr(self._fn, "__qualname__", None))
        except BaseException:
            living.close()
            self._hub._greens.discard(self)
            del self  # the traceback of the error leads here
            raise
        self._task = task
        self._has_own_task = True
        task.add_done_callback(self._task_ended)

    def _ensure_task(self) -> None:
        if self._task is None:
            if self._timer is not None:
                self._timer.cancel()
            try:
                self._start()
            except BaseException as error:
                self._end_without_running(error)  # somebody may have been waiting for it since it was spawned
                del self
                raise

    def _ended(self) -> None:
        if is_caught_by(self._error, (SystemExit, KeyboardInterrupt)):
            self._hub._leaver = self
        if self._waiters is not None:
            waiters, self._waiters = self._waiters, None
            for waiter in waiters:
                if not waiter.done() and not waiter.get_loop().is_closed():
                    waiter.set_result(None)
        if self._links is not None:
            while self._links:  # one of them may wait, while others are taken back
                self._follow(self._links.pop(0))
            self._links = None
        self._hub._greens.discard(self)

    def _end_without_running(self, error: BaseException) -> None:
        self._over = True
        self._error = error
        self._fn, self._args, self._kwargs = None, (), {}
        self._ended()

    def _follow(self, link: Link, *, late: bool = False) -> None:
        """Call a linked function: in the greenlet, in a callback, or in whatever code has linked it too late."""
        fn, args, kwargs = link
        try:
            fn(self, *args, **kwargs)
        except BaseException as error:
            if late and not is_caught_by(error, Exception) and current_driven() not in (None, self):
                raise  # it is for the green thread that has linked it
            self._take_from_link(error)

    def _take_from_link(self, error: BaseException) -> None:
        if is_caught_by(error, CancelledError):
            self._note_late(error)
        elif not is_caught_by(error, GreenletExit):
            self._report(f"a function linked to the end of green thread {self.name} raised an exception", error)

    def _report(self, message: str, error: BaseException) -> None:
        self._hub.loop.call_exception_handler({"message": message, "exception": error, "green_thread": self})

    def _task_ended(self, task: "asyncio.Task[T]") -> None:
        """See to what has not been seen to in the greenlet. In a callback of the loop."""
        if not self._over:  # ended before its first step, or given up
            self._end_without_running(CancelledError() if self._given_up else self._exchange(CancelledError()))
            if task.cancelled():  # pragma: no branch - what ends so has been cancelled
                try:
                    task.exception()  # or else it keeps the one that struck `_live`, whose frame leads to the task
                except CancelledError as struck:
                    # For whoever awaits the task: by the message a scope of anyio knows its own cancellation.
                    task._cancel_message = struck.args[0] if struck.args else None  # type: ignore[attr-defined]
        if self._collected:
            _take_for_collected(task)
        elif self._forgotten and not task.cancelled() and (error := task.exception()) is not None:
            self._report(f"nobody waits for green thread {self.name}, which raised an exception", error)

    # What its users see

    @property
    def name(self) -> str:
        """What messages call it, which is the name of its task, and that is the name of the function.

        .. versionadded:: 0.1.0
        """
        return call_name(self._fn) if self._task is None else self._task.get_name()

    @property
    def dead(self) -> bool:
        """Whether it has ended, so that `wait` does not wait.

        .. versionadded:: 0.1.0
        """
        return self._over

    @property
    def task(self) -> "asyncio.Task[Any] | None":
        """The asyncio task that drives it; None before the time of `spawn_after` has come.

        Cancelling the task raises `asyncio.CancelledError` in the green thread; awaiting it is awaiting the end, and
        whoever is cancelled while he awaits the task cancels it.

        .. versionadded:: 0.1.0
        """
        return self._task

    def wait(self) -> T:
        """Wait for the green thread to end, and return or raise its outcome. May be called any number of times.

        Returns:
            What the function returned.

        Raises:
            BaseException: What the function raised, as the same object; a `GreenletExit` if it was killed, and an
                `asyncio.CancelledError` if its task was cancelled.
            RuntimeError: This would wait for the green thread that calls it; or this is another thread, or async code,
                which uses ``await green_thread``.

        Cancellation: Ends the waiting only; the green thread goes on.

        To be called in a green thread or script, in the thread that it was spawned in.

        .. versionadded:: 0.1.0
        """
        if (waiter := self._waiter()) is not None:
            wait(waiter)
        value, error = self._outcome()
        del self, waiter  # the traceback of an error leads to this frame, which must not lead back to the error
        if error is None:
            return value
        try:
            raise error
        finally:
            del error

    def __await__(self) -> Generator[Any, None, T]:
        if (waiter := self._waiter()) is not None:
            yield from waiter
        value, error = self._outcome()
        del self, waiter
        if error is None:
            return value
        try:
            raise error
        finally:
            del error

    def _waiter(self) -> "asyncio.Future[None] | None":
        self._hub._check_thread(f"green thread {self.name}")
        if self._over:
            return None
        loop = self._hub.loop
        running = asyncio._get_running_loop()
        if running is not None and running is not loop:
            raise RuntimeError(
                f"green thread {self.name} belongs to another loop of this thread, which stands still while this one"
                " runs; spawn it in here, or wait for it out there"
            )
        if self._task is not None and running is loop and asyncio.current_task() is self._task:
            raise RuntimeError(f"green thread {self.name} would wait for itself, for ever; return instead of waiting")
        waiter = loop.create_future()
        if self._waiters is None:
            self._waiters = []
        while self._waiters and self._waiters[-1].done():
            self._waiters.pop()  # of somebody who was interrupted, or who gives each wait a time limit
        self._waiters.append(waiter)
        return waiter

    def _outcome(self) -> "tuple[T, BaseException | None]":
        self._collected = True
        if self._has_own_task and self._task is not None and self._task.done():
            _take_for_collected(self._task)
        error = self._error
        # As it was, without those who have raised it before.
        return self._value, None if error is None else BaseException.with_traceback(error, self._traceback)

    def kill(self, *throw_args: Any) -> None:
        """End the green thread by an exception where it waits. Its ``finally`` blocks run.

        One that has not started never runs. One that has ended is left alone. Called from a green thread or script,
        this gives way, so that the other has normally ended when it returns; one that catches the exception goes on.

        Args:
            throw_args: What to raise, as for ``raise``: an exception, or a class and perhaps a value. A `GreenletExit`
                if there is nothing. If the green thread that calls this kills itself, it is raised at once.

        Raises:
            RuntimeError: This is another thread than the one it was spawned in.
            TypeError: It is no exception.

        To be called in a green thread, script or async code, in the thread that it was spawned in.

        .. versionadded:: 0.1.0
        """
        error = kill_error(throw_args)
        self._hub._check_thread(f"green thread {self.name}")
        if self._over:
            return
        current = current_driven()
        if current is self:
            raise error
        self._ensure_task()
        self._tell_to_end(error)
        waits = current is not None or can_wait()
        # From Python 3.12 on, the traceback of what ends the other may lead to this frame, when a script runs the loop.
        del self, error, throw_args
        if waits:
            give_way()

    def cancel(self, *throw_args: Any) -> None:
        """End the green thread as `kill` does, but only if it has not started.

        Args:
            throw_args: As for `kill`.

        Raises:
            RuntimeError: This is another thread than the one it was spawned in.
            TypeError: It is no exception.

        To be called in a green thread, script or async code, in the thread that it was spawned in.

        .. versionadded:: 0.1.0
        """
        self._hub._check_thread(f"green thread {self.name}")
        if not self:
            self.kill(*throw_args)

    def link(self, fn: Callable[..., object], /, *args: Any, **kwargs: Any) -> None:
        """Have ``fn(green_thread, *args, **kwargs)`` called when the green thread has ended; now, if it has.

        The functions are called one after another, in the green thread itself, where they may wait; of one that never
        ran, in a callback of the loop, where they may not. Its own `wait` does not wait any more. An exception of one
        goes to the exception handler of the loop, and the others are still called.

        Args:
            fn: What to call.

        Raises:
            TypeError: ``fn`` is not callable.
            RuntimeError: This is another thread than the one it was spawned in.

        Cancellation: If the function is called now, and waits, ends its waiting, and passes on to the caller.

        To be called in a green thread, script or async code, in the thread that it was spawned in.

        .. versionadded:: 0.1.0
        """
        if not callable(fn):
            raise TypeError(f"link takes a function to call, not {shown(fn)}")
        self._hub._check_thread(f"green thread {self.name}")
        link = (fn, args, kwargs)
        if self._over:
            self._follow(link, late=True)
        elif self._links is None:
            self._links = [link]
        else:
            self._links.append(link)

    def unlink(self, fn: Callable[..., object], /, *args: Any, **kwargs: Any) -> bool:
        """Take back a `link`, made with the same arguments; return whether there was one.

        Args:
            fn: What was linked.

        Raises:
            RuntimeError: This is another thread than the one it was spawned in.

        To be called in a green thread, script or async code, in the thread that it was spawned in.

        .. versionadded:: 0.1.0
        """
        self._hub._check_thread(f"green thread {self.name}")
        link = (fn, args, kwargs)
        if not self._links or link not in self._links:
            return False
        self._links.remove(link)
        return True

    def __repr__(self) -> str:
        state = "ended" if self._over else "running" if self else "not started"
        return f"<{type(self).__qualname__} {self.name} {state} at {id(self):#x}>"


async def _live(green: GreenThread[T]) -> T:
    """Be the body of the task of a green thread. To be killed is the task's being cancelled."""
    if green._task is None:  # pragma: no cover - of eager tasks only, which Python 3.11 does not have
        await asyncio.sleep(0)  # an eager task runs before whoever starts it knows of it
    living = drive(green, begin(green))
    del green  # or else the traceback of an error would lead back to it
    try:
        return await living  # type: ignore[no-any-return]
    except GreenletExit:
        raise CancelledError("killed") from None


def _take_for_collected(task: "asyncio.Task[Any]") -> None:
    """Have asyncio not complain that nobody has asked for the outcome of a task that is done."""
    if not task.cancelled():
        task.exception()


def kill_error(throw_args: tuple[Any, ...], what: str = "kill") -> BaseException:
    """Return the exception that arguments like those of ``raise`` stand for."""
    if not throw_args:
        return GreenletExit()
    kind, *rest = throw_args
    value = rest[0] if rest else None
    error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else None
    if error is None:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{what} raises an exception or a class of exceptions, not {shown(kind)}")
        error = kind() if value is None else kind(*value) if isinstance(value, tuple) else kind(value)
    traceback = rest[1] if len(rest) > 1 else None
    return error if traceback is None else BaseException.with_traceback(error, traceback)
