"""The executor of a Dask client, made complete for `Pool.over`.

What is different of the `concurrent.futures.Executor` that a client of ``distributed`` gives out:

- It takes functions for pure: two calls of the same function with the same arguments would be run once. Here each call
  runs, unless the executor was asked for with ``pure=True``.
- The future of a result that cannot be pickled never ends there. Results travel together, so one that cannot be
  pickled fails all of its trip; here those that failed are fetched once more, one by one.
- To cancel a future waits for the client's loop there. Here the client is told, and nobody waits.
- Nobody tells when a call is started, so ``tells_no_start``.
- A cluster without workers keeps calls for as long as it takes. Here a call fails when there has been no worker for the
  time of Dask's setting ``distributed.scheduler.no-workers-timeout``, or `_NO_WORKERS` seconds where that is not set.

All but `submit` and the callbacks of futures runs in the loop of the client, which has a thread of its own. Whoever
takes a future out of ``_calls`` gives it its outcome.
"""

import asyncio
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

__all__ = ["adapted"]

_NO_WORKERS = 300.0
"""Seconds for which calls wait for a worker. Machines in a cloud take minutes to start."""

_LOOK_AGAIN = 5.0
"""Seconds between two looks at how many workers there are, while there are calls; fewer where patience is short."""

_FETCHES = 5
"""How often a result is fetched that shared its trip with one that failed."""

_USABLE = ("running", "connecting")


class Cluster(Executor):
    """Calls on the cluster of a client. Any thread may submit."""

    tells_no_start = True

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._client: Any = executor._client
        self._calls: dict[Future[Any], Any] = {}  # the futures of Dask by ours, for which an outcome is owed
        self._watch: asyncio.Task[None] | None = None
        self._fetching = asyncio.Lock()

    @property
    def _broken(self) -> bool:
        return self._client.status not in _USABLE

    @property
    def _shutdown(self) -> bool:
        return bool(self._executor._shutdown)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Have a function run on the cluster, also if the same call has been made before."""
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._broken:
            raise BrokenExecutor(f"the Dask client is {self._client.status}; its cluster has gone away")
        remote = self._client.submit(fn, *args, **{"pure": False, **self._executor._kwargs}, **kwargs)
        self._executor._futures.add(remote)
        future: Future[Any] = Future()
        self._calls[future] = remote
        self._client.loop.add_callback(self._run, future, remote)
        if self._broken:  # by now; else the loop comes to this call before it comes to the end of the client
            self._fail(future, "the Dask client was closed")
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the client stays its owner's, and nothing else was made."""

    async def _run(self, future: "Future[Any]", remote: Any) -> None:
        """Bring one outcome. In the loop, as all that follows."""
        future.add_done_callback(partial(self._ended, remote))
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._watch_workers())
        try:
            value, error = await self._outcome(remote)
        except BaseException as failure:
            value, error = None, failure
        if self._calls.pop(future, None) is not None and future.set_running_or_notify_cancel():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        del error

    async def _outcome(self, remote: Any) -> tuple[Any, BaseException | None]:
        error: BaseException | None = None
        for attempt in range(_FETCHES):
            try:
                if attempt == 0:
                    return await self._client.gather(remote, asynchronous=True), None
                async with self._fetching:
                    return await self._client.gather(remote, asynchronous=True), None
            except Exception as failure:
                error = failure
            if remote.status in ("error", "cancelled"):
                break
        if isinstance(error, CancelledError):
            return None, _lost(f"the Dask cluster has dropped the call ({error})", error)
        if type(error).__name__ == "KilledWorker":
            return None, _lost(f"the worker processes that ran the call died ({error})", error)
        return None, error

    def _ended(self, remote: Any, future: "Future[Any]") -> None:
        if future.cancelled():
            self._client.loop.add_callback(self._cancel, remote)

    async def _cancel(self, remote: Any) -> None:
        with suppress(Exception):  # of a cluster that has gone away
            await self._client.cancel([remote], asynchronous=True)

    async def _watch_workers(self) -> None:
        """Fail the calls when there has been no worker for too long."""
        try:
            without = 0.0
            while self._calls:
                patience = _patience()
                pause = max(0.05, min(_LOOK_AGAIN, patience / 4))
                await asyncio.sleep(pause)
                without = 0.0 if await self._has_workers() else without + pause
                if without >= patience:
                    self._fail_all(f"the Dask cluster has had no worker for {patience:g} s")
        finally:
            self._watch = None

    async def _has_workers(self) -> bool:
        try:
            return bool((await self._client.scheduler.identity())["workers"])
        except Exception:  # the scheduler does not answer, which the client finds out by itself
            return True

    def _fail_all(self, why: str) -> None:
        for future, remote in self._calls.copy().items():
            self._fail(future, why)
            self._client.loop.add_callback(self._cancel, remote)

    def _fail(self, future: "Future[Any]", why: str) -> None:
        if self._calls.pop(future, None) is not None and future.set_running_or_notify_cancel():
            future.set_exception(_lost(why, None))


def _lost(what: str, cause: BaseException | None) -> BrokenExecutor:
    error = BrokenExecutor(
        f"{what}; the call may have run, in part or as a whole, once or several times, or not at all"
    )
    error.__cause__ = cause
    return error


def _patience() -> float:
    set_to = import_module("dask").config.get("distributed.scheduler.no-workers-timeout", None)
    if set_to is None:
        return _NO_WORKERS
    return float(import_module("dask.utils").parse_timedelta(set_to))


def adapted(executor: Executor) -> Executor:
    """Return an executor that leaves nothing out. Any thread."""
    return Cluster(executor) if type(executor).__name__ == "ClientExecutor" else executor
