"""Jobs for tests of the lanes of a pool."""

from collections.abc import Callable
from typing import Any

from tests.plain_job import PlainJob
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.worker import Worker, current_worker


def put(lane: Lane, fn: Callable[..., Any], *args: Any) -> PlainJob:
    """Submit a job to a lane."""
    job = PlainJob(fn, *args)
    lane.submit(job)
    return job


def worker_of(lane: Lane) -> Worker:
    """The worker of a lane that has had a job; it is idle, so nobody finds it about to rest."""
    worker = put(lane, current_worker).result()
    assert isinstance(worker, Worker)
    while worker not in lane._crew.idle:
        pass
    return worker


def cannot_start(self: Worker) -> None:
    raise RuntimeError("can't start new thread")
