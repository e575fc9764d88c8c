"""Corners of the pool floor: what rarely happens, each made to happen by what lies, or raises, at the right step."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.plain_job import PlainJob, crew_of, end, submit
from tpool_asyncio._pool import crew, neighbours, thread_pool
from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.complaint import complain
from tpool_asyncio._pool.thread_pool import Farewell, ThreadPool
from tpool_asyncio._pool.worker import Worker

# The token


def test_a_token_that_is_given_back_twice_is_an_error(core: ThreadPool) -> None:
    # But for those who were struck, it would mean that two scouts are on their way.
    crew = crew_of(core)
    for give_back in (crew._put_back, crew.scout_arrived):
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            give_back()
        crew.struck = True
        give_back()
        crew.struck = False
    assert submit(core, int).result() == 0


class Blow(BaseException):
    """What a signal handler raises."""


class StruckLock:
    """A lock in whose taking a signal handler raises, once: before it is taken, or after."""

    def __init__(self, after: bool) -> None:
        self._lock = threading.Lock()
        self._after = after
        self._struck = False

    def acquire(self, blocking: bool) -> bool:
        if self._struck:
            return self._lock.acquire(blocking)
        self._struck = True
        if self._after:
            self._lock.acquire(blocking)
        raise Blow

    def release(self) -> None:
        self._lock.release()


class StruckSet(set[Worker]):
    """A set in whose copying a signal handler raises, once."""

    struck = False

    def copy(self) -> set[Worker]:
        if not self.struck:
            self.struck = True
            raise Blow
        return super().copy()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("way", ["submit", "stir"])
def test_struck_as_somebody_adds_work(way: str, twice: bool, after: bool) -> None:
    pool = ThreadPool(1)
    crew = crew_of(pool)
    crew.scout = StruckLock(after)  # type: ignore[assignment]
    if twice:
        crew.workers = StruckSet()
    job = PlainJob(int)
    with pytest.raises(Blow):
        if way == "submit":
            crew.submit(job)
        else:
            crew.queue.append(job)
            crew.stir()
    assert job.result() == 0  # whoever was struck has made good what was left half done
    assert crew.struck
    end(pool)


# Outcomes


class Waking(PlainJob):
    """A job whose caller has to be woken."""

    def __init__(self, wake: Callable[[], object], fn: Callable[..., Any], *args: Any) -> None:
        super().__init__(fn, *args)
        self._wake = wake

    def deliver(self) -> Any:
        super().deliver()
        return self._wake


def test_a_caller_that_cannot_be_woken_kills_no_thread(core: ThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise SystemExit

    core.resize(1)
    core.submit(Waking(fail, int))
    assert submit(core, int).result() == 0
    end(core)
    assert "could not be delivered" in caplog.text
    assert core.statistics().completed == 2


class LateQueue(deque[Any]):
    """A queue to which a job is added just after somebody has found it empty."""

    late: PlainJob | None = None

    def __bool__(self) -> bool:
        found = len(self) > 0
        if self.late is not None and not found:
            self.append(self.late)
            self.late = None
        return found


def test_a_job_is_added_when_the_worker_has_put_off_waking_a_caller() -> None:
    # (1) A worker has an outcome, finds the queue empty, and puts off waking the caller until it has gone idle. (2) A
    # job is added. (3) The worker takes it in place of going idle, and has to wake the caller before it runs that.
    pool = ThreadPool(1)
    crew = crew_of(pool)
    crew.queue = queue = LateQueue()
    order = list[str]()
    late = PlainJob(order.append, "next job")

    class AndThen(Waking):
        def deliver(self) -> Any:
            queue.late = late
            return super().deliver()

    crew.submit(AndThen(lambda: order.append("woken"), order.append, "job"))
    late.result()
    assert order == ["job", "woken", "next job"]
    end(pool)


class Pricklier:
    """Something callable that ends the program of whoever looks at it."""

    def __getattr__(self, name: str) -> object:
        raise SystemExit(name)

    def __call__(self) -> None:
        raise ValueError("odd")


def test_a_failing_function_that_cannot_even_be_named(core: ThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    core.resize(1)
    with pytest.raises(ValueError, match="odd"):
        submit(core, Pricklier()).result()
    assert submit(core, int).result() == 0
    assert core.statistics().threads == 1
    assert "an exception of the type ValueError could not be prepared" in caplog.text


def test_an_outcome_arrives_although_the_log_itself_fails(core: ThreadPool) -> None:
    asked = []

    def refuse(record: logging.LogRecord) -> bool:
        asked.append(record.getMessage())
        raise SystemExit

    core.resize(1)
    logger = logging.getLogger("tpool_asyncio")
    logger.addFilter(refuse)
    try:
        with pytest.raises(ValueError, match="odd"):
            submit(core, Pricklier()).result()
        assert submit(core, int).result() == 0
    finally:
        logger.removeFilter(refuse)
    assert core.statistics().threads == 1
    assert asked == ["an exception of the type ValueError could not be prepared"]


def test_ctrl_c_while_something_is_logged_is_not_lost() -> None:
    def strike(record: logging.LogRecord) -> bool:
        raise KeyboardInterrupt

    logger = logging.getLogger("tpool_asyncio")
    logger.addFilter(strike)
    try:
        with pytest.raises(KeyboardInterrupt):
            complain("in the main thread", error=ValueError())
        with ThreadPoolExecutor(1) as executor:
            executor.submit(complain, "in another one", error=ValueError()).result()
    finally:
        logger.removeFilter(strike)


# The end


def test_what_comes_after_a_milestone_that_has_been_taken_does_not_count(core: ThreadPool) -> None:
    # A milestone runs as soon as it has been taken from its queue; just before it says so, it is in none.
    gate = Gate()
    jobs = [submit(core, gate) for _ in range(4)]
    gate.wait_begun(2)
    farewell = Farewell([], (), int)
    milestone = Chore(core, int)
    farewell.milestones[milestone] = crew_of(core)
    assert farewell.queued() == 0
    crew_of(core).queue.insert(1, milestone)
    assert farewell.queued() == 1
    gate.open()
    for job in jobs:
        assert job.delivered.wait(PATIENCE)


# Other libraries


def test_a_thread_does_without_a_library_whose_support_fails(
    core: ThreadPool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(neighbours._EDGES, "json", "tpool_asyncio.interop._no_such_module")
    assert submit(core, int).result() == 0
    assert "a thread goes on without support for json" in caplog.text


def test_a_thread_does_not_even_die_of_it(
    core: ThreadPool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exits(name: str) -> None:
        raise SystemExit

    monkeypatch.setitem(neighbours._EDGES, "json", "tpool_asyncio.interop._no_such_module")
    monkeypatch.setattr(neighbours, "import_module", exits)
    assert submit(core, int).result() == 0
    assert "a thread goes on without support for json" in caplog.text


# Destructors


def test_a_destructor_makes_a_call_as_a_thread_is_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    # (1) There is room for a thread. (2) The garbage collector strikes; a destructor makes a call, for which a thread
    # is started. (3) The first thread is started, too: one of them has to go.
    pool = ThreadPool(1)
    jobs: list[PlainJob] = []

    def strikes(*args: Any, **kwargs: Any) -> Worker:
        if not jobs:
            jobs.append(submit(pool, int))
        return Worker(*args, **kwargs)

    monkeypatch.setattr(crew, "Worker", strikes)
    pool.start_all()
    assert jobs[0].result() == 0
    while pool.statistics().threads > 1:
        pass
    assert not crew_of(pool).dismissing
    end(pool)


def test_what_hangs_on_dropped_jobs_goes_without_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_SWEEP_FROM", 2)
    pool = ThreadPool(1)
    gate, free = Gate(), list[bool]()

    def look() -> None:
        free.append(pool.lock.acquire(blocking=False))
        if free[-1]:
            pool.lock.release()

    class Tag:
        def __del__(self) -> None:
            with ThreadPoolExecutor(1) as executor:
                executor.submit(look).result()

    class TaggedJob(PlainJob):
        def __init__(self) -> None:
            super().__init__(int)
            self.tag = Tag()

    blocker = submit(pool, gate)
    gate.wait_begun()
    for _ in range(2):
        job = TaggedJob()
        pool.submit(job)
        assert job.drop()
        del job
        pool.dropped()
    gate.open()
    blocker.result()
    end(pool)
    assert free == [True, True]
