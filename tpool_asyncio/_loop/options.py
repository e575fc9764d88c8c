"""A pool together with options for the calls it is given."""

import asyncio
import weakref
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from tpool_asyncio._loop.entrance import entrance, running_loop
from tpool_asyncio._loop.iteration import Iteration, begin
from tpool_asyncio._loop.option_call import Limiter, OptionCall
from tpool_asyncio._pool.inline import InlineJob, run_inline
from tpool_asyncio._pool.job import new_claim
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.refusal import shown
from tpool_asyncio._pool.size import check_seconds
from tpool_asyncio._pool.worker import Worker
from tpool_asyncio._proxy.pin import Pin

if TYPE_CHECKING:
    from tpool_asyncio._loop.pool import Pool
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["OnCancel", "Options"]

P = ParamSpec("P")
T = TypeVar("T")
OnCancel = Literal["abandon", "wait"]


class Options:
    """What `Pool.options` returns: a reusable handle on a pool, with options for each call made through it.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("_context", "_label", "_limiter", "_limiter_loop", "_pool", "_queue_timeout", "_timeout", "_waits")

    def __init__(
        self,
        pool: "Pool",
        *,
        timeout: float | None,
        queue_timeout: float | None,
        on_cancel: OnCancel,
        limiter: Limiter | None,
        context: Context | None,
        name: str | None,
    ) -> None:
        if on_cancel not in ("abandon", "wait"):
            raise ValueError(f"on_cancel must be 'abandon' or 'wait', not {shown(on_cancel)}")
        if limiter is not None and not hasattr(limiter, "acquire_on_behalf_of"):
            raise TypeError(f"limiter must be an anyio.CapacityLimiter, not {shown(limiter)}")
        if context is not None and not isinstance(context, Context):
            raise TypeError(
                f"context must be a contextvars.Context, such as copy_context() returns, not {shown(context)}"
            )
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {shown(name)}")
        if context is not None:
            pool._core.home.check_context()
        self._pool = pool
        self._timeout = check_seconds("timeout", timeout)
        self._queue_timeout = check_seconds("queue_timeout", queue_timeout)
        self._waits = on_cancel == "wait"
        self._limiter = limiter
        self._limiter_loop: list[weakref.ref[asyncio.AbstractEventLoop]] = []  # shared with all twins
        self._context = context
        self._label = name

    def execute(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run ``fn(*args, **kwargs)`` in a thread of the pool, with the options of this handle.

        Everything said of `Pool.execute` holds, and besides:

        Raises:
            TimeoutError: From the ``await``: the call did not end within ``timeout``, or had not started within
                ``queue_timeout``.
            RuntimeError: The handle has a limiter, which serves another event loop already.

        .. versionadded:: 0.1.0
        """
        return self._execute_on(running_loop(), fn, args, kwargs)

    def iterate(
        self, source: Callable[..., Iterable[T]] | Iterable[T], /, *args: Any, batch: int | None = None, **kwargs: Any
    ) -> Iteration[T]:
        """Iterate over a blocking source, with the options of this handle for each trip to the pool.

        Everything said of `Pool.iterate` holds, and besides:

        Raises:
            TimeoutError: From ``async for``: a trip did not end within ``timeout``, or had not started within
                ``queue_timeout``. The iteration ends with it.

        .. versionadded:: 0.1.0
        """
        return begin(Iteration, self, source, args, kwargs, batch)

    def _stream_options(self) -> "Options":
        return self

    def _with(self, *, context: Context | None, name: str) -> "Options":
        """Return a handle with the same options but for these."""
        twin = copy(self)
        twin._context = context
        twin._label = name
        return twin

    def _pinned(self) -> "tuple[Options, Pin]":
        """Return a handle with the same options whose calls have one thread, and what holds that thread."""
        core: ThreadPool | Lane = self._pool._core
        assert not isinstance(core, Lane)  # what is on a lane has a pin already
        pin = Pin(core)
        twin = copy(self)
        twin._pool = self._pool._beside(pin.lane)
        return twin, pin

    def _execute_on(
        self, loop: asyncio.AbstractEventLoop, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> OptionCall[T]:
        """Do what `execute` does, for a loop of this thread that need not run yet."""
        mailbox, submit = entrance(self._pool._core, loop, fn)
        limiter = self._limiter
        if limiter is not None:
            self._check_limiter_loop(loop)
        call: OptionCall[T] = OptionCall(loop=loop)
        call.mailbox = mailbox
        call.error = None
        call.claim = new_claim()
        call.fn = fn
        call.args = args
        call.kwargs = kwargs or None
        call.context = copy_context() if self._context is None else self._context
        call.begin(
            timeout=self._timeout,
            queue_timeout=self._queue_timeout,
            waits=self._waits,
            name=self._label,
        )
        try:
            if limiter is None:
                submit(call)
            else:
                call.admit(limiter, submit)
        except BaseException:
            call.stop_clocks()
            raise
        return call

    def _execute_inline(
        self, worker: Worker, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> InlineJob | None:
        """Do what `Pool._execute_inline` does. A limiter has to be waited for, which takes a loop."""
        if self._limiter is not None:
            return None
        context = copy_context() if self._context is None else self._context
        return run_inline(worker, fn, args, kwargs, context=context, label=self._label)

    def __repr__(self) -> str:
        options = {
            "timeout": self._timeout,
            "queue_timeout": self._queue_timeout,
            "on_cancel": "wait" if self._waits else None,
            "limiter": self._limiter,
            "context": self._context,
            "name": self._label,
        }
        said = "".join(f" {option}={shown(value)}" for option, value in options.items() if value is not None)
        return f"<{type(self).__qualname__} of pool {self._pool._core.name!r}{said}>"

    def _check_limiter_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse a second loop that lives at the same time as the first: limiters know nothing of threads."""
        known = self._limiter_loop
        first = known[-1]() if known else None
        if first is None or first.is_closed():
            known[:] = [weakref.ref(loop)]
        elif first is not loop:
            raise RuntimeError(
                "a limiter serves the calls of one event loop, and this one serves another loop already;"
                " make a limiter and a handle for each loop"
            )
