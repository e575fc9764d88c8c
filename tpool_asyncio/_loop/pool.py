"""The pool as async code holds it."""

import asyncio
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import nullcontext
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from tpool_asyncio._loop.call import FINDS_LOOP, Call
from tpool_asyncio._loop.entrance import new_entrance, no_loop_error
from tpool_asyncio._loop.gate import post
from tpool_asyncio._loop.import_watch import watch_imports
from tpool_asyncio._loop.iteration import Iteration
from tpool_asyncio._loop.option_call import Limiter
from tpool_asyncio._loop.options import OnCancel, Options
from tpool_asyncio._pool.asking import asking_workers
from tpool_asyncio._pool.default import DEFAULT_SIZE
from tpool_asyncio._pool.importing import module_locks
from tpool_asyncio._pool.inline import InlineJob, run_inline
from tpool_asyncio._pool.job import new_claim
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.refusal import not_callable_error
from tpool_asyncio._pool.size import check_seconds
from tpool_asyncio._pool.statistics import Statistics
from tpool_asyncio._pool.still_running import StillRunningError
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker

__all__ = ["Pool"]

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """A pool of native threads of its own, for calls that should not share the default one.

    Any number of event loops in any number of threads may use one pool. Its threads start on demand and are daemon
    threads. ``async with Pool(...)`` runs `killall` at the end, without a time limit; a pool that is dropped without
    it lets its calls run to their end and then ends its threads.

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

    __slots__ = ("__weakref__", "_core")

    def __init__(
        self,
        size: int = DEFAULT_SIZE,
        *,
        name: str = "tpool",
        idle_timeout: float | None = None,
        exit_grace: float | None = 5.0,
    ) -> None:
        self._core = ThreadPool(size, name=name, idle_timeout=idle_timeout, exit_grace=exit_grace)
        weakref.finalize(self, self._core.abandon).atexit = False

    @classmethod
    def over(
        cls, executor: Executor | Callable[[], Executor], *, name: str = "engine", exit_grace: float | None = 5.0
    ) -> Self:
        """Return a pool whose calls run on an executor: in processes, or on a cluster.

        `execute`, `options`, `killall` and `statistics` are those of any pool. Calls are handed over in the order in
        which they are made, by a thread of the pool, so that neither starting processes nor connecting blocks the loop.

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
            BaseException: From the ``await`` of a call: what the executor or the function that makes it raises; a
                `concurrent.futures.BrokenExecutor` if a worker process died, or a cluster went away.

        Cancellation: A call is dropped as long as the executor has not started it; then it is abandoned.

        May be called from any thread.

        .. versionadded:: 0.1.0
        """
        from tpool_asyncio._pool.engine import Engine

        engine = Engine(executor, name=name, exit_grace=exit_grace)
        pool = cls.__new__(cls)
        pool._core = engine  # type: ignore[assignment]  # it has all that is used of a pool of threads
        weakref.finalize(pool, engine.abandon).atexit = False
        return pool

    def execute(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run ``fn(*args, **kwargs)`` in a thread of the pool.

        The call is queued at once, whether or not the result is awaited. Calls start in the order in which they were
        made, over all loops. ``fn`` sees a copy of the caller's context variables. A call made from a thread of the
        same pool runs in place, so that nested calls cannot exhaust the pool.

        Args:
            fn: What to call. All positional and keyword arguments that follow are its own; see `options` for what
                can be said about the call itself.

        Returns:
            A future of the running loop. Await it, gather it, keep it, or ignore it.

        Raises:
            TypeError: ``fn`` is not callable.
            RuntimeError: No event loop runs in this thread, or the interpreter is exiting.
            ValueError: The environment variable ``EVENTLET_THREADPOOL_SIZE`` is no valid size (default pool only).
            BaseException: From the ``await``: whatever ``fn`` raises, as the same object. A `StopIteration` or
                `asyncio.CancelledError` comes as the cause of a `RuntimeError`.

        Cancellation: Cancelling the future, or the task that awaits it, drops a call that is queued; it never runs,
        and its function and arguments are let go of at once. A call that runs cannot be stopped: it is abandoned, its
        outcome is dropped (an exception is logged), and it can ask `from_thread.check_cancelled`.

        May be called in any thread whose event loop runs.

        .. versionadded:: 0.1.0
        """
        core = self._core
        submit = core.submit
        mailbox = core.local.mailbox
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise no_loop_error() from None
        if mailbox is None or mailbox.loop() is not loop:
            mailbox, submit = new_entrance(core, loop)
        elif module_locks:  # some thread imports something
            watch_imports(mailbox, loop)
        if not callable(fn):
            raise not_callable_error(fn)
        call: Call[T] = Call() if FINDS_LOOP else Call(loop=loop)
        call.mailbox = mailbox
        call.error = None
        call.claim = new_claim()
        call.fn = fn
        call.args = args
        call.kwargs = kwargs or None
        call.context = copy_context() or None
        submit(call)
        return call

    def _execute_inline(
        self, worker: Worker, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> InlineJob | None:
        """Run a call in place, in a thread of this pool in which no loop runs; None if that cannot be done."""
        return run_inline(worker, fn, args, kwargs, context=copy_context())

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
                and the call is dropped or abandoned. None for no limit.
            queue_timeout: Seconds in which the call must have started, or else it is dropped and the caller gets a
                `TimeoutError`. None for no limit.
            on_cancel: What becomes of a running call whose caller is cancelled or whose ``timeout`` is over:
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
        return Options(
            self,
            timeout=timeout,
            queue_timeout=queue_timeout,
            on_cancel=on_cancel,
            limiter=limiter,
            context=context,
            name=name,
        )

    def iterate(
        self, source: Callable[..., Iterable[T]] | Iterable[T], /, *args: Any, batch: int | None = None, **kwargs: Any
    ) -> Iteration[T]:
        """Iterate over a blocking source, such as a file, a database cursor or a generator, with ``async for``.

        Items are read in batches: a fast source costs one trip to the pool for thousands of items, a slow one still
        delivers each item at once. The next batch is read ahead while the loop's body awaits something. Items come in
        order, and an exception of the source comes after the items before it.

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
            An async iterator. ``async with`` and `Iteration.aclose` close the source at a certain time; else that is
            done when the iterator is dropped.

        Raises:
            TypeError: ``source`` is neither an iterable nor a function that returns one.
            ValueError: ``batch`` is no whole number of 1 or more.
            RuntimeError: Too many iterations and pinned proxies are open at once; or, from ``async for``, no event
                loop runs in this thread.
            BaseException: From ``async for``: whatever the source raises, as the same object.

        Cancellation: Ends the waiting for an item. The iteration can go on; the item comes with the next one.

        May be called from any thread; the iterator belongs to the event loop in which it is used.

        .. versionadded:: 0.1.0
        """
        return self.options().iterate(source, *args, batch=batch, **kwargs)

    def _stream_options(self) -> Options:
        return self.options()

    def _thread_pool(self) -> ThreadPool:
        return self._core.home

    def _beside(self, core: Lane) -> "Pool":
        """Return a handle on one thread of this pool. To make calls it takes no more than a lane has."""
        return handle_on(core)  # type: ignore[arg-type]

    async def killall(self, timeout: float | None = None) -> None:
        """Take everything that is queued and running to its end, and the threads to theirs.

        Nothing is cancelled; cancel what is no longer wanted before. The loop goes on meanwhile. Calls made from now
        on are not part of it: they get new threads. Several loops and tasks may do this at once. From inside a call of
        this pool it waits for all others but those that wait like this themselves.

        Args:
            timeout: Seconds to wait, None for as long as it takes.

        Raises:
            StillRunningError: The time is over. The error names each call that still runs, with its stack. The
                threads are detached, but for pinned ones: the pool neither counts them nor waits for them any more, and
                outcomes still arrive. Another `killall` that waits for them then returns, too, without an error.
            TypeError: ``timeout`` is no number.
            ValueError: ``timeout`` is negative.

        Cancellation: Only the waiting ends; the threads still end as soon as they can.

        May be called in any thread whose event loop runs.

        .. versionadded:: 0.1.0
        """
        timeout = check_seconds("timeout", timeout)
        core = self._core
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        ended = asyncio.Event()
        own = current_worker()
        with own.crew.parking(own) if own is not None and core.serves(own) else nullcontext():
            farewell = core.dismiss(lambda: post(loop, ended.set), spared=asking_workers())
            waiting = asyncio.ensure_future(ended.wait())
            try:
                done, _ = await asyncio.wait([waiting], timeout=timeout)
            finally:
                waiting.cancel()
                farewell.waited_for = False
        if done:
            # The last destructors of a thread may take their time.
            while farewell.ending() and (deadline is None or loop.time() < deadline):
                await asyncio.sleep(0.001)
            return
        calls = core.detach(farewell)
        waiting_calls = farewell.queued()
        if calls or waiting_calls:
            queued = f", and {waiting_calls} wait for them" if waiting_calls else ""
            raise StillRunningError(
                f"{len(calls)} call(s) of pool {core.name!r} still run after {timeout} s{queued}; their threads have"
                " been detached from it, but for pinned ones",
                calls,
            )

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
        self._core.resize(size)

    def statistics(self) -> Statistics:
        """Return a snapshot of the pool, frozen. May be called from any thread.

        .. versionadded:: 0.1.0
        """
        return self._core.statistics()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.killall()

    def __repr__(self) -> str:
        core = self._core
        return f"<{type(self).__qualname__} {core.name!r} size={core.size}>"


def handle_on(core: ThreadPool) -> Pool:
    """Make a handle on a pool that exists already; dropping this handle leaves the pool alone."""
    pool = Pool.__new__(Pool)
    pool._core = core
    return pool
