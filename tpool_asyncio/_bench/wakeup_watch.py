"""Counts, inside a process, what only the package knows: how often a loop drained, and who was woken for nothing.

It puts itself around three methods of the package while it is open. What it notes, it notes by single operations that
are atomic, since many threads do it at once.

A worker is woken for nothing when nothing is queued at that moment. It has been woken in vain when it goes to rest
again without having done a job: somebody else was faster to take what it was woken for. A drain counts if there was
anything for it to settle; one that finds nothing was not paid for by waking anybody.
"""

from contextlib import ExitStack
from types import TracebackType
from typing import Self
from unittest import mock

from tpool_asyncio._loop.mailbox import Mailbox
from tpool_asyncio._pool.crew import Crew
from tpool_asyncio._pool.worker import Worker

__all__ = ["WakeupWatch"]


class WakeupWatch:
    """Looks on as long as it is open. One at a time."""

    def __init__(self) -> None:
        self._events: list[str] = []
        self._jobs_when_woken: dict[Worker, int] = {}  # each worker touches its own entry only

    def taken(self) -> dict[str, int]:
        """Return what has been counted, and begin at zero. When nothing is going on."""
        events, self._events = self._events, []
        return {name: events.count(name) for name in ("drains", "for_nothing", "woken", "in_vain")}

    def __enter__(self) -> Self:
        rest, send_scout, drain = Crew.rest, Crew._send_scout, Mailbox._drain
        woken = self._jobs_when_woken

        def watched_rest(crew: Crew, worker: Worker) -> bool | None:
            before = woken.pop(worker, None)
            if before is not None and before == worker.completed + worker.failed:
                self._events.append("in_vain")
            answer = rest(crew, worker)
            if answer:
                self._events.append("woken")
                woken[worker] = worker.completed + worker.failed
            return answer

        def watched_send_scout(crew: Crew) -> None:
            if not crew.queue and not crew.dismissing:
                self._events.append("for_nothing")
            send_scout(crew)

        def watched_drain(mailbox: Mailbox) -> None:
            if mailbox.outcomes:
                self._events.append("drains")
            drain(mailbox)

        self._patches = ExitStack()
        self._patches.enter_context(mock.patch.object(Crew, "rest", watched_rest))
        self._patches.enter_context(mock.patch.object(Crew, "_send_scout", watched_send_scout))
        self._patches.enter_context(mock.patch.object(Mailbox, "_drain", watched_drain))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._patches.close()
