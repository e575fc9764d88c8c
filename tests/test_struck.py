"""Exceptions out of signal handlers, in the middle of what hands a job to the pool.

The interpreter looks for signals when a function begins, after each call, and when it jumps back. Tracing raises the
exception at one after another of these points. Whatever was struck, the pool has to have the use of all its threads
afterwards.
"""

import gc
import opcode
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor, _base
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tests.hand_executor import HandExecutor, InPlaceExecutor
from tests.plain_job import PlainJob, crew_of, end, submit
from tpool_asyncio import tpool
from tpool_asyncio._pool import crew, engine, executor_future, thread_pool, ticket, worker
from tpool_asyncio._pool.engine import Engine
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio._pool.ticket import Ticket
from tpool_asyncio._pool.worker import Worker, current_worker

FILES = {module.__file__ for module in (crew, engine, thread_pool, ticket, worker)}


POINTS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD"}


class Blow(BaseException):
    """What the handler raises."""


def struck(number: int, body: Callable[[], object]) -> bool:
    """Run this and raise at the point of the pool's code that has this number; return False if there is none.

    In a thread of its own: an exception that tracing raises at the end of an ``except`` leaves CPython with the one
    that was handled there, and all that are raised in that thread later get it as their context.
    """
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_struck, number, body).result()


def _struck(number: int, body: Callable[[], object]) -> bool:
    count = 0
    struck = False
    last: dict[FrameType, str] = {}

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count, struck
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not struck:
            before, last[frame] = last.get(frame), opcode.opname[frame.f_code.co_code[frame.f_lasti]]
            count += before in POINTS
            if count > number:
                struck = True
                raise Blow
        return trace

    before = sys.gettrace()
    gc.disable()  # it would let go of pools of other tests, and what strikes there reaches nobody
    sys.settrace(trace)
    try:
        body()
    except Blow:
        assert struck
    else:
        assert not struck, "the exception was kept from who called"
    finally:
        sys.settrace(before)
        gc.enable()
    return struck


def has_all_its_threads(pool: ThreadPool, number: int) -> None:
    """Check that so many jobs can run at once, and no more."""
    gate = Gate()
    jobs = [submit(pool, gate) for _ in range(number + 1)]
    gate.wait_begun(number)
    assert pool.statistics().threads == number
    gate.open()
    for job in jobs:
        job.result()
    assert submit(pool, current_worker).result() in crew_of(pool).workers


def submits(pool: ThreadPool) -> None:
    crew_of(pool).submit(PlainJob(int))


def stirs(pool: ThreadPool) -> None:
    crew_of(pool).stir()


def warm_up() -> None:
    """Python 3.12 traces a function from the second time on."""
    pool = ThreadPool(1)
    for body in (submits, stirs):
        struck(sys.maxsize, partial(body, pool))
    end(pool)


@pytest.mark.parametrize("body", [submits, stirs])
@pytest.mark.parametrize("idle", [0, 1, 2])
def test_no_thread_and_no_wake_up_is_lost_wherever_it_strikes(idle: int, body: Callable[[ThreadPool], None]) -> None:
    number = 0
    warm_up()
    while True:
        pool = ThreadPool(2)
        gate = Gate()
        jobs = [submit(pool, gate) for _ in range(idle)]
        gate.wait_begun(idle)
        gate.open()
        for job in jobs:
            job.result()
        while len(crew_of(pool).idle) < idle:
            pass
        if body is stirs:
            crew_of(pool).queue.append(PlainJob(int))
        happened = struck(number, partial(body, pool))
        while crew_of(pool).queue:
            pass  # what has been queued is run without any further job
        has_all_its_threads(pool, 2)
        end(pool)
        if not happened:
            break
        number += 1
    assert number > 3


def test_a_second_blow_loses_no_job_either() -> None:
    class FirstBlow(BaseException):
        pass

    class StruckQueue(deque[Any]):
        blows = 1

        def append(self, job: Any) -> None:
            super().append(job)
            if self.blows:
                self.blows = 0
                raise FirstBlow

    def submits_struck(pool: ThreadPool) -> None:
        with suppress(FirstBlow):
            submits(pool)

    warm_up()
    number = 1  # before it is the step after the blow itself, where the interpreter does not look for signals
    happened = True
    while happened:
        pool = ThreadPool(2)
        crew_of(pool).queue = StruckQueue()
        happened = struck(number, partial(submits_struck, pool))
        while crew_of(pool).queue:
            pass  # what has been queued is run without any further job
        has_all_its_threads(pool, 2)
        end(pool)
        number += 1
    assert number > 3


def test_it_strikes_a_lock_of_threading(monkeypatch: pytest.MonkeyPatch) -> None:
    # A condition that is struck while it waits releases a lock that it does not hold. That is no failed start.
    start = Worker.start
    blows = [Blow()]

    def struck_start(self: Worker) -> None:
        if not blows:
            return start(self)
        try:
            raise blows.pop()
        finally:
            threading.Lock().release()

    monkeypatch.setattr(Worker, "start", struck_start)
    pool = ThreadPool(2)
    with pytest.raises(Blow):
        submit(pool, int)
    has_all_its_threads(pool, 2)
    end(pool)


def test_an_error_that_the_caller_handles_is_no_blow(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Worker) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Worker, "start", fail)
    pool = ThreadPool(1)
    try:
        raise LookupError
    except LookupError:
        with pytest.raises(RuntimeError, match="can't start"):
            pool.start_all()
    end(pool)


@pytest.mark.parametrize("alive", [True, False])
def test_it_strikes_while_a_thread_is_being_started(alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Worker.start
    blows = [Blow()]

    def struck_start(self: Worker) -> None:
        if not alive and blows:
            raise blows.pop()
        start(self)
        if blows:
            raise blows.pop()

    monkeypatch.setattr(Worker, "start", struck_start)
    pool = ThreadPool(1)
    with pytest.raises(Blow):
        submit(pool, int)
    has_all_its_threads(pool, 1)
    end(pool)


def test_it_strikes_while_a_farewell_is_said() -> None:
    told = list[str]()

    def done() -> None:
        told.append("told")
        if len(told) == 1:
            raise Blow
        raise RuntimeError("release unlocked lock")  # as who hears it a second time may

    pool = ThreadPool(1)
    with pytest.raises(Blow):
        pool.dismiss(done)
    assert len(told) == 2
    end(pool)


def test_a_thread_that_comes_up_after_it_was_given_up_serves_nobody() -> None:
    pool = ThreadPool(1)
    late = Worker(crew_of(pool), "late", scouting=True)
    crew_of(pool).workers.add(late)
    assert late.give_up()
    assert late.give_up()
    late.start()
    late.join(PATIENCE)
    assert not late.is_alive()
    crew_of(pool)._recover()  # finds it, in case that the thread that gave it up was struck once more
    assert not crew_of(pool).workers
    has_all_its_threads(pool, 1)
    end(pool)


def test_a_thread_that_lives_is_not_given_up() -> None:
    pool = ThreadPool(1)
    submit(pool, int).result()
    (living,) = crew_of(pool).workers
    assert not living.give_up()
    end(pool)


def test_to_recover_when_nothing_is_wrong_does_no_harm() -> None:
    pool = ThreadPool(4)
    stop = threading.Event()

    def recover() -> None:
        crew_of(pool).struck = True
        while not stop.is_set():
            crew_of(pool)._recover()

    thread = threading.Thread(target=recover)
    thread.start()
    for turn in range(300):
        jobs = [submit(pool, pow, 2, number) for number in range(turn % 8)]
        assert [job.result() for job in jobs] == [2**number for number in range(turn % 8)]
    stop.set()
    thread.join()
    has_all_its_threads(pool, 4)
    end(pool)


@pytest.mark.parametrize("struck_when", ["before it rests", "while it rests"])
def test_a_worker_that_is_rung_by_mistake_is_not_idle_when_it_works(struck_when: str) -> None:
    # Whoever takes it out of ``idle`` would give it the token, and no other worker would be woken until it rests again.
    pool = ThreadPool(1)
    crew_of(pool).struck = struck_when == "before it rests"
    working = submit(pool, current_worker).result()
    while working not in crew_of(pool).idle:
        pass
    crew_of(pool).struck = True
    gate = Gate()
    job = PlainJob(gate)
    crew_of(pool).queue.append(job)
    working.ring()
    gate.wait_begun()
    assert not crew_of(pool).idle
    gate.open()
    job.result()
    has_all_its_threads(pool, 1)
    end(pool)


def test_a_worker_that_nobody_rings_looks_up_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # (1) A thread is struck, and again whenever it tries to make that good: it has the token, and has taken the only
    # worker out of ``idle``. (2) The job of another thread is queued without either.
    monkeypatch.setattr(crew, "_LOOK_AGAIN", 0.01)
    pool = ThreadPool(1)
    crew_of(pool).struck = True
    submit(pool, int).result()
    while not crew_of(pool).idle:
        pass
    crew_of(pool).scout.acquire(False)
    crew_of(pool).idle.popitem()
    assert submit(pool, len, "abc").result() == 3
    has_all_its_threads(pool, 1)
    end(pool)


def test_idle_threads_leave_in_time_although_they_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_LOOK_AGAIN", 0.01)
    pool = ThreadPool(1, idle_timeout=0.03)
    crew_of(pool).struck = True
    submit(pool, int).result()
    while crew_of(pool).workers:
        pass
    assert submit(pool, len, "abc").result() == 3
    end(pool)


class Resting:
    """A worker without a thread, whose bell is not rung; the test tells what happens during each nap."""

    def __init__(self, idle_timeout: float | None, events: list[Callable[["Resting"], object]]) -> None:
        self.pool = ThreadPool(1, idle_timeout=idle_timeout)
        self.crew = crew_of(self.pool)
        self.crew.struck = True
        self.worker = Worker(self.crew, "nobody", scouting=False)
        self.worker.bell = self  # type: ignore[assignment]
        self.events = events
        self.naps: list[float] = []

    def acquire(self, blocking: bool, timeout: float) -> bool:
        self.naps.append(timeout)
        self.events.pop(0)(self)
        return False

    def rest(self) -> bool | None:
        return self.crew.rest(self.worker)


def nothing(resting: Resting) -> None:
    pass


@pytest.mark.parametrize(
    ("idle_timeout", "naps"), [(0, [0]), (0.3, [0.3]), (0.5, [0.5]), (1, [0.5, 0.5]), (1.2, [0.5, 0.5, 0.5])]
)
def test_naps_make_up_the_idle_time(idle_timeout: float, naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_LOOK_AGAIN", 0.5)
    resting = Resting(idle_timeout, [nothing] * len(naps))
    assert resting.rest() is None
    assert resting.naps == naps
    assert not resting.crew.idle


@pytest.mark.parametrize(
    "event",
    [
        lambda resting: resting.crew.queue.append(PlainJob(int)),
        lambda resting: setattr(resting.crew, "dismissing", True),
        lambda resting: resting.crew.idle.popitem(),
    ],
    ids=["a job", "a dismissal", "taken out"],
)
def test_what_a_worker_sees_that_looks_up(event: Callable[[Resting], object]) -> None:
    resting = Resting(None, [nothing, nothing, event])
    assert resting.rest() is True
    assert resting.naps == [crew._LOOK_AGAIN] * 3
    assert not resting.crew.idle


def test_a_worker_is_taken_out_when_its_last_nap_is_over() -> None:
    # (1) It looks up, and sees no reason to go on. (2) Somebody with the token takes it out of ``idle``. (3) Its idle
    # time is over, but it must not leave, and has the token.
    class Taken(dict[Any, None]):
        def pop(self, *args: Any) -> Any:
            self.clear()
            return super().pop(*args)

    resting = Resting(0, [nothing])
    resting.crew.idle = Taken()
    assert resting.rest() is True


# The slow paths


def everywhere(strikes: Callable[[int], bool]) -> None:
    """Have something struck at one point after another, until there is none left."""
    strikes(sys.maxsize)  # to warm up, see above
    number = 0
    while strikes(number):
        number += 1
    assert number > 3


def dismisses(pool: ThreadPool) -> None:
    pool.dismiss(lambda: None)


def does_without_threads(pool: ThreadPool) -> None:
    pool.resize(0)


@pytest.mark.parametrize("body", [dismisses, does_without_threads])
def test_there_is_a_crew_to_take_calls_wherever_it_strikes(body: Callable[[ThreadPool], None]) -> None:
    def strikes(number: int) -> bool:
        pool = ThreadPool(2)
        submit(pool, int).result()
        happened = struck(number, partial(body, pool))
        assert not crew_of(pool).retired
        pool.resize(1)
        submit(pool, int).result()
        end(pool)
        return happened

    everywhere(strikes)


def test_a_sweep_loses_no_job_wherever_it_strikes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_SWEEP_FROM", 2)

    def strikes_in_sweep(number: int) -> bool:
        pool = ThreadPool(1)
        gate = Gate()
        blocker = submit(pool, gate)
        gate.wait_begun()
        jobs = [submit(pool, int) for _ in range(4)]
        for job in jobs[::2]:
            assert job.drop()
        pool.dropped()
        happened = struck(number, pool.dropped)
        assert pool.statistics().queued == 2
        gate.open()
        for job in (blocker, *jobs[1::2]):
            job.result()
        end(pool)
        return happened

    everywhere(strikes_in_sweep)


def test_who_waits_for_the_end_of_threads_is_told_wherever_it_strikes(monkeypatch: pytest.MonkeyPatch) -> None:
    def strikes(number: int) -> bool:
        pool, told = ThreadPool(1), list[bool]()
        gate = Gate()
        job = submit(pool, gate)
        gate.wait_begun()
        farewell = pool.dismiss(lambda: told.append(True))
        with monkeypatch.context() as patch:
            patch.setattr(pool, "bid_farewell", lambda: None)  # by the worker, which is late
            gate.open()
            job.result()
            while not farewell.ended:
                pass
            farewell.ended[0].join(PATIENCE)
        happened = struck(number, pool.bid_farewell)
        pool.bid_farewell()
        assert told
        return happened

    everywhere(strikes)


def test_who_waits_for_a_future_that_is_being_cancelled_is_told_wherever_it_strikes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cancels(sentence: Callable[[Callable[[], object]], bool]) -> bool:
        executor = tpool.executor(pool)
        gate = Gate()
        running = executor.submit(gate)
        gate.wait_begun()
        future = executor.submit(int)
        happened = sentence(future.cancel)
        gate.open()
        with suppress(CancelledError):
            assert future.result(PATIENCE) == 0
        running.result()
        ended = threading.Thread(target=executor.shutdown, daemon=True)
        ended.start()
        ended.join(PATIENCE)
        assert not ended.is_alive()
        return happened

    pool = tpool.Pool(1)
    monkeypatch.setattr("tests.test_struck.FILES", {executor_future.__file__})
    for _ in range(2):  # see `warm_up`
        cancels(partial(struck, sys.maxsize))
    number = 0
    while cancels(partial(struck, number)):
        number += 1
    assert number > 5
    end(pool._core)


def end_engine(engine: Engine) -> None:
    ended = threading.Event()
    parting = engine.dismiss(ended.set)
    assert ended.wait(PATIENCE)
    while parting.ending():
        pass


def test_an_engine_goes_on_handing_calls_over_wherever_it_strikes() -> None:
    happened, number = True, 0
    for _ in range(2):  # see `warm_up`
        engine = Engine(InPlaceExecutor)
        struck(sys.maxsize, partial(engine.submit, PlainJob(int)))
        end_engine(engine)
    while happened:
        engine = Engine(InPlaceExecutor)
        happened = struck(number, partial(engine.submit, PlainJob(int)))
        while engine._waiting:
            pass  # what has been queued is handed over without any further call
        job = PlainJob(int)
        engine.submit(job)
        assert job.result() == 0
        end_engine(engine)
        number += 1
    assert number > 10


def test_nobody_waits_for_a_call_that_was_dropped_on_its_engine_wherever_it_strikes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def drops(sentence: Callable[[Callable[[], object]], bool]) -> bool:
        hand = HandExecutor()
        engine = Engine(hand)
        job = PlainJob(int)
        engine.submit(job)
        _, future = hand.next()
        while not isinstance(job.claim, Ticket) or engine._in_hand is not None:
            pass
        ended = threading.Event()
        parting = engine.dismiss(ended.set)
        while parting not in engine._partings:
            pass
        happened = sentence(job.drop)
        if not future.cancelled():
            future.set_result(1)
        assert ended.wait(PATIENCE)
        assert not job.delivered.is_set() or not future.cancelled()
        return happened

    monkeypatch.setattr("tests.test_struck.FILES", FILES | {_base.__file__})
    for _ in range(2):  # see `warm_up`
        drops(partial(struck, sys.maxsize))
    number = 0
    while drops(partial(struck, number)):
        number += 1
    assert number > 10
