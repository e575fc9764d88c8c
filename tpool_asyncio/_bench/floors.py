"""The least that a call can cost on this machine: four measures that are no packages.

Three of them hand one call at a time to one thread that waits on a raw lock, which is the cheapest way for Python code
to wake a thread. They differ in the way back. None carries results, errors, contexts or cancellation, so that a package
which does all that can at best come near them. The fourth one has no thread at all, only futures.
"""

import _thread
import asyncio
import select
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from tpool_asyncio._bench.workloads import Submit, Workload

__all__ = ["asyncio_floor", "lock_floor", "plain_futures", "raw_floor"]

_Call = tuple[Callable[..., object], tuple[object, ...]]


class _Servant:
    """A thread that runs one call each time its bell rings, and then reports."""

    def __init__(self, report: Callable[[], object]) -> None:
        self.bell = _thread.allocate_lock()
        self.bell.acquire()
        self.call: _Call | None = None
        self.report = report
        _thread.start_new_thread(self._serve, ())

    def _serve(self) -> None:
        wait = self.bell.acquire
        while True:
            wait()
            if self.call is None:
                return
            fn, args = self.call
            fn(*args)
            self.report()

    def leave(self) -> None:
        self.call = None
        self.bell.release()


def _poller(receiver: socket.socket) -> tuple[Callable[[], object], Callable[[], None]]:
    """Return what blocks until the socket can be read, by the means an event loop of this platform has, and its end."""
    if sys.platform == "linux":
        epoll = select.epoll()
        epoll.register(receiver.fileno(), select.EPOLLIN)
        return epoll.poll, epoll.close
    elif sys.platform == "darwin":
        kqueue = select.kqueue()
        kqueue.control([select.kevent(receiver.fileno(), select.KQ_FILTER_READ, select.KQ_EV_ADD)], 0)
        return lambda: kqueue.control(None, 1), kqueue.close
    else:
        return lambda: select.select([receiver], [], []), lambda: None


@contextmanager
def lock_floor() -> Iterator[Callable[[Workload, int], None]]:
    """The floor of any two threads: the thread releases a second lock, for which the main thread waits.

    Yields a function that does a workload some number of times, one call after another.
    """
    done = _thread.allocate_lock()
    done.acquire()
    servant = _Servant(done.release)

    def run(workload: Workload, reps: int) -> None:
        ring, wait = servant.bell.release, done.acquire
        call = (workload.fn, workload.args)
        for _ in range(reps):
            servant.call = call
            ring()
            wait()

    try:
        yield run
    finally:
        servant.leave()


@contextmanager
def raw_floor() -> Iterator[Callable[[Workload, int], None]]:
    """The floor without asyncio: the thread sends one byte through a socket pair to a main thread that polls it.

    Yields a function that does a workload some number of times, one call after another.
    """
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    poll, close = _poller(receiver)
    servant = _Servant(lambda: sender.send(b"\0"))

    def run(workload: Workload, reps: int) -> None:
        ring, receive = servant.bell.release, receiver.recv
        call = (workload.fn, workload.args)
        for _ in range(reps):
            servant.call = call
            ring()
            poll()
            receive(4096)

    try:
        yield run
    finally:
        servant.leave()
        close()
        receiver.close()
        sender.close()


@contextmanager
def asyncio_floor() -> Iterator[Submit]:
    """The floor of any package for asyncio: the thread has the loop set one future, which is awaited.

    Yields a way to make calls. Only one may be on its way at any time.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    servant = _Servant(lambda: loop.call_soon_threadsafe(future.set_result, None))

    def submit(fn: Callable[..., object], *args: object) -> Awaitable[None]:
        nonlocal future
        future = loop.create_future()
        servant.call = (fn, args)
        servant.bell.release()
        return future

    try:
        yield submit
    finally:
        servant.leave()


@asynccontextmanager
async def plain_futures() -> AsyncIterator[Submit]:
    """What any package costs that returns futures, without what it does: the loop itself makes the calls.

    Yields a way to make calls. Any number may be on their way; they are made in the next turn of the loop.
    """
    loop = asyncio.get_running_loop()
    waiting: list[tuple[asyncio.Future[object], Callable[..., object], tuple[object, ...]]] = []

    def make_calls() -> None:
        for future, fn, args in waiting:
            future.set_result(fn(*args))
        waiting.clear()

    def submit(fn: Callable[..., object], *args: object) -> Awaitable[object]:
        if not waiting:
            loop.call_soon(make_calls)
        future: asyncio.Future[object] = loop.create_future()
        waiting.append((future, fn, args))
        return future

    yield submit
