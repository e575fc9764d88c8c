"""The pool floor: lanes, which are threads of a pool for what must stay on one thread."""

import threading
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.lane_jobs import cannot_start, put, worker_of
from tests.plain_job import PlainJob, end, join, submit
from tpool_asyncio._pool.asking import Asker, asking_workers, waiting_workers
from tpool_asyncio._pool.chore import Chore
from tpool_asyncio._pool.lane import Lane
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker, current_worker

# One thread


def test_all_jobs_of_a_lane_run_in_one_thread_in_order(core: ThreadPool) -> None:
    lane = Lane(core)
    gate, order = Gate(), list[tuple[int, int]]()
    first = put(lane, gate)
    gate.wait_begun()
    jobs = [put(lane, lambda number: order.append((number, threading.get_ident())), number) for number in range(200)]
    gate.open()
    for job in (first, *jobs):
        job.result()
    ident = put(lane, threading.get_ident).result()
    assert order == [(number, ident) for number in range(200)]
    assert ident != threading.get_ident()
    lane.release()


def test_outcomes_and_the_name_of_the_thread(core: ThreadPool) -> None:
    lane = Lane(core)
    assert lane.name == "core"
    assert put(lane, lambda: threading.current_thread().name).result() == "core-1"
    with pytest.raises(ZeroDivisionError):
        put(lane, divmod, 1, 0).result()
    assert put(lane, divmod, 7, 2).result() == (3, 1)
    lane.release()


def test_a_lane_stands_in_the_place_of_its_pool(core: ThreadPool) -> None:
    lane, other = Lane(core), Lane(core)
    assert (lane.home, lane.size) == (core, 1)
    assert lane.local is core.local
    assert core.home is core
    worker, others = worker_of(lane), worker_of(other)
    in_pool = submit(core, current_worker).result()
    assert [lane.serves(one) for one in (worker, others, in_pool)] == [True, False, False]
    assert [core.serves(one) for one in (worker, others, in_pool)] == [True, True, True]
    foreign = ThreadPool(1)
    assert not foreign.serves(worker)
    lane.release()
    other.release()


def test_a_lane_starts_its_thread_with_the_first_job(core: ThreadPool) -> None:
    lane = Lane(core)
    assert (core.statistics().pinned, core.statistics().threads) == (1, 0)
    assert not lane.has_thread()
    lane._crew.scout.acquire(False)
    job = put(lane, int)
    assert lane.has_thread()  # or is about to
    lane._crew.scout_arrived()
    job.result()
    assert (core.statistics().pinned, core.statistics().threads) == (1, 1)
    worker_of(lane)
    assert lane.has_thread()
    lane.release()


def test_lanes_come_on_top_of_the_size() -> None:
    pool = ThreadPool(1)
    gate = Gate()
    blocked, queued = submit(pool, gate), submit(pool, int)
    gate.wait_begun()
    lanes = [Lane(pool) for _ in range(30)]
    inside = [put(lane, gate, number) for number, lane in enumerate(lanes)]
    gate.wait_begun(30)
    assert not queued.delivered.is_set()
    snapshot = pool.statistics()
    assert (snapshot.size, snapshot.threads, snapshot.busy, snapshot.queued, snapshot.pinned) == (1, 31, 31, 1, 30)
    gate.open()
    assert [job.result() for job in inside] == list(range(30))
    blocked.result()
    queued.result()
    for lane in lanes:
        lane.release()
    end(pool)


def test_a_lane_of_a_pool_without_threads_has_a_thread() -> None:
    pool = ThreadPool(0)
    lane = Lane(pool)
    worker = worker_of(lane)
    assert put(lane, threading.get_ident).result() == worker.ident != threading.get_ident()
    lane.release()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert pool.statistics()[1:] == (0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0)


def test_no_second_thread_while_the_first_is_parked(core: ThreadPool) -> None:
    lane = Lane(core)
    jobs, gate = list[PlainJob](), Gate()

    def outer() -> tuple[int, int, int]:
        worker = current_worker()
        assert worker is not None
        jobs.append(put(lane, threading.get_ident))
        with worker.crew.parking(worker):
            jobs.append(put(lane, threading.get_ident))  # whoever adds a job starts the thread for it, if he may
            gate(None)
            return threading.get_ident(), len(worker.crew.workers), core.statistics().parked

    job = put(lane, outer)
    gate.wait_begun()
    assert submit(core, int).result() == 0
    assert not any(inner.delivered.is_set() for inner in jobs)
    gate.open()
    ident, workers, parked = job.result()
    assert (workers, parked) == (1, 1)
    assert [inner.result() for inner in jobs] == [ident, ident]
    lane.release()


def test_the_thread_of_a_lane_in_use_knows_no_idle_timeout() -> None:
    pool = ThreadPool(1, idle_timeout=0)
    lane = Lane(pool)
    worker = worker_of(lane)
    for _ in range(3):
        submit(pool, current_worker).result().join(PATIENCE)  # a thread of the pool leaves at once
        assert worker_of(lane) is worker
    assert pool.statistics().threads == 1
    lane.release()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert pool.statistics()[:2] == (1, 0)
    end(pool)


# Release


def test_a_released_thread_serves_the_next_lane(core: ThreadPool) -> None:
    lane = Lane(core)
    ident = worker_of(lane).ident
    for _ in range(5):
        lane.release()
        assert (core.statistics().pinned, core.statistics().threads) == (0, 1)
        lane = Lane(core)
        assert worker_of(lane).ident == ident
        assert (core.statistics().pinned, core.statistics().threads) == (1, 1)
    lane.release()


def test_the_thread_of_a_lane_that_is_released_after_the_pool_has_been_dismissed_ends(core: ThreadPool) -> None:
    lane, free = Lane(core), Lane(core)
    worker_of(free)
    free.release()
    worker, ended = worker_of(lane), threading.Event()
    core.dismiss(ended.set)
    assert ended.wait(PATIENCE)
    assert worker_of(lane) is worker
    assert core.statistics().threads == 1
    lane.release()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert core.statistics().threads == 0


def test_a_second_release_does_nothing(core: ThreadPool) -> None:
    lane = Lane(core)
    worker = worker_of(lane)
    lane.release()
    lane.release()
    heir = Lane(core)
    lane.release()
    assert worker_of(heir) is worker
    third = Lane(core)
    assert worker_of(third) is not worker
    assert core.statistics().pinned == 2
    heir.release()
    third.release()
    assert core.statistics().pinned == 0


def test_released_lanes_that_are_too_many_end(core: ThreadPool) -> None:
    lanes = [Lane(core) for _ in range(5)]
    workers = [worker_of(lane) for lane in lanes]
    for lane in lanes:
        lane.release()
    for worker in workers[2:]:  # as many as the size are kept
        worker.join(PATIENCE)
        assert not worker.is_alive()
    assert (core.statistics().pinned, core.statistics().threads) == (0, 2)
    assert {worker_of(Lane(core)) for _ in range(2)} == set(workers[:2])
    core.dismiss(threading.Event().set, with_lanes=True)


def test_a_surplus_lane_is_forgotten_when_it_has_ended() -> None:
    pool = ThreadPool(1, idle_timeout=0)
    for _ in range(20):
        lane = Lane(pool)
        worker = worker_of(lane)
        lane.release()
        worker.join(PATIENCE)
        Lane(pool).release()  # one that never had a thread
    assert len(pool._all_crews()) == 1
    assert pool.statistics()[1:] == (0, 0, 0, 0, 0, 0, 20, 20, 0, 0, 0)


@pytest.mark.parametrize("idle_timeout", [None, 0])
def test_a_lane_that_is_released_runs_what_is_queued(idle_timeout: float | None) -> None:
    pool = ThreadPool(1, idle_timeout=idle_timeout)
    lane = Lane(pool)
    gate = Gate()
    running = put(lane, gate, "running")
    gate.wait_begun()
    queued = [put(lane, threading.get_ident) for _ in range(3)]
    (worker,) = lane._crew.workers
    lane.release()
    assert pool.statistics().queued == 3
    gate.open()
    assert running.result() == "running"
    assert [job.result() for job in queued] == [worker.ident] * 3
    end(pool)
    worker.join(PATIENCE)
    assert pool.statistics()[1:] == (0, 0, 0, 0, 0, 0, 4, 4, 0, 0, 0)


def test_a_released_lane_that_ends_still_counts_as_long_as_it_works() -> None:
    pool = ThreadPool(1, idle_timeout=0)
    lane, other = Lane(pool), Lane(pool)
    gate, ended = Gate(), threading.Event()
    running = put(lane, gate)
    gate.wait_begun()
    lane.release()
    assert (pool.statistics().busy, pool.statistics().queued) == (1, 0)
    other._crew.scout.acquire(False)
    waiting = put(other, int)  # and its thread cannot start yet
    other.release()
    assert (pool.statistics().busy, pool.statistics().queued) == (1, 1)
    pool.dismiss(ended.set)
    gate.open()
    running.result()
    assert not ended.is_set()
    other._crew.scout_arrived()
    assert ended.wait(PATIENCE)
    assert waiting.result() == 0


def test_when_nobody_holds_the_pool_any_more_a_released_thread_ends(core: ThreadPool) -> None:
    lane, free = Lane(core), Lane(core)
    workers = [worker_of(lane), worker_of(free), submit(core, current_worker).result()]
    free.release()
    core.abandon()
    assert worker_of(lane) is workers[0]
    lane.release()
    for worker in workers:
        worker.join(PATIENCE)
        assert not worker.is_alive()


def test_a_new_lane_does_not_queue_behind_a_call_of_a_released_one(core: ThreadPool) -> None:
    lane = Lane(core)
    gate = Gate()
    stuck = put(lane, gate)
    gate.wait_begun()
    lane.release()
    heir = Lane(core)
    assert put(heir, int).result() == 0
    heir.release()
    gate.open()
    stuck.result()


def test_a_lane_that_has_something_to_do_is_not_free(core: ThreadPool) -> None:
    queued, taken = Lane(core), Lane(core)
    queued._crew.scout.acquire(False)
    job = put(queued, int)  # and its thread cannot start yet
    worker = worker_of(taken)
    taken._crew.idle.pop(worker)  # as it is with a job between the queue and the first step of running it
    queued.release()
    taken.release()
    heir = Lane(core)
    assert heir._crew not in (queued._crew, taken._crew)
    taken._crew.idle[worker] = None
    other = Lane(core)
    assert other._crew is taken._crew
    queued._crew.scout_arrived()
    assert job.result() == 0
    heir.release()
    other.release()


def test_after_its_release_a_lane_refuses_jobs(core: ThreadPool) -> None:
    lane = Lane(core)
    put(lane, int).result()
    lane.release()
    with pytest.raises(RuntimeError, match=r"^int was pinned to a thread, which became free when it was closed; open"):
        put(lane, int)
    assert core.statistics().submitted == 1


# Farewells


def test_a_farewell_waits_for_what_the_lanes_have_been_given_so_far(core: ThreadPool) -> None:
    lane, idle, unused = Lane(core), Lane(core), Lane(core)
    idler = worker_of(idle)
    gates, ended = [Gate() for _ in range(3)], threading.Event()
    jobs = [put(lane, gates[0]), put(lane, gates[1])]
    gates[0].wait_begun()
    (worker,) = lane._crew.workers
    farewell = core.dismiss(ended.set)
    jobs.append(put(lane, gates[2]))  # from now on it is not part of it
    assert not ended.is_set()
    gates[0].open()
    gates[1].wait_begun()
    assert not ended.is_set()
    gates[1].open()
    assert ended.wait(PATIENCE)
    gates[2].wait_begun()
    assert (farewell.ended, farewell.milestones) == ([], {})
    gates[2].open()
    for job in jobs:
        job.result()
    assert worker_of(lane) is worker
    assert worker_of(idle) is idler
    assert unused._crew.workers == set()
    assert core.statistics().pinned == 3
    for one in (lane, idle, unused):
        one.release()


def test_a_farewell_to_a_pool_whose_lanes_have_nothing_to_do_is_over_at_once(core: ThreadPool) -> None:
    lane = Lane(core)
    worker = worker_of(lane)
    ended = threading.Event()
    core.dismiss(ended.set)
    assert ended.is_set()
    assert worker_of(lane) is worker
    lane.release()


def test_several_farewells_wait_each_for_its_own_part(core: ThreadPool) -> None:
    lane = Lane(core)
    gates = [Gate() for _ in range(3)]
    ended = [threading.Event() for _ in range(3)]
    jobs = list[PlainJob]()
    for gate, event in zip(gates, ended, strict=True):
        jobs.append(put(lane, gate))
        core.dismiss(event.set)
    for number, gate in enumerate(gates):
        gate.wait_begun()
        assert [event.is_set() for event in ended[number:]] == [False] * (3 - number)
        gate.open()
        assert ended[number].wait(PATIENCE)
    for job in jobs:
        job.result()
    assert core.statistics()[1:] == (1, 1, 0, 0, 0, 0, 3, 3, 0, 0, 1)
    lane.release()


def test_farewells_from_inside_a_job_of_a_lane_do_not_wait_for_that_lane(core: ThreadPool) -> None:
    lane, other = Lane(core), Lane(core)
    gate, ended = Gate(), threading.Event()
    elsewhere = put(other, gate)
    gate.wait_begun()
    jobs = list[PlainJob]()

    def inside() -> bool:
        jobs.append(put(lane, int))
        core.dismiss(ended.set, spared=asking_workers())
        at_once = ended.is_set()
        gate.open()
        return at_once or not ended.wait(PATIENCE)

    assert put(lane, inside).result() is False
    assert [job.result() for job in (*jobs, elsewhere)] == [0, None]
    lane.release()
    other.release()


def test_a_farewell_from_inside_a_released_lane_does_not_wait_for_what_is_queued_there(core: ThreadPool) -> None:
    lane = Lane(core)
    ended, begun = threading.Event(), Gate()

    def inside() -> bool:
        begun()
        lane.release()
        core.dismiss(ended.set, spared=asking_workers())
        return ended.is_set()

    job = put(lane, inside)
    begun.wait_begun()
    queued = put(lane, int)
    begun.open()
    assert job.result() is True
    assert queued.result() == 0


def test_dismiss_ends_free_lanes(core: ThreadPool) -> None:
    lane, free = Lane(core), Lane(core)
    worker, other = worker_of(lane), worker_of(free)
    free.release()
    ended = threading.Event()
    farewell = core.dismiss(ended.set)
    assert ended.wait(PATIENCE)
    join(farewell)
    assert farewell.ended == [other]
    assert (core.statistics().threads, core.statistics().pinned) == (1, 1)
    heir = Lane(core)
    assert worker_of(heir) not in (worker, other)
    heir.release()
    lane.release()


def test_dismiss_waits_for_a_released_lane_that_still_runs(core: ThreadPool) -> None:
    lane = Lane(core)
    gate, ended = Gate(), threading.Event()
    jobs = [put(lane, gate), put(lane, int)]
    gate.wait_begun()
    lane.release()
    farewell = core.dismiss(ended.set)
    assert not ended.is_set()
    gate.open()
    assert ended.wait(PATIENCE)
    join(farewell)
    assert len(farewell.ended) == 1
    assert all(job.delivered.is_set() for job in jobs)


def test_detach_names_the_pinned_call_that_still_runs(core: ThreadPool) -> None:
    lane = Lane(core)
    gate, ended, other_ended = Gate(), threading.Event(), threading.Event()
    running = put(lane, gate)
    gate.wait_begun()
    queued, dropped = put(lane, int), put(lane, int)
    assert dropped.drop()
    lane.dropped()
    lane.submit(Chore(core, int))
    farewell = core.dismiss(ended.set)
    later = put(lane, int)
    core.dismiss(other_ended.set)
    (call,) = core.detach(farewell)
    assert (call.name, call.thread) == ("tests.gate.Gate", "core-1")
    assert "in __call__" in call.stack
    assert farewell.queued() == 1  # neither what was dropped or came later, nor what is no call
    assert (core.statistics().threads, core.statistics().pinned) == (1, 1)  # it is still the lane's
    assert not other_ended.is_set()
    gate.open()
    for job in (running, queued, later):
        job.result()
    assert other_ended.wait(PATIENCE)
    assert farewell.queued() == 0
    assert not ended.is_set()
    assert put(lane, lambda: threading.current_thread().name).result() == "core-1"
    lane.release()


def test_with_lanes_all_of_them_end(core: ThreadPool) -> None:
    lanes = [Lane(core) for _ in range(4)]
    workers = [worker_of(lane) for lane in lanes]
    lanes[0].release()
    gate, ended = Gate(), threading.Event()
    jobs = [put(lanes[1], gate), put(lanes[1], int)]
    gate.wait_begun()
    farewell = core.close(RuntimeError("it is over"), ended.set)
    assert not ended.is_set()
    for use in (lambda: put(lanes[1], int), lambda: Lane(core)):
        with pytest.raises(RuntimeError, match=r"^it is over$"):
            use()
    gate.open()
    assert ended.wait(PATIENCE)
    join(farewell)
    assert [job.result() for job in jobs] == [None, 0]
    assert set(farewell.ended) == set(workers)
    for lane in lanes:
        lane.release()
    assert core.statistics()[1:] == (0, 0, 0, 0, 0, 0, 6, 6, 0, 0, 0)


# What cannot be


def test_jobs_of_a_pool_that_refuses_its_size(core: ThreadPool) -> None:
    lane = Lane(core)
    core.refuse(ValueError("bad size"))
    for use in (lambda: put(lane, int), lambda: Lane(core)):
        with pytest.raises(ValueError, match=r"^bad size$"):
            use()
    assert core.statistics().pinned == 1
    core.set_size(1)
    assert put(lane, int).result() == 0
    lane.release()


@pytest.mark.parametrize("size", [-1, 1.5, "3", None, True])
def test_a_bad_size_leaves_the_lanes_as_they_were(core: ThreadPool, size: Any) -> None:
    lane = Lane(core)
    worker = worker_of(lane)
    for change in (core.set_size, core.resize):
        with pytest.raises(ValueError, match="whole number, 1 or more"):
            change(size)
    assert worker_of(lane) is worker
    lane.release()


def test_a_resize_leaves_lanes_in_use_alone(core: ThreadPool) -> None:
    lane = Lane(core)
    worker = worker_of(lane)
    core.resize(0)
    assert worker_of(lane) is worker
    core.resize(5)
    assert worker_of(lane) is worker
    assert core.statistics().threads == 1
    lane.release()


def test_too_many_lanes(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpool_asyncio._pool.lane.HARD_CAP", 3)
    lanes = [Lane(core) for _ in range(3)]
    with pytest.raises(RuntimeError, match=r"pool 'core' has 3 threads for pinned proxies .* close those that are"):
        Lane(core)
    assert core.statistics().pinned == 3
    lanes.pop().release()
    lanes.append(Lane(core))  # the one that has become free
    while lanes:
        lanes.pop().release()
    lanes = [Lane(core) for _ in range(3)]
    assert core.statistics().pinned == 3
    for lane in lanes:
        lane.release()


def test_a_lane_whose_thread_cannot_be_started(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane(core)
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", cannot_start)
        job = put(lane, int)
        with pytest.raises(RuntimeError, match=r"no thread could be started.*\(can't start new thread\)") as caught:
            job.result()
        assert str(caught.value.__cause__) == "can't start new thread"
    assert core.statistics()[1:] == (0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1)
    assert put(lane, int).result() == 0
    lane.release()


def test_a_job_that_would_wait_for_itself_is_refused(core: ThreadPool) -> None:
    lane, other = Lane(core), Lane(core)
    context, asked, answered = copy_context(), Gate(), threading.Event()

    def asks() -> None:
        worker = current_worker()
        assert worker is not None
        asker = Asker(worker)
        asker.ask_in(context)
        asked()
        asker.answered()
        answered.set()

    job = put(lane, asks)
    asked.wait_begun()
    with pytest.raises(RuntimeError, match=r"^int is pinned to a thread that waits for this very code, so the call"):
        context.run(put, lane, int)
    assert context.run(put, other, int).result() == 0
    outside = put(lane, int)
    dropped = threading.Event()
    context.run(lane.submit, Chore(core, dropped.set))  # for which nobody waits
    asked.open()
    assert answered.wait(PATIENCE)
    assert context.run(put, lane, int).result() == 0
    assert (job.result(), outside.result(), dropped.is_set()) == (None, 0, True)
    lane.release()
    other.release()


def test_a_chain_of_waiting_lanes_is_known(core: ThreadPool) -> None:
    # A job of the first lane waits for code that makes a call of the second lane, which waits for code in turn.
    first, second = Lane(core), Lane(core)

    def ask(inner: Callable[[Context], Any]) -> Any:
        worker = current_worker()
        assert worker is not None
        asker, context = Asker(worker), copy_context()
        asker.ask_in(context)
        try:
            return inner(context)
        finally:
            asker.answered()

    def innermost() -> tuple[int, list[str]]:
        messages = list[str]()
        for lane in (first, second):
            with pytest.raises(RuntimeError, match="would wait for itself") as caught:
                put(lane, int)
            messages.append(str(caught.value))
        return len(waiting_workers()), messages

    def in_second() -> Any:
        return ask(lambda context: context.run(innermost))

    def in_first() -> Any:
        return ask(lambda context: context.run(lambda: put(second, in_second).result()))

    waiting, messages = put(first, in_first).result()
    assert (waiting, len(messages)) == (2, 2)
    assert waiting_workers() == []
    first.release()
    second.release()


# Statistics


def test_statistics_of_lanes_are_exact(core: ThreadPool) -> None:
    lanes = [Lane(core) for _ in range(3)]
    gate = Gate()
    jobs = [put(lane, gate) for lane in lanes[:2]] + [submit(core, gate)]
    gate.wait_begun(3)
    jobs += [put(lanes[0], int), put(lanes[0], int)]
    with pytest.raises(ZeroDivisionError):
        put(lanes[2], divmod, 1, 0).result()
    dropped = put(lanes[1], int)
    assert dropped.drop()
    lanes[1].dropped()
    snapshot = core.statistics()
    assert snapshot == (2, 4, 1, 3, 0, 0, 2, 7, 0, 1, 1, 3)
    gate.open()
    for job in jobs:
        job.result()
    assert core.statistics()[2:] == (4, 0, 0, 0, 0, 7, 5, 1, 1, 3)
    for lane in lanes:
        lane.release()
    assert core.statistics().pinned == 0
    end(core)
    while core.statistics().threads:
        pass
    assert core.statistics() == (2, 0, 0, 0, 0, 0, 0, 7, 5, 1, 1, 0)


def test_chores_are_not_counted_and_their_errors_are_logged(core: ThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    lane = Lane(core)
    seen, done = list[object](), threading.Semaphore(0)
    variable = ContextVar("variable", default="default")
    variable.set("of the maker")
    for chore in (
        Chore(core, lambda: seen.append(variable.get()), done=done.release),
        Chore(core, lambda: seen.append(variable.get()), context=copy_context(), done=done.release),
        Chore(core, divmod, 1, 0, done=done.release),
    ):
        lane.submit(chore)
        assert done.acquire(timeout=PATIENCE)
        assert (chore.fn, chore.args, chore.context, chore.error, chore.done) == (None, None, None, None, None)
    assert seen == ["default", "of the maker"]
    (record,) = caplog.records
    assert record.getMessage() == "divmod raised an exception for which nobody waits"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert core.statistics()[7:] == (0, 0, 0, 0, 1)
    gate = Gate()
    lane.submit(Chore(core, gate, done=done.release))
    gate.wait_begun()
    assert core.statistics()[1:6] == (1, 1, 0, 0, 0)
    gate.open()
    assert done.acquire(timeout=PATIENCE)
    put(lane, int).result()
    assert core.statistics()[7:] == (1, 1, 0, 0, 1)
    lane.release()
    end(core)
    assert core.statistics()[7:] == (1, 1, 0, 0, 0)
