"""Proxies in async code: calls of their methods are awaited."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from tpool_asyncio._loop.entrance import running_loop
from tpool_asyncio._loop.iteration import Iteration, proxy_stream
from tpool_asyncio._loop.loop_job import presentable
from tpool_asyncio._loop.pool import Pool, handle_on
from tpool_asyncio._pool.default import shared_pool
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.refusal import shown
from tpool_asyncio._proxy import colourless
from tpool_asyncio._proxy.colourless import ColourlessProxy
from tpool_asyncio._proxy.method import Run, short_name
from tpool_asyncio._proxy.object_proxy import bare
from tpool_asyncio._proxy.special import END, Entering

if TYPE_CHECKING:
    from tpool_asyncio._proxy.policy import Types

__all__ = ["Proxy", "closing", "nonblocking", "proxy_call"]

P = TypeVar("P", bound=ColourlessProxy)
Q = TypeVar("Q", bound="Proxy")


class Proxy(ColourlessProxy):
    """An object whose method calls run in a thread of the pool, and are awaited.

    ``await proxy.method(...)``, ``await proxy[key]``, ``async with proxy``, ``async for item in proxy``: what can be
    awaited runs in the pool. What cannot be awaited runs in place: attributes, ``len``, ``==``, ``in``, ``proxy[key] =
    value``, ``int(proxy)`` and so on. The object itself is ``proxy._obj``; a method that returns it gives the proxy.
    Otherwise a proxy passes for its object, also to ``isinstance``. It cannot be pickled.

    Args:
        obj: Any object, class or module. Of a proxy, its object is taken, in the thread that it is pinned to.
        autowrap: A type, or any collection of types. What the object hands out is wrapped in a proxy of the same kind
            if it is an instance of one of them: attributes, results, items of an iteration, and the values of context
            managers, at every level.
        autowrap_names: Names of attributes that are wrapped, and of methods whose results are wrapped, whatever the
            type. ``"__call__"`` stands for the object itself.
        autowrap_items: Whether what is in lists and tuples is wrapped, too.
        pin: Whether all calls of this proxy, and of what it wraps, run in one thread, in the order in which they are
            made. The thread comes on top of the size of the pool. It is free again when the proxies are gone, or when
            the ``close`` of this one has been called.
        pool: A `Pool` in place of the default one.
        batch: How many items an iteration may read at once, None for as many as can be read in 5 ms.
        timeout: Seconds, see `Pool.options`, as all that follow. In an iteration it holds for each batch.
        queue_timeout: Seconds.
        on_cancel: ``"abandon"`` or ``"wait"``.
        limiter: An `anyio.CapacityLimiter`.
        context: The `contextvars.Context` in which all calls run.
        name: What messages call the calls.

    Raises:
        TypeError: ``obj`` is None, a coroutine or a coroutine function; or an argument has the wrong type.
        ValueError: An argument has the wrong value.
        RuntimeError: Too many proxies are pinned and iterations open; or, at a call, no event loop runs in this thread,
            or the pinned thread is gone.
        BaseException: From the ``await``: whatever the method raises, as the same object.

    Cancellation: As with `Pool.execute`; a queued call never runs, a running one is abandoned. The end of ``async
    with`` is called in any case.

    May be made in any thread, and used in any thread whose event loop runs, also in several.

    .. versionadded:: 0.1.0
    """

    __slots__ = ()

    _tpool_spelling = "tpool_asyncio.tpool"

    @classmethod
    def _tpool_handle(cls, pool: Any) -> Pool:
        if pool is None:
            return _default
        if isinstance(pool, Pool):
            return pool
        raise TypeError(f"pool must be a tpool_asyncio.tpool.Pool, not {shown(pool)}; options are given to the proxy")

    @classmethod
    def _tpool_created(cls, proxy: ColourlessProxy) -> ColourlessProxy:
        return proxy

    @staticmethod
    def _tpool_in_place(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "asyncio.Future[Any]":
        done: asyncio.Future[Any] = running_loop().create_future()
        try:
            done.set_result(fn(*args, **kwargs))
        except (Exception, asyncio.CancelledError) as error:
            done.set_exception(presentable(error, call_name(fn)))
        try:
            return done
        finally:
            del done  # an error's traceback leads here, and must not lead back to it

    def _tpool_now(self, fn: Any, *args: Any) -> Any:
        if self._tpool.pin is not None:
            raise RuntimeError(
                f"the object is pinned to a thread, and what needs {call_name(fn)} at once cannot be awaited; use"
                " 'await tpool.proxy_call(proxy, function, proxy._obj, ...)', with operator.setitem for instance"
            )
        if self._tpool_items is not None:
            self._tpool_forget_items(short_name(fn))
        return fn(self._obj, *args)

    def __await__(self) -> Generator[Any, None, Self]:
        """Make the object of a proxy that `create` has returned; otherwise do nothing. Return the proxy."""
        if not self._tpool_is_made():
            maker = object.__getattribute__(self, "_tpool_maker")
            call = maker.call()
            if call is None or call.done() or call.get_loop() is not running_loop():
                call = self._tpool.execute(maker, self)
                maker.call = weakref.ref(call)
            call = asyncio.shield(call)
            try:
                yield from call.__await__()
            finally:
                del call  # an error's traceback leads here, and must not lead back to it
        return self

    async def __aenter__(self) -> Any:
        await self
        entering = Entering(self._obj)
        try:
            return await self._tpool.execute(Run((self, entering, False, "__enter__")))
        except BaseException:
            self._tpool_give_up(entering)
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        leaving = self._tpool_leaving(exc_type, exc, tb)
        if leaving is None:
            return None
        try:
            return bool(await self._tpool.execute(Run((self, leaving, False, "__exit__"))))
        except BaseException:
            self._tpool_in_any_case(leaving)
            raise

    def __enter__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is entered with 'async with', as that is done in the pool")

    def __exit__(self, *failure: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is left with 'async with', as that is done in the pool")

    def __iter__(self) -> NoReturn:
        # Without this method, ``for`` would ask `__getitem__` for one future after the other, and never end.
        raise TypeError(f"{type(self).__name__} is iterated over with 'async for', as the items come from the pool")

    def __aiter__(self) -> Iteration[Any]:
        """Iterate over the object, in the pool. What has been read ahead of it before comes first."""
        iteration: Iteration[Any] | None = self._tpool_items
        if iteration is None or iteration._stream.over():
            iteration = Iteration(proxy_stream(self))
            if self._tpool_is_iterator():
                self._tpool_keep_items(iteration)
        return iteration

    async def __anext__(self) -> Any:
        iteration: Iteration[Any] | None = self._tpool_items
        if iteration is not None and not iteration._stream.over():
            return await iteration.__anext__()
        item = await self._tpool_pooled(next, END)
        if bare(item) is END:
            raise StopAsyncIteration
        return item


def proxy_call(
    autowrap: "Types | Proxy", fn: Callable[..., Any], /, *args: Any, nonblocking: bool = False, **kwargs: Any
) -> "asyncio.Future[Any]":
    """Call ``fn(*args, **kwargs)`` in the pool, and wrap its result as a proxy would.

    Args:
        autowrap: A type or any collection of types, of which results are wrapped; or a proxy, which lends its policy,
            its options and its thread: ``await tpool.proxy_call(proxy, getattr, proxy._obj, "size")`` reads a property
            that blocks.
        fn: What to call. All arguments that follow are its own.
        nonblocking: Whether the call is known not to block, and is made in place. A keyword ``nonblocking`` of the
            function goes into a `functools.partial`.

    Returns:
        A future of the running loop.

    Raises:
        TypeError: ``autowrap`` is no type and no collection of types, or ``fn`` is not callable.
        RuntimeError: No event loop runs in this thread.
        BaseException: From the ``await``: whatever ``fn`` raises, as the same object.

    Cancellation: As with `Pool.execute`.

    May be called in any thread whose event loop runs. The name and the meaning are those of `eventlet.tpool`.

    .. versionadded:: 0.1.0
    """
    return colourless.proxy_call(Proxy, autowrap, fn, args, kwargs, nonblocking)  # type: ignore[no-any-return]


def nonblocking(proxy: P, /) -> AbstractContextManager[P]:
    """Return a view of a proxy whose calls are made in place: ``with tpool.nonblocking(proxy) as quick``.

    It is for calls that are known not to block. They are awaited all the same, and what they return is wrapped as ever,
    in proxies whose calls go to the pool.

    Args:
        proxy: A proxy. Others that use it are not affected.

    Raises:
        TypeError: It is no proxy.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    return nullcontext(colourless.in_place(Proxy, proxy))


@asynccontextmanager
async def closing(proxy: Q, /) -> AsyncGenerator[Q, None]:
    """Have a proxied object closed at the end: ``async with tpool.closing(proxy)``.

    It awaits ``proxy.close()`` however the block ends, where ``async with proxy`` does what the object itself does as a
    context manager; with a connection of ``sqlite3``, for instance, that ends a transaction and not the connection.

    Args:
        proxy: A proxy; one of ``Proxy.create`` is made first.

    Returns:
        An async context manager, whose value is the proxy.

    Raises:
        TypeError: It is no proxy.
        AttributeError: The object has no method ``close``.
        BaseException: Whatever ``close`` raises.

    Cancellation: Ends the waiting. The object is closed in any case.

    To be used in any thread whose event loop runs.

    .. versionadded:: 0.1.0
    """
    colourless.check_spelling(Proxy, proxy)
    try:
        await proxy
    except BaseException:
        proxy._tpool_close_when_made()
        raise
    _ = proxy.close  # which raises now if there is none
    try:
        yield proxy
    finally:
        leaving = proxy._tpool_closing()
        if leaving is None:
            await proxy.close()
        else:
            try:
                await proxy._tpool.execute(leaving)
            except BaseException:
                proxy._tpool_in_any_case(leaving)
                raise


_default = handle_on(shared_pool)
