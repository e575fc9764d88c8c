"""Between async and synchronous code, in both directions."""

import asyncio
import functools
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from greenlet import GreenletExit

from tpool_asyncio._green.current import get_hub
from tpool_asyncio._green.driven import conclude, drive
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.hub import HUB_ENDS
from tpool_asyncio._green.waiting import await_, can_wait
from tpool_asyncio._pool.collected import Witness
from tpool_asyncio._pool.refusal import close_unused, shown

__all__ = ["aiter", "async_", "iter_", "run", "sync", "with_"]

P = ParamSpec("P")
T = TypeVar("T")


async def run(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run synchronous code in a green thread of the current task: where it waits, only this task waits.

    It is a part of the task as any awaited coroutine would be: the same `asyncio.current_task`, the same context
    variables, the same cancellation.

    Args:
        fn: A synchronous function, in which `await_` and everything else in `tpool_asyncio.green` may wait. All
            arguments that follow are its own.

    Returns:
        What ``fn`` returns.

    Raises:
        TypeError: ``fn`` is not callable. A coroutine is closed; it can be awaited as it is.
        BaseException: Whatever ``fn`` raises, as the same object.

    Cancellation: Raises `asyncio.CancelledError` in ``fn``, where it waits.

    May be called in any thread whose event loop runs.

    .. versionadded:: 0.1.0
    """
    if not callable(fn):
        close_unused(fn)
        raise TypeError(f"run takes a synchronous function and its arguments, not {shown(fn)}")
    hub = get_hub()
    green: GreenThread[T] = GreenThread(hub, fn, args, kwargs)
    green._task = asyncio.current_task(hub._loop())
    wanted = green.switch()  # its parent is the greenlet that has made it
    if green:  # pragma: no cover - after a switch of greenlets
        wanted = drive(green, wanted)
        del green  # or else the traceback of an error would lead back to it
        try:
            return await wanted  # type: ignore[no-any-return]
        except GreenletExit as end:
            if end.args == HUB_ENDS:
                # The hub ends, and this function with it. To the task, which is the user's, that is a cancellation.
                raise asyncio.CancelledError("the hub of this thread has been closed") from None
            raise
    try:
        return conclude(green)  # type: ignore[no-any-return]
    finally:
        del green


def async_(fn: Callable[P, T], /) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a coroutine function of a synchronous one: calls of it are run as by `run`.

    Args:
        fn: A synchronous function that waits with what is in `tpool_asyncio.green`.

    Raises:
        TypeError: ``fn`` is not callable, or is a coroutine function already.

    May be called from any thread, usually as a decorator; the coroutines run in any thread whose event loop runs.

    .. versionadded:: 0.1.0
    """
    if inspect.iscoroutinefunction(fn) or not callable(fn):
        close_unused(fn)
        raise TypeError(f"async_ takes a synchronous function, not {shown(fn)}; async code can be awaited as it is")

    @functools.wraps(fn)
    async def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        return await run(fn, *args, **kwargs)

    return waiting


def sync(fn: Callable[P, Awaitable[T]], /) -> Callable[P, T]:
    """Make a synchronous function of a coroutine function: calls of it wait as `await_` does.

    Args:
        fn: A coroutine function, or any other that returns an awaitable.

    Raises:
        TypeError: ``fn`` is not callable.

    May be called from any thread, usually as a decorator; the function works where `await_` does.

    .. versionadded:: 0.1.0
    """
    if not callable(fn):
        close_unused(fn)
        raise TypeError(f"sync takes a coroutine function, not {shown(fn)}; wait for an awaitable with await_")

    @functools.wraps(fn)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        return await_(fn(*args, **kwargs))

    return waiting


async def aiter(  # noqa: A001 - it is used as green.aiter
    fn: Callable[P, Iterable[T]], /, *args: P.args, **kwargs: P.kwargs
) -> AsyncGenerator[T, None]:
    """Iterate in async code over a synchronous generator that waits inside: ``async for item in green.aiter(fn, ...)``.

    Args:
        fn: A generator function, or any other that returns an iterable. All arguments that follow are its own.

    Raises:
        TypeError: ``fn`` is not callable, or does not return an iterable.
        BaseException: Whatever the generator raises.

    Each item is a `run` of its own. So a `Timeout` ends with the item in which it was set: one that is open across a
    ``yield`` is not raised after it. (With `asyncio.timeout` in an async generator it would strike whoever iterates.)

    Cancellation: Raises `asyncio.CancelledError` in the generator, where it waits. A generator that is not finished is
    closed when this is: at the end of ``async with contextlib.aclosing(...)``, or when the loop gets round to it.

    May be called in any thread whose event loop runs.

    .. versionadded:: 0.1.0
    """
    iterator = await run(lambda: iter(fn(*args, **kwargs)))
    try:
        while item := await run(_next, iterator):
            yield item.pop()
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await run(close)


def _next(iterator: Iterator[T]) -> list[T]:
    """Return the next item in a list, since it may be a coroutine, which `run` refuses; an empty one at the end."""
    item = next(iterator, _END)
    return [] if item is _END else [item]


_END: Any = object()


def iter_(iterable: AsyncIterable[T], /) -> Generator[T, None, None]:
    """Iterate in synchronous code over an async iterable: ``for item in green.iter_(iterable)``.

    Args:
        iterable: An async iterator or iterable, such as an async generator.

    Raises:
        TypeError: It is not an async iterable.
        BaseException: Whatever the iterable raises.

    Cancellation: As in `await_`, between any two items. An async generator that is not finished is closed when the
    loop is left early.

    To be called in a green thread or script.

    .. versionadded:: 0.1.0
    """
    if not hasattr(type(iterable), "__aiter__"):
        close_unused(iterable)
        raise TypeError(f"iter_ takes an async iterable, not {shown(iterable)}; a plain one needs no help")
    return _items(type(iterable).__aiter__(iterable))


def _items(iterator: AsyncIterator[T]) -> Generator[T, None, None]:
    witness = Witness()
    try:
        while True:
            try:
                item = await_(anext(iterator))
            except StopAsyncIteration:
                return
            yield item
    finally:
        aclose = getattr(iterator, "aclose", None)
        # Where nothing can wait, as when this generator is collected, the loop closes the other by itself.
        if aclose is not None and can_wait() and not witness.is_collected():
            await_(aclose())


def with_(manager: AbstractAsyncContextManager[T, Any], /) -> AbstractContextManager[T, bool | None]:
    """Use an async context manager in synchronous code: ``with green.with_(manager) as value``.

    Args:
        manager: Any async context manager: a connection, a lock, `asyncio.timeout`, a task group.

    Raises:
        TypeError: It is no async context manager.

    Cancellation: As in `await_`.

    To be called in a green thread or script.

    .. versionadded:: 0.1.0
    """
    kind = type(manager)
    if not (hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")):
        close_unused(manager)
        raise TypeError(f"with_ takes an async context manager, not {shown(manager)}; a plain one needs no help")
    return _With(manager)


class _With(Generic[T]):
    def __init__(self, manager: AbstractAsyncContextManager[T, Any]) -> None:
        self._manager = manager

    def __enter__(self) -> T:
        return await_(type(self._manager).__aenter__(self._manager))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        return bool(await_(type(self._manager).__aexit__(self._manager, exc_type, exc, tb)))
