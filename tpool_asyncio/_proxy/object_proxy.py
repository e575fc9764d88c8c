"""What a proxy is, whatever the spelling: an object, a policy, and the attributes of the object.

Its own names begin with ``_tpool``, but for the documented ``_obj``. Everything else that is not in its class is looked
up in the object. What is to be found on the class and not on its instances, such as ``Proxy.create``, is defined in the
metaclass.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, NoReturn, Self

from tpool_asyncio._pool.engine_errors import with_note
from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.refusal import shown
from tpool_asyncio._proxy.method import ClosingRun, Method, Run
from tpool_asyncio._proxy.pin import Anchor
from tpool_asyncio._proxy.policy import Policy

__all__ = ["ObjectProxy", "bare"]


class ObjectProxy:
    """A transparent proxy: its attributes are those of the object, and the calls of its methods go to a pool."""

    __slots__ = ("__weakref__", "_obj", "_tpool", "_tpool_anchor", "_tpool_children", "_tpool_items", "_tpool_maker")

    _obj: Any
    """The object. Not there before a proxy of ``create`` has made it."""

    _tpool: Policy

    _tpool_anchor: Anchor

    _tpool_children: dict[str, Any] | None
    """The proxies of attributes, by name: to ask for one twice gives the same."""

    _tpool_items: Any
    """The iteration over an object that is its own iterator, which has read further than it has been asked for."""

    _tpool_maker: Any
    """What makes the object; only there until it is made."""

    def _tpool_set_up(self, obj: Any, policy: Policy) -> None:
        """Become the proxy of an object."""
        _set_policy(self, policy)
        _set_items(self, None)
        _set_children(self, None)
        if policy.pin is not None:
            _set_anchor(self, Anchor(policy.pin, obj))
        _set_obj(self, obj)  # the last, as others may wait for just that in another thread

    def _tpool_child(self, value: Any) -> Any:
        """Return a proxy of what this one hands out, of the same class and with the same policy."""
        if value is None or issubclass(type(value), ObjectProxy):
            return value
        child = self._tpool_twin()
        policy = self._tpool
        child._tpool_set_up(value, policy.children or policy)
        return child

    def _tpool_attribute(self, name: str, value: Any) -> Any:
        """Return the proxy of an attribute."""
        children = self._tpool_children
        if children is None:
            children = {}
            _set_children(self, children)
        child = children.get(name)
        if child is None or bare(child) is not value:
            child = children[name] = self._tpool_child(value)
        return child

    def _tpool_twin(self) -> Self:
        """Return an empty proxy of the same class, with the attributes that a subclass has given this one."""
        kind = type(self)
        twin = object.__new__(kind)  # as a subclass may want arguments
        if kind.__dictoffset__:
            object.__getattribute__(twin, "__dict__").update(object.__getattribute__(self, "__dict__"))
        return twin

    def _tpool_wrap(self) -> Callable[[Iterator[Any]], Iterator[Any]] | None:
        """Return what the items of an iteration go through, None if they are handed out as they are."""
        policy = self._tpool
        if not policy.types and not policy.items:
            return None
        twin = self._tpool_twin()  # so that nothing that this proxy holds leads back to it
        twin._tpool_set_up(self._obj, policy)
        return partial(policy.items_handed_out, proxy=twin)

    def _tpool_is_iterator(self) -> bool:
        """Return whether the object is its own iterator, so that there is but one iteration."""
        return hasattr(type(self._obj), "__next__")

    def _tpool_keep_items(self, iteration: Any) -> None:
        """Keep the one iteration there is, which the next ones go on with."""
        _set_items(self, iteration)

    def _tpool_forget_items(self, name: str, *, in_pool: bool = False) -> None:
        """Drop the iteration over an object that is about to be used otherwise, but no items without a word.

        In the pool, a call that begins anew waits for a read that is under way, which would move the object once more.
        """
        if name in _MOVES_NOTHING:
            return
        stream = self._tpool_items._stream
        if name not in _STARTS_ANEW:
            reading = not stream.left() and stream.keeps_reading()
            left = stream.left()
            if left or reading:
                what = f"{left} items" if left else "items"
                how = "is reading just now" if reading else "has read ahead"
                raise RuntimeError(
                    f"{call_name(type(self._obj))}.{name} would skip {what} that an iteration over the object {how};"
                    " let the iteration come to its end before, begin anew (execute, seek, close), or have nothing"
                    " read ahead: Proxy(..., batch=1)"
                )
        _set_items(self, None)
        if in_pool and name not in _INTERRUPTS:
            if name in _ENDS:
                stream.keeps_reading()
            else:
                stream.wait_for_read()

    # Attributes

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:
            self._tpool_not_there()
        value = getattr(self._obj, name)
        policy = self._tpool
        if policy.types and isinstance(value, policy.types):
            return self if value is self._obj else self._tpool_attribute(name, value)
        if name not in policy.special:  # saves a call for most methods
            kind = type(value)
            if kind is BuiltinMethodType or (kind is MethodType and not _waits_by_itself(value)):
                return Method(policy.execute, Run((self, value, False, name)))
        if callable(value):
            return self._tpool_method(value, name)
        if name in policy.names:
            return self._tpool_attribute(name, value)
        if self._tpool_children:
            self._tpool_children.pop(name, None)  # the proxy of what was there before
        return policy.handed_out(value, self)

    def _tpool_method(self, value: Any, name: str) -> Any:
        """Return what calls a method in the pool, unless a call of it cannot block."""
        policy = self._tpool
        kind = type(value)
        if kind is MethodType or kind is FunctionType:
            if _waits_by_itself(value):
                return value
        elif issubclass(kind, type) and issubclass(value, BaseException):
            return value  # so that it can be caught
        elif issubclass(kind, ObjectProxy):
            return value
        elif name != "__call__" and not (policy.root and name == "close"):  # which frees the thread, whatever it is
            if value is self._obj:
                return self
            if name not in policy.names and not issubclass(kind, partial) and not _has_name(value):
                return self._tpool_attribute(name, value)  # an object that happens to be callable, and no function
        if _waits_when_called(value):
            return value
        if policy.root and name == "close":
            assert policy.pin is not None
            if policy.pin.released:
                return Method(self._tpool_in_place, Run((self, _closed_already, False, name)))
            return Method(policy.execute, ClosingRun((self, value, name in policy.names, name)))
        return Method(policy.execute, Run((self, value, name in policy.names, name)))

    @staticmethod
    def _tpool_in_place(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Make a call in this thread, in the spelling of this class."""
        raise NotImplementedError

    def _tpool_not_there(self) -> NoReturn:
        try:
            maker = object.__getattribute__(self, "_tpool_maker")
        except AttributeError:
            raise RuntimeError(
                f"this {type(self).__name__} has no object; a subclass has to call super().__init__(obj, ...) before it"
                " does anything with itself"
            ) from None
        raise RuntimeError(
            f"what {call_name(maker.func)} returns has not been made yet; await the proxy, or use it in async with"
        )

    def _tpool_here(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Do something to the object in place."""
        return fn(self._obj, *args)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_own(self, name):
            object.__setattr__(self, name, value)
            return
        try:
            self._tpool_here(setattr, name, value)
        except AttributeError as error:
            if type(self).__dictoffset__:
                with_note(error, "An attribute of the proxy itself has to be declared in its class, with a value.")
            raise

    def __delattr__(self, name: str) -> None:
        if _is_own(self, name):
            object.__delattr__(self, name)
        else:
            self._tpool_here(delattr, name)

    def __dir__(self) -> list[str]:
        return dir(self._obj)

    @property
    def __class__(self) -> Any:
        """The class that the object gives as its own, for `isinstance`. ``type()`` tells the truth."""
        return self._obj.__class__ if self._tpool_is_made() else type(self)

    @__class__.setter
    def __class__(self, kind: type) -> None:
        self._obj.__class__ = kind

    def _tpool_is_made(self) -> bool:
        try:
            object.__getattribute__(self, "_obj")
        except AttributeError:
            return False
        return True

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._obj)

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._obj)

    # In place, since the interpreter calls these all the time, and they hardly ever block

    def __repr__(self) -> str:
        if self._tpool_is_made():
            return repr(self._obj)
        return f"<{type(self).__name__} of something that has not been made>"

    def __str__(self) -> str:
        return str(self._obj) if self._tpool_is_made() else repr(self)

    def __format__(self, spec: str, /) -> str:
        return format(self._obj, spec)

    def __hash__(self) -> int:
        return hash(self._obj) if self._tpool_is_made() else object.__hash__(self)

    def __bool__(self) -> bool:
        kind = type(self._obj)
        asks = hasattr(kind, "__bool__") or hasattr(kind, "__len__")
        return bool(self._tpool_here(bool)) if asks else True

    def __len__(self) -> int:
        return self._tpool_here(len)  # type: ignore[no-any-return]

    def __eq__(self, other: object, /) -> Any:
        if not self._tpool_is_made():
            return self is other
        return self._obj == bare(other)

    def __ne__(self, other: object, /) -> Any:
        if not self._tpool_is_made():
            return self is not other
        return self._obj != bare(other)

    def __lt__(self, other: Any, /) -> Any:
        return self._obj < bare(other)

    def __le__(self, other: Any, /) -> Any:
        return self._obj <= bare(other)

    def __gt__(self, other: Any, /) -> Any:
        return self._obj > bare(other)

    def __ge__(self, other: Any, /) -> Any:
        return self._obj >= bare(other)

    # Never

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            "a proxy cannot be pickled, as the object may well be bound to this process; pickle its _obj:"
            f" {shown(self)}"
        )


# These cost half of what `object.__setattr__` does.
_set_obj = vars(ObjectProxy)["_obj"].__set__
_set_policy = vars(ObjectProxy)["_tpool"].__set__
_set_items = vars(ObjectProxy)["_tpool_items"].__set__
_set_children = vars(ObjectProxy)["_tpool_children"].__set__
_set_anchor = vars(ObjectProxy)["_tpool_anchor"].__set__

_OWN = frozenset(name for name in ObjectProxy.__slots__ if name != "__weakref__")

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _waits_by_itself(function: Any) -> int:
    """Return something true for a coroutine function, or a method that is one."""
    try:
        return function.__code__.co_flags & _ASYNC  # type: ignore[no-any-return]
    except Exception:  # what a method calls may be an object, which may answer whatever it likes
        return 0


def _waits_when_called(value: Any) -> int:
    """Return something true for a partial of a coroutine function, or an object whose class has an async __call__."""
    while issubclass(type(value), partial):
        value = value.func
    return _waits_by_itself(value if type(value) in (FunctionType, MethodType) else type(value).__call__)


_MOVES_NOTHING = frozenset(
    {"__enter__", "fileno", "flush", "getbuffer", "getvalue", "isatty", "readable", "seekable", "writable"}
)
"""Methods for which it makes no difference how far an object has been read."""

_STARTS_ANEW = frozenset(
    {
        "__exit__",
        "callproc",
        "cancel",
        "close",
        "execute",
        "executemany",
        "interrupt",
        "nextset",
        "seek",
    }
)
"""Methods after which nobody wants the items that have been read before: those of files, and of cursors (PEP 249)."""

_ENDS = frozenset({"__exit__", "close"})
"""Those of them that wait for a moment only, since a read may be stuck."""

_INTERRUPTS = frozenset({"cancel", "interrupt"})
"""Those of them that may be there to end a read."""


def _has_name(function: Any) -> bool:
    """Return whether something that can be called says what it is called, as functions and classes do."""
    try:
        return isinstance(function.__name__, str)
    except Exception:  # an object may answer whatever it likes
        return False


def _is_own(proxy: ObjectProxy, name: str) -> bool:
    """Return whether an attribute is the proxy's: one of those above, or one that a subclass declares."""
    return any(name in vars(kind) for kind in type(proxy).__mro__)


def _closed_already() -> None:
    pass


def bare(thing: Any) -> Any:
    """Return the object of a proxy, and anything else as it is."""
    return thing._obj if issubclass(type(thing), ObjectProxy) else thing
