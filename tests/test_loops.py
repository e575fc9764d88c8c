"""Several loops, closed loops, stopped loops: each result arrives in the thread that asked, or nowhere."""

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tests.plain_job import end, submit
from tpool_asyncio import tpool
from tpool_asyncio._loop.gate import post
from tpool_asyncio._loop.mailbox import TURN, Mailbox
from tpool_asyncio._pool.default import shared_pool


def echo(value: object) -> object:
    return value


def test_many_loops_in_many_threads_share_one_pool() -> None:
    everybody_there = threading.Barrier(10)
    before = tpool.statistics()
    wrong = list[object]()
    finished = list[int]()

    async def caller(thread: int, number: int) -> None:
        for turn in range(20):
            value = (thread, number, turn)
            if await tpool.execute(echo, value) != value or threading.get_ident() != thread:
                wrong.append(value)

    async def main() -> None:
        await asyncio.gather(*(caller(threading.get_ident(), number) for number in range(20)))
        finished.append(threading.get_ident())

    def thread() -> None:
        everybody_there.wait(PATIENCE)
        asyncio.run(main())

    threads = [threading.Thread(target=thread) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE * 2)
    assert wrong == []
    assert len(set(finished)) == 10
    after = tpool.statistics()
    assert after.completed - before.completed == after.submitted - before.submitted > 0
    assert tpool.statistics().threads <= 20


def test_calls_start_in_order_over_all_loops() -> None:
    pool = tpool.Pool(1)
    gate, order = Gate(), list[int]()
    loops = [asyncio.new_event_loop() for _ in range(3)]

    async def submit(fn: Any, *args: Any) -> None:
        calls.append(pool.execute(fn, *args))

    calls = list[asyncio.Future[Any]]()
    loops[0].run_until_complete(submit(gate))
    gate.wait_begun()
    for number in range(30):
        loops[number % 3].run_until_complete(submit(order.append, number))
    gate.open()

    async def collect(index: int) -> None:
        await asyncio.wait([call for call in calls if call.get_loop() is loops[index]])

    for index, loop in enumerate(loops):
        loop.run_until_complete(collect(index))
    assert order == list(range(30))
    loops[0].run_until_complete(pool.killall())
    for loop in loops:
        loop.close()


def test_asyncio_run_three_times_in_a_row() -> None:
    async def main() -> list[object]:
        return await asyncio.gather(*(tpool.execute(echo, n) for n in range(5)))

    before = tpool.statistics().completed
    for _ in range(3):
        assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    assert tpool.statistics().completed == before + 15


def test_a_loop_closed_in_mid_call_loses_only_its_own_outcomes(capfd: pytest.CaptureFixture[str]) -> None:
    pool = tpool.Pool(2)
    gate = Gate()
    results = list[asyncio.Future[object]]()

    async def leave_early() -> None:
        results.append(pool.execute(gate, "lost"))
        gate.wait_begun()

    async def stay() -> object:
        call = pool.execute(gate, "kept")
        gate.wait_begun()
        gate.open()
        value = await call
        while pool.statistics().completed < 2:
            await asyncio.sleep(0)
        await pool.killall()
        return value

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_early())
    loop.close()
    assert asyncio.run(stay()) == "kept"
    assert not results[0].done()
    assert capfd.readouterr() == ("", "")


def test_a_stopped_loop_gets_its_outcomes_when_it_runs_again() -> None:
    pool = tpool.Pool(2)
    loop = asyncio.new_event_loop()

    async def start() -> list[asyncio.Future[int]]:
        return [pool.execute(int, n) for n in range(10)]

    async def collect(calls: list[asyncio.Future[int]]) -> list[int]:
        return await asyncio.gather(*calls)

    calls = loop.run_until_complete(start())
    while pool.statistics().completed < 10:
        pass
    assert loop.run_until_complete(collect(calls)) == list(range(10))
    loop.run_until_complete(pool.killall())
    loop.close()


def test_two_loops_alternate_in_one_thread() -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]

    async def main(value: int) -> int:
        return await tpool.execute(int, value)

    for turn in range(6):
        assert loops[turn % 2].run_until_complete(main(turn)) == turn
    for loop in loops:
        loop.close()


def test_a_loop_that_moves_to_another_thread() -> None:
    loop = asyncio.new_event_loop()

    async def main() -> int:
        return await tpool.execute(int, 1)

    assert loop.run_until_complete(main()) == 1
    results = list[int]()
    thread = threading.Thread(target=lambda: results.append(loop.run_until_complete(main())))
    thread.start()
    thread.join(PATIENCE)
    assert results == [1]
    assert loop.run_until_complete(main()) == 1
    loop.close()


def test_closed_loops_are_not_kept_alive() -> None:
    async def main() -> "weakref.ref[asyncio.AbstractEventLoop]":
        await tpool.execute(int)
        return weakref.ref(asyncio.get_running_loop())

    reference = asyncio.run(main())
    while reference() is not None:  # for a moment, the worker may be about to drop the call
        gc.collect()


def test_post_hands_on_errors_that_do_not_come_of_a_closed_loop() -> None:
    class Refuses:
        def call_soon_threadsafe(self, callback: object) -> None:
            raise RuntimeError("another reason")

        def is_closed(self) -> bool:
            return False

    with pytest.raises(RuntimeError, match="another reason"):
        post(Refuses(), int)  # type: ignore[arg-type]


class Outcome:
    """Stands in for a call in a mailbox."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settled: list["Outcome"]) -> None:
        self._loop = loop
        self._settled = settled
        self.interrupts = 0

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def settle(self) -> None:
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        self._settled.append(self)


def leave(mailbox: Mailbox, outcome: Outcome) -> bool:
    """Do what a worker does with an outcome; return whether the loop had to be woken."""
    mailbox.outcomes.append(outcome)  # type: ignore[arg-type]
    if mailbox.scheduled.acquire(False):
        mailbox.schedule()
        return True
    return False


async def test_one_drain_serves_all_outcomes_that_gather() -> None:
    loop = asyncio.get_running_loop()
    mailbox = Mailbox(shared_pool, loop)
    settled = list[Outcome]()
    outcomes = [Outcome(loop, settled) for _ in range(TURN * 2 + 1)]
    assert [leave(mailbox, outcome) for outcome in outcomes] == [True] + [False] * TURN * 2
    turns = list[int]()
    while mailbox.scheduled.locked():
        await asyncio.sleep(0)
        turns.append(len(settled))
    assert settled == outcomes
    assert [count for count in sorted(set(turns)) if count] == [TURN, TURN * 2, TURN * 2 + 1]
    assert leave(mailbox, outcomes[0])
    await asyncio.sleep(0.001)
    assert len(settled) == TURN * 2 + 2


async def test_an_outcome_that_comes_while_the_token_goes_back(loop_errors: LoopErrors) -> None:
    # (1) A drain finds nothing. (2) Before it gives the token back, an outcome is left, without the token. (3) The
    # drain gives the token back and must look again.
    loop = asyncio.get_running_loop()
    mailbox = Mailbox(shared_pool, loop)
    settled = list[Outcome]()
    late = [Outcome(loop, settled)]

    class LyingLock:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def acquire(self, blocking: bool) -> bool:
            return self.lock.acquire(blocking)

        def release(self) -> None:
            if late:
                assert not leave(mailbox, late.pop())
            self.lock.release()

        def locked(self) -> bool:
            return self.lock.locked()

    mailbox.scheduled = LyingLock()  # type: ignore[assignment]
    leave(mailbox, Outcome(loop, settled))
    while mailbox.scheduled.locked():
        await asyncio.sleep(0)
    assert len(settled) == 2
    assert loop_errors == []


@pytest.mark.parametrize("count", [1, 3])
def test_an_exception_out_of_a_signal_handler_loses_no_outcome(count: int) -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(shared_pool, loop)
    settled = list[Outcome]()
    outcomes = [Outcome(loop, settled) for _ in range(count)]
    outcomes[count // 2].interrupts = 1
    for outcome in outcomes:
        leave(mailbox, outcome)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert settled == outcomes
    assert not mailbox.scheduled.locked()
    loop.close()


async def test_a_loop_that_refuses_for_another_reason_is_asked_again() -> None:
    loop = asyncio.get_running_loop()
    refusals = [MemoryError()]

    class Refuses:
        def call_soon_threadsafe(self, callback: Any) -> None:
            if refusals:
                raise refusals.pop()
            loop.call_soon(callback)

        def is_closed(self) -> bool:
            return False

        def call_soon(self, callback: Any) -> None:
            loop.call_soon(callback)

    refuses: Any = Refuses()
    mailbox = Mailbox(shared_pool, refuses)
    settled = list[Outcome]()
    with pytest.raises(MemoryError):
        leave(mailbox, Outcome(refuses, settled))
    leave(mailbox, Outcome(refuses, settled))
    while mailbox.scheduled.locked():
        await asyncio.sleep(0)
    assert len(settled) == 2


async def test_what_waits_in_the_queue_when_the_loop_is_closed_is_let_go(pool: tpool.Pool) -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(pool._core, loop)
    settled = list[Outcome]()
    loop.close()
    assert leave(mailbox, Outcome(loop, settled))
    assert leave(mailbox, Outcome(loop, settled))
    assert not mailbox.outcomes
    assert settled == []


def test_what_comes_for_a_loop_that_is_gone_is_let_go() -> None:
    class Loop:
        """Stands in for a loop, which a mailbox holds by a weak reference."""

    loop: Any = Loop()
    mailbox = Mailbox(shared_pool, loop)
    outcome = Outcome(loop, [])
    del outcome._loop, loop
    assert leave(mailbox, outcome)
    assert not mailbox.outcomes
    assert not mailbox.scheduled.locked()


def test_a_lost_outcome_whose_destructor_waits_for_a_call() -> None:
    # It is destroyed in the worker, which must not stand among the idle meanwhile: it would be called, and never come.
    pool = tpool.Pool(2)
    gate, results = Gate(), list[object]()

    class Calls:
        def __del__(self) -> None:
            results.append(submit(pool._core, int).result())

    async def leave_early() -> None:
        pool.execute(lambda: (gate(), Calls())[1])
        gate.wait_begun()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_early())
    loop.close()
    gate.open()
    while not results:
        pass
    assert results == [0]
    end(pool._core)


@pytest.mark.parametrize("where", ["given back", "taken again"])
def test_an_exception_out_of_a_signal_handler_loses_no_token(where: str) -> None:
    # (1) A drain has settled its outcome. (2) Another is left, without the token. (3) The drain gives the token back,
    # looks again and takes it; after one of these steps the exception strikes.
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(shared_pool, loop)
    settled = list[Outcome]()
    outcomes = [Outcome(loop, settled) for _ in range(3)]
    late = outcomes[1:2]

    class StruckLock:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.locked = self.lock.locked
            self.strikes = 0

        def acquire(self, blocking: bool) -> bool:
            taken = self.lock.acquire(blocking)
            if self.strikes and where == "taken again":
                self.strikes = 0
                raise KeyboardInterrupt
            return taken

        def release(self) -> None:
            if late:
                assert not leave(mailbox, late.pop())
                self.strikes = 1
            self.lock.release()
            if self.strikes and where == "given back":
                self.strikes = 0
                raise KeyboardInterrupt

    mailbox.scheduled = StruckLock()  # type: ignore[assignment]
    leave(mailbox, outcomes[0])
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert settled == outcomes[:2]
    assert not mailbox.scheduled.locked()
    assert leave(mailbox, outcomes[2])
    loop.run_until_complete(asyncio.sleep(0.01))
    assert settled == outcomes
    loop.close()
