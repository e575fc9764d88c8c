"""The pool floor: threads that cannot be started."""

import threading
from concurrent.futures import ThreadPoolExecutor

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


# Programs watch over the start of threads, by audit hooks for instance, and raise whatever they like


def _refuse(self: threading.Thread) -> None:
    raise PermissionError("no more threads")


def test_threads_are_refused(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        job = submit(core, int)
        with pytest.raises(RuntimeError, match=r"no thread could be started.*\(no more threads\)") as caught:
            job.result()
        assert isinstance(caught.value.__cause__, PermissionError)
    has_run = submit(core, int)
    assert has_run.result() == 0


def test_no_threads_are_started_any_more_at_exit(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    cause = RuntimeError("can't create new thread at interpreter shutdown")  # as Python 3.12 has it

    def refuse(_: threading.Thread) -> None:
        raise cause

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match=r"^the interpreter is exiting") as caught:
            submit(core, int).result()
    assert caught.value.__cause__ is cause


def test_threads_are_refused_with_an_error_that_cannot_be_printed(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class UnprintableError(PermissionError):
        def __str__(self) -> str:
            raise ValueError

    def refuse(_: threading.Thread) -> None:
        raise UnprintableError

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match=r"no thread could be started.*\(an unprintable .*UnprintableError\)"):
            submit(core, int).result()
    assert submit(core, int).result() == 0


def test_a_thread_is_refused_to_a_worker_that_has_a_job_in_its_hands(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = crew_of(core)
    assert crew.scout.acquire(False)  # so that nobody is sent before all of them are queued
    jobs = [submit(core, int) for _ in range(3)]
    start = threading.Thread.start

    def starts_one(self: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", _refuse)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starts_one)
    crew._send_scout()
    assert [job.result() for job in jobs] == [0, 0, 0]
    assert len({*crew.workers}) == 1


def test_what_was_handled_when_a_start_failed_is_no_blow_in_other_threads(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        try:
            raise LookupError
        except LookupError:
            raise RuntimeError("can't start new thread")  # noqa: B904 - as others do

    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()  # so that it has its thread
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            job = executor.submit(submit, core, int).result()
    with pytest.raises(RuntimeError, match=r"no thread could be started.*\(can't start new thread\)"):
        job.result()


@pytest.mark.parametrize("times", [1, 2, 15])
def test_blows_are_told_from_a_refused_thread(times: int, core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    start, blows = threading.Thread.start, [TimeoutError("of an alarm")] * times

    def struck(self: threading.Thread) -> None:
        if blows:
            raise blows.pop()
        start(self)

    monkeypatch.setattr(threading.Thread, "start", struck)
    with pytest.raises(TimeoutError, match="of an alarm"):
        submit(core, int)
    assert submit(core, int).result() == 0
    end(core)
    assert (core.statistics().completed, core.statistics().failed) == (2, 0)  # the job that was struck has run, too
