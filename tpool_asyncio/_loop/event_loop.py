"""Event loops whose default executor is the default pool.

asyncio and most libraries on it send what would block to ``loop.run_in_executor(None, ...)``: `asyncio.to_thread`,
``loop.getaddrinfo`` and whatever is built on these. A loop made here takes such calls the way of `tpool.execute`, with
one object that is future and job, in place of the two futures and the callbacks of an executor.

How it is done
    The loop is made by whoever knows how, and its class is then exchanged for a subclass that overrides what is to be
    different. Methods stored in the loop itself would be a cycle of references. The subclass has the name and the
    module of its base, since libraries look at these to tell kinds of loops apart, and so does its ``repr``. It is kept
    by nothing but its loops, and found again among the subclasses of its base.

Whom the end of the loop waits for
    ``loop.shutdown_default_executor``, which `asyncio.run` calls at its end, waits for the calls that have been made
    here and that nobody has cancelled, so that what somebody saves without waiting for it is saved. They stand in a
    set until they have settled or been cancelled. A call that has been abandoned is not waited for, as nobody wants
    its outcome; at exit of the interpreter it has the grace time of the pool.

All of it runs in the thread of the loop, or before the loop runs.
"""

import asyncio
import inspect
import warnings
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from types import BuiltinMethodType, FunctionType, new_class
from typing import Any, TypeVar

from tpool_asyncio._loop.call import Call
from tpool_asyncio._loop.entrance import entrance
from tpool_asyncio._pool.default import shared_pool
from tpool_asyncio._pool.job import new_claim
from tpool_asyncio._pool.refusal import levels_to_user, shown

__all__ = ["new_event_loop"]

T = TypeVar("T")


def new_event_loop(factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> asyncio.AbstractEventLoop:
    """Make an event loop whose ``run_in_executor(None, ...)`` uses the default pool of this package.

    So `asyncio.to_thread`, ``loop.getaddrinfo`` and the libraries built on them use it too, without a change. It is
    meant as a loop factory: ``asyncio.run(main(), loop_factory=tpool_asyncio.new_event_loop)``, or before Python 3.12
    ``asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop)``.

    A loop to which somebody gives an executor, with ``loop.set_default_executor``, uses that one from then on. Calls
    with an executor of their own are not concerned.

    At its end `asyncio.run` waits for the calls that nobody has cancelled; an abandoned one it does not wait for. With
    a ``timeout``, ``loop.shutdown_default_executor`` then gives a `RuntimeWarning` that names what still runs.

    Args:
        factory: What makes the loop, such as ``uvloop.new_event_loop``; None for `asyncio.new_event_loop`, which
            follows the event loop policy.

    Returns:
        The loop, of a subclass of its class.

    Raises:
        TypeError: ``factory`` is not callable, or does not return an event loop, or one of a class that cannot be
            extended.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    if factory is None:
        factory = asyncio.new_event_loop
    elif not callable(factory):
        raise TypeError(
            f"factory must be a function that makes an event loop, such as uvloop.new_event_loop, not {shown(factory)}"
        )
    loop = factory()
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(
            f"factory must return an event loop, not {shown(loop)}; pass a function such as uvloop.new_event_loop"
        )
    if isinstance(loop, _PoolLoop):
        return loop
    try:
        calls: set[_ExecutorCall[Any]] = set()
        loop._tpool_calls = calls  # type: ignore[attr-defined]
        given = getattr(loop, "_default_executor", None) is not None
        loop._tpool_open = None if given else calls  # type: ignore[attr-defined]
        loop.__class__ = _extended(type(loop))
    except (AttributeError, TypeError) as error:
        loop.close()
        raise TypeError(
            f"loops of {type(loop)!r} cannot be extended ({error}); use tpool.executor() with set_default_executor"
        ) from error
    return loop


class _ExecutorCall(Call[T]):
    """A call made by ``run_in_executor(None, ...)``."""

    __slots__ = ("calls",)

    calls: "set[_ExecutorCall[Any]]"
    """Those of the same loop that are not over."""

    def cancel(self, msg: Any | None = None) -> bool:
        self.calls.discard(self)
        return super().cancel(msg)

    def settle(self) -> None:
        self.calls.discard(self)
        super().settle()


class _PoolLoop(asyncio.AbstractEventLoop):
    """What is different in a loop made here; the rest is that of its base. It is nothing of its own."""

    __slots__ = ()

    _tpool_calls: set[_ExecutorCall[Any]]
    """The calls that are not over."""

    _tpool_open: set[_ExecutorCall[Any]] | None
    """The same as long as calls go to the pool; None when somebody has set an executor, or the end has begun."""

    _tpool_strict: bool
    """Whether its base looks for coroutine functions in any case, and not in debug mode only."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        calls = self._tpool_open
        if calls is None or executor is not None:
            return super().run_in_executor(executor, func, *args)
        mailbox, submit = entrance(shared_pool, self, func)
        call: _ExecutorCall[T] = _ExecutorCall(loop=self)
        call.calls = calls
        call.mailbox = mailbox
        call.error = None
        call.claim = new_claim()
        if type(func) is partial and type(run := func.func) is BuiltinMethodType and run.__name__ == "run":
            context, given = run.__self__, func.args
        else:
            context = given = None
        if type(context) is Context and given:
            # What `asyncio.to_thread` passes. To run the function in that context at once saves another context, and
            # messages name the function.
            call.fn = given[0]
            call.args = given[1:] + args
            call.kwargs = func.keywords or None  # type: ignore[attr-defined]
            call.context = context
        else:
            if self._tpool_strict or self.get_debug():
                _check_no_coroutine(func)
            call.fn = func
            call.args = args
            call.kwargs = None
            call.context = copy_context() or None
        calls.add(call)
        try:
            submit(call)
        except BaseException:  # of a signal handler, for instance: nobody is to wait for what has not been queued
            calls.discard(call)
            raise
        return call

    def set_default_executor(self, executor: Any) -> None:
        super().set_default_executor(executor)
        self._tpool_open = None

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        begun = self.time()
        # The stock one refuses further calls from its first step on, and waits for an executor that has been set.
        stock = super().shutdown_default_executor(*(() if timeout is None else (timeout,)))
        self._tpool_open = None
        await stock
        calls = [call for call in self._tpool_calls if not call.done()]
        if not calls:
            return
        left = None if timeout is None else max(0.0, timeout - (self.time() - begun))
        _, late = await asyncio.wait(calls, timeout=left)
        if late:
            names = ", ".join(sorted({call.name for call in late}))
            warnings.warn(
                f"{len(late)} call(s) made with run_in_executor still ran when the {timeout} s of"
                f" shutdown_default_executor were over, and are given up: {names}; await them earlier, or cancel them",
                RuntimeWarning,
                stacklevel=levels_to_user(),
            )

    def close(self) -> None:
        super().close()
        self._tpool_open = None
        self._tpool_calls.clear()  # nobody will settle what is left, and it leads back to the loop


def _extended(cls: type[asyncio.AbstractEventLoop]) -> type[asyncio.AbstractEventLoop]:
    """Return the subclass of a class of loops that has what is different here."""
    bases = (_PoolLoop, cls)
    for known in cls.__subclasses__():
        if known.__bases__ == bases:
            return known
    names = {
        "__slots__": (),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "_tpool_strict": not issubclass(cls, asyncio.BaseEventLoop),
    }
    return new_class(cls.__name__, bases, exec_body=lambda body: body.update(names))


def _check_no_coroutine(func: object) -> None:
    if type(func) is FunctionType and not func.__code__.co_flags & inspect.CO_COROUTINE and not func.__dict__:
        return  # which spares most calls the look at everything that a coroutine function may be wrapped in
    if asyncio.iscoroutine(func) or inspect.iscoroutinefunction(func):
        raise TypeError("coroutines cannot be used with run_in_executor(); await them, or pass a plain function")
