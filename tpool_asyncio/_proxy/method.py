"""A method of a proxied object, on its two sides: what the user calls, and what runs in the pool."""

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from tpool_asyncio._pool.job import Wrapper, call_name
from tpool_asyncio._pool.refusal import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tpool_asyncio._proxy.object_proxy import ObjectProxy

__all__ = ["ClosingRun", "Method", "Run", "short_name"]


class Run(Wrapper, tuple["ObjectProxy", "Callable[..., Any]", bool, str]):
    """What runs in the pool: a function, and then the policy of the proxy on its result.

    Made as ``Run((proxy, function, by_name, name))``: whether the name says that the result is to be wrapped, and the
    name. A tuple is made in half the time of another object.
    """

    __slots__ = ()

    @property
    def proxy(self) -> "ObjectProxy":
        return self[0]

    @property
    def func(self) -> "Callable[..., Any]":  # type: ignore[override]
        return self[1]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        proxy, fn, by_name, name = self
        if proxy._tpool_items is not None:
            proxy._tpool_forget_items(name, in_pool=True)
        value = fn(*args, **kwargs)
        policy = proxy._tpool
        if policy.items or by_name:
            return policy.handed_out(value, proxy, by_name)
        # The same without the call.
        if value is proxy._obj:
            return proxy
        return proxy._tpool_child(value) if policy.types and isinstance(value, policy.types) else value


def short_name(fn: object) -> str:
    """Return the name of a function without that of its module or class."""
    return call_name(fn).rpartition(".")[2]


class ClosingRun(Run):
    """Closes a pinned object, and lets its thread go."""

    __slots__ = ()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        value = super().__call__(*args, **kwargs)
        pin = self.proxy._tpool.pin
        assert pin is not None
        pin.release()
        return value


class Method(partial[Any]):
    # What the user gets for a method: ``partial(execute, run)``, which calls without a Python function in between.
    # For everything but calling it passes for the method itself.

    __slots__ = ()

    @property
    def __wrapped__(self) -> Any:
        return self.args[0].func

    @property
    def __self__(self) -> Any:
        return self.args[0].proxy

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return getattr(self.__wrapped__, "__doc__", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.__wrapped__)

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.__wrapped__)

    # Each look-up makes a new one. They are equal as bound methods are.

    def __eq__(self, other: object) -> bool:
        if type(other) is not Method:
            return NotImplemented
        return self.__self__ is other.__self__ and bool(self.__wrapped__ == other.__wrapped__)

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    # It is copied as functions are, and pickled as little as a proxy.

    def __copy__(self) -> "Method":
        return self

    def __deepcopy__(self, memo: dict[int, Any], /) -> "Method":
        return self

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(f"a method of a proxy cannot be pickled; pickle that of its object: {shown(self.__wrapped__)}")

    def __repr__(self) -> str:
        return f"<{self.__wrapped__!r}, which runs in a pool>"
