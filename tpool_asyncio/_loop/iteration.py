"""Iterating over blocking sources in async code."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from types import GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from tpool_asyncio._loop.entrance import running_loop
from tpool_asyncio._loop.stream import Stream, StreamHolder
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.refusal import close_unused
from tpool_asyncio._pool.size import check_batch
from tpool_asyncio._proxy.method import Method, short_name
from tpool_asyncio._proxy.object_proxy import ObjectProxy
from tpool_asyncio._proxy.pin import Pin

if TYPE_CHECKING:
    from tpool_asyncio._loop.options import Options

__all__ = ["Iteration", "begin", "proxy_stream"]

T = TypeVar("T")


class Iteration(StreamHolder, AsyncIterator[T]):
    """What `iterate` returns: an async iterator over a blocking source.

    .. versionadded:: 0.1.0
    """

    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return self._popleft()  # type: ignore[no-any-return]
        except IndexError:
            pass
        stream = self._stream
        loop = running_loop()
        waited = False
        while True:
            if stream.items:
                self._popleft = stream.items.popleft
                return self._popleft()  # type: ignore[no-any-return]
            if stream.advance(loop):
                if not waited:
                    await asyncio.sleep(0)  # lest an iteration that is always ahead keep the loop to itself
            elif (bell := stream.wait(loop)) is not None:
                try:
                    await bell
                finally:
                    del bell  # it may hold the error of its cancellation, whose traceback leads here
                waited = True
            else:
                break
        error = stream.end()
        try:
            raise StopAsyncIteration if error is None else error
        finally:
            del error, stream, self  # or else the traceback of the error and this frame would hold each other

    def __iter__(self) -> NoReturn:
        raise TypeError("this is iterated over with 'async for', as the items come from the pool")

    async def aclose(self) -> None:
        """Read no more, and wait until the source has been closed, in the pool. A second time does nothing.

        Raises:
            BaseException: Whatever the source raises when it is closed, as the same object.

        Cancellation: Only the waiting ends.

        May be called in any thread whose event loop runs.

        .. versionadded:: 0.1.0
        """
        error = await self._stream.close(running_loop())
        try:
            if error is not None:
                raise error
        finally:
            del error, self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()


H = TypeVar("H", bound=StreamHolder)


def begin(
    kind: Callable[[Stream], H],
    way: "Options",
    source: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    batch: int | None,
) -> H:
    """Return an iteration, of either spelling, over an iterable, or what a function returns."""
    iteration = kind(_stream_of(way, source, args, kwargs, batch))
    if issubclass(type(source), ObjectProxy) and source._tpool_is_iterator():
        source._tpool_keep_items(iteration)
    return iteration


def _stream_of(way: "Options", source: Any, args: tuple[Any, ...], kwargs: dict[str, Any], batch: int | None) -> Stream:
    """Return the stream of items of an iterable, or of what a function returns."""
    wrap = None
    pin = None
    if issubclass(type(source), ObjectProxy):
        if not args and not kwargs and isinstance(source._obj, Iterable):
            if source._tpool_items is not None:
                source._tpool_forget_items("__iter__")
            return _proxy_stream(source, ahead=True, batch=batch)
        source = source._tpool_method(source._obj, "__call__")
    keep = None
    if isinstance(source, Method):
        policy = source.__self__._tpool
        way, pin, wrap = policy.way._stream_options(), policy.pin, source.__self__._tpool_wrap()
        proxy, source = source.__self__, source.__wrapped__
        if proxy._tpool_items is not None:
            proxy._tpool_forget_items(short_name(source))
        keep = proxy._obj
    opens: Callable[[], tuple[Iterator[Any], Any]]
    if isinstance(source, Iterable) and not args and not kwargs:
        opens = partial(_open_iterable, source)
        keeps_thread = isinstance(source, GeneratorType)
    elif callable(source):
        opens = partial(_open_function, source, args, kwargs, keep)
        keeps_thread = True
    else:
        close_unused(source)
        raise TypeError(f"iterate takes an iterable, or a function and its arguments, not {source!r}")
    return _new_stream(way, opens, call_name(source), keeps_thread, pin, batch=batch, ahead=True, wrap=wrap, keep=keep)


def proxy_stream(proxy: ObjectProxy) -> Stream:
    """Return the stream of items of a proxied object, which stays open."""
    return _proxy_stream(proxy, ahead=False, batch=None, keep=proxy._obj)


def _proxy_stream(proxy: ObjectProxy, *, ahead: bool, batch: int | None, keep: Any = None) -> Stream:
    obj, policy = proxy._obj, proxy._tpool
    return _new_stream(
        policy.way._stream_options(),
        partial(_open_iterable, obj),
        call_name(obj),
        isinstance(obj, GeneratorType),
        policy.pin,
        batch=policy.batch if batch is None else batch,
        ahead=ahead,
        wrap=proxy._tpool_wrap(),
        keep=keep,
    )


def _new_stream(
    way: "Options",
    opens: Callable[[], tuple[Iterator[Any], Any]],
    name: str,
    keeps_thread: bool,
    pin: Pin | None,
    **how: Any,
) -> Stream:
    how["batch"] = check_batch(how["batch"])
    if keeps_thread and pin is None:
        way, pin = way._pinned()
    context = copy_context() if way._context is None else way._context
    way = way._with(context=context, name=way._label or name)
    return Stream(way, opens, name=name, context=context, pin=pin, **how)


def _open_iterable(source: Iterable[Any]) -> tuple[Iterator[Any], Any]:
    return iter(source), None


def _open_function(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], keep: Any
) -> tuple[Iterator[Any], Any]:
    made = fn(*args, **kwargs)
    if made is keep and keep is not None:
        return iter(made), None  # it is the user's
    if not isinstance(made, Iterable):
        close_unused(made)
        raise TypeError(f"{call_name(fn)} returned {made!r}, which cannot be iterated over")
    try:
        return iter(made), made
    except BaseException:
        close = getattr(made, "close", None)
        if close is not None:
            close()
        raise
