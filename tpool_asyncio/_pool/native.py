"""Threads, locks and thread-locals that are real, whatever has become of those of the standard library.

Eventlet's ``monkey_patch`` puts greenlets in the place of threads all over the process, before this package is imported
or at any time after it: it gives other attributes to `threading` and `_thread`, and replaces every `RLock` that it
finds by one for greenlets. A worker has to be a real thread all the same, and what it shares with others a real lock.

How nothing of that reaches the pools
    All of the package takes locks, thread-locals and the identity of threads from here, and here they come from a
    ``_thread`` module of the package's own: the interpreter makes another one for whoever asks for it. It is in no list
    of modules, so that nobody patches it, and its `RLock` is of another type than the one that is looked for.

    Threads are those of `threading`, so that the user finds them there; unless it has been patched. Then they are those
    of the copy of `threading` that Eventlet has kept, where the patched `threading.current_thread` looks, too. This
    floor knows Eventlet by name only, and asks when a thread is about to start.
"""

import sys
import threading
from collections.abc import Callable
from importlib.machinery import BuiltinImporter
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = [
    "LockType",
    "RLock",
    "allocate_lock",
    "current_thread",
    "get_ident",
    "in_main_thread",
    "is_patched",
    "local",
    "new_thread",
]

if TYPE_CHECKING:
    from _thread import LockType, RLock, allocate_lock, get_ident
    from threading import local
else:
    _own = BuiltinImporter.create_module(BuiltinImporter.find_spec("_thread"))
    BuiltinImporter.exec_module(_own)
    LockType, RLock, local = _own.LockType, _own.RLock, _own._local
    allocate_lock, get_ident = _own.allocate_lock, _own.get_ident


def _threading() -> ModuleType:
    """Return the `threading` whose threads are real."""
    patcher = sys.modules.get("eventlet.patcher")
    is_patched: Callable[[str], bool] | None = getattr(patcher, "is_monkey_patched", None)
    if patcher is not None and is_patched is not None and is_patched("thread"):
        original: ModuleType = patcher.original("threading")
        return original
    return threading


def in_main_thread() -> bool:
    """Return whether this is the thread in which signal handlers run."""
    return get_ident() == threading.main_thread().ident


def is_patched() -> bool:
    """Return whether Eventlet has put greenlets in the place of threads."""
    return _threading() is not threading


class _Thread(threading.Thread):
    """A thread that may have been started before everything was patched."""

    def _delete(self) -> None:
        """Take the thread, which ends, out of the list of `threading`: unless that is a new one, of greenlets."""
        if _threading() is threading:
            super()._delete()  # type: ignore[misc]


def new_thread(target: Callable[[], object], name: str) -> threading.Thread:
    """Make a daemon thread, which is to be started. Any thread."""
    module: Any = _threading()
    kind: type[threading.Thread] = _Thread if module is threading else module.Thread
    return kind(target=target, name=name, daemon=True)


def current_thread() -> threading.Thread:
    """Return the `threading.Thread` of the thread in which this is called."""
    thread: threading.Thread = _threading().current_thread()
    return thread
