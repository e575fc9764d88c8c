"""Jobs for tests of the pool floor, which knows no event loop."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from tests.gate import PATIENCE
from tpool_asyncio._pool.crew import Crew
from tpool_asyncio._pool.job import Job, new_claim
from tpool_asyncio._pool.thread_pool import Farewell, ThreadPool


class PlainJob(Job):
    """A job whose outcome goes to whoever calls `result`."""

    def __init__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.claim = new_claim()
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.context = copy_context()
        self.error = None
        self.delivered = threading.Event()

    def deliver(self) -> None:
        self.delivered.set()

    def result(self) -> Any:
        assert self.delivered.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return self.value


def submit(pool: ThreadPool, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> PlainJob:
    job = PlainJob(fn, *args, **kwargs)
    pool.submit(job)
    return job


def end(pool: ThreadPool) -> None:
    """Wait until all threads of a pool have ended."""
    ended = threading.Event()
    farewell = pool.dismiss(ended.set)
    assert ended.wait(PATIENCE)
    join(farewell)


def join(farewell: Farewell) -> None:
    """Wait until the threads are gone that a farewell has waited for."""
    for worker in farewell.ended:
        worker.join(PATIENCE)
    assert not farewell.ending()


def crew_of(pool: ThreadPool) -> Crew:
    return pool._crews[-1]
