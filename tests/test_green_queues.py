"""Queues: items are neither lost nor doubled, and first come is first served."""

import asyncio
import queue
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from greenlet import GreenletExit

from tests.test_green_event import in_a_thread
from tests.test_green_semaphore import INTERRUPTS, cancel, kill, limit
from tpool_asyncio import green, hubs
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio._green.queues import Empty, Full, LifoQueue, LightQueue, PriorityQueue, Queue

KINDS = [LightQueue, Queue, LifoQueue, PriorityQueue]

Interrupt = Callable[[GreenThread[Any]], None]


@pytest.fixture(autouse=True)
def hub_closed() -> Iterator[None]:
    yield
    if asyncio._get_running_loop() is None:
        hubs.get_hub().close()


def contents(a_queue: LightQueue[Any]) -> list[Any]:
    items = []
    while not a_queue.empty():
        items.append(a_queue.get_nowait())
    return items


def nothing_is_on_its_way(a_queue: LightQueue[Any]) -> bool:
    lines = (a_queue._getters, a_queue._putters)
    return not any(line.waiting or line.woken for line in lines)


def produce_and_consume(kind: type[LightQueue[int]], maxsize: int | None) -> None:
    items = kind(maxsize)
    got = []

    def consume() -> None:
        while (item := items.get()) >= 0:
            got.append(item)

    consumers = [green.spawn(consume) for _ in range(3)]
    for number in range(20):
        items.put(number)
    while not items.empty() or items.getting() < 3:
        green.sleep(0)
    for _ in consumers:
        items.put(-1)
    for consumer in consumers:
        consumer.wait()
    assert sorted(got) == list(range(20))
    assert nothing_is_on_its_way(items)


@pytest.mark.parametrize("maxsize", [None, -1, 0, 1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_in_a_script(kind: type[LightQueue[int]], maxsize: int | None) -> None:
    produce_and_consume(kind, maxsize)


@pytest.mark.parametrize("maxsize", [None, 0, 2])
@pytest.mark.parametrize("kind", KINDS)
async def test_in_a_green_thread(kind: type[LightQueue[int]], maxsize: int | None) -> None:
    await green.run(produce_and_consume, kind, maxsize)


async def test_async_code_and_callbacks_use_what_need_not_wait() -> None:
    items: Queue[str] = Queue(1)
    items.put("a")
    with pytest.raises(Full):
        items.put_nowait("b")
    with pytest.raises(RuntimeError, match="use await"):
        items.put("b")
    assert items.putting() == 0
    assert items.get() == "a"
    with pytest.raises(Empty):
        items.get_nowait()
    with pytest.raises(RuntimeError, match="use await"):
        items.get()
    assert items.getting() == 0
    waiting = green.spawn(items.get)
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(items.put_nowait, "c")
    assert await waiting == "c"
    items.task_done()
    items.task_done()
    items.join()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(LightQueue, [2, 3, 1]), (Queue, [2, 3, 1]), (LifoQueue, [1, 3, 2]), (PriorityQueue, [1, 2, 3])],
)
def test_the_orders(kind: type[LightQueue[int]], expected: list[int]) -> None:
    items = kind()
    for number in (2, 3, 1):
        items.put(number)
    assert contents(items) == expected


async def test_getters_are_served_in_their_order() -> None:
    items: LightQueue[int] = LightQueue()
    getters = [green.spawn(items.get) for _ in range(4)]
    await asyncio.sleep(0)
    assert items.getting() == 4
    for number in range(4):
        items.put(number)
    assert items.empty()
    assert items.getting() == 0
    with pytest.raises(Empty):  # nobody overtakes those who have been given one
        items.get_nowait()
    assert await asyncio.gather(*getters) == [0, 1, 2, 3]


async def test_putters_are_served_in_their_order_and_nobody_overtakes_them() -> None:
    items: LightQueue[int] = LightQueue(2)
    items.put(0)
    items.put(1)
    putters = [green.spawn(items.put, number) for number in (2, 3)]
    await asyncio.sleep(0)
    assert items.putting() == 2
    assert items.get_nowait() == 0
    assert items.full()  # the room is promised
    with pytest.raises(Full):
        items.put_nowait(9)
    assert [items.get_nowait() for _ in range(3)] == [1, 2, 3]
    items.put(4)
    await asyncio.gather(*putters)
    assert contents(items) == [4]
    assert nothing_is_on_its_way(items)


async def test_a_newcomer_does_not_overtake_a_putter_on_its_way() -> None:
    items: LightQueue[int] = LightQueue(2)
    items.put(0)
    items.put(1)
    putter = green.spawn(items.put, 2)
    await asyncio.sleep(0)
    assert items.get_nowait() == 0  # has room for 2
    assert items.get_nowait() == 1  # has room for another
    items.put_nowait(3)
    await putter
    assert contents(items) == [2, 3]


def channel() -> None:
    items: Queue[str] = Queue(0)
    assert items.empty()
    assert items.full()
    with pytest.raises(Full):
        items.put_nowait("nobody waits")
    with pytest.raises(Empty):
        items.get_nowait()
    putter = green.spawn(items.put, "a")
    green.sleep(0)
    assert items.putting() == 1
    assert not putter.dead
    assert items.empty()
    assert items.full()
    assert items.get() == "a"
    putter.wait()
    getter = green.spawn(items.get)
    green.sleep(0)
    items.put_nowait("b")
    with pytest.raises(Full):
        items.put_nowait("c")
    assert getter.wait() == "b"
    late = green.spawn(items.put, "d")
    green.sleep(0)
    assert items.get_nowait() == "d"
    late.wait()
    assert items.unfinished_tasks == 3
    assert nothing_is_on_its_way(items)


def test_a_channel_in_a_script() -> None:
    channel()


async def test_a_channel_in_a_green_thread() -> None:
    await green.run(channel)


def test_a_channel_hands_over_to_a_script() -> None:
    items: LightQueue[int] = LightQueue(0)
    green.spawn(lambda: [items.put(number) for number in range(3)])
    assert [items.get() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
@pytest.mark.parametrize("maxsize", [0, 1])
def test_when_the_time_is_over(maxsize: int, timeout: float) -> None:
    items: LightQueue[int] = LightQueue(maxsize)
    with pytest.raises(Empty):
        items.get(timeout=timeout)
    if maxsize:
        items.put(1, timeout=timeout)
    with pytest.raises(Full):
        items.put(2, timeout=timeout)
    if maxsize:
        assert items.get(timeout=timeout) == 1
    assert nothing_is_on_its_way(items)
    assert items.empty()


def test_the_exceptions_are_those_of_the_standard_library() -> None:
    assert Empty is queue.Empty
    assert Full is queue.Full


@pytest.mark.parametrize(("interrupt", "error"), INTERRUPTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("maxsize", [None, 0, 1])
async def test_a_getter_that_is_interrupted_as_it_gets_an_item_passes_it_on(
    kind: type[LightQueue[int]], maxsize: int | None, interrupt: Interrupt, error: type[BaseException]
) -> None:
    items = kind(maxsize)
    first, second = green.spawn(items.get), green.spawn(items.get)
    await asyncio.sleep(0)
    items.put_nowait(7)
    interrupt(first)
    with pytest.raises(error):
        await first
    assert await second == 7
    third = green.spawn(items.get)
    await asyncio.sleep(0)
    items.put_nowait(8)
    interrupt(third)
    with pytest.raises(error):
        await third
    assert not items.empty()  # even in a channel, where nobody else wants it
    assert items.get() == 8
    assert nothing_is_on_its_way(items)
    if isinstance(items, Queue):
        assert items.unfinished_tasks == 2


@pytest.mark.parametrize("victims", [(0,), (1,), (0, 1), (1, 0), (0, 2), (2, 0), (0, 1, 2), (2, 1, 0)])
async def test_items_keep_their_order_when_getters_are_killed(victims: tuple[int, ...]) -> None:
    items: Queue[int] = Queue()
    getters = [green.spawn(items.get) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(5):
        items.put(number)
    for victim in victims:
        getters[victim].kill()
    outcomes = await asyncio.gather(*getters, return_exceptions=True)
    got = [outcome for outcome in outcomes if not isinstance(outcome, GreenletExit)]
    assert len(got) == 3 - len(victims)
    assert got + contents(items) == [0, 1, 2, 3, 4]


async def test_a_priority_queue_takes_back_the_item_of_a_killed_getter() -> None:
    items: PriorityQueue[int] = PriorityQueue()
    getters = [green.spawn(items.get) for _ in range(2)]
    await asyncio.sleep(0)
    for number in (5, 1, 3):
        items.put(number)
    getters[0].kill()
    assert await getters[1] == 1
    assert contents(items) == [3, 5]


@pytest.mark.parametrize(("interrupt", "error"), INTERRUPTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_putter_that_is_interrupted_as_it_gets_room_does_not_put(
    kind: type[LightQueue[int]], interrupt: Interrupt, error: type[BaseException]
) -> None:
    items = kind(1)
    items.put(0)
    first, second = green.spawn(items.put, 1), green.spawn(items.put, 2)
    await asyncio.sleep(0)
    assert items.get() == 0
    interrupt(first)
    with pytest.raises(error):
        await first
    await second
    assert contents(items) == [2]
    assert nothing_is_on_its_way(items)
    if isinstance(items, Queue):
        assert items.unfinished_tasks == 2


@pytest.mark.parametrize(("interrupt", "error"), INTERRUPTS)
@pytest.mark.parametrize("maxsize", [0, 1])
async def test_waiters_that_are_interrupted_leave_the_line(
    maxsize: int, interrupt: Interrupt, error: type[BaseException]
) -> None:
    items: LightQueue[int] = LightQueue(maxsize)
    getter = green.spawn(items.get)
    await asyncio.sleep(0)
    interrupt(getter)
    assert items.getting() == 0
    if not maxsize:
        with pytest.raises(Full):
            items.put_nowait(0)
    with pytest.raises(error):
        await getter
    if maxsize:
        items.put(0)
    putter = green.spawn(items.put, 1)
    await asyncio.sleep(0)
    interrupt(putter)
    assert items.putting() == 0
    with pytest.raises(error):
        await putter
    assert contents(items) == [0] * maxsize
    assert nothing_is_on_its_way(items)


async def test_a_channel_takes_no_item_of_a_putter_that_was_killed_before() -> None:
    items: LightQueue[int] = LightQueue(0)
    first, second = green.spawn(items.put, 1), green.spawn(items.put, 2)
    await asyncio.sleep(0)
    first.kill()
    assert items.get() == 2
    await second
    with pytest.raises(GreenletExit):
        await first


def test_a_script_that_is_interrupted_as_it_gets_an_item() -> None:
    items: LightQueue[int] = LightQueue()
    limit = green.Timeout(3600)
    green.spawn(lambda: (items.put(1), limit._expire()))
    with pytest.raises(green.Timeout):
        items.get()
    limit.cancel()
    assert contents(items) == [1]


@pytest.mark.parametrize("maxsize", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
async def test_items_are_neither_lost_nor_doubled_whatever_happens(maxsize: int, seed: int) -> None:
    chance = random.Random(seed)
    items: Queue[int] = Queue(maxsize)
    put: list[int] = []
    got: list[int] = []
    unsure: set[int] = set()  # whose `put` was interrupted

    def wait_a_little() -> None:
        for _ in range(chance.randrange(3)):
            green.sleep(0)

    def produce(first: int) -> None:
        for number in range(first, first + 5):
            unsure.add(number)
            try:
                items.put(number, timeout=chance.choice([None, None, 0, 0.0001]))
            except Full:
                unsure.discard(number)
            else:
                unsure.discard(number)
                put.append(number)
            wait_a_little()

    def consume() -> None:
        while True:
            with suppress(Empty):
                got.append(items.get(timeout=chance.choice([None, None, 0, 0.0001])))
            wait_a_little()

    producers = [green.spawn(produce, 100 * number) for number in range(40)]
    consumers = [green.spawn(consume) for _ in range(20)]
    while not all(producer.dead for producer in producers):
        victim = chance.choice([*producers, *consumers])
        if victim in consumers:
            consumers[consumers.index(victim)] = green.spawn(consume)
        chance.choice([kill, limit, cancel])(victim)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
    await asyncio.gather(*producers, return_exceptions=True)
    for consumer in consumers:
        consumer.kill()
    await asyncio.gather(*consumers, return_exceptions=True)
    got += contents(items)
    assert len(got) == len(set(got))
    assert set(put) <= set(got) <= set(put) | unsure
    assert items.unfinished_tasks == len(got)
    assert nothing_is_on_its_way(items)


async def test_resize() -> None:
    items: LightQueue[int] = LightQueue(0)
    putters = [green.spawn(items.put, number) for number in range(4)]
    await asyncio.sleep(0)
    items.resize(2)
    await asyncio.gather(*putters[:2])
    assert items.qsize() == 2
    assert items.putting() == 2
    items.resize(1)
    assert items.full()
    assert items.maxsize == 1
    assert items.get() == 0
    assert items.putting() == 2
    items.resize(None)
    await asyncio.gather(*putters)
    items.resize(-1)
    assert items.maxsize is None
    assert contents(items) == [1, 2, 3]


@pytest.mark.parametrize("size", ["x", 1.5, [], float("nan")])
def test_bad_sizes_are_refused(size: Any) -> None:
    for kind in KINDS:
        with pytest.raises(TypeError, match="the size of a queue must be a whole number"):
            kind(size)
    items: LightQueue[int] = LightQueue(3)
    with pytest.raises(TypeError, match="whole number"):
        items.resize(size)
    assert items.maxsize == 3


def test_bad_timeouts_are_refused() -> None:
    items: LightQueue[int] = LightQueue()
    timeout: Any = "soon"
    with pytest.raises(TypeError, match="a number of seconds"):
        items.put(1, timeout=timeout)
    with pytest.raises(TypeError, match="a number of seconds"):
        items.get(timeout=timeout)
    assert items.empty()


def join_and_count() -> None:
    items: Queue[int] = Queue()
    items.join()  # nothing to wait for
    for number in range(3):
        items.put(number)
    joining = [green.spawn(items.join) for _ in range(2)]
    for _ in range(3):
        green.sleep(0)
        assert not any(thread.dead for thread in joining)
        items.get()
        items.task_done()
    for thread in joining:
        thread.wait()
    with pytest.raises(ValueError, match=r"call it once for each get\(\)"):
        items.task_done()
    assert items.unfinished_tasks == 0


def test_join_in_a_script() -> None:
    join_and_count()


async def test_join_in_a_green_thread() -> None:
    await green.run(join_and_count)


def test_a_script_joins_and_may_be_interrupted() -> None:
    items: Queue[int] = Queue()
    items.put(1)
    with green.Timeout(0.001, False):
        items.join()
        pytest.fail("nobody has done it")
    green.spawn(lambda: (items.get(), items.task_done()))
    items.join()
    assert not items._joining.waiting
    assert not items._joining.woken


def test_what_cannot_be_compared_is_not_put() -> None:
    items: PriorityQueue[Any] = PriorityQueue()
    numbers = [5, 3, 8, 1, 9, 2, 7]
    for number in numbers:
        items.put((number, number))
    for wrong in ((1, "x"), (0, 0, 0), ("x",)):
        try:
            items.put(wrong)
        except TypeError:
            continue
        assert items.get() == wrong
    assert items.unfinished_tasks == len(numbers) + 1  # (0, 0, 0) can be compared
    assert contents(items) == sorted((number, number) for number in numbers)


class Fussy:
    """Can be compared to so many things, and then no more."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def __lt__(self, other: object) -> bool:
        self.patience -= 1
        if self.patience < 0:
            raise ZeroDivisionError
        return True

    def __gt__(self, other: object) -> bool:
        return False


@pytest.mark.parametrize("patience", range(4))
def test_a_comparison_that_fails_half_way_leaves_the_queue_as_it_was(patience: int) -> None:
    items: PriorityQueue[Any] = PriorityQueue()
    for number in range(15):
        items.put(number)
    before = list(items.queue)
    with pytest.raises(ZeroDivisionError):
        items.put(Fussy(patience))
    assert items.queue == before
    assert items.unfinished_tasks == 15


async def test_the_error_of_a_putter_is_raised_in_its_own_put() -> None:
    items: PriorityQueue[Any] = PriorityQueue(2)
    items.put(1)
    items.put(2)
    putter = green.spawn(items.put, "text")
    await asyncio.sleep(0)
    items.resize(4)
    items.put(3)  # lets in those on their way
    with pytest.raises(TypeError):
        await putter
    assert contents(items) == [1, 2, 3]
    assert nothing_is_on_its_way(items)


async def test_the_room_of_a_putter_that_fails_is_for_the_next() -> None:
    items: PriorityQueue[Any] = PriorityQueue(2)
    items.put(1)
    items.put(2)
    failing, next_one = green.spawn(items.put, "text"), green.spawn(items.put, 3)
    await asyncio.sleep(0)
    assert items.get() == 1
    with pytest.raises(TypeError):
        await failing
    await next_one
    assert contents(items) == [2, 3]
    assert nothing_is_on_its_way(items)


@pytest.mark.parametrize("maxsize", [0, 1])
async def test_who_gets_takes_no_error_from_a_putter(maxsize: int) -> None:
    class Picky(Queue[int]):
        def _put(self, item: int) -> None:
            if item < 0:
                raise ValueError("negative")
            super()._put(item)

    items = Picky(maxsize)
    for number in range(maxsize):
        items.put(number)
    putters = [green.spawn(items.put, number) for number in (-1, -2, 7)]
    await asyncio.sleep(0)
    assert [items.get() for _ in range(maxsize + 1)] == [*range(maxsize), 7]
    with pytest.raises(Empty):
        items.get_nowait()
    for putter in putters[:2]:
        with pytest.raises(ValueError, match="negative"):
            await putter
    await putters[2]
    assert items.unfinished_tasks == maxsize + 1
    assert nothing_is_on_its_way(items)


@pytest.mark.parametrize("kind", KINDS)
def test_a_destructor_that_puts_something_in_the_middle_of_a_put(kind: type[LightQueue[int]]) -> None:
    def put_with_another(moment: int) -> bool:
        """Put an item, and another in the middle of that, at the next call of a function; return if there is one."""
        a_queue = kind()
        got = list[int]()
        waiting = [green.spawn(lambda: got.append(a_queue.get())) for _ in range(3)]
        green.sleep(0)
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            if event == "call":
                calls += 1
                if calls == moment:
                    a_queue.put(2)  # which is not watched itself

        sys.setprofile(count)
        try:
            a_queue.put(1)
        finally:
            sys.setprofile(None)
        green.sleep(0)
        came = calls >= moment
        assert sorted(got) == ([1, 2] if came else [1])
        assert a_queue.empty()
        a_queue.put(3)
        a_queue.put(4)
        for thread in waiting:
            thread.wait()
        assert nothing_is_on_its_way(a_queue)
        return came

    moment = 1
    while put_with_another(moment):
        moment += 1
    assert moment > 5


async def test_a_subclass_that_puts_something_as_it_hands_something_out() -> None:
    class Doubling(LightQueue[int]):
        def _get(self) -> int:
            item = super()._get()
            if item == 1:
                self.put(2)
            return item

    a_queue = Doubling()
    waiting = [green.spawn(a_queue.get) for _ in range(2)]
    await asyncio.sleep(0)
    a_queue.put(1)
    assert [await thread for thread in waiting] == [1, 2]
    assert nothing_is_on_its_way(a_queue)


def test_a_subclass_with_its_own_order() -> None:
    class Unique(Queue[int]):
        def _init(self, maxsize: int | None) -> None:
            self.queue = {}

        def _put(self, item: int) -> None:
            self.queue[item] = None

        def _get(self) -> int:
            return int(self.queue.popitem()[0])

    items = Unique(3)
    for number in (1, 1, 2):
        items.put(number)
    assert items.qsize() == 2
    assert contents(items) == [2, 1]


def test_generic_aliases_and_repr() -> None:
    items = Queue[int](3)
    items.put(1)
    assert isinstance(items, LightQueue)
    assert "maxsize=3, 1 items, 0 getting, 0 putting" in repr(items)


def test_it_belongs_to_the_thread_that_first_uses_it() -> None:
    items: Queue[int] = Queue()
    in_a_thread(lambda: items.put(1))
    uses: list[Callable[[], object]] = [
        items.get,
        items.get_nowait,
        lambda: items.put(1),
        lambda: items.put_nowait(1),
        lambda: items.resize(1),
        items.task_done,
        items.join,
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match="this Queue belongs to the thread 'other'"):
            use()
    assert items.qsize() == 1
    assert not items.empty()
