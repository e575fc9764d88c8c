"""How a call finds its way into a pool and back: how it is submitted, and to which mailbox its outcome goes."""

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from tpool_asyncio._loop.import_watch import watch_imports
from tpool_asyncio._loop.mailbox import Mailbox
from tpool_asyncio._pool.importing import module_locks
from tpool_asyncio._pool.refusal import not_callable_error
from tpool_asyncio._pool.worker import current_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tpool_asyncio._pool.job import Job
    from tpool_asyncio._pool.lane import Lane
    from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["entrance", "new_entrance", "no_loop_error", "running_loop"]

Entrance: TypeAlias = "tuple[Mailbox, Callable[[Job], None]]"


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that runs in this thread; raise what helps if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise no_loop_error() from None


def entrance(pool: "ThreadPool | Lane", loop: asyncio.AbstractEventLoop, fn: object) -> Entrance:
    """Return the way in for calls of ``fn`` by users of a loop of this thread; refuse what cannot be called.

    `Pool.execute` does the same in its own body, to save the time of this call.
    """
    if not callable(fn):
        raise not_callable_error(fn)
    mailbox = pool.local.mailbox
    if mailbox is None or mailbox.loop() is not loop:
        return new_entrance(pool, loop)
    if module_locks:  # some thread imports something
        watch_imports(mailbox, loop)
    return mailbox, pool.submit


def new_entrance(pool: "ThreadPool | Lane", loop: asyncio.AbstractEventLoop) -> Entrance:
    """Return the way in from a loop that this thread did not use last, or from a loop inside a worker.

    A worker keeps no mailbox, so all calls from inside it come here, and are run in place where they can be.
    """
    mailbox = Mailbox(pool.home, loop)
    worker = current_worker()
    if worker is None or not pool.home.serves(worker):
        pool.local.mailbox = mailbox
    elif pool.serves(worker):
        return mailbox, worker.run_job
    if module_locks:
        watch_imports(mailbox, loop)
    return mailbox, pool.submit


def no_loop_error() -> RuntimeError:
    return RuntimeError(
        "tpool.execute needs an event loop that runs in this thread; call it in a coroutine (asyncio.run(main()))."
        " Inside a call, which may block anyway, call the function itself, and of a proxy the method of its _obj, or"
        " from_thread.run(proxy.method, ...). Synchronous code that is to wait like a coroutine needs the green"
        " spelling, tpool_asyncio.green.tpool"
    )
