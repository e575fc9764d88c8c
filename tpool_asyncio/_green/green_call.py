"""A call whose outcome goes straight to the green thread that waits for it.

The life of such a call: it is queued, and the green thread parks: its task waits for a `Parking`. The outcome comes
through the mailbox as any other, and `settle` switches to the green thread there and then. A cancellation of the task
cancels the parking, which abandons the call, and takes the usual way from there. If somebody else has to see each step
of the task, `settle` only sets the parking, and the green thread takes the outcome when the task has woken.
"""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable
from contextvars import copy_context
from sys import modules
from typing import Any

from tpool_asyncio._green.driven import Driven, Parking, resume
from tpool_asyncio._green.hosts import is_watched
from tpool_asyncio._loop.entrance import new_entrance
from tpool_asyncio._loop.import_watch import watch_imports
from tpool_asyncio._loop.loop_job import LoopJob, presentable
from tpool_asyncio._pool.importing import module_locks
from tpool_asyncio._pool.job import is_caught_by, new_claim
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.refusal import not_callable_error
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker

__all__ = ["call_and_park"]


class GreenCall(LoopJob):
    """A call without options, made in a green thread."""

    __slots__ = (
        "__weakref__",
        "args",
        "claim",
        "context",
        "culprit",
        "driven",
        "errands",
        "error",
        "fn",
        "kwargs",
        "loop",
        "mailbox",
        "value",
    )

    driven: Driven | None
    """The green thread that waits; None when it does not any more."""

    loop: asyncio.AbstractEventLoop

    @property
    def unwanted(self) -> bool:
        return self.driven is None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    def abandon(self) -> None:
        """Drop the call if it is queued, and its outcome if it runs."""
        self.driven = None
        if not self.withdraw():
            self.stop_errands()

    def settle(self) -> None:
        driven, self.driven = self.driven, None
        if driven is None:
            self.drop_outcome()
        else:
            parking = driven._parking
            assert parking is not None
            parking.call = None
            if "greenback" in modules and is_watched(driven._task):
                parking.set_result(None)  # which wakes the task
            else:
                resume(driven, parking, self.loop)


def call_and_park(
    pool: ThreadPool | Lane, driven: Driven, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Make a call from a green thread, which is the current greenlet, and wait for it. The fast path."""
    mailbox = pool.local.mailbox
    submit = pool.submit
    task = driven._task
    assert task is not None
    loop = task.get_loop()  # cheaper than to ask which loop runs
    if mailbox is None or mailbox.loop() is not loop:
        mailbox, submit = new_entrance(pool, loop)
    elif module_locks:  # some thread imports something; a green thread may do so in a loop that is used already
        watch_imports(mailbox, loop)
    if not callable(fn):
        raise not_callable_error(fn)
    call = GreenCall()
    call.mailbox = mailbox
    call.loop = loop
    call.driven = driven
    call.error = None
    call.claim = new_claim()
    call.fn = fn
    call.args = args
    call.kwargs = kwargs or None
    call.context = copy_context() or None
    error: BaseException | None = None
    parking: Parking | None = None
    try:
        try:
            submit(call)
        except Exception:
            call.driven = None  # nobody has taken it
            raise
        parking = driven._parking
        if parking is None or parking.done():
            parking = driven._parking = Parking(loop=loop)
            parking._asyncio_future_blocking = True  # as its iterator would, for the task that it is yielded to
        parking.call = call
        driven.parent.switch(parking)  # type: ignore[union-attr]
        error, call.error = call.error, None  # pragma: no cover - after a switch of greenlets
        if error is not None:  # pragma: no cover - after a switch of greenlets
            in_place = isinstance(getattr(submit, "__self__", None), (Worker, ThreadPool))  # in this very greenlet
            raise error if in_place and is_caught_by(error, CancelledError) else presentable(error, call.name)
        # Whoever has settled the call holds it until this gives way again.
        value, call.value = call.value, None  # pragma: no cover - after a switch of greenlets
        return value  # pragma: no cover - after a switch of greenlets
    except CancelledError as cancelled:
        if (  # pragma: no cover - after a switch of greenlets
            parking is not None and parking.done() and not parking.cancelled()
        ):
            call.drop_outcome()  # it was there, and the task was cancelled before it woke
        raise driven._exchange(cancelled) from None  # pragma: no cover - after a switch of greenlets
    finally:
        if call.driven is not None:  # thrown out of the waiting by other means
            if driven._parking is not None:  # pragma: no branch - after a switch of greenlets
                driven._parking.call = None
            call.abandon()
        task = parking = None
        del call, driven, fn, args, kwargs, error  # an error's traceback leads here, and must not lead back to it
