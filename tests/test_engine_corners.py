"""Corners of engines: races that the steps of a call leave room for, and executors that go wrong at the end."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

import pytest

from tests.child import output_of
from tests.gate import PATIENCE
from tests.hand_executor import HandExecutor, InPlaceExecutor
from tests.plain_job import PlainJob
from tests.test_execute import ClasslessError, UnprintableError
from tpool_asyncio import tpool
from tpool_asyncio._pool import importing
from tpool_asyncio._pool.engine import Engine
from tpool_asyncio._pool.outlet import Outlet
from tpool_asyncio._pool.ticket import Ticket


@pytest.fixture
def hand() -> HandExecutor:
    return HandExecutor()


@pytest.fixture
def in_place() -> Iterator[Engine]:
    """An engine whose executor has each outcome at once."""
    engine = Engine(InPlaceExecutor)
    yield engine
    end(engine)


def end(engine: Engine) -> None:
    ended = threading.Event()
    parting = engine.dismiss(ended.set)
    assert ended.wait(PATIENCE)
    while parting.ending():
        pass


# The way of a call


async def test_a_call_is_cancelled_while_the_executor_for_it_is_made(hand: HandExecutor) -> None:
    connecting, connected = threading.Event(), threading.Event()

    def connect() -> Executor:
        connecting.set()
        assert connected.wait(PATIENCE)
        return hand

    pool = tpool.Pool.over(connect)
    call = pool.execute(abs, -1)
    assert connecting.wait(PATIENCE)
    call.cancel()
    connected.set()
    await pool.killall()
    assert hand.calls == []
    assert pool.statistics().cancelled == 1


async def test_calls_that_were_cancelled_get_no_error_of_the_factory() -> None:
    connecting, connected = threading.Event(), threading.Event()

    def connect() -> Executor:
        connecting.set()
        assert connected.wait(PATIENCE)
        raise OSError("no route to the cluster")

    pool = tpool.Pool.over(connect)
    calls = [pool.execute(abs, -number) for number in range(3)]
    assert connecting.wait(PATIENCE)
    calls[0].cancel()
    calls[1].cancel()
    connected.set()
    with pytest.raises(OSError, match="no route"):
        await calls[2]
    await pool.killall()
    numbers = pool.statistics()
    assert (numbers.failed, numbers.cancelled) == (1, 2)


def test_a_call_is_made_anew_as_soon_as_the_factory_has_failed() -> None:
    # (1) The factory fails. (2) The first caller has the error, and calls again. (3) The second caller has the error.
    # (4) The new call makes the factory try again.
    attempts = []

    def connect() -> Executor:
        attempts.append(1)
        if len(attempts) == 1:
            arrived.wait(PATIENCE)
            raise OSError("no route to the cluster")
        return InPlaceExecutor()

    class Persistent(PlainJob):
        def deliver(self) -> None:
            engine.submit(again)
            super().deliver()

    arrived = threading.Event()
    engine = Engine(connect)
    first, second, again = Persistent(abs, -1), PlainJob(abs, -2), PlainJob(abs, -3)
    engine.submit(first)
    engine.submit(second)
    arrived.set()
    for job in (first, second):
        with pytest.raises(OSError, match="no route"):
            job.result()
    assert again.result() == 3
    assert len(attempts) == 2
    end(engine)


class LateLock:
    """A lock that does something, once, just before it is released."""

    def __init__(self, lock: Any, before_release: Callable[[], object]) -> None:
        self._lock = lock
        self._before_release = [before_release]

    def acquire(self, blocking: bool) -> bool:
        return bool(self._lock.acquire(blocking))

    def release(self) -> None:
        if self._before_release:
            self._before_release.pop()()
        self._lock.release()


def test_a_call_is_added_while_the_feeder_gives_its_token_back(in_place: Engine) -> None:
    # (1) The feeder finds no further call. (2) One is added, by somebody who does not get the token. (3) The feeder
    # gives the token back, and must look again.
    first, second = PlainJob(abs, -1), PlainJob(abs, -2)
    in_place._feeding = LateLock(in_place._feeding, lambda: in_place.submit(second))  # type: ignore[assignment]
    in_place.submit(first)
    assert (first.result(), second.result()) == (1, 2)


def test_one_feeder_too_many_goes_home(in_place: Engine) -> None:
    # As after a blow, when nobody could tell whether one was on its way.
    job = PlainJob(abs, -1)
    assert in_place._at_work.acquire(False)  # as the other one has it
    in_place.submit(job)
    while in_place._feeding.locked():
        pass
    assert not job.delivered.is_set()
    in_place._at_work.release()
    in_place._give_back()  # as the other one does next
    assert job.result() == 1


def test_an_outcome_that_cannot_be_delivered_holds_nobody_up(
    in_place: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    class Undeliverable(PlainJob):
        def deliver(self) -> None:
            raise SystemExit

    in_place.submit(Undeliverable(int))
    job = PlainJob(abs, -1)
    in_place.submit(job)
    assert job.result() == 1
    assert "the outcome of a call could not be delivered" in caplog.text


def test_somebody_else_cancels_and_the_caller_comes_between_the_looks_of_the_callback(hand: HandExecutor) -> None:
    # (1) The callback of somebody else's cancellation sees that no caller has dropped the call. (2) The caller drops
    # it, and takes the right to decide. (3) The callback must leave the job alone.
    engine = Engine(hand)
    job, future = PlainJob(abs, -1), Future[Any]()
    ticket = Ticket(job, future, Outlet(engine, hand))
    job.claim = ticket

    class Late(bytearray):
        def pop(self, index: int = -1) -> int:
            ticket._right = bytearray(1)
            assert job.drop()
            return ticket._right.pop()  # which the caller has taken

    ticket._right = Late(1)
    future.cancel()
    ticket.ended(future)
    assert not job.delivered.is_set()
    assert not job.drop()
    end(engine)


# What an engine has none of


def test_who_imports_does_not_look_for_workers_of_an_engine(in_place: Engine) -> None:
    with importing._machinery._ModuleLockManager("a_module_that_is_being_imported"):
        assert importing.importing()
        assert list(importing.stuck_in_import(in_place)) == []  # type: ignore[arg-type]


# The end


def test_who_waits_for_the_end_of_all_calls_finds_their_outcomes(hand: HandExecutor) -> None:
    # (1) The last call of an executor that was given ends. (2) Its outcome is on its way. (3) `killall` is over.
    class Late(PlainJob):
        def deliver(self) -> None:
            numbers = engine.statistics()
            seen.append((parting.farewell is None, parting.queued(), numbers.queued, numbers.busy, numbers.completed))
            super().deliver()

    seen: list[tuple[bool, int, int, int, int]] = []
    ended = threading.Event()
    engine = Engine(hand)
    job = Late(abs, -1)
    engine.submit(job)
    fn, future = hand.start()
    parting = engine.dismiss(ended.set)
    while parting not in engine._partings:
        pass
    future.set_result(fn())
    assert ended.wait(PATIENCE)
    assert seen == [(True, 0, 0, 0, 1)]
    assert job.result() == 1


async def test_an_executor_that_says_that_the_interpreter_exits(hand: HandExecutor) -> None:
    hand.error = RuntimeError("cannot schedule new futures after interpreter shutdown")
    pool = tpool.Pool.over(hand)
    with pytest.raises(RuntimeError, match="the interpreter is exiting, so no further calls are taken") as caught:
        await pool.execute(abs, -1)
    assert caught.value.__cause__ is hand.error
    await pool.killall()


class Process:
    """Stands for a worker process."""

    def __init__(self, error: Exception | None = None) -> None:
        self.killed = threading.Event()
        self._error = error

    def kill(self) -> None:
        self.killed.set()
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, OSError("no such process")])
def test_processes_are_started_while_those_that_there_are_are_killed(
    hand: HandExecutor, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    # At exit: (1) `submit` is under way, which starts processes. (2) All processes are killed. (3) Now there is one.
    engine = Engine(lambda: hand, name="p")
    hand.open.clear()
    job, process = PlainJob(abs, -1), Process(error)
    engine.submit(job)
    assert hand.submitting.wait(PATIENCE)
    engine.kill()
    hand._processes = {1: process}  # type: ignore[attr-defined]
    hand.open.set()
    assert process.killed.wait(PATIENCE)
    hand.run()
    assert job.result() == 1
    end(engine)
    assert ("the worker processes of pool 'p' could not be ended" in caplog.text) is (error is not None)


def test_processes_of_an_executor_that_was_given_are_not_killed(hand: HandExecutor) -> None:
    process = Process()
    hand._processes = {1: process}  # type: ignore[attr-defined]
    engine = Engine(hand)
    job = PlainJob(abs, -1)
    engine.submit(job)
    hand.start()[1].set_result(1)
    assert job.result() == 1
    engine.kill()
    assert not process.killed.is_set()
    end(engine)


def test_an_executor_that_was_given_breaks_while_it_takes_a_call_that_it_still_runs(hand: HandExecutor) -> None:
    # (1) A call is being handed over. (2) Another one, the only one, finds the executor broken; nothing is left of it.
    # (3) The executor has taken the first call all the same.
    hand._broken = False  # type: ignore[attr-defined]
    engine = Engine(hand)
    first, second = PlainJob(abs, -1), PlainJob(abs, -2)
    engine.submit(first)
    _, future = hand.start()
    hand.submitting.clear()
    hand.open.clear()
    engine.submit(second)
    assert hand.submitting.wait(PATIENCE)
    hand._broken = True  # type: ignore[attr-defined]
    future.set_exception(BrokenExecutor("a worker has died"))
    assert first.delivered.wait(PATIENCE)
    hand.open.set()
    _, future = hand.start()
    ended = threading.Event()
    parting = engine.dismiss(ended.set)
    while not parting.reached:
        pass
    with engine.lock:
        assert len(parting.tickets) == 1
    assert engine.statistics().busy == 1
    future.set_result(2)
    assert ended.wait(PATIENCE)
    assert second.result() == 2


def test_a_fork_leaves_calls_that_wait_to_be_handed_over_to_the_parent() -> None:
    program = """
    import asyncio, os, threading
    from concurrent.futures import ThreadPoolExecutor
    from tpool_asyncio import tpool

    connecting, connected = threading.Event(), threading.Event()
    parent = os.getpid()

    def connect():
        connecting.set()
        assert os.getpid() != parent or connected.wait(20)
        return ThreadPoolExecutor(1)

    pool = tpool.Pool.over(connect)

    async def main():
        calls = [pool.execute(os.getpid) for _ in range(3)]
        assert connecting.wait(20)
        killing = asyncio.create_task(pool.killall())
        await asyncio.sleep(0)
        child = os.fork()
        if child == 0:
            asyncio._set_running_loop(None)
            try:
                numbers = pool.statistics()
                print(numbers.queued, any(call.cancel() and call.withdraw() for call in calls), flush=True)
                async def again():
                    print(await pool.execute(os.getpid) == os.getpid(), flush=True)
                    await pool.killall()
                asyncio.run(again())
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        connected.set()
        print(set(await asyncio.gather(*calls)) == {parent})
        await killing

    asyncio.run(main())
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")).splitlines() == ["0 False", "True", "True"]


def test_a_fork_leaves_calls_that_were_handed_over_to_the_parent() -> None:
    # A thread of the parent has the lock of the future, as when it sets the result, and never gives it back here.
    program = """
    import asyncio, os, signal, threading
    from tests.hand_executor import HandExecutor
    from tpool_asyncio import tpool

    hand = HandExecutor()
    pool = tpool.Pool.over(hand)

    async def main():
        call = pool.execute(abs, -1)
        while pool._core._feeding.locked():
            await asyncio.sleep(0.001)
        fn, future = hand.next()
        held, go_on = threading.Event(), threading.Event()
        def hold():
            with future._condition:
                held.set()
                assert go_on.wait(20)
        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(20)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            call.cancel()
            print(call.cancelled(), pool.statistics().submitted, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        go_on.set()
        holder.join()
        future.set_result(fn())
        print(await call)
        await pool.killall()

    asyncio.run(main())
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")).splitlines() == ["True 0", "1"]


@pytest.mark.parametrize("kind", [ClasslessError, UnprintableError])
async def test_an_error_that_fails_when_it_is_asked_for_something(kind: type[Exception]) -> None:
    def fail() -> None:
        raise kind

    pool = tpool.Pool.over(InPlaceExecutor)
    with pytest.raises(kind):
        await pool.execute(fail)
    assert await pool.execute(abs, -1) == 1
    assert (pool.statistics().failed, pool.statistics().completed) == (1, 1)
    await pool.killall()
