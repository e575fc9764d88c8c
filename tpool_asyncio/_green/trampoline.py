"""Waiting for a file descriptor."""

from typing import TYPE_CHECKING, Protocol

from tpool_asyncio._green.timeouts import Timeout
from tpool_asyncio._green.waiting import interruptible, wait
from tpool_asyncio._pool.refusal import shown

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable

__all__ = ["trampoline"]


class HasFileno(Protocol):
    def fileno(self) -> int:
        """Return the file descriptor."""


def trampoline(
    fd: int | HasFileno,
    read: bool | None = None,
    write: bool | None = None,
    timeout: float | None = None,
    timeout_exc: BaseException | type[BaseException] = Timeout,
) -> None:
    """Wait until a file descriptor can be read from, or written to, without blocking.

    Args:
        fd: A file descriptor or an object that has one, such as a socket.
        read: True to wait for input.
        write: True to wait for room for output; either this or ``read``.
        timeout: Seconds to wait at the most, None for no limit.
        timeout_exc: What to raise then: an exception or a class of exceptions.

    Raises:
        RuntimeError: Another green thread waits for the same already, or this is async code.
        ValueError: Neither or both of ``read`` and ``write``, or no file descriptor.
        PermissionError: It is a file of a kind that is always ready, such as a regular file, and the loop minds.
        BaseException: ``timeout_exc``, when the time is over.

    Cancellation: Ends the waiting.

    May be called in any thread, in green threads and scripts.

    .. versionadded:: 0.1.0
    """
    if bool(read) == bool(write):
        raise ValueError("trampoline waits either to read or to write; pass read=True or write=True")
    fileno = fd if isinstance(fd, int) else fd.fileno()
    if fileno < 0:
        raise ValueError(f"{shown(fd)} has been closed: it has no file descriptor to wait for")
    _, hub = interruptible()
    watched: Hashable = (fileno, bool(read))
    if watched in hub._watched:
        raise RuntimeError(
            f"two green threads cannot both wait to {'read from' if read else 'write to'} file descriptor {fileno};"
            " let one do it and hand on what it gets, in a Queue for instance"
        )
    loop = hub.loop
    ready = loop.create_future()
    add, remove = (loop.add_reader, loop.remove_reader) if read else (loop.add_writer, loop.remove_writer)
    add(fileno, _set, ready)
    hub._watched.add(watched)
    try:
        with Timeout(timeout, None if timeout_exc is Timeout else timeout_exc):
            wait(ready)
    finally:
        hub._watched.discard(watched)
        remove(fileno)


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
