"""Proxies in synchronous code: of their methods' calls, only the calling green thread waits."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from tpool_asyncio._green.iteration import Iteration
from tpool_asyncio._green.pool import Pool, handle_on
from tpool_asyncio._loop.iteration import proxy_stream
from tpool_asyncio._loop.pool import handle_on as async_handle_on
from tpool_asyncio._pool.collected import Witness
from tpool_asyncio._pool.default import shared_pool
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


class Proxy(ColourlessProxy):
    """An object whose method calls run in a thread of the pool, while only the calling green thread waits.

    ``proxy.method(...)``, ``proxy[key]``, ``proxy[key] = value``, ``with proxy``, ``for item in proxy``: all that the
    object can do runs in the pool, but for attributes, ``repr``, ``str``, ``format``, ``hash``, ``len``, ``bool`` and
    comparisons, which run in place. The object itself is ``proxy._obj``; a method that returns it gives the proxy.
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
        RuntimeError: Too many proxies are pinned and iterations open; or, at a call, this is plain async code, or the
            pinned thread is gone.
        BaseException: From a call: whatever the method raises, as the same object.

    Cancellation: As with `Pool.execute`; a queued call never runs, a running one is abandoned. The end of ``with`` is
    called in any case.

    May be made and used in any thread, in green threads and scripts. The name and the meaning are those of
    `eventlet.tpool.Proxy`.

    .. versionadded:: 0.1.0
    """

    __slots__ = ()

    _tpool_spelling = "tpool_asyncio.green.tpool"

    @classmethod
    def _tpool_handle(cls, pool: Any) -> Pool:
        if pool is None:
            return _default
        if isinstance(pool, Pool):
            return pool
        raise TypeError(
            f"pool must be a tpool_asyncio.green.tpool.Pool, not {shown(pool)}; options are given to the proxy"
        )

    @classmethod
    def _tpool_created(cls, proxy: ColourlessProxy) -> ColourlessProxy:
        maker = object.__getattribute__(proxy, "_tpool_maker")
        proxy._tpool.execute(maker, proxy)
        return proxy

    @staticmethod
    def _tpool_in_place(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    def _tpool_now(self, fn: Any, *args: Any) -> Any:
        if self._tpool_items is not None:
            self._tpool_forget_items(short_name(fn))
        return self._tpool.execute(fn, self._obj, *args)

    def _tpool_here(self, fn: Callable[..., Any], *args: Any) -> Any:
        # What is pinned may not even be looked at in another thread.
        pin = self._tpool.pin
        return fn(self._obj, *args) if pin is None or pin.released else self._tpool_now(fn, *args)

    def __enter__(self) -> Any:
        entering = Entering(self._obj)
        try:
            return self._tpool.execute(Run((self, entering, False, "__enter__")))
        except BaseException:  # pragma: no cover - after a switch of greenlets
            self._tpool_give_up(entering)
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        leaving = self._tpool_leaving(exc_type, exc, tb)
        if leaving is None:
            return None
        try:
            return bool(self._tpool.execute(Run((self, leaving, False, "__exit__"))))
        except BaseException:
            self._tpool_in_any_case(leaving)
            raise

    def __iter__(self) -> Iteration[Any]:
        """Iterate over the object, in the pool. What has been read ahead of it before comes first."""
        iteration: Iteration[Any] | None = self._tpool_items
        if iteration is None or iteration._stream.over():
            iteration = Iteration(proxy_stream(self))
            if self._tpool_is_iterator():
                self._tpool_keep_items(iteration)
        return iteration

    def __next__(self) -> Any:
        iteration: Iteration[Any] | None = self._tpool_items
        if iteration is not None and not iteration._stream.over():
            return next(iteration)
        item = self._tpool_pooled(next, END)
        if bare(item) is END:
            raise StopIteration
        return item


def proxy_call(
    autowrap: "Types | Proxy", fn: Callable[..., Any], /, *args: Any, nonblocking: bool = False, **kwargs: Any
) -> Any:
    """Call ``fn(*args, **kwargs)`` in the pool, wait for it, and wrap its result as a proxy would.

    Args:
        autowrap: A type or any collection of types, of which results are wrapped; or a proxy, which lends its policy,
            its options and its thread: ``tpool.proxy_call(proxy, getattr, proxy._obj, "size")`` reads a property that
            blocks.
        fn: What to call. All arguments that follow are its own.
        nonblocking: Whether the call is known not to block, and is made in place. A keyword ``nonblocking`` of the
            function goes into a `functools.partial`.

    Returns:
        What ``fn`` returns, or a proxy of it.

    Raises:
        TypeError: ``autowrap`` is no type and no collection of types, or ``fn`` is not callable.
        RuntimeError: This is plain async code, which awaits `tpool_asyncio.tpool.proxy_call`.
        BaseException: Whatever ``fn`` raises, as the same object.

    Cancellation: As with `Pool.execute`.

    May be called in any thread, in green threads and scripts. The name and the meaning are those of `eventlet.tpool`.

    .. versionadded:: 0.1.0
    """
    return colourless.proxy_call(Proxy, autowrap, fn, args, kwargs, nonblocking)


def nonblocking(proxy: P, /) -> AbstractContextManager[P]:
    """Return a view of a proxy whose calls are made in place: ``with tpool.nonblocking(proxy) as quick``.

    It is for calls that are known not to block. What they return is wrapped as ever, in proxies whose calls go to the
    pool.

    Args:
        proxy: A proxy. Others that use it are not affected.

    Raises:
        TypeError: It is no proxy.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    return nullcontext(colourless.in_place(Proxy, proxy))


@contextmanager
def closing(proxy: P, /) -> Generator[P, None, None]:
    """Have a proxied object closed at the end: ``with tpool.closing(proxy)``.

    It calls ``proxy.close()`` however the block ends, where ``with proxy`` does what the object itself does as a
    context manager; with a connection of ``sqlite3``, for instance, that ends a transaction and not the connection.

    Args:
        proxy: A proxy.

    Returns:
        A context manager, whose value is the proxy.

    Raises:
        TypeError: It is no proxy.
        AttributeError: The object has no method ``close``.
        BaseException: Whatever ``close`` raises.

    Cancellation: Ends the waiting. The object is closed in any case.

    To be used in any thread, in green threads and scripts.

    .. versionadded:: 0.1.0
    """
    colourless.check_spelling(Proxy, proxy)
    _ = proxy.close  # which raises now if there is none
    witness = Witness()
    try:
        yield proxy
    finally:
        leaving = proxy._tpool_closing()
        if leaving is None:
            proxy.close()
        elif witness.is_collected():  # and the block was never left
            proxy._tpool_in_any_case(leaving)
        else:
            try:
                proxy._tpool.execute(leaving)
            except BaseException:  # pragma: no cover - after a switch of greenlets
                proxy._tpool_in_any_case(leaving)
                raise


_default = handle_on(async_handle_on(shared_pool))
