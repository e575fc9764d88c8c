"""Values of which each coroutine has its own.

Why not a `contextvars.ContextVar`: a new task starts with what its parent has set, and here it starts with nothing.

Where the values are
    In a dictionary for each coroutine, found by its task, or by a token of the thread where no task runs. Nothing is
    swapped in and out of the object, so several threads can use it at once without a lock. The token lives in a
    `threading.local`, so it ends with its thread.

What keeps what alive
    The tasks and tokens are held weakly, and the values by the `local` alone. So that values which lead back to their
    task do not keep both, they are dropped when the task is done.
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, NoReturn, Self

from tpool_asyncio._pool import native

__all__ = ["local"]

Values = dict[str, Any]


class _Token:
    """Stands for a thread."""


class _OfThread(native.local):
    def __init__(self) -> None:
        self.token = _Token()


_of_thread = _OfThread()


class _Base:
    """What a `local` has for itself, out of the reach of its subclasses."""

    __slots__ = ("__weakref__", "_local__args", "_local__values")

    _local__args: tuple[tuple[Any, ...], dict[str, Any]]
    _local__values: weakref.WeakKeyDictionary[object, Values]


class local(_Base):  # noqa: N801 - Eventlet's name, and that of `threading`
    """An object whose attributes are different in each coroutine, like `threading.local` in each thread.

    A coroutine here is a task: a green thread, or async code. What is called with `green.run` is a part of its task.
    Where no task runs, in a script or a callback, it is the thread.

    A subclass may have an ``__init__``; it is called in each coroutine that uses the object, with the arguments that
    the object was made with. Each coroutine begins with nothing else, and what it has set is dropped at its end.

    May be used from any thread, everywhere.

    .. versionadded:: 0.1.0
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__qualname__} takes no arguments; define an __init__ in the subclass to have some")
        self = object.__new__(cls)
        object.__setattr__(self, "_local__args", (args, kwargs))
        object.__setattr__(self, "_local__values", weakref.WeakKeyDictionary())
        _begin(self, _coroutine())  # whose `__init__` is called by whoever calls this
        return self

    def __getattribute__(self, name: str) -> Any:
        values = _values(self)
        if name == "__dict__":
            return values
        if name in values and not _has_descriptor(self, name, "__set__", "__delete__"):
            return values[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        values = _values(self)
        if name == "__dict__":
            _refuse(self, "'__dict__' is read-only; use vars(object).update(...)", name)
        if _has_descriptor(self, name, "__set__", "__delete__"):
            object.__setattr__(self, name, value)
        else:
            values[name] = value

    def __delattr__(self, name: str) -> None:
        values = _values(self)
        if name == "__dict__":
            _refuse(self, "'__dict__' is read-only; use vars(object).clear()", name)
        if _has_descriptor(self, name, "__set__", "__delete__"):
            object.__delattr__(self, name)
        elif name in values:
            del values[name]
        else:
            _refuse(self, f"has no attribute {name!r}", name)


def _coroutine() -> object:
    loop = asyncio._get_running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    return _of_thread.token if task is None else task


def _values(owner: local) -> Values:
    """Return the values of the current coroutine, after `__init__` if it is new."""
    coroutine = _coroutine()
    everybodys: weakref.WeakKeyDictionary[object, Values] = object.__getattribute__(owner, "_local__values")
    values = everybodys.get(coroutine)
    if values is None:
        values = _begin(owner, coroutine)
        cls = type(owner)
        if cls.__init__ is not object.__init__:
            args, kwargs = object.__getattribute__(owner, "_local__args")
            try:
                cls.__init__(owner, *args, **kwargs)
            except BaseException:
                everybodys.pop(coroutine, None)  # so that the next use tries again
                raise
    return values


def _begin(owner: local, coroutine: object) -> Values:
    everybodys: weakref.WeakKeyDictionary[object, Values] = object.__getattribute__(owner, "_local__values")
    values = everybodys[coroutine] = {}
    if isinstance(coroutine, asyncio.Future):
        coroutine.add_done_callback(_drop_from(weakref.ref(everybodys)))
    return values


def _drop_from(
    reference: "weakref.ref[weakref.WeakKeyDictionary[object, Values]]",
) -> Callable[["asyncio.Future[Any]"], None]:
    def drop(task: "asyncio.Future[Any]") -> None:
        everybodys = reference()
        if everybodys is not None:
            everybodys.pop(task, None)

    return drop


def _has_descriptor(owner: local, name: str, *methods: str) -> bool:
    """Whether the class decides about this attribute: with a property, or a slot."""
    for cls in type(owner).__mro__:
        if name in cls.__dict__:
            kind = type(cls.__dict__[name])
            return any(hasattr(kind, method) for method in methods)
    return False


def _refuse(owner: local, problem: str, name: str) -> NoReturn:
    raise AttributeError(f"{type(owner).__name__!r} object {problem}", name=name, obj=owner)
