"""The races of `tpool_asyncio._pool.lane`, each forced into its worst order or run many times; fork and exit."""

import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest

from tests.child import output_of
from tests.gate import PATIENCE, Gate
from tests.lane_jobs import cannot_start, put, worker_of
from tests.plain_job import PlainJob, end, join, submit
from tests.test_scout import LyingLock
from tpool_asyncio._pool.asking import Asker, waiting_workers
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
fork_options = ("-W", "ignore::DeprecationWarning")


def test_a_release_while_a_job_is_being_queued(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    # (1) A thread finds that the lane may be used. (2) Another one releases it, and its worker, one too many, ends.
    # (3) The first one queues its job, which must not get a second thread.
    keep = [Lane(core) for _ in range(2)]
    lane = Lane(core)
    worker = worker_of(lane)
    for other in keep:
        other.release()
    released_in_between = list[bool]()

    def release() -> None:
        released_in_between.append(core.lock.acquire(False))
        if released_in_between[0]:
            core.lock.release()
            lane.release()
            worker.join(PATIENCE)

    def refusal(pool: ThreadPool) -> None:
        if pool is core:  # and not one of another test, of which something is just being collected
            thread = threading.Thread(target=release)
            thread.start()
            thread.join(PATIENCE)

    with monkeypatch.context() as patch:  # which is looked at just before the job is queued
        patch.setattr(ThreadPool, "refusal", property(refusal), raising=False)
        job = put(lane, current_worker)
    assert job.result() is worker
    assert released_in_between == [False]
    lane.release()


def test_a_lane_whose_job_is_on_its_way_to_the_worker_serves_nobody_else(core: ThreadPool) -> None:
    # (1) The worker takes a job out of the queue, which is empty now. (2) The lane is released. (3) Somebody takes a
    # lane. (4) The worker runs the job, which may never end.
    taken, goes_on = threading.Event(), threading.Event()

    class Hooked(deque[Any]):
        def popleft(self) -> Any:
            job = super().popleft()
            taken.set()
            assert goes_on.wait(PATIENCE)
            return job

    lane, stuck = Lane(core), Gate()
    lane._crew.queue = Hooked()
    job = put(lane, stuck)
    assert taken.wait(PATIENCE)
    lane.release()
    other = Lane(core)
    goes_on.set()
    stuck.wait_begun(1)
    assert put(other, abs, -1).result() == 1
    stuck.open()
    job.result()
    other.release()


def test_a_lane_whose_worker_drops_what_may_take_long_serves_nobody_else(core: ThreadPool) -> None:
    drops, stuck = threading.Event(), threading.Event()

    class Slow:
        def __del__(self) -> None:
            drops.set()
            stuck.wait(PATIENCE)

    lane = Lane(core)
    lane._crew.dozing = True  # so that it is dropped when the worker is about to rest, and not by a chore
    lane._crew.trash.append([Slow()])
    put(lane, int)
    assert drops.wait(PATIENCE)
    lane.release()
    other = Lane(core)
    assert other._crew is not lane._crew
    assert put(other, abs, -1).result() == 1
    stuck.set()
    other.release()


def test_dropped_jobs_are_swept_out_of_a_lane_and_its_order_stays(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # (1) A sweep has taken some jobs out of the queue. (2) The worker takes the next one. (3) The sweep puts back what
    # is still wanted, of which the worker must not have overtaken any.
    monkeypatch.setattr("tpool_asyncio._pool.thread_pool._SWEEP_FROM", 4)
    lane = Lane(core)
    gate, order, steps = Gate(), list[int](), list[int]()

    class Hooked(deque[Any]):
        def pop(self) -> Any:  # type: ignore[override]
            return self._sweeping(super().pop())

        def popleft(self) -> Any:
            return self._sweeping(super().popleft())

        def _sweeping(self, job: Any) -> Any:
            if current_worker() is None and not order:
                gate.open()
                while not order:
                    pass
            return job

    lane._crew.queue = Hooked()
    jobs = [put(lane, gate)]
    gate.wait_begun()
    jobs += [put(lane, order.append, number) for number in range(4)]
    unwanted = [put(lane, steps.append, number) for number in range(4)]
    for job in unwanted:
        assert job.drop()
        lane.dropped()
    for job in jobs:
        job.result()
    assert (order, steps) == (list(range(4)), [])
    assert (core.statistics().queued, core.statistics().cancelled) == (0, 4)
    lane.release()


def test_a_job_is_added_while_the_start_of_a_thread_fails(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    # (1) No thread can be started, and all queued jobs have got the error. (2) Before the token is back a job is
    # added, without the token. (3) Nobody is there to run it, so whoever has the token must see to it, too.
    lane = Lane(core)
    later = list[PlainJob]()
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", cannot_start)
        lane._crew.scout = LyingLock(lambda: later.append(put(lane, int)))  # type: ignore[assignment]
        for job in (put(lane, int), *later):
            with pytest.raises(RuntimeError, match="no thread could be started"):
                job.result()
    assert len(later) == 1
    lane._crew.scout = LyingLock(lambda: None)  # type: ignore[assignment]
    assert put(lane, int).result() == 0
    lane.release()


def test_a_worker_that_has_its_answer_while_it_is_looked_for(core: ThreadPool) -> None:
    # (1) Somebody finds that a worker waits. (2) The worker gets its answer. (3) Whoever found it must not look again
    # who it is.
    lane = Lane(core)
    worker = worker_of(lane)

    class Answered(Asker):
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "worker":
                self.worker = None
            return value

    context = copy_context()
    Answered(worker).ask_in(context)
    assert context.run(waiting_workers) == [worker]
    assert context.run(waiting_workers) == []
    lane.release()


def test_a_milestone_whose_thread_cannot_be_started(
    core: ThreadPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lane = Lane(core)
    crew, ended = lane._crew, threading.Event()
    crew.scout.acquire(False)
    job = put(lane, int)  # and no scout can go yet
    core.dismiss(ended.set)
    assert not ended.is_set()
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", cannot_start)
        crew.scout_arrived()
    with pytest.raises(RuntimeError, match="no thread could be started"):
        job.result()
    assert ended.is_set()
    assert core.statistics()[1:] == (0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1)
    assert put(lane, int).result() == 0
    lane.release()


class Striking(dict[Any, None]):
    """A dict that does something else before and after an entry is taken out, as the garbage collector may."""

    def __init__(self, entries: dict[Any, None], strikes: list[Callable[[], object]]) -> None:
        super().__init__(entries)
        self._strikes = strikes

    def pop(self, *args: Any) -> Any:
        for when in range(2):
            if self._strikes:
                self._strikes.pop()()
            if when == 0:
                value = super().pop(*args)
        return value


@pytest.mark.parametrize("with_lanes", [False, True])
def test_lanes_are_released_in_the_middle_of_a_dismissal(core: ThreadPool, with_lanes: bool) -> None:
    lanes = [Lane(core) for _ in range(6)]
    workers = [worker_of(lane) for lane in lanes]
    lanes[2].release()
    lanes[3].release()
    strikes: list[Callable[[], object]] = [lanes[number].release for number in (0, 1, 4, 5)]
    core.lanes._crews = Striking(core.lanes._crews, strikes)
    core.lanes._free = Striking(core.lanes._free, strikes)
    ended = threading.Event()
    join_later = core.dismiss(ended.set, with_lanes=with_lanes)
    assert ended.wait(PATIENCE)
    join(join_later)
    assert not strikes
    assert core.statistics().pinned == 0
    assert core.lanes._crews == core.lanes._free
    assert not any(crew.retired for crew in core.lanes._crews)
    end(core)
    for worker in workers:
        worker.join(PATIENCE)
        assert not worker.is_alive()
    assert (core.statistics().threads, len(core._all_crews())) == (0, 1)


def test_the_garbage_collector_releases_lanes_at_any_point() -> None:
    # In a process of its own, as the collector strikes all the time, and would go through what other tests have left.
    program = """
    import gc, threading
    from tests.lane_jobs import put
    from tests.plain_job import end
    from tpool_asyncio._pool.lane import Lane
    from tpool_asyncio._pool.thread_pool import ThreadPool

    class Holder:
        def __init__(self):
            self.lane = Lane(core)
            self.me = self  # garbage that waits for the collector
        def __del__(self):
            self.lane.release()

    core = ThreadPool(2, name="core")
    gc.set_threshold(1, 1, 1)
    for turn in range(150):
        for _ in range(4):
            holder = Holder()
            put(holder.lane, int)
            del holder
        core.statistics()
        if turn % 3 == 0:
            core.dismiss(threading.Event().set)
        core.resize(1 + turn % 4)
    gc.set_threshold(700, 10, 10)
    gc.collect()
    assert core.statistics().pinned == 0
    assert core.lanes._crews == core.lanes._free
    end(core)
    while core.statistics().threads:
        pass
    assert len(core._all_crews()) == 1
    print(*core.statistics()[6:])
    """
    assert output_of(program) == "0 600 600 0 0 0\n"


@pytest.mark.parametrize("idle_timeout", [None, 0])
def test_lanes_are_taken_used_released_and_dismissed_by_several_threads(idle_timeout: float | None) -> None:
    pool = ThreadPool(2, idle_timeout=idle_timeout)
    turns, errors = 150, list[BaseException]()
    start = threading.Barrier(4)

    def user() -> None:
        start.wait(PATIENCE)
        for _ in range(turns):
            lane = Lane(pool)
            jobs = [put(lane, threading.get_ident) for _ in range(3)]
            jobs.append(submit(pool, int))
            idents = {job.result() for job in jobs[:3]}
            assert len(idents) == 1
            late = put(lane, threading.get_ident)
            lane.release()
            assert late.result() in idents
            jobs[3].result()

    def dismisser() -> None:
        start.wait(PATIENCE)
        for _ in range(turns):
            ended = threading.Event()
            pool.dismiss(ended.set)
            assert ended.wait(PATIENCE)
            snapshot = pool.statistics()
            assert 0 <= snapshot.pinned <= 2

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in (user, user, dismisser, dismisser)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert errors == []
    assert pool.lanes._crews == pool.lanes._free
    end(pool)
    while pool.statistics().threads:
        pass
    assert pool.statistics()[1:] == (0, 0, 0, 0, 0, 0, 2 * turns * 5, 2 * turns * 5, 0, 0, 0)
    assert pool._farewells == []
    assert len(pool._all_crews()) == 1


def test_one_lane_is_used_and_released_by_two_threads_at_once(core: ThreadPool) -> None:
    # Whatever the order, a job either runs in the thread of the lane or is refused.
    for _ in range(100):
        lane = Lane(core)
        worker = worker_of(lane)
        start, jobs = threading.Barrier(2), list[PlainJob]()

        def use(lane: Lane = lane, start: threading.Barrier = start, jobs: list[PlainJob] = jobs) -> None:
            start.wait(PATIENCE)
            with pytest.raises(RuntimeError, match="became free"):
                while True:
                    jobs.append(put(lane, current_worker))

        thread = threading.Thread(target=use)
        thread.start()
        start.wait(PATIENCE)
        lane.release()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert {job.result() for job in jobs} <= {worker}
    assert core.statistics().pinned == 0


# Fork and exit


@needs_fork
def test_fork_leaves_lanes_to_the_parent() -> None:
    program = """
    import os, threading
    from tests.gate import Gate
    from tests.plain_job import PlainJob
    from tpool_asyncio._pool.lane import Lane
    from tpool_asyncio._pool.thread_pool import ThreadPool
    def put(lane, fn, *args):
        lane.submit(job := PlainJob(fn, *args))
        return job
    pool = ThreadPool(1)
    lane, free = Lane(pool), Lane(pool)
    ident = put(lane, threading.get_ident).result()
    put(free, int).result()
    free.release()
    gate = Gate()
    running, queued = put(lane, gate), put(lane, print, "once")
    gate.wait_begun()
    child = os.fork()
    if child == 0:
        assert pool.statistics()[1:] == (0,) * 11, pool.statistics()
        try:
            put(lane, int)
        except RuntimeError as error:
            print(str(error).split(";")[0], flush=True)
        lane.discard([object()])
        assert not lane._crew.queue, "there is no thread that would do a chore"
        lane.release()
        lane.release()
        free.release()
        assert pool.statistics().pinned == 0
        new = Lane(pool)
        print("child", put(new, pow, 2, 3).result(), pool.statistics().pinned, flush=True)
        new.release()
        ended = threading.Event()
        pool.dismiss(ended.set)
        assert ended.wait(10)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    gate.open()
    running.result(), queued.result()
    assert put(lane, threading.get_ident).result() == ident
    print("parent", pool.statistics().pinned, pool.statistics().completed)
    """
    assert output_of(program, options=fork_options).splitlines() == [
        "int is pinned to a thread of the process that this one was forked from",
        "child 8 1",
        "once",
        "parent 1 5",
    ]


@needs_fork
def test_fork_inside_a_job_of_a_lane() -> None:
    program = """
    import os, threading
    from tests.plain_job import PlainJob
    from tpool_asyncio._pool.lane import Lane
    from tpool_asyncio._pool.thread_pool import ThreadPool
    def put(lane, fn, *args):
        lane.submit(job := PlainJob(fn, *args))
        return job
    def forks():
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        try:
            put(lane, int)
        except RuntimeError as error:
            print("process that this one was forked from" in str(error), flush=True)
        print(put(Lane(pool), pow, 2, 3).result(), flush=True)
        os._exit(0)
    pool = ThreadPool(1)
    lane = Lane(pool)
    print(put(lane, forks).result(), put(lane, int).result())
    """
    assert output_of(program, options=fork_options) == "True\n8\n0 0\n"


def test_at_exit_lanes_finish_what_they_have_been_given_and_take_no_more() -> None:
    program = """
    import atexit, threading, time
    @atexit.register
    def late():
        try:
            lane.submit(PlainJob(int))
        except RuntimeError as error:
            print(str(error).split(",")[0])
        lane.release()
    from tests.plain_job import PlainJob
    from tpool_asyncio._pool.lane import Lane
    from tpool_asyncio._pool.thread_pool import ThreadPool
    pool = ThreadPool(1)
    lane = Lane(pool)
    main_thread_ended = threading.main_thread().join
    for job in (PlainJob(main_thread_ended), PlainJob(print, "finished", flush=True)):
        lane.submit(job)
    """
    assert output_of(program) == "finished\nthe interpreter is exiting\n"
