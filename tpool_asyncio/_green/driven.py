"""A greenlet that is driven by an asyncio task.

How it works
    `drive` is a generator that the task awaits. It switches into the greenlet, which runs synchronous code until that
    has to wait for a future. The greenlet then switches back and hands over the future, and the generator yields it to
    the task, as the iterator of an awaitable would. When the task is woken, the generator switches into the greenlet
    again. So it runs inside a step of its task: `asyncio.current_task`, context variables and cancellation are
    those of the task, and nothing of asyncio has to know about greenlets.

What a greenlet hands over
    What awaitables yield: a future that is ready to be yielded to a task, or None for one turn of the loop. Anything
    else is an awaitable as it is, which functions of SQLAlchemy, awaitlet and greenletio hand to the parent of their
    greenlet to be awaited there, see `_await_for`. So these functions can wait in ours.

The short way for calls
    A green thread that waits for a call in the pool has its task wait for a `Parking`. When the outcome is there,
    `resume` switches into the greenlet straight from the mailbox, while the task still waits: (1) the task is entered,
    as asyncio lets other implementations of tasks do, (2) the greenlet runs up to where it waits next, (3) the task is
    left. If it waits for the same parking again, for its next call, that is all. Else (4) what it wants is put aside as
    a **detour**, and the parking is set, so that (5) the task wakes, and `drive` takes the detour: it yields what was
    put aside. A cancellation of the task in between cancels the parking, and what was put aside is cancelled and never
    waited for.

    It is not for tasks of which somebody else has to see each step: they are woken for each outcome, see
    `tpool_asyncio._green.hosts.is_watched`.

Who owns which greenlet variable
    `parent` is where the greenlet goes when it gives way or ends: always the greenlet in which the loop runs. Only this
    module sets it, before each switch into the greenlet. `gr_context` is set once, by the greenlet itself, to the very
    context object of its task, so that both see each other's context variables. All switches into the greenlet are in
    this module, all switches out of it in `tpool_asyncio._green.waiting` and `tpool_asyncio._green.green_call`.

What the greenlet leaves
    The function's value or error is stored on the greenlet, out of band: an exception that left the greenlet would lead
    through the frames of the driver, and a `GreenletExit` would be taken for a value.
"""

import asyncio
import math
import types
from asyncio import CancelledError
from collections.abc import Callable, Generator
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from tpool_asyncio._green.interrupts import Interrupt
from tpool_asyncio._pool.job import call_name, is_caught_by
from tpool_asyncio._pool.native import get_ident
from tpool_asyncio._pool.refusal import close_unused

if TYPE_CHECKING:
    from tpool_asyncio._green.hub import Hub

__all__ = ["Driven", "Parking", "begin", "conclude", "drive", "finish_at_once", "resume"]


class Strayed:
    """A green thread that `resume` has run, and that no longer waits for what its task waits for."""

    __slots__ = ("inner", "wanted")

    def __init__(self, wanted: Any, inner: greenlet | None) -> None:
        self.wanted = wanted  # what it waits for, or anything if it has ended
        self.inner = inner  # the plain greenlet inside it that waits in its place, if there is one


class Parking(asyncio.Future[None]):
    """What the task of a green thread waits for, while the green thread makes calls one after another.

    It stays pending when `resume` takes the outcome of a call straight to the green thread. Waking a task for each
    would cost as much as everything else in a call.
    """

    __slots__ = ("call",)

    call: "Abandonable | None"
    """The call that the green thread waits for."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the call, and have the task woken."""
        if self.done():
            return False
        call, self.call = self.call, None
        if call is not None:
            call.abandon()
        return super().cancel(msg)


class Abandonable(Protocol):
    def abandon(self) -> None:
        """Drop the call if it is queued, and its outcome if it runs."""


class Driven(greenlet):
    """What a green thread is made of. See `GreenThread` for what its users see."""

    __sqlalchemy_greenlet_provider__ = True
    """What SQLAlchemy and awaitlet look for in a greenlet before they wait there; see `_await_for`."""

    __slots__ = (
        "_args",
        "_detour",
        "_error",
        "_fn",
        "_given_up",
        "_has_own_task",
        "_hub",
        "_interrupts",
        "_kwargs",
        "_late",
        "_over",
        "_parking",
        "_task",
        "_told_to_end",
        "_traceback",
        "_value",
    )

    def __init__(self, hub: "Hub", fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._hub = hub
        self._fn: Callable[..., Any] | None = fn
        self._args: tuple[Any, ...] = args
        self._kwargs: dict[str, Any] = kwargs
        self._task: asyncio.Task[Any] | None = None
        self._interrupts: tuple[Interrupt, ...] = ()
        self._detour: greenlet | Strayed | None = None  # a plain greenlet inside this one that waits in its place, or
        # what this waits for if that is not what its task waits for
        self._parking: Parking | None = None  # what the task waits for while this waits for a call
        self._has_own_task = False  # or is a part of a task that goes on after it
        self._over = False  # whether the outcome is there
        self._told_to_end = -math.inf  # when it has been killed, as `time.monotonic` tells it
        self._given_up = False  # whether the task is to end without the greenlet
        self._value: Any = None
        self._error: BaseException | None = None
        self._late: BaseException | None = None  # see `_note_late`
        self._traceback: types.TracebackType | None = None

    def run(self) -> None:
        """Call the function and keep its outcome. In the greenlet."""
        assert self.parent is not None
        self.gr_context = self.parent.gr_context
        fn, self._fn = self._fn, None
        args, self._args = self._args, ()
        kwargs, self._kwargs = self._kwargs, {}
        assert fn is not None
        try:
            value = fn(*args, **kwargs)
            if type(value) is types.CoroutineType:
                raise _coroutine_function_error(fn, value)
            self._value = value
        except BaseException as error:
            # Without this frame the traceback starts in the user's code, and does not lead back to this greenlet.
            self._traceback = error.__traceback__ and error.__traceback__.tb_next
            self._error = BaseException.with_traceback(error, self._traceback)
            if self._interrupts and is_caught_by(error, CancelledError):  # out of the waiting of some other library
                self._error = self._exchange(error)
        self._over = True
        value = None
        del fn, args, kwargs  # an error keeps this frame too
        self._ended()
        del self

    def _ended(self) -> None:
        """Do what is to be done when the outcome is there. In the greenlet, which may wait."""

    def _interrupt(self, exception: BaseException, base: int = 0) -> Interrupt:
        """See `Interruptible`."""
        interrupt = Interrupt(exception, base)
        if self or not self._over:  # linked functions can be interrupted, too
            self._interrupts += (interrupt,)
            assert self._task is not None
            self._task.cancel()
        return interrupt

    def _tell_to_end(self, exception: BaseException) -> None:
        """Interrupt it so that it ends."""
        if isinstance(exception, GreenletExit):
            self._told_to_end = monotonic()
        self._interrupt(exception)

    def _note_late(self, error: BaseException) -> None:
        """Note an exception that was thrown in when the outcome was there already.

        It is for the task, which may go on after this: then it goes before the outcome, as it does in a coroutine that
        awaits something that is done in the turn of its cancellation. The end of a task of its own is not changed.
        """
        if not self._has_own_task:
            self._late = error

    def _withdraw(self, interrupt: Interrupt) -> None:
        """See `Interruptible`."""
        if interrupt in self._interrupts:
            assert self._task is not None
            self._interrupts = tuple(other for other in self._interrupts if other is not interrupt)
            self._task.uncancel()

    def _cancellations(self) -> int:
        """See `Interruptible`."""
        assert self._task is not None
        return self._task.cancelling()

    def _exchange(self, error: CancelledError) -> BaseException:
        """See `Interruptible`."""
        if not self._interrupts:
            return error
        first, *others = self._interrupts
        assert self._task is not None
        self._interrupts = tuple(others)
        if self._task.uncancel() <= first.base + len(others):
            return first.exception
        for _ in others:
            self._task.uncancel()
        self._interrupts = ()
        return error


def _coroutine_function_error(fn: object, coroutine: "types.CoroutineType[Any, Any, Any]") -> TypeError:
    coroutine.close()
    return TypeError(
        f"{call_name(fn)} is a coroutine function, which cannot be run as synchronous code; await it, or wait for it"
        " in a green thread with green.await_"
    )


def begin(driven: Driven) -> Any:
    """Run a greenlet up to where it first waits, and return what it wants there. In a step of its task."""
    driven.parent = getcurrent()
    return driven.switch()


@types.coroutine
def drive(driven: Driven, wanted: Any) -> Generator[Any, Any, Any]:
    """Run a greenlet that has begun inside the task that awaits this; return or raise the outcome of its function."""
    while driven:  # until it has ended
        if wanted is not None and not getattr(wanted, "_asyncio_future_blocking", False):
            wanted = yield from _await_for(driven, wanted)
            continue
        try:
            yield wanted
        except BaseException as error:
            wanted = _throw(driven, error)
        else:
            if driven._detour is None:
                if driven.parent is not getcurrent():
                    driven.parent = getcurrent()  # the loop is run from somewhere else than before
                wanted = driven.switch()
            else:
                wanted = _take_detour(driven)
    try:
        return conclude(driven)
    finally:
        del driven  # or else the traceback of an error would lead back to it


def _await_for(driven: Driven, awaitable: Any) -> Generator[Any, Any, Any]:
    """Await what a greenlet has handed over as it is, and return what it wants after that."""
    try:
        if driven._interrupts:
            if isinstance(awaitable, asyncio.Future):
                awaitable.cancel()
            close_unused(awaitable)
            yield None  # so that the task throws what it has to throw
            raise CancelledError
        steps = awaitable if type(awaitable) is types.CoroutineType else _coroutine_of(awaitable)
        value = yield from steps.__await__()
    except GeneratorExit:
        return _throw(driven, GeneratorExit())  # which raises it when the greenlet has been ended
    except BaseException as error:
        traceback = error.__traceback__ and error.__traceback__.tb_next
        return _throw(driven, driven._exchange(error) if is_caught_by(error, CancelledError) else error, traceback)
    else:
        driven.parent = getcurrent()
        return driven.switch(value)
    finally:
        traceback = None  # which leads back here, by way of frames that this one has called
        del driven, awaitable


async def _coroutine_of(awaitable: Any) -> Any:
    return await awaitable


def _take_detour(driven: Driven) -> Any:
    """Go on with a greenlet where a plain switch to it would not do, and return what it wants then."""
    detour, driven._detour = driven._detour, None
    if isinstance(detour, Strayed):
        driven._detour = detour.inner
        return detour.wanted
    assert detour is not None
    driven.parent = getcurrent()
    return detour.switch()


def _throw(driven: Driven, error: BaseException, traceback: types.TracebackType | None = None) -> Any:
    """Raise an exception where a greenlet waits, with a traceback; return what it wants then."""
    closing = is_caught_by(error, GeneratorExit)
    if closing:
        finish_at_once(driven, RuntimeError("this green thread is being closed, so that it cannot wait any more"))
    if closing or driven._given_up:
        try:
            raise error
        finally:
            # Else the error and this frame would hold each other; and if the garbage collector has struck, with them
            # the frames of whatever code it has struck in.
            del error
    detour, driven._detour = driven._detour, None
    if isinstance(detour, Strayed):
        if not driven:
            driven._note_late(error)
            return None
        wanted, detour = detour.wanted, detour.inner
        if isinstance(wanted, asyncio.Future) and wanted.cancel(*error.args[:1]):
            driven._detour = detour
            return wanted  # as a task does, which is woken when what it waits for has been cancelled
        if (  # pragma: no branch - after a switch of greenlets
            wanted is not None and not getattr(wanted, "_asyncio_future_blocking", False)
        ):
            close_unused(wanted)  # as `_await_for` would have done
            if is_caught_by(error, CancelledError):  # pragma: no branch - after a switch of greenlets
                error = driven._exchange(error)
    target = driven if detour is None else detour
    driven.parent = getcurrent()
    wanted = target.throw(type(error), error, traceback)
    if driven:
        driven._hub._went_on(driven)
    return wanted


def conclude(driven: Driven) -> Any:
    """Return or raise the outcome of a greenlet that has ended."""
    driven._parking = None
    for interrupt in driven._interrupts:
        driven._withdraw(interrupt)
    value, error = driven._value, driven._error
    if driven._late is not None and not is_caught_by(error, (SystemExit, KeyboardInterrupt)):
        driven._late.__context__ = error
        error, driven._late = driven._late, None
    if error is None:
        return value
    del driven  # or else the traceback of the error would lead back to it
    try:
        raise error
    finally:
        del error


def resume(driven: Driven, parking: Parking, loop: asyncio.AbstractEventLoop) -> None:
    """Run a greenlet whose task waits for ``parking``, without waking the task. In a callback of the loop."""
    task = driven._task
    assert task is not None
    if driven.parent is not getcurrent():
        driven.parent = getcurrent()
    asyncio._enter_task(loop, task)
    try:
        wanted = driven.switch()
    finally:
        asyncio._leave_task(loop, task)
    if wanted is not parking or parking.done():  # pragma: no branch - after a switch of greenlets
        driven._detour = Strayed(wanted, driven._detour if isinstance(driven._detour, greenlet) else None)
        if not parking.done():  # pragma: no branch - after a switch of greenlets
            parking.set_result(None)


def finish_at_once(driven: Driven, refusal: BaseException) -> bool:
    """End a greenlet without its task: let its ``finally`` blocks run, which can wait no more.

    Wherever it goes on waiting it gets the refusal. Returns False if that does not end it either, or if it cannot be
    ended here, in another thread than its own.
    """
    if driven._hub._owner != get_ident():
        return False
    error: BaseException = GreenletExit()
    for _ in range(_PATIENCE):  # pragma: no branch - after a switch of greenlets
        if not driven:
            return True  # it has ended, or never started
        driven.parent = getcurrent()
        detour, driven._detour = driven._detour, None
        if isinstance(detour, Strayed):
            close_unused(detour.wanted)
            detour = detour.inner
        close_unused((driven if detour is None else detour).throw(error))
        error = refusal  # pragma: no cover - after a switch of greenlets
    return False


_PATIENCE = 100
"""How often a green thread that is to end without waiting may try to wait all the same."""
