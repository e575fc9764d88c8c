"""The pool as synchronous code holds it: the calls of `tpool_asyncio._loop.pool`, which wait for their outcomes."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from greenlet import getcurrent

from tpool_asyncio._green.driven import Driven
from tpool_asyncio._green.green_call import call_and_park
from tpool_asyncio._green.hosts import Host, current_host, wait_of
from tpool_asyncio._green.hub import Hub
from tpool_asyncio._green.iteration import Iteration
from tpool_asyncio._green.script_call import call_in_script
from tpool_asyncio._green.waiting import await_, current_driven, script_hub, wait
from tpool_asyncio._loop.iteration import begin
from tpool_asyncio._loop.loop_job import outcome_of
from tpool_asyncio._loop.option_call import Limiter
from tpool_asyncio._loop.options import OnCancel
from tpool_asyncio._loop.options import Options as AsyncOptions
from tpool_asyncio._loop.pool import Pool as AsyncPool
from tpool_asyncio._pool.asking import asking
from tpool_asyncio._pool.default import DEFAULT_SIZE
from tpool_asyncio._pool.importing import module_locks
from tpool_asyncio._pool.job import is_caught_by
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.refusal import close_unused
from tpool_asyncio._pool.statistics import Statistics
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import current_worker

__all__ = ["Options", "Pool", "handle_on"]

P = ParamSpec("P")
T = TypeVar("T")

_REMEDY = "use 'from tpool_asyncio import tpool' and 'await tpool.execute(...)'"


class Options:
    """What `Pool.options` returns: a reusable handle on a pool, with options for each call made through it.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("_options", "_pool")

    def __init__(self, pool: "Pool", options: AsyncOptions) -> None:
        self._pool = pool
        self._options = options

    def execute(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` in a thread of the pool, with the options of this handle, and wait for it.

        Everything said of `Pool.execute` holds, and besides:

        Raises:
            TimeoutError: The call did not end within ``timeout``, or had not started within ``queue_timeout``.
            RuntimeError: The handle has a limiter, which serves another event loop already.

        .. versionadded:: 0.1.0
        """
        return _execute(self._pool._pool, self._options, fn, args, kwargs)

    def iterate(
        self, source: Callable[..., Iterable[T]] | Iterable[T], /, *args: Any, batch: int | None = None, **kwargs: Any
    ) -> Iteration[T]:
        """Iterate over a blocking source, with the options of this handle for each trip to the pool.

        Everything said of `Pool.iterate` holds, and besides:

        Raises:
            TimeoutError: From ``for``: a trip did not end within ``timeout``, or had not started within
                ``queue_timeout``. The iteration ends with it.

        .. versionadded:: 0.1.0
        """
        return begin(Iteration, self._options, source, args, kwargs, batch)

    def _stream_options(self) -> AsyncOptions:
        return self._options

    def __repr__(self) -> str:
        return repr(self._options)


class Pool:
    """A pool of native threads of its own, for calls that should not share the default one.

    Any number of hubs, loops and threads may use one pool. Its threads start on demand and are daemon threads.
    ``with Pool(...)`` runs `killall` at the end, without a time limit; a pool that is dropped without it lets its calls
    run to their end and then ends its threads.

    Args:
        size: How many calls may run at once, a whole number of 1 or more. With 0 calls run in, and block, the thread
            that makes them, and the first one gives a `RuntimeWarning`.
        name: What its threads are called, followed by a number.
        idle_timeout: Seconds after which a thread that has nothing to do ends, None for never.
        exit_grace: Seconds that calls may go on at the exit of the interpreter, None for as long as they take. When
            they are over, one `RuntimeWarning` names the calls that still run, and exit goes on.

    Raises:
        ValueError: ``size`` is negative or no whole number, or a time is negative.
        TypeError: ``name`` is no string, or a time is no number.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("__weakref__", "_pool")

    def __init__(
        self,
        size: int = DEFAULT_SIZE,
        *,
        name: str = "tpool",
        idle_timeout: float | None = None,
        exit_grace: float | None = 5.0,
    ) -> None:
        self._pool = AsyncPool(size, name=name, idle_timeout=idle_timeout, exit_grace=exit_grace)

    @classmethod
    def over(
        cls, executor: Executor | Callable[[], Executor], *, name: str = "engine", exit_grace: float | None = 5.0
    ) -> Self:
        """Return a pool whose calls run on an executor: in processes, or on a cluster.

        `execute`, `options`, `killall` and `statistics` are those of any pool. Calls are handed over in the order in
        which they are made, by a thread of the pool, so that nobody else waits for processes to start.

        Functions, arguments and results are pickled. Context variables are not carried over, and a call cannot use
        `tpool_asyncio.from_thread`. Iterations, proxies, `resize` and ``options(context=...)`` are refused.

        Args:
            executor: A `concurrent.futures.Executor`, which the pool never shuts down. Or a function without arguments
                that returns one, such as `concurrent.futures.ProcessPoolExecutor` itself or the ``get_executor`` of a
                Dask client. It is called, in a thread, when a call needs an executor. That executor is the pool's: it
                is shut down by `killall`, when it breaks, and when the pool is dropped, and the next call gets a new
                one.
            name: What messages call the pool.
            exit_grace: Seconds that calls may go on at the exit of the interpreter, None for as long as they take. When
                they are over, one `RuntimeWarning` names the calls that still run, and worker processes of an executor
                that a function has returned are killed. For one that was given the interpreter waits, as ever.

        Raises:
            TypeError: ``executor`` is neither an executor nor callable, or ``name`` is no string.
            ValueError: ``exit_grace`` is negative.
            BaseException: From a call: what the executor or the function that makes it raises; a
                `concurrent.futures.BrokenExecutor` if a worker process died, or a cluster went away.

        Cancellation: A call is dropped as long as the executor has not started it; then it is abandoned.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        pool = cls.__new__(cls)
        pool._pool = AsyncPool.over(executor, name=name, exit_grace=exit_grace)
        return pool

    def execute(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` in a thread of the pool, and wait for it. Only the calling green thread waits.

        Calls start in the order in which they were made, over all threads. ``fn`` sees a copy of the caller's context
        variables. A call made from a thread of the same pool runs in place, so that nested calls cannot exhaust the
        pool. In a script, the hub runs its loop until the call is over, and other green threads go on meanwhile.

        Args:
            fn: What to call. All positional and keyword arguments that follow are its own; see `options` for what
                can be said about the call itself.

        Returns:
            What ``fn`` returns.

        Raises:
            TypeError: ``fn`` is not callable.
            RuntimeError: This is plain async code, which awaits `tpool_asyncio.tpool.execute`; or the interpreter is
                exiting.
            ValueError: The environment variable ``EVENTLET_THREADPOOL_SIZE`` is no valid size (default pool only).
            BaseException: Whatever ``fn`` raises, as the same object. A `StopIteration` or `asyncio.CancelledError`
                comes as the cause of a `RuntimeError`; but a call that ran in place raises an
                `asyncio.CancelledError` as it is.

        Cancellation: A `Timeout`, `kill`, or the cancellation of the task ends the waiting. A call that is queued is
        dropped; it never runs. A call that runs cannot be stopped: it is abandoned, its outcome is dropped (an
        exception is logged), and it can ask `from_thread.check_cancelled`.

        May be called in any thread, in green threads and scripts.

        .. versionadded:: 0.1.0
        """
        driven = getcurrent()
        if isinstance(driven, Driven) and not driven._interrupts:
            try:
                return call_and_park(self._pool._core, driven, fn, args, kwargs)  # type: ignore[no-any-return]
            finally:
                del driven  # an error's traceback leads here, and must not lead back to it
        return _execute(self._pool, self._pool, fn, args, kwargs)

    def options(
        self,
        *,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        on_cancel: OnCancel = "abandon",
        limiter: Limiter | None = None,
        context: Context | None = None,
        name: str | None = None,
    ) -> Options:
        """Return a handle whose ``execute`` makes calls with these options. It is cheap and can be kept.

        Args:
            timeout: Seconds for queueing and running together; when they are over, the caller gets a `TimeoutError`
                and the call is dropped or abandoned. None for no limit. A call made in place is not limited.
            queue_timeout: Seconds in which the call must have started, or else it is dropped and the caller gets a
                `TimeoutError`. None for no limit.
            on_cancel: What becomes of a running call whose caller is interrupted or whose ``timeout`` is over:
                ``"abandon"`` lets the caller go on at once, ``"wait"`` makes it wait until the call has ended.
            limiter: An `anyio.CapacityLimiter` that admits the calls, in the order in which they were made. Its token
                is held until the thread has really ended the call, also when the call has been abandoned. It serves the
                calls of one event loop only; each loop needs a handle with its own.
            context: The `contextvars.Context` in which the function runs, in place of a copy of the caller's. As
                always with contexts, only one call at a time can run in it.
            name: What messages, `StillRunningError` and the warning at exit call it; else the function's name.

        Raises:
            TypeError: An option does not exist or has the wrong type.
            ValueError: A time is negative, or ``on_cancel`` has another value.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        options = self._pool.options(
            timeout=timeout,
            queue_timeout=queue_timeout,
            on_cancel=on_cancel,
            limiter=limiter,
            context=context,
            name=name,
        )
        return Options(self, options)

    def iterate(
        self, source: Callable[..., Iterable[T]] | Iterable[T], /, *args: Any, batch: int | None = None, **kwargs: Any
    ) -> Iteration[T]:
        """Iterate over a blocking source with ``for``, while only the calling green thread waits.

        Items are read in batches: a fast source costs one trip to the pool for thousands of items, a slow one still
        delivers each item at once. The next batch is read ahead while the loop's body waits for something. Items come
        in order, and an exception of the source comes after the items before it.

        A generator, and what a function returns, is read in one thread and one context from beginning to end; that
        thread comes on top of the pool's size, and is free for the next one afterwards. Anything else is read by one
        thread at a time.

        Args:
            source: An iterable, or a function that returns one. The function is called in the pool, with the arguments
                that follow, and what it returns is closed in the end, if it has a method ``close``. If the iteration is
                left early, the source is closed in any case, since it may have been read further than was asked for.
            batch: How many items may be read at once at the most, None for as many as are read in 5 ms. With 1 nothing
                is read before it is asked for, but for the one item that is read ahead. A keyword ``batch`` of the
                function goes into a `functools.partial`.

        Returns:
            An iterator. ``with`` and `Iteration.close` close the source at a certain time; else that is done when the
            iterator is dropped.

        Raises:
            TypeError: ``source`` is neither an iterable nor a function that returns one.
            ValueError: ``batch`` is no whole number of 1 or more.
            RuntimeError: Too many iterations and pinned proxies are open at once; or, from ``for``, this is plain async
                code, which iterates with `tpool_asyncio.tpool.iterate`.
            BaseException: From ``for``: whatever the source raises, as the same object.

        Cancellation: Ends the waiting for an item. The iteration can go on; the item comes with the next one.

        May be called in any thread, in green threads and scripts.

        .. versionadded:: 0.1.0
        """
        return begin(Iteration, self._pool.options(), source, args, kwargs, batch)

    def _stream_options(self) -> AsyncOptions:
        return self._pool.options()

    def _thread_pool(self) -> ThreadPool:
        return self._pool._thread_pool()

    def _beside(self, core: Lane) -> "Pool":
        """Return a handle on one thread of this pool."""
        return handle_on(self._pool._beside(core))

    def killall(self, timeout: float | None = None) -> None:
        """Take everything that is queued and running to its end, and the threads to theirs.

        Nothing is cancelled. Other green threads go on meanwhile. Calls made from now on are not part of it: they get
        new threads. Several threads, loops and green threads may do this at once. From inside a call of this pool it
        waits for all others but those that wait like this themselves.

        Args:
            timeout: Seconds to wait, None for as long as it takes.

        Raises:
            StillRunningError: The time is over. The error names each call that still runs, with its stack. The
                threads are detached, but for pinned ones: the pool neither counts them nor waits for them any more, and
                outcomes still arrive. Another `killall` that waits for them then returns, too, without an error.
            RuntimeError: This is plain async code, which awaits `tpool_asyncio.tpool.killall`.
            TypeError: ``timeout`` is no number.
            ValueError: ``timeout`` is negative.

        Cancellation: Only the waiting ends; the threads still end as soon as they can.

        May be called in any thread, in green threads and scripts.

        .. versionadded:: 0.1.0
        """
        await_(self._pool.killall(timeout))

    def resize(self, size: int) -> None:
        """Change how many calls may run at once, at once in both directions.

        Surplus threads leave when they have finished the call they run.

        Args:
            size: A whole number of 1 or more, or 0 as for the constructor.

        Raises:
            ValueError: ``size`` is negative or no whole number; the pool stays as it was.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        self._pool.resize(size)

    def statistics(self) -> Statistics:
        """Return a snapshot of the pool, frozen. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return self._pool.statistics()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.killall()

    def __repr__(self) -> str:
        return repr(self._pool)


def handle_on(pool: AsyncPool) -> Pool:
    """Make a handle on a pool that exists already."""
    handle = Pool.__new__(Pool)
    handle._pool = pool
    return handle


def _execute(
    pool: AsyncPool,
    way: AsyncPool | AsyncOptions,
    fn: Callable[..., T],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> T:
    """Make a call from wherever this is, and wait for it."""
    if current_driven() is not None:
        return wait(way.execute(fn, *args, **kwargs))
    worker = current_worker()
    if worker is not None and pool._core.serves(worker) and asyncio._get_running_loop() is None:
        job = way._execute_inline(worker, fn, args, kwargs)
        if job is not None:
            if is_caught_by(job.error, asyncio.CancelledError):
                raise job.error  # nothing here can look cancelled, and the call around may want to pass it on
            return outcome_of(job)  # type: ignore[no-any-return]
    try:
        host = current_host()
        hub = None if host is not None else script_hub(_REMEDY)
    except RuntimeError:
        close_unused(fn)
        raise
    if host is not None:
        return _execute_in_host(host, way, fn, args, kwargs)
    assert hub is not None
    if worker is not None:
        # A worker of another pool. While it waits it does not count, lest two pools wait for each other.
        with worker.crew.parking(worker), asking(worker):
            return _execute_in_script(hub, pool, way, fn, args, kwargs)
    return _execute_in_script(hub, pool, way, fn, args, kwargs)


def _execute_in_host(
    host: Host,
    way: AsyncPool | AsyncOptions,
    fn: Callable[..., T],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> T:
    wait_in_host = wait_of(host)
    if wait_in_host is None:
        # In a copy of the context of this code, which need not be that of the task.
        return host.await_(_call(copy_context(), way, fn, args, kwargs))  # type: ignore[no-any-return]
    loop = host.get_loop()
    if asyncio._get_running_loop() is loop:
        return wait_in_host(way.execute(fn, *args, **kwargs))  # type: ignore[no-any-return]
    options = way if isinstance(way, AsyncOptions) else way.options()
    return wait_in_host(options._execute_on(loop, fn, args, kwargs))  # type: ignore[no-any-return]


async def _call(
    context: Context,
    way: AsyncPool | AsyncOptions,
    fn: Callable[..., T],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> T:
    return await context.run(way.execute, fn, *args, **kwargs)


def _execute_in_script(
    hub: Hub,
    pool: AsyncPool,
    way: AsyncPool | AsyncOptions,
    fn: Callable[..., T],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> T:
    taken = hub._ctrl_c.take()
    try:
        if hub._script.interrupts:
            raise hub._script._exchange(asyncio.CancelledError())
        if module_locks and hub._started and not isinstance(way, AsyncOptions):
            way = way.options()  # for which the loop looks whether the call waits for what this thread imports
        if isinstance(way, AsyncOptions):
            return hub._run(way._execute_on(hub.loop, fn, args, kwargs))
        return call_in_script(pool._core, hub, fn, args, kwargs)  # type: ignore[no-any-return]
    finally:
        if taken:
            hub._ctrl_c.give_back()
