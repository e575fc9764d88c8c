"""Iterating over blocking sources in async code."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import copy_context
from functools import partial
from types import GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from tpool_asyncio._loop.entrance import running_loop
from tpool_asyncio._loop.source import Source
from tpool_asyncio._loop.stream import Stream, StreamHolder
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.refusal import close_unused, shown
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

    def __getitem__(self, index: object) -> NoReturn:
        # What a plain ``for`` asks for. With an `__iter__`, libraries would take this for an iterable of both kinds.
        raise TypeError("what iterate returns is iterated over with 'async for', as the items come from the pool")

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
    if isinstance(source, Iterable) and not args and not kwargs:
        opens = Source(source, wrap=wrap, keep=keep)
        keeps_thread = isinstance(source, GeneratorType)
    elif callable(source):
        opens = Source(function=partial(source, *args, **kwargs), wrap=wrap, keep=keep)
        keeps_thread = True
    else:
        close_unused(source)
        raise TypeError(f"iterate takes an iterable, or a function and its arguments, not {shown(source)}")
    return _new_stream(way, opens, call_name(source), keeps_thread, pin, batch=batch, ahead=True)


def proxy_stream(proxy: ObjectProxy) -> Stream:
    """Return the stream of items of a proxied object, which stays open."""
    return _proxy_stream(proxy, ahead=False, batch=None, keep=proxy._obj)


def _proxy_stream(proxy: ObjectProxy, *, ahead: bool, batch: int | None, keep: Any = None) -> Stream:
    obj, policy = proxy._obj, proxy._tpool
    return _new_stream(
        policy.way._stream_options(),
        Source(obj, wrap=proxy._tpool_wrap(), keep=keep),
        call_name(obj),
        isinstance(obj, GeneratorType),
        policy.pin,
        batch=policy.batch if batch is None else batch,
        ahead=ahead,
    )


def _new_stream(
    way: "Options",
    source: Source,
    name: str,
    keeps_thread: bool,
    pin: Pin | None,
    *,
    batch: int | None,
    ahead: bool,
) -> Stream:
    batch = check_batch(batch)
    way._pool._core.home.check_keeps("iterate cannot work")
    if keeps_thread and pin is None:
        way, pin = way._pinned()
    context = copy_context() if way._context is None else way._context
    way = way._with(context=None, name=way._label or name)  # as each trip enters that context in its turn
    return Stream(way, source, name=name, context=context, batch=batch, ahead=ahead, pin=pin)
