"""Green threads and their primitives against a simple model: who waits for what, who goes on, and with what.

Each green thread does what it is told, one thing at a time, with a semaphore, a queue and an event that all of them
share. The model says who must be waiting then. ``TPOOL_TESTS=long`` searches a hundred times as long.
"""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.effort import LONG, few_examples
from tpool_asyncio import green, hubs
from tpool_asyncio.green import tpool
from tpool_asyncio.hubs import Hub

TURNS = 6
"""Turns of the loop after which everybody has come as far as he can."""


class Actor:
    """A green thread, and what the model knows of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.orders: green.Queue[Callable[[], object]] = green.Queue()
        self.log: list[object] = []
        self.expected: list[object] = []
        self.waits_for: str | None = None
        self.item: int | None = None  # what it waits to put
        self.linked: list[int] = []
        self.outcome: object = None
        self.thread = green.spawn(self._act)
        self.thread.link(lambda thread, mark: self.linked.append(mark), number)

    def _act(self) -> object:
        while True:
            order = self.orders.get()
            if order is finish:
                return self.number
            try:
                self.log.append(order())
            except ArithmeticError as error:
                self.log.append(error.args[0])


def finish() -> object:
    raise NotImplementedError("an order that is known by its name only")


def crash(number: int) -> Callable[[], object]:
    def order() -> object:
        raise LookupError(number)

    return order


class GreenMachine(RuleBasedStateMachine):
    """Each rule gives an order, or ends somebody, in the script of the main thread."""

    def __init__(self) -> None:
        super().__init__()
        self.semaphore = green.Semaphore(1)
        self.queue: green.LightQueue[int] = green.LightQueue(2)
        self.event: green.Event = green.Event()
        self.tokens = 1
        self.items: list[int] = []
        self.room = 2
        self.sent: object = None
        self.number = 0
        self.actors: list[Actor] = []
        self.ended: list[Actor] = []
        self.waiting: dict[str, list[Actor]] = {"semaphore": [], "get": [], "put": [], "event": [], "end": []}

    def idle(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.waits_for is None]

    def tell(self, data: st.DataObject, order: Callable[[], object]) -> Actor:
        actor = data.draw(st.sampled_from(self.idle()), "green thread")
        actor.orders.put(order)
        return actor

    def wait(self, actor: Actor, what: str) -> None:
        actor.waits_for = what
        self.waiting[what].append(actor)

    def go_on(self, actor: Actor, result: object) -> None:
        if actor.waits_for is not None:
            self.waiting[actor.waits_for].remove(actor)
            actor.waits_for = None
        actor.expected.append(result)

    # Lives

    @precondition(lambda self: len(self.actors) < 5)
    @rule()
    def spawn(self) -> None:
        self.number += 1
        self.actors.append(Actor(self.number))

    def forget(self, actor: Actor, outcome: object) -> None:
        if actor.waits_for is not None:
            self.waiting[actor.waits_for].remove(actor)
        actor.waits_for = None
        actor.outcome = outcome
        self.actors.remove(actor)
        self.ended.append(actor)

    @precondition(lambda self: self.actors)
    @rule(data=st.data(), with_error=st.booleans())
    def kill(self, data: st.DataObject, with_error: bool) -> None:
        error = KeyError("killed") if with_error else None
        actor = data.draw(st.sampled_from(self.actors), "green thread")
        if error is None:
            actor.thread.kill()
        else:
            actor.thread.kill(error)
        self.forget(actor, green.GreenletExit if error is None else error)

    @precondition(lambda self: self.idle())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        actor = self.tell(data, finish)
        self.forget(actor, actor.number)

    @precondition(lambda self: self.idle())
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        actor = self.tell(data, crash(7))
        self.forget(actor, LookupError)

    @precondition(lambda self: self.idle())
    @rule(data=st.data())
    def call_the_pool(self, data: st.DataObject) -> None:
        done = green.Event()

        def order() -> object:
            result = tpool.execute(divmod, 7, 2)
            done.send()
            return result

        actor = self.tell(data, order)
        done.wait()
        actor.expected.append((3, 1))

    # The semaphore

    @precondition(lambda self: self.idle())
    @rule(data=st.data())
    def acquire(self, data: st.DataObject) -> None:
        actor = self.tell(data, self.semaphore.acquire)
        if self.tokens:
            self.tokens -= 1
            self.go_on(actor, True)
        else:
            self.wait(actor, "semaphore")

    @rule()
    def acquire_at_once(self) -> None:
        assert self.semaphore.acquire(blocking=False) == (self.tokens > 0)
        self.tokens -= self.tokens > 0

    @precondition(lambda self: self.tokens < 3)
    @rule()
    def release(self) -> None:
        self.semaphore.release()
        if self.waiting["semaphore"]:
            self.go_on(self.waiting["semaphore"][0], True)
        else:
            self.tokens += 1

    # The queue

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), item=st.integers(0, 99))
    def put(self, data: st.DataObject, item: int) -> None:
        actor = self.tell(data, lambda: self.queue.put(item))
        if self.waiting["get"]:
            self.go_on(self.waiting["get"][0], item)
            self.go_on(actor, None)
        elif len(self.items) < self.room:
            self.items.append(item)
            self.go_on(actor, None)
        else:
            actor.item = item
            self.wait(actor, "put")

    @precondition(lambda self: self.idle())
    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        actor = self.tell(data, self.queue.get)
        if self.items:
            self.go_on(actor, self.items.pop(0))
            self.let_in()
        else:
            self.wait(actor, "get")

    @rule()
    def get_at_once(self) -> None:
        if self.items:
            assert self.queue.get_nowait() == self.items.pop(0)
            self.let_in()
        else:
            with pytest.raises(green.Empty):
                self.queue.get_nowait()

    @rule(room=st.integers(1, 4))
    def resize_queue(self, room: int) -> None:
        self.queue.resize(room)
        self.room = room
        self.let_in()

    def let_in(self) -> None:
        while self.waiting["put"] and len(self.items) < self.room:
            actor = self.waiting["put"][0]
            assert actor.item is not None
            self.items.append(actor.item)
            self.go_on(actor, None)

    # The event

    @precondition(lambda self: self.idle())
    @rule(data=st.data())
    def wait_for_event(self, data: st.DataObject) -> None:
        event = self.event
        actor = self.tell(data, lambda: event.wait())
        if self.sent is None:
            self.wait(actor, "event")
        else:
            self.go_on(actor, self.sent)

    @rule(value=st.integers(1, 99), fails=st.booleans())
    def send(self, value: int, fails: bool) -> None:
        if self.sent is not None:
            with pytest.raises(AssertionError, match="sent already"):
                self.event.send(value)
            return
        if fails:
            self.event.send_exception(ArithmeticError(value))
        else:
            self.event.send(value)
        self.sent = value
        for actor in self.waiting["event"].copy():
            self.go_on(actor, value)

    @rule()
    def another_event(self) -> None:
        if not self.waiting["event"]:
            self.event = green.Event()
            self.sent = None

    # What must hold

    @invariant()
    def as_the_model_says(self) -> None:
        for _ in range(TURNS):
            green.sleep(0)
        for actor in self.actors:
            assert actor.log == actor.expected, actor.waits_for
            assert not actor.thread.dead
            assert not actor.linked
        assert hubs.get_hub().green_threads == {actor.thread for actor in self.actors}
        assert (self.semaphore.counter, self.semaphore.balance) == (
            self.tokens,
            self.tokens - len(self.waiting["semaphore"]),
        )
        assert (self.queue.qsize(), self.queue.getting(), self.queue.putting()) == (
            len(self.items),
            len(self.waiting["get"]),
            len(self.waiting["put"]),
        )
        assert self.event.ready() == (self.sent is not None)
        for actor in self.ended:
            assert actor.thread.dead
            assert actor.linked == [actor.number]
            assert actor.log == actor.expected
            self.check_outcome(actor)
        self.ended.clear()

    def check_outcome(self, actor: Actor) -> None:
        outcome = actor.outcome
        for _ in range(2):
            if isinstance(outcome, int):
                assert actor.thread.wait() == outcome
                continue
            kind = outcome if isinstance(outcome, type) else type(outcome)
            assert issubclass(kind, BaseException)
            with pytest.raises(kind) as caught:
                actor.thread.wait()
            assert isinstance(outcome, type) or caught.value is outcome

    def teardown(self) -> None:
        for actor in self.actors.copy():
            actor.thread.kill()
            assert actor.thread.dead
        for _ in range(TURNS):
            green.sleep(0)
        assert not hubs.get_hub().green_threads
        assert self.semaphore.balance == self.tokens
        assert (self.queue.getting(), self.queue.putting(), self.queue.qsize()) == (0, 0, len(self.items))


@pytest.mark.timeout(3_600 if LONG else 60)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_green_threads_do_what_their_model_does(loop: str, script: Hub) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
        hubs.use_hub(loop)
    try:
        run_state_machine_as_test(GreenMachine, settings=few_examples(50, steps=40))
    finally:
        if loop == "uvloop":
            hubs.get_hub().close()
            hubs.use_hub("asyncio")
