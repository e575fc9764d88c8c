"""Mailboxes of several loops against a simple model of them: every outcome arrives once, where and when it should.

The loops run only when a rule lets them, a turn at a time, so the model knows which outcomes wait where.
``TPOOL_TESTS=long`` searches a hundred times as long.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.conftest import pytest_asyncio_loop_factories
from tests.effort import LONG, few_examples
from tests.gate import PATIENCE
from tests.plain_job import end
from tpool_asyncio._loop import mailbox as mailbox_module
from tpool_asyncio._loop.call import Call
from tpool_asyncio._loop.mailbox import Mailbox
from tpool_asyncio._pool.job import new_claim
from tpool_asyncio._pool.thread_pool import ThreadPool

SIZE = 3


class ModelLoop:
    """A loop, and what must be on its way to it."""

    def __init__(self, pool: ThreadPool, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.mailbox = Mailbox(pool, loop)
        self.arriving: list[WatchedCall] = []
        self.complaints: list[Any] = []
        loop.set_exception_handler(lambda _, context: self.complaints.append(context["exception"]))

    def turn(self) -> None:
        """Let the loop run for one turn."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()


class WatchedCall(Call[int]):
    """A call that waits until it may end, and that notes its way."""

    number: int
    home: ModelLoop
    may_end: threading.Event
    error_wanted: BaseException | None
    begun = False
    settled = 0
    left_by_caller = False

    def body(self) -> int:
        self.begun = True
        assert self.may_end.wait(PATIENCE)
        if self.error_wanted is not None:
            raise self.error_wanted
        return self.number

    def settle(self) -> None:
        self.settled += 1
        super().settle()


class MailboxMachine(RuleBasedStateMachine):
    """Each rule does a thing to the pool or one of the loops, and to the model."""

    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop

    def __init__(self) -> None:
        super().__init__()
        self.pool = ThreadPool(SIZE, name="machine")
        self.loops: list[ModelLoop] = []
        self.closed: list[ModelLoop] = []
        self.queue: list[WatchedCall] = []
        self.running: list[WatchedCall] = []
        self.calls: list[WatchedCall] = []
        self.number_cancelled = 0
        self.open_loop()

    @precondition(lambda self: len(self.loops) < 3)
    @rule()
    def open_loop(self) -> None:
        self.loops.append(ModelLoop(self.pool, type(self).new_loop()))

    @rule(data=st.data(), times=st.integers(1, 4))
    def execute(self, data: st.DataObject, times: int) -> None:
        home = data.draw(st.sampled_from(self.loops), "loop")
        for _ in range(times):
            call = WatchedCall(loop=home.loop)
            call.number = len(self.calls)
            call.home = home
            call.mailbox = home.mailbox
            call.error = call.error_wanted = None
            call.claim = new_claim()
            call.may_end = threading.Event()
            call.fn, call.args, call.kwargs, call.context = call.body, (), None, None
            self.calls.append(call)
            self.queue.append(call)
            self.pool.submit(call)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fails=st.booleans(), times=st.integers(1, SIZE))
    def let_end(self, data: st.DataObject, fails: bool, times: int) -> None:
        for _ in range(min(times, len(self.running))):
            call = data.draw(st.sampled_from(self.running), "call")
            self.running.remove(call)
            if call.home in self.loops:
                call.home.arriving.append(call)
            if fails:
                call.error_wanted = ArithmeticError(call.number)
            call.may_end.set()

    @precondition(lambda self: any(not call.done() for call in self.calls))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        candidates = [call for call in self.calls if not call.done() and call.home in self.loops]
        if not candidates:
            return
        call = data.draw(st.sampled_from(candidates), "call")
        assert call.cancel()
        assert call.cancelled()
        assert not call.cancel()
        if call in self.queue:
            self.queue.remove(call)
            self.number_cancelled += 1
            assert call.fn is None
        else:
            call.left_by_caller = True

    @rule(data=st.data())
    def run_loop(self, data: st.DataObject) -> None:
        home = data.draw(st.sampled_from(self.loops), "loop")
        deadline = time.monotonic() + PATIENCE
        while not all(call.settled for call in home.arriving) and time.monotonic() < deadline:
            home.turn()
        for call in home.arriving:
            self.check_arrived(call)
        home.arriving.clear()
        for _ in range(3):  # the drain comes once more, and gives its token back
            home.turn()
        assert not home.mailbox.outcomes
        assert not home.mailbox.scheduled.locked()

    @precondition(lambda self: len(self.loops) > 1)
    @rule(data=st.data())
    def close_loop(self, data: st.DataObject) -> None:
        home = data.draw(st.sampled_from(self.loops), "loop")
        self.loops.remove(home)
        self.closed.append(home)
        for call in home.arriving:  # what is on its way comes to a closed loop or is lost in it
            while call.fn is not None:
                time.sleep(0.0002)
        home.loop.close()

    def check_arrived(self, call: WatchedCall) -> None:
        """Check that an outcome has arrived, once, as it is."""
        assert call.settled == 1
        assert call.error is None, "the outcome is held longer than it is needed"
        assert getattr(call, "value", None) is None
        if call.left_by_caller:
            assert call.cancelled()
            if call.error_wanted is not None:
                call.home.complaints.remove(call.error_wanted)
        elif call.error_wanted is None:
            assert call.result() == call.number
        else:
            assert call.exception() is call.error_wanted

    @invariant()
    def as_the_model_says(self) -> None:
        while self.queue and len(self.running) < SIZE:
            self.running.append(self.queue.pop(0))
        deadline = time.monotonic() + PATIENCE
        while (found := self.found()) != (expected := self.expected()) and time.monotonic() < deadline:
            time.sleep(0.0002)
        assert found == expected
        for home in self.loops:
            assert not any(call.settled for call in home.arriving), "an outcome came without its loop"
            assert not home.complaints

    def expected(self) -> dict[str, Any]:
        arriving = {call.number for home in self.loops for call in home.arriving}
        return {
            "running": {call.number for call in self.running},
            "queued": len(self.queue),
            "cancelled": self.number_cancelled,
            "waiting in mailboxes": arriving,
            "drains on their way": [bool(home.arriving) for home in self.loops],
            "abandoned": sum(
                call.left_by_caller or (call.home in self.closed and call.done()) for call in self.running
            ),
        }

    def found(self) -> dict[str, Any]:
        snapshot = self.pool.statistics()
        return {
            "running": {call.number for call in self.calls if call.begun and not call.may_end.is_set()},
            "queued": snapshot.queued,
            "cancelled": snapshot.cancelled,
            "waiting in mailboxes": {
                call.number
                for home in self.loops
                for call in home.mailbox.outcomes.copy()
                if isinstance(call, WatchedCall)
            },
            "drains on their way": [home.mailbox.scheduled.locked() for home in self.loops],
            "abandoned": snapshot.abandoned,
        }

    def teardown(self) -> None:
        for call in self.calls:
            call.may_end.set()
        end(self.pool)
        for home in self.loops:
            while home.mailbox.outcomes or home.mailbox.scheduled.locked():
                home.turn()
            home.turn()
            home.loop.close()
        for call in self.calls:
            assert call.settled <= 1
            if call.home in self.loops and not call.cancelled():
                assert call.settled == 1
                assert call.exception() is call.error_wanted
        for home in self.closed:
            # What came after its loop was closed has been let go of; what came before lies there.
            assert all(call.fn is None for call in home.mailbox.outcomes)


@pytest.mark.timeout(3_600 if LONG else 60)
@pytest.mark.parametrize("turn", [2, 1_000])
@pytest.mark.parametrize("loop", pytest_asyncio_loop_factories())
def test_mailboxes_do_what_their_model_does(loop: str, turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "TURN", turn)

    class Machine(MailboxMachine):
        new_loop = staticmethod(pytest_asyncio_loop_factories()[loop])

    run_state_machine_as_test(Machine, settings=few_examples(20, steps=25))
