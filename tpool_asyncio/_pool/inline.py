"""A call made inside a call, in the same thread, by somebody who waits there for its outcome."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tpool_asyncio._pool.job import Job, new_claim
from tpool_asyncio._pool.refusal import not_callable_error

if TYPE_CHECKING:
    from contextvars import Context

    from tpool_asyncio._pool.worker import Worker

__all__ = ["InlineJob", "run_inline"]


class InlineJob(Job):
    """A job that a worker runs while another of its jobs waits for it."""

    __slots__ = ("args", "claim", "context", "culprit", "error", "fn", "kwargs", "label", "outer", "value")

    label: str | None
    outer: Job | None
    """The job that made this one."""

    @property
    def name(self) -> str:
        return self.label or super().name

    def deliver(self) -> None:
        """Do nothing: the caller looks for itself."""


def run_inline(
    worker: "Worker",
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    context: "Context",
    label: str | None = None,
) -> InlineJob:
    """Run a call in this thread, which is the worker's, and return it with its outcome."""
    if not callable(fn):
        raise not_callable_error(fn)
    job = InlineJob()
    job.fn = fn
    job.args = args
    job.kwargs = kwargs or None
    job.context = context
    job.label = label
    job.error = None
    job.claim = new_claim()
    job.outer = worker.job
    worker.run_job(job)
    return job
