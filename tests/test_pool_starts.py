"""The pool floor: threads that cannot be started."""

import threading

import pytest

from tests.gate import Gate
from tests.plain_job import PlainJob, crew_of, end, submit
from tpool_asyncio import tpool
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker


def test_a_thread_that_cannot_be_started_with_others_there(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    first = submit(core, gate)
    gate.wait_begun()
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", _cannot_start)
        second = submit(core, int)
        assert not second.delivered.is_set()
    gate.open()
    assert second.result() == 0
    first.result()


def test_a_thread_that_cannot_be_started_with_none_there(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", _cannot_start)
        job = submit(core, int)
        with pytest.raises(RuntimeError, match=r"no thread could be started.*\(can't start new thread\)") as caught:
            job.result()
        assert str(caught.value.__cause__) == "can't start new thread"
        with pytest.raises(RuntimeError, match="can't start new thread"):
            core.start_all()
    assert core.statistics()[1:] == (0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0)
    assert submit(core, int).result() == 0


async def test_the_caller_in_a_loop_gets_the_error_and_later_calls_work(
    pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", _cannot_start)
        calls = [pool.execute(int), pool.options(timeout=3_600).execute(int)]
        for call in calls:
            with pytest.raises(RuntimeError, match=r"no thread could be started.*\(can't start new thread\)"):
                await call
    assert await pool.execute(int) == 0


def test_a_farewell_does_not_wait_for_a_thread_that_cannot_be_started(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = core.submit
    worker = submit(core, current_worker).result()
    end(core)
    assert not worker.is_alive()
    crew, ended = worker.crew, threading.Event()
    job = PlainJob(int)
    crew.scout.acquire(False)
    stale(job)  # to a crew that has ended; and no scout can go yet
    with core.lock:
        core.keep(crew)
    core.dismiss(ended.set)
    assert not ended.is_set()
    monkeypatch.setattr(Worker, "start", _cannot_start)
    crew.scout_arrived()
    with pytest.raises(RuntimeError, match="no thread could be started"):
        job.result()
    assert ended.is_set()


def test_a_dropped_job_is_not_failed_when_no_thread_can_be_started(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "start", _cannot_start)
    job = PlainJob(int)
    assert job.drop()
    core.dropped()
    assert core.statistics().queued == 0  # also in between, when an empty job stands in no queue
    core.submit(job)
    assert not job.delivered.is_set()
    assert (core.statistics().queued, core._dropped) == (0, 0)


def _cannot_start(self: Worker) -> None:
    raise RuntimeError("can't start new thread")


def test_setup_and_a_submitter_fail_to_start_a_thread_at_once(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # (1) `start_all` counts its worker and is about to start it. (2) The start of a submitter fails; it relies on that
    # worker. (3) The start of that worker fails, too, and the job must not be left.
    jobs = list[PlainJob]()

    def start(self: Worker) -> None:
        if not jobs:
            jobs.append(submit(core, int))
        _cannot_start(self)

    monkeypatch.setattr(Worker, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        core.start_all()
    with pytest.raises(RuntimeError, match="no thread could be started"):
        jobs[0].result()


def test_a_farewell_that_counts_on_a_thread_that_cannot_be_started(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def start(self: Worker) -> None:
        core.dismiss(ended.set)
        assert not ended.is_set()
        _cannot_start(self)

    monkeypatch.setattr(Worker, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        core.start_all()
    assert ended.is_set()


def test_a_surplus_that_never_started_sends_nobody_away(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(core, int).result()

    def start(self: Worker) -> None:
        core.resize(1)
        _cannot_start(self)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            core.start_all()
    assert not crew_of(core).dismissing  # or else the idle worker would look for its dismissal for ever
