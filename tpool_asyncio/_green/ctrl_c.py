"""Ctrl-C while a script waits.

Left to itself, a `KeyboardInterrupt` strikes between any two steps of the main thread: in the middle of the loop, or of
handing a job to the pool, where it would leave things half done. So while a script waits, Ctrl-C is only noted, and
ends the wait; what strikes is an interrupt like any other. Only where the script does nothing but wait on a lock may it
strike as it is. A second Ctrl-C is for something that never gives way, and strikes at once. `asyncio.Runner` does the
same with the loops that it runs.
"""

import threading
from _signal import (  # type: ignore[import-not-found]  # the wrappers in `signal` would cost 8 µs a wait
    SIGINT,
    default_int_handler,
    getsignal,
    signal,
)
from types import MethodType
from typing import Any

from tpool_asyncio._green.interrupts import Interrupt, ScriptWait
from tpool_asyncio._pool.native import get_ident

__all__ = ["MAIN_THREAD", "CtrlC", "give_back_after_fork"]

MAIN_THREAD = threading.main_thread().ident


class CtrlC:
    """What Ctrl-C does while a script waits."""

    __slots__ = ("_handler", "_script", "_struck")

    def __init__(self, script: ScriptWait) -> None:
        self._script = script
        self._struck = False
        self._handler: Any = None  # while Ctrl-C is ours; all the time, it would be a reference cycle

    def take(self) -> bool:
        """Have Ctrl-C noted from now on; return False if it is not ours, or noted already."""
        if get_ident() != MAIN_THREAD or getsignal(SIGINT) is not default_int_handler:
            return False
        self._struck = False
        self._handler = self._strike
        try:
            signal(SIGINT, self._handler)
        except ValueError:  # pragma: no cover - in a subinterpreter, which has no signals
            return False
        except BaseException:  # out of another signal's handler, or Ctrl-C a moment before
            self.give_back()
            raise
        return True

    def give_back(self) -> None:
        """Let Ctrl-C strike again; raise it if it has been noted and has not been raised."""
        if getsignal(SIGINT) is self._handler:  # and not one that somebody has set meanwhile
            signal(SIGINT, default_int_handler)
        self._handler = None
        if self._struck:
            self._script.raise_ctrl_c()

    def _strike(self, number: int, frame: Any) -> None:
        script = self._script
        if self._struck or script.at_bell:
            default_int_handler(number, frame)
        self._struck = True
        script.interrupts.append(Interrupt(KeyboardInterrupt(), 0))
        if script.loop is not None and script.awaited is not None:
            script.loop.call_soon_threadsafe(script.end_wait, script.awaited)


def give_back_after_fork() -> None:
    """Let Ctrl-C strike in the child of a fork: the script that it would be noted for waits in the parent."""
    handler = getsignal(SIGINT)
    if (  # pragma: no cover - only ever true in a fork that ends before its coverage is saved
        isinstance(handler, MethodType) and type(handler.__self__) is CtrlC
    ):
        signal(SIGINT, default_int_handler)
