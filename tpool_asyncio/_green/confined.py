"""What the primitives are made of: they belong to one thread, and those who wait stand in a line.

To whom a primitive belongs
    To the OS thread that first uses it, not to the one that makes it: objects of a module are made by whichever thread
    imports it. Looking, such as at the size of a queue, is no use, and is allowed everywhere.

How a waiter is served
    Each has a future. Whoever serves it moves it from `Line.waiting` to `Line.woken`, together with what it gets, and
    sets the future. From then on the thing is the waiter's: nobody can overtake it before it runs. When it runs, it
    takes itself out of `Line.woken`. So what is lost or doubled elsewhere can be seen here, since one of these holds:

    1. The waiter is in `waiting`, and its future is pending: it waits.
    2. It is in `waiting`, and its future is done: it has been interrupted or its time is over, and it gets nothing.
    3. It is in `woken`: it has got something. If it is interrupted before it has run, `Line.wait` calls ``missed``,
       which passes the thing on.
    4. It is in neither: somebody has taken from it what it brought.

Why not the primitives of asyncio
    They wake a waiter to have it look for itself, so that a newcomer can be faster; they have no time limit without an
    exception; and they belong to the loop in which somebody first waited, while a thread may run several in turn.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from tpool_asyncio._green.current import get_hub
from tpool_asyncio._green.waiting import wait
from tpool_asyncio._pool.native import current_thread, get_ident
from tpool_asyncio._pool.refusal import shown

__all__ = ["Confined", "Line", "Turn", "whole_number"]

T = TypeVar("T")

Turn: TypeAlias = asyncio.Future[bool]
"""The future of one waiter. True when it is served, False when its time is over."""


class Confined:
    """An object that belongs to the thread that first uses it."""

    _owner: int | None = None  # the identity of the thread

    def _check_thread(self) -> None:
        """Refuse to be used from another thread."""
        if get_ident() != self._owner:
            self._take_or_refuse()

    def _take_or_refuse(self) -> None:
        mine = get_ident()
        # In one step, since two threads may be the first.
        owner, name = self.__dict__.setdefault("_first_user", (mine, current_thread().name))
        if owner != mine:
            raise RuntimeError(
                f"this {type(self).__name__} belongs to the thread {name!r}, where it was first used, and can only be"
                " used there; between threads, use the locks of threading, queue.Queue, tpool.execute, or"
                " hub.loop.call_soon_threadsafe(function)"
            )
        self._owner = mine


class Line(Generic[T]):
    """Those who wait for the same thing, in the order in which they came."""

    __slots__ = ("waiting", "woken")

    def __init__(self) -> None:
        self.waiting: OrderedDict[Turn, T] = OrderedDict()  # with what they have brought
        self.woken: OrderedDict[Turn, T] = OrderedDict()  # with what they get, until they have run

    def wait(self, thing: T, seconds: float | None, missed: Callable[[Turn], object]) -> Turn | None:
        """Stand in line until served; return the turn, or None if the time is over. See the top of this module.

        Args:
            thing: What the waiter brings.
            seconds: How long to wait; None for ever.
            missed: What to call with the turn if the waiter was served, and was interrupted before it could run. It
                has to take the turn out of `woken`.
        """
        loop = get_hub().loop
        turn: Turn = loop.create_future()
        self.waiting[turn] = thing
        timer = None if seconds is None else loop.call_later(seconds, _expire, turn)
        try:
            return turn if wait(turn) else None
        except BaseException:
            if turn in self.woken:
                missed(turn)
            raise
        finally:
            self.waiting.pop(turn, None)
            if timer is not None:
                timer.cancel()

    def first(self) -> Turn | None:
        """Return the turn of whoever is to be served next, None if nobody waits."""
        waiting = self.waiting
        while waiting:
            turn = next(iter(waiting))
            if not turn.done() and not turn.get_loop().is_closed():
                return turn
            waiting.pop(turn, None)
        return None

    def wake(self, turn: Turn, thing: T) -> None:
        """Serve the first in line."""
        del self.waiting[turn]
        self.woken[turn] = thing
        turn.set_result(True)

    def wake_first(self, thing: T) -> bool:
        """Serve the first in line, though a destructor or a signal handler does so meanwhile; return False if none is.

        Nobody brings the line itself, which stands for nothing here.
        """
        while (turn := self.first()) is not None:
            if self.waiting.pop(turn, self) is not self and not turn.done():
                self.woken[turn] = thing
                turn.set_result(True)
                return True
        return False

    def wake_all(self, thing: T) -> None:
        """Serve all."""
        while (turn := self.first()) is not None:
            self.wake(turn, thing)

    def __len__(self) -> int:
        return sum(not turn.done() for turn in tuple(self.waiting))


def _expire(turn: Turn) -> None:
    if not turn.done():
        turn.set_result(False)


def whole_number(value: object, what: str) -> int:
    """Return a whole number that is not negative; raise an error which begins with ``what`` if it is none."""
    try:
        number = int(value)  # type: ignore[call-overload]  # a string of digits as well, as in Eventlet
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or (isinstance(value, float) and number != value):
        raise TypeError(f"{what} must be a whole number, not {shown(value)}")
    if number < 0:
        raise ValueError(f"{what} must be 0 or more, not {shown(value)}")
    return int(number)
