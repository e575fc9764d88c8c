"""The proxy of both spellings, but for how a call is made: how it is constructed, and how its object may be."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from types import CoroutineType, FunctionType, MethodType
from typing import Any, Literal, Never, TypeVar

from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.job import Wrapper
from tpool_asyncio._pool.native import allocate_lock
from tpool_asyncio._pool.refusal import close_unused, not_callable_error, shown
from tpool_asyncio._pool.size import check_batch
from tpool_asyncio._proxy.data_model import DataModel
from tpool_asyncio._proxy.method import Method, Run, short_name
from tpool_asyncio._proxy.object_proxy import ObjectProxy, bare
from tpool_asyncio._proxy.pin import Pin
from tpool_asyncio._proxy.policy import Names, Policy, Types, check_names, check_types
from tpool_asyncio._proxy.special import Entering, Once

__all__ = ["ColourlessProxy", "check_spelling", "in_place", "proxy_call"]

P = TypeVar("P", bound="ColourlessProxy")


class _ProxyType(type):
    """The class of proxy classes: what it defines is found on ``Proxy``, and does not hide names of the objects."""

    def create(  # type: ignore[misc]
        cls: type[P],
        factory: Callable[..., Any],
        /,
        *args: Any,
        autowrap: Types = (),
        autowrap_names: Names = (),
        autowrap_items: bool = False,
        pin: bool = False,
        pool: Any = None,
        batch: int | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        on_cancel: Literal["abandon", "wait"] = "abandon",
        limiter: Any = None,
        context: Context | None = None,
        name: str | None = None,
        **unknown: Never,
    ) -> P:
        """Return a proxy of what ``factory(*args)`` returns, which is called in the pool.

        In async code that is done by ``await proxy`` or ``async with proxy``, in the green spelling at once.

        Args:
            factory: What makes the object, such as its class. With ``pin=True`` it runs in the pinned thread. Its
                keyword arguments go into a `functools.partial`, as the keywords here are those of the proxy.

        All other arguments are those of the constructor.

        Raises:
            TypeError: ``factory`` is not callable, or is a coroutine function, or returns what has no use for a proxy.
            BaseException: When the object is made: whatever ``factory`` raises. To await the proxy again tries again.

        Cancellation: Of those that await the proxy, only the waiting ends; the object is made all the same.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        if _is_coroutine_function(factory) or not callable(factory):
            close_unused(factory)
            raise TypeError(
                f"create takes what makes the object, a function or class that blocks, and not {shown(factory)}"
            )
        if unknown:
            raise TypeError(
                f"create has no keyword {', '.join(unknown)}; keyword arguments of the factory go into a"
                " functools.partial, or a lambda"
            )
        options = _given(
            on_cancel, timeout=timeout, queue_timeout=queue_timeout, limiter=limiter, context=context, name=name
        )
        policy = _new_policy(cls, autowrap, autowrap_names, autowrap_items, pin, None, pin, pool, batch, options)
        proxy = object.__new__(cls)
        object.__setattr__(proxy, "_tpool", policy)
        object.__setattr__(proxy, "_tpool_items", None)
        object.__setattr__(proxy, "_tpool_maker", _Maker(factory, args))
        return cls._tpool_created(proxy)  # type: ignore[return-value]


class ColourlessProxy(DataModel, metaclass=_ProxyType):
    """What the proxies of both spellings have in common."""

    __slots__ = ()

    _tpool_spelling: str
    """The public module of the class."""

    def __init__(
        self,
        obj: Any,
        autowrap: Types = (),
        autowrap_names: Names = (),
        *,
        autowrap_items: bool = False,
        pin: bool = False,
        pool: Any = None,
        batch: int | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        on_cancel: Literal["abandon", "wait"] = "abandon",
        limiter: Any = None,
        context: Context | None = None,
        name: str | None = None,
    ) -> None:
        held: Pin | None = None
        root = pin
        if issubclass(type(obj), ObjectProxy):
            if (held := obj._tpool.pin) is not None:  # the object stays where it is
                root = obj._tpool.root
            obj = obj._obj
        _check_object(obj)
        options = _given(
            on_cancel, timeout=timeout, queue_timeout=queue_timeout, limiter=limiter, context=context, name=name
        )
        policy = _new_policy(
            type(self), autowrap, autowrap_names, autowrap_items, pin, held, root, pool, batch, options
        )
        self._tpool_set_up(obj, policy)

    def _tpool_give_up(self, entering: Entering) -> None:
        """Have the object left that nobody waits to be entered any more."""
        if entering.give_up() and (leaving := self._tpool_leaving(None, None, None)) is not None:
            self._tpool_in_any_case(leaving)

    def _tpool_leaving(self, *failure: Any) -> Once | None:
        """Return what ``with`` has to do at its end, None if the object has been closed, and its thread is gone."""
        pin = self._tpool.pin
        if pin is not None and pin.released:
            return None
        return Once(type(self._obj).__exit__, self._obj, *failure)

    def _tpool_closing(self) -> Once | None:
        """Return what ``closing`` has to do at its end, None if that is no call that could be dropped."""
        close = self.close
        return Once(close.args[0]) if type(close) is Method and close.func is self._tpool.execute else None

    def _tpool_close_when_made(self) -> None:
        """Have an object closed whose making goes on although nobody waits for it any more."""
        maker = object.__getattribute__(self, "_tpool_maker")
        call = maker.call()
        if not self._tpool_is_made() and not maker.is_busy() and (call is None or call.done()):
            return  # it has failed, and may be tried again
        maker.closing = closing = Once(_close_object, self)
        if self._tpool_is_made():  # in the meantime, or just before
            self._tpool_in_any_case(closing)

    def _tpool_in_any_case(self, call: Once) -> None:
        """Have a call made that has been dropped from the queue: nobody waits for it any more, but it must be made."""
        if not call.has_begun():
            core = self._tpool.core
            with suppress(RuntimeError):  # if there is no thread to do it any more
                core.submit(Chore(core.home, call, context=copy_context()))

    @classmethod
    def _tpool_handle(cls, pool: Any) -> Any:
        """Return the pool of this spelling that was given, or the default pool."""
        raise NotImplementedError

    @classmethod
    def _tpool_created(cls, proxy: "ColourlessProxy") -> "ColourlessProxy":
        """Make the object at once, or later."""
        raise NotImplementedError


def _new_policy(
    kind: type[ColourlessProxy],
    autowrap: Types,
    autowrap_names: Names,
    autowrap_items: bool,
    pin: bool,
    held: Pin | None,
    root: bool,
    pool: Any,
    batch: int | None,
    options: dict[str, Any],
) -> Policy:
    types, names, batch = check_types(autowrap), check_names(autowrap_names), check_batch(batch)
    way = kind._tpool_handle(pool)
    way.options(**options)  # refuses what is wrong, before a thread is taken
    core = way._thread_pool()
    core.check_keeps("a proxy cannot work")
    if pin and held is None:
        held = Pin(core)
    if held is not None:
        core = held.lane
        way = way._beside(core)
    if options:
        way = way.options(**options)
    return Policy(way, core, types=types, names=names, items=autowrap_items, batch=batch, pin=held, root=root)


def _given(on_cancel: str, **others: Any) -> dict[str, Any]:
    """Return those options that are not the defaults. Without any, calls take the shortest way."""
    options = {key: value for key, value in others.items() if value is not None}
    return options if on_cancel == "abandon" else {"on_cancel": on_cancel, **options}


class _Maker(Wrapper):
    """Makes the object of a proxy, in the pool."""

    def __init__(self, factory: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.func = factory
        self.args = args
        self.closing: Once | None = None  # what is to be done when the object is there, as nobody waits for it
        self.call: Callable[[], Any] = _no_call  # or a weak one: it may hold an error whose traceback leads back here
        self._lock = allocate_lock()  # two loops may each ask for the object at once

    def __call__(self, proxy: ColourlessProxy) -> None:
        """Call the factory, and give the proxy its object."""
        with self._lock:
            if proxy._tpool_is_made():
                return
            obj = bare(self.func(*self.args))
            _check_object(obj)
            proxy._tpool_set_up(obj, proxy._tpool)
            self.func = _made
            self.args = ()
        if self.closing is not None:
            self.closing()

    def is_busy(self) -> bool:
        """Return whether the factory runs, though the call may be over for those who waited for it."""
        return self._lock.locked()


def _no_call() -> None:
    return None


def _close_object(proxy: ColourlessProxy) -> None:
    proxy._obj.close()


def _made() -> None:
    """Stand for a factory that is done with, and let go of."""


def in_place(kind: type[ColourlessProxy], proxy: P) -> P:
    """Return a view of a proxy whose calls are made in place."""
    check_spelling(kind, proxy)
    view = proxy._tpool_twin()
    view._tpool_set_up(proxy._obj, proxy._tpool.in_place(kind._tpool_in_place))
    view._tpool_keep_items(proxy._tpool_items)
    return view


def proxy_call(
    kind: type[ColourlessProxy],
    autowrap: "Types | ColourlessProxy",
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    nonblocking: bool,
) -> Any:
    """Call a function with a policy for its result."""
    if not callable(fn):
        raise not_callable_error(fn)
    if issubclass(type(autowrap), ObjectProxy):
        proxy: Any = autowrap
        check_spelling(kind, proxy)
    else:
        proxy = kind(_NOTHING, autowrap)
    execute = kind._tpool_in_place if nonblocking else proxy._tpool.execute
    return execute(Run((proxy, fn, False, short_name(fn))), *args, **kwargs)


def check_spelling(kind: type[ColourlessProxy], proxy: object) -> None:
    """Raise a `TypeError` if this is no proxy of a spelling."""
    if not issubclass(type(proxy), kind):
        raise TypeError(f"this needs a Proxy of {kind._tpool_spelling}, not {type(proxy).__qualname__} {shown(proxy)}")


_NOTHING = object()  # which no function returns


def _check_object(obj: object) -> None:
    """Raise a `TypeError` if a proxy of this object would be of no use."""
    if obj is None:
        raise TypeError("Proxy takes an object whose methods are to run in the pool, not None; what was to make it?")
    if _is_coroutine_function(obj) or type(obj) is CoroutineType:
        close_unused(obj)
        raise TypeError(f"Proxy takes an object that blocks, not {shown(obj)}, which can be awaited as it is")


def _is_coroutine_function(thing: object) -> bool:
    """Return whether this is one, without asking objects for attributes: they may answer whatever they like."""
    return issubclass(type(thing), (FunctionType, MethodType, partial)) and inspect.iscoroutinefunction(thing)
