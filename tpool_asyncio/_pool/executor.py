"""A pool as a `concurrent.futures.Executor`, for libraries that take one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, ParamSpec, Protocol, TypeVar

from tpool_asyncio._pool.default import shared_pool
from tpool_asyncio._pool.executor_future import ExecutorFuture, Ledger
from tpool_asyncio._pool.job import new_claim
from tpool_asyncio._pool.native import get_ident
from tpool_asyncio._pool.refusal import not_callable_error, shown
from tpool_asyncio._pool.thread_pool import ThreadPool

__all__ = ["Executor", "PoolHandle"]

P = ParamSpec("P")
T = TypeVar("T")


class PoolHandle(Protocol):
    """A pool as its users hold it, in either spelling."""

    def _thread_pool(self) -> ThreadPool: ...


class Executor(ThreadPoolExecutor):
    """A pool in the form that the standard library and other libraries know. `executor` makes one.

    It is a `concurrent.futures.ThreadPoolExecutor`, because ``loop.set_default_executor`` takes no other, but it starts
    no threads of its own. Calls have their places in the queue of the pool together with all others of that pool.

    What differs from other executors of this kind:

    - A call sees a copy of the context variables of whoever submitted it.
    - A call may wait for calls that it has submitted: its thread does not count against the size of the pool while it
      waits in ``result`` or ``exception`` of a future, in `concurrent.futures.wait` or
      `concurrent.futures.as_completed`.
    - `shutdown` ends this executor and not the pool, and waits for its own calls only.
    - At exit of the interpreter its calls have the grace time of the pool.
    - There is no ``initializer``, since the threads belong to the pool. With a pool of size 0 calls run in `submit`.

    .. versionadded:: 0.1.0
    """

    def __init__(self, pool: PoolHandle | None = None) -> None:
        core = shared_pool if pool is None else _core_of(pool)
        super().__init__(max(1, core.size), core.name)
        self._pool = pool  # a handle that is dropped has the threads of its pool end
        self._core = core
        self._ledger = Ledger()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` run in a thread of the pool.

        It is always queued, also from inside a call of the same pool, as two calls may wait for each other.

        Args:
            fn: What to call. All arguments that follow are its own.

        Returns:
            A future. Its callbacks run in the thread that has run the call, or that has cancelled it.

        Raises:
            TypeError: ``fn`` is not callable.
            RuntimeError: The executor has been shut down, or the interpreter is exiting.
            ValueError: The environment variable ``EVENTLET_THREADPOOL_SIZE`` is no valid size (default pool only).
            BaseException: From ``result()``: whatever ``fn`` raises, as the same object.

        Cancellation: ``cancel()`` drops a call that is queued; it never runs, and its function and arguments are let go
        of at once. A call that runs cannot be cancelled.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        if not callable(fn):
            raise not_callable_error(fn)
        core, ledger = self._core, self._ledger
        future: ExecutorFuture[T] = ExecutorFuture()
        future.pool = core
        future.ledger = ledger
        future.claim = new_claim()
        future.fn = fn
        future.args = args
        future.kwargs = kwargs or None
        future.context = copy_context() or None
        ledger.futures[future] = core.process
        try:
            if ledger.closed:
                raise RuntimeError(
                    "cannot schedule new futures after shutdown; make another executor with tpool.executor()"
                )
            if not core.size:
                future.caller = get_ident()
            core.submit(future)
        except BaseException:  # of a signal handler, for instance: nobody is to wait for what has not been queued
            future.withdraw()
            raise
        future.caller = None
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and wait for those that have been submitted to this executor.

        The pool and its threads go on, and so do other executors of the same pool. Shutting down twice does no harm.

        Args:
            wait: Whether to wait until all calls and their callbacks have ended. False returns at once; what has been
                submitted still runs.
            cancel_futures: Whether to cancel the calls that have not started.

        Raises:
            RuntimeError: This is a call or a callback of this very executor, which would wait for itself. The executor
                stays open.

        Cancellation: None. An exception out of a signal handler, such as Ctrl-C, ends the waiting.

        May be called from any thread; it blocks that thread while it waits.

        .. versionadded:: 0.1.0
        """
        ledger = self._ledger
        if wait and ledger.waits_for_this_thread():
            raise RuntimeError(
                "shutdown(wait=True) in a call or a callback of the same executor would wait for itself;"
                " use shutdown(wait=False) there"
            )
        self._shutdown = True
        ledger.close(self._core.process)
        if cancel_futures:
            for future in list(ledger.futures):
                future.cancel()
        if wait:
            ledger.wait()

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} of pool {self._core.name!r}{' shut down' if self._ledger.closed else ''}>"


def _core_of(pool: Any) -> ThreadPool:
    find = getattr(type(pool), "_thread_pool", None)
    if find is None:
        raise TypeError(
            f"pool must be a Pool of tpool_asyncio.tpool or of tpool_asyncio.green.tpool, not {shown(pool)};"
            " make one with tpool.Pool(size), or leave it out for the default pool"
        )
    core: ThreadPool = find(pool)
    core.check_keeps("tpool.executor")
    return core
