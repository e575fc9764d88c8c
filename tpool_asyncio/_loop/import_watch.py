"""Looks after the calls of a loop that runs while a module is imported; see `tpool_asyncio._pool.importing`."""

import asyncio

from tpool_asyncio._loop.loop_job import LoopJob
from tpool_asyncio._loop.mailbox import Mailbox
from tpool_asyncio._pool.importing import LOOK_AGAIN, import_error, importing, stuck_in_import

__all__ = ["watch_imports"]


def watch_imports(mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
    """Have calls that wait for the import in whose middle this thread is end with an error.

    In the thread of the loop; it goes on until the import is over.
    """
    if not mailbox.watched and importing():
        mailbox.watched = True
        loop.call_later(LOOK_AGAIN, _look, mailbox, loop)


def _look(mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
    mailbox.watched = False
    watch_imports(mailbox, loop)
    for job, module in stuck_in_import(mailbox.pool):
        # What the job itself comes to is dropped later, as if its caller had gone away.
        if isinstance(job, LoopJob) and getattr(job, "mailbox", None) is mailbox and not job.unwanted:
            job.error = import_error(job.name, module)
            job.settle()
