"""The pool floor: the end of crews, and what comes after."""

import threading
import warnings

import pytest

from tests.gate import PATIENCE, Gate
from tests.plain_job import PlainJob, crew_of, end, join, submit
from tpool_asyncio._pool.asking import asking_workers
from tpool_asyncio._pool.still_running import running_calls
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import current_worker


def test_a_job_that_reaches_a_pool_while_its_size_becomes_0(core: ThreadPool) -> None:
    for become_0 in (core.resize, core.set_size):
        stale = core.submit
        become_0(0)
        job = PlainJob(threading.get_ident)
        stale(job)
        assert job.result() != threading.get_ident()
        core.resize(2)
    assert core.statistics().completed == 2


def test_dismiss_runs_what_is_queued_and_the_next_job_starts_afresh(core: ThreadPool) -> None:
    gate, ended = Gate(), threading.Event()
    jobs = [submit(core, gate, number) for number in range(5)]
    gate.wait_begun(2)
    old = set(crew_of(core).workers)
    farewell = core.dismiss(ended.set)
    assert submit(core, current_worker).result() not in old
    assert not ended.is_set()
    gate.open()
    assert ended.wait(PATIENCE)
    join(farewell)
    assert [job.result() for job in jobs] == list(range(5))
    assert not any(worker.is_alive() for worker in old)
    assert core.statistics().completed == 6


def test_dismiss_twice_and_with_nothing_to_do(core: ThreadPool) -> None:
    end(core)
    gate, both = Gate(), threading.Semaphore(0)
    job = submit(core, gate)
    gate.wait_begun()
    core.dismiss(both.release)
    core.dismiss(both.release)
    assert not both.acquire(timeout=0)
    gate.open()
    assert both.acquire(timeout=PATIENCE)
    assert both.acquire(timeout=PATIENCE)
    job.result()


def test_two_that_ask_from_inside_a_call_do_not_wait_for_each_other(core: ThreadPool) -> None:
    both = threading.Barrier(2)

    def inside() -> bool:
        ended = threading.Event()
        both.wait(PATIENCE)
        core.dismiss(ended.set, spared=asking_workers())
        return ended.wait(PATIENCE)

    jobs = [submit(core, inside) for _ in range(2)]
    assert [job.result() for job in jobs] == [True, True]


def test_sizes_concern_the_crew_that_takes_the_calls(core: ThreadPool) -> None:
    gate, ended = Gate(), threading.Event()
    job = submit(core, gate)
    gate.wait_begun()
    core.dismiss(ended.set)
    core.resize(3)
    core.start_all()
    assert core.statistics().threads == 1 + 3
    core.set_size(4)
    core.start_all()
    assert core.statistics().threads == 1 + 4
    gate.open()
    job.result()
    assert ended.wait(PATIENCE)


def test_crews_that_have_ended_are_forgotten(core: ThreadPool) -> None:
    for _ in range(3):
        core.dismiss(lambda: None)
    assert core._crews == [crew_of(core)]
    submit(core, int).result()
    end(core)
    assert core._crews == [crew_of(core)]


def test_a_crew_whose_only_thread_is_still_to_be_started_is_not_forgotten(core: ThreadPool) -> None:
    crew, ended = crew_of(core), threading.Event()
    crew.scout.acquire(False)
    job = submit(core, int)  # and no scout can go yet
    core.dismiss(ended.set)
    assert core.statistics().queued == 1
    assert not ended.is_set()
    crew.scout_arrived()
    assert job.result() == 0
    assert ended.wait(PATIENCE)


def test_a_worker_of_the_next_crew_ends_while_a_farewell_waits() -> None:
    pool = ThreadPool(1, idle_timeout=0)
    gate, ended = Gate(), threading.Event()
    job = submit(pool, gate)
    gate.wait_begun()
    farewell = pool.dismiss(ended.set)
    submit(pool, current_worker).result().join(PATIENCE)
    assert (ended.is_set(), farewell.ended) == (False, [])
    gate.open()
    job.result()
    assert ended.wait(PATIENCE)
    assert len(farewell.ended) == 1
    join(farewell)
    end(pool)


def test_detach_names_what_runs_and_completes_the_farewells_of_others(core: ThreadPool) -> None:
    gate, ended, other_ended = Gate(), threading.Event(), threading.Event()
    jobs = [submit(core, gate), submit(core, gate)]
    gate.wait_begun(2)
    farewell = core.dismiss(ended.set)
    core.dismiss(other_ended.set)
    calls = core.detach(farewell)
    assert [call.name for call in calls] == ["tests.gate.Gate"] * 2
    assert {call.thread for call in calls} == {"core-1", "core-2"}
    assert all("run_job" not in call.stack for call in calls)
    assert all("in __call__" in call.stack and "in thread core" in str(call) for call in calls)
    assert other_ended.wait(PATIENCE)
    assert not ended.is_set()
    assert (core.statistics().threads, core.statistics().submitted) == (0, 2)
    gate.open()
    for job in jobs:
        job.result()
    while core.statistics().completed < 2:
        pass
    assert core.statistics().submitted == 2


def test_a_worker_that_runs_nothing_is_not_named(core: ThreadPool) -> None:
    worker = submit(core, current_worker).result()
    while worker.job is not None:
        pass
    assert running_calls([worker]) == []


def test_stacks_that_cannot_be_written_down_are_left_out(core: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    gate = Gate()
    job = submit(core, gate)
    gate.wait_begun()
    monkeypatch.setattr("faulthandler.dump_traceback", refuses)
    (call,) = running_calls(core.workers())
    assert (call.name, call.stack) == (job.name, "")
    gate.open()
    job.result()


def test_the_stack_of_a_call_begins_with_its_function_and_shows_its_lines(core: ThreadPool) -> None:
    gate = Gate()

    def outer() -> object:
        return inner()

    def inner() -> object:
        return gate()

    job = submit(core, outer)
    gate.wait_begun()
    (call,) = running_calls(core.workers())
    lines = call.stack.splitlines()
    assert lines[0].startswith(f'  File "{__file__}", line ')
    assert lines[0].endswith(", in outer")
    assert lines[1].strip() == "return inner()"
    assert any(line.endswith(", in inner") for line in lines)
    gate.open()
    job.result()


def test_close_refuses_further_calls(core: ThreadPool) -> None:
    gate = Gate()
    job = submit(core, gate)
    gate.wait_begun()
    ended = threading.Event()
    core.close(RuntimeError("over"), ended.set)
    with pytest.raises(RuntimeError, match="over"):
        submit(core, int)
    gate.open()
    job.result()
    assert ended.wait(PATIENCE)


def test_refuse_until_a_size_is_set(core: ThreadPool) -> None:
    stale = core._refuse
    core.refuse(ValueError("bad size"))
    for _ in range(2):
        with pytest.raises(ValueError, match="bad size"):
            submit(core, int)
    core.set_size(1)
    assert submit(core, int).result() == 0
    job = PlainJob(int)
    stale(job)  # what a thread does that loaded it just before the size was set
    assert job.result() == 0


def test_a_call_in_place_that_ends_while_a_farewell_waits() -> None:
    pool = ThreadPool(0)
    gate, ended = Gate(), threading.Event()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        in_place = threading.Thread(target=submit, args=(pool, gate))
        in_place.start()
        gate.wait_begun()
    pool.resize(1)
    other_gate = Gate()
    job = submit(pool, other_gate)
    other_gate.wait_begun()
    farewell = pool.dismiss(ended.set)
    gate.open()
    in_place.join(PATIENCE)
    other_gate.open()
    job.result()
    assert ended.wait(PATIENCE)
    join(farewell)
    assert pool.statistics().completed == 2
