"""What becomes of objects that are dropped in the thread of a lane, whatever that thread is doing."""

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.lane_jobs import put, worker_of
from tests.plain_job import PlainJob, end
from tpool_asyncio._pool import lane as lane_module
from tpool_asyncio._pool.lane import Lane, _LaneCrew
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.worker import Worker


class Dies:
    """Notes in which thread it is destroyed."""

    def __init__(self, ends: list[int]) -> None:
        self._ends = ends

    def __del__(self) -> None:
        self._ends.append(threading.get_ident())


def wait_for(condition: Callable[[], object]) -> None:
    """Wait, blocking, without running anything in the lane."""
    pause = threading.Event()
    for _ in range(int(PATIENCE * 1_000)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it never came to that")


def asleep(lane: Lane) -> int:
    """Wait until the thread of a lane sleeps until it is woken; return its identity."""
    ident = put(lane, threading.get_ident).result()
    worker = worker_of(lane)
    wait_for(lambda: not lane._crew.dozing and worker in lane._crew.idle)
    assert isinstance(ident, int)
    return ident


@pytest.fixture
def lane(core: ThreadPool) -> Lane:
    return Lane(core)


def test_dropped_while_the_thread_sleeps(lane: Lane) -> None:
    ends = list[int]()
    ident = asleep(lane)
    lane.discard([Dies(ends)])
    wait_for(lambda: ends)
    assert ends == [ident]
    assert not lane._crew.trash
    lane.release()


def test_dropped_before_the_thread_was_started(lane: Lane) -> None:
    ends = list[int]()
    lane.discard([Dies(ends)])
    wait_for(lambda: ends)
    assert ends == [put(lane, threading.get_ident).result()]
    lane.release()


def test_dropped_while_the_pool_refuses_calls(core: ThreadPool, lane: Lane) -> None:
    ends = list[int]()
    ident = asleep(lane)
    core.refuse(ValueError("bad size"))
    lane.discard([Dies(ends)])
    core.set_size(1)
    lane.discard([Dies(ends)])
    wait_for(lambda: len(ends) == 2)
    assert set(ends) == {ident}
    lane.release()


def test_dropped_while_the_thread_dozes_costs_no_chore(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "_DOZE", PATIENCE)
    ends = list[int]()
    ident = asleep(lane)
    lane.discard([Dies(ends)])
    wait_for(lambda: ends and lane._crew.idle)
    lane.discard([Dies(ends)])
    assert (len(ends), len(lane._crew.trash), len(lane._crew.queue)) == (1, 1, 0)
    put(lane, int).result()  # after which it goes idle
    wait_for(lambda: len(ends) == 2)
    assert set(ends) == {ident}
    lane.release()


def test_dropped_while_the_thread_dozes_goes_at_the_end_of_that(lane: Lane) -> None:
    ends = list[int]()
    ident = asleep(lane)
    lane.discard([Dies(ends)])
    wait_for(lambda: ends)
    lane.discard([Dies(ends)])
    wait_for(lambda: len(ends) == 2)
    assert set(ends) == {ident}
    wait_for(lambda: not lane._crew.dozing)
    assert lane._crew.idle_timeout == -1  # from now on the thread waits for ever
    lane.release()


def test_many_dropped_while_the_thread_never_rests(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    # There is always another job in the queue, so it does not go idle; yet the trash does not grow for ever.
    monkeypatch.setattr(lane_module, "_DOZE", PATIENCE)
    ends = list[int]()
    ident = asleep(lane)
    gates = [Gate(), Gate()]
    jobs = [put(lane, gate) for gate in gates]
    gates[0].wait_begun()
    lane.discard([Dies(ends)])  # its chore comes after both
    for _ in range(198):
        lane.discard([Dies(ends)])
    lane.discard([Dies(ends)])
    assert len(lane._crew.queue) == 1 + 3  # a job, and chores for the first, the 100th and the 200th
    last = Gate()
    jobs.append(put(lane, last))
    for gate in gates:
        gate.open()
    last.wait_begun()  # it has not been idle in between
    assert len(ends) == 200
    assert set(ends) == {ident}
    last.open()
    for job in jobs:
        job.result()
    lane.release()


def test_dropped_after_the_lane_was_released_and_its_thread_waits_for_another(core: ThreadPool, lane: Lane) -> None:
    ends = list[int]()
    ident = asleep(lane)
    lane.release()
    lane.discard([Dies(ends)])
    wait_for(lambda: ends)
    assert ends == [ident]
    assert core.statistics().pinned == 0


def test_dropped_after_the_lane_was_released_while_its_thread_is_busy(lane: Lane) -> None:
    ends, gate = list[int](), Gate()
    job = put(lane, gate)
    gate.wait_begun()
    lane.release()
    lane.discard([Dies(ends)])
    assert ends == []
    gate.open()
    job.result()
    wait_for(lambda: ends)
    assert ends != [threading.get_ident()]


def test_dropped_when_the_thread_is_about_to_end(core: ThreadPool) -> None:
    # As in a pool that keeps no idle threads: the lane is retired when it is released.
    core.lanes.keeps_free = False
    lane, ends, gate = Lane(core), list[int](), Gate()
    ident = put(lane, threading.get_ident).result()
    worker = worker_of(lane)
    job = put(lane, gate)
    gate.wait_begun()
    lane.discard([Dies(ends)])
    lane.release()
    lane.discard([Dies(ends)])
    gate.open()
    job.result()
    worker.join(PATIENCE)
    assert ends == [ident] * 2
    assert not lane.has_thread()


def test_dropped_when_the_thread_has_been_sent_away(core: ThreadPool) -> None:
    core.lanes.keeps_free = False
    lane, ends = Lane(core), list[int]()
    crew = lane._crew
    worker = Worker(crew, "nobody", scouting=False)
    crew.workers.add(worker)
    lane.release()
    assert crew.excuse(worker)
    lane.discard([Dies(ends)])
    assert not crew.queue, "nobody is there who would do a chore"
    crew.leave(worker)
    assert ends == [threading.get_ident()]


def test_dropped_when_the_thread_has_ended(core: ThreadPool) -> None:
    core.lanes.keeps_free = False
    lane, ends = Lane(core), list[int]()
    worker = worker_of(lane)
    lane.release()
    worker.join(PATIENCE)
    lane.discard([Dies(ends)])  # by somebody who came too late to see it
    assert not lane.has_thread()
    assert core.statistics().threads == 0, "a thread must not be started for the dead"
    del lane, worker
    gc.collect()
    assert ends == [threading.get_ident()]


def test_dropped_when_the_pool_takes_no_more(core: ThreadPool, lane: Lane) -> None:
    ends = list[int]()
    ident = put(lane, threading.get_ident).result()
    worker = worker_of(lane)
    gate = Gate()
    job = put(lane, gate)
    gate.wait_begun()
    core.close(RuntimeError("closed"), int)
    lane.discard([Dies(ends)])
    gate.open()
    job.result()
    worker.join(PATIENCE)
    assert ends == [ident]


@pytest.mark.parametrize("moment", ["before it stops dozing", "before it empties the trash", "after that"])
def test_dropped_while_the_thread_stops_dozing(core: ThreadPool, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    # (1) An object goes to the trash, (2) and it is looked whether the worker dozes; (3) the worker stops dozing, (4)
    # and empties the trash. The object is destroyed whether (1) and (2) come before (3), between (3) and (4), or after.
    reached, go_on = threading.Event(), threading.Event()
    armed = threading.Event()

    def pause() -> None:
        if armed.is_set():
            armed.clear()
            reached.set()
            assert go_on.wait(PATIENCE)

    class Pausing(_LaneCrew):
        _dozing: bool
        _stopping: bool

        @property
        def dozing(self) -> bool:
            return self._dozing

        @dozing.setter
        def dozing(self, value: bool) -> None:
            stops = hasattr(self, "_dozing") and self._dozing and not value
            if stops and moment == "before it stops dozing":
                pause()
            self._dozing = value
            self._stopping = stops

        def empty_trash(self) -> None:
            stopping, self._stopping = self._stopping, False
            if stopping and moment == "before it empties the trash":
                pause()
            super().empty_trash()
            if stopping and moment == "after that":
                pause()

    monkeypatch.setattr(lane_module, "_LaneCrew", Pausing)
    lane, ends = Lane(core), list[int]()
    ident = asleep(lane)
    armed.set()
    lane.discard([Dies(ends)])  # has it doze once more
    wait_for(lambda: len(ends) == 1)
    assert reached.wait(PATIENCE)
    lane.discard([Dies(ends)])
    go_on.set()
    wait_for(lambda: len(ends) == 2)
    assert set(ends) == {ident}
    lane.release()


def test_threads_that_drop_at_once(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "_DOZE", 0.0005)
    ends = list[int]()
    ident = asleep(lane)
    begin = threading.Barrier(4)

    def drop() -> None:
        pause = threading.Event()
        begin.wait(PATIENCE)
        for number in range(300):
            lane.discard([Dies(ends)])
            if number % 3 == 0:
                pause.wait(0.0005)

    threads = [threading.Thread(target=drop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    wait_for(lambda: len(ends) == 1_200)  # with no further call that would wake it
    assert set(ends) == {ident}
    lane.release()


def test_an_object_that_drops_another_when_it_is_destroyed(lane: Lane) -> None:
    ends = list[int]()

    class Holds:
        def __init__(self, held: Any) -> None:
            self._held = held

        def __del__(self) -> None:
            lane.discard([self._held])

    ident = asleep(lane)
    lane.discard([Holds(Dies(ends))])
    wait_for(lambda: ends)
    assert ends == [ident]
    lane.release()


def test_chores_for_the_trash_are_not_counted(core: ThreadPool, lane: Lane) -> None:
    ends, gate = list[int](), Gate()
    job = put(lane, gate)
    gate.wait_begun()
    before = core.statistics()
    lane.discard([Dies(ends)])
    assert len(lane._crew.queue) == 1
    assert core.statistics() == before
    gate.open()
    job.result()
    wait_for(lambda: ends and lane._crew.at_rest())
    statistics = core.statistics()
    assert (statistics.submitted, statistics.completed, statistics.queued) == (1, 1, 0)
    lane.release()
    end(core)


def test_a_caller_does_not_wait_for_destructors(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waking(PlainJob):
        def deliver(self) -> Callable[[], object]:  # type: ignore[override]
            return self.delivered.set

    class Slow:
        def __del__(self) -> None:
            woken.append(job.delivered.is_set())

    woken = list[bool]()
    asleep(lane)
    lane._crew.dozing = True  # so what is dropped waits until the worker goes idle
    job = Waking(lambda: lane.discard([Slow()]))
    lane.submit(job)
    job.result()
    wait_for(lambda: woken)
    assert woken == [True]
    lane.release()
