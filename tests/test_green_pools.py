"""Pools of green threads: so many at a time, and no slot is lost."""

import asyncio
import copy
import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from greenlet import GreenletExit

from tests.conftest import LoopErrors
from tests.test_green_event import in_a_thread
from tests.test_green_semaphore import INTERRUPTS
from tpool_asyncio import green, hubs
from tpool_asyncio._green.event import Event
from tpool_asyncio._green.green_map import GreenMap
from tpool_asyncio._green.green_pile import GreenPile
from tpool_asyncio._green.green_pool import GreenPool
from tpool_asyncio._green.green_thread import GreenThread
from tpool_asyncio.green import tpool


@pytest.fixture(autouse=True)
def hub_closed() -> Iterator[None]:
    yield
    if asyncio._get_running_loop() is None:
        hub = hubs.get_hub()
        left = hub.green_threads
        hub.close()
        assert not left


async def turns(number: int = 6) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def double(number: int) -> int:
    green.sleep(0)
    return 2 * number


def fail(error: BaseException) -> None:
    green.sleep(0)
    raise error


# GreenPool


def so_many_at_a_time() -> None:
    pool = GreenPool(2)
    running = most = 0

    def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        green.sleep(0)
        running -= 1
        return number

    threads = [pool.spawn(work, number) for number in range(2)]
    assert pool.running() == 2
    assert pool.free() == 0
    threads += [pool.spawn(work, number) for number in range(2, 7)]
    pool.waitall()
    assert all(thread.dead for thread in threads)
    assert [thread.wait() for thread in threads] == list(range(7))
    assert most == 2
    assert pool.running() == pool.waiting() == 0
    assert pool.free() == pool.size == 2


def test_in_a_script() -> None:
    so_many_at_a_time()


async def test_in_a_green_thread() -> None:
    await green.run(so_many_at_a_time)


async def test_async_code_spawns_and_awaits_but_cannot_wait_for_a_slot() -> None:
    pool = GreenPool(1)
    thread = pool.spawn(double, 2)
    with pytest.raises(RuntimeError, match="use await"):
        pool.spawn(double, 3)
    with pytest.raises(RuntimeError, match="use await"):
        pool.waitall()
    assert pool.waiting() == 0
    assert await thread == 4
    pool.waitall()
    assert pool.free() == 1


async def test_those_who_wait_for_a_slot_are_served_in_their_order() -> None:
    pool = GreenPool(1)
    gate = Event()
    pool.spawn(gate.wait)
    order: list[int] = []
    spawners = [green.spawn(pool.spawn, order.append, number) for number in range(4)]
    await turns()
    assert pool.waiting() == 4
    assert "size=1, 1 running, 4 waiting" in repr(pool)
    gate.send()
    await green.run(pool.waitall)  # for those that wait for a slot as well
    assert order == [0, 1, 2, 3]
    await asyncio.gather(*spawners)


@pytest.mark.parametrize(("interrupt", "error"), INTERRUPTS)
async def test_a_spawner_that_is_interrupted_as_it_gets_a_slot(
    interrupt: Callable[[GreenThread[Any]], None], error: type[BaseException]
) -> None:
    pool = GreenPool(1)
    gate = Event()
    ran: list[int] = []
    spawner: GreenThread[Any]
    interrupted = Event()

    def work() -> None:
        gate.wait()

    thread = pool.spawn(work)
    spawner = green.spawn(pool.spawn, ran.append, 1)
    waiting = green.spawn(pool.waitall)
    await turns()
    thread.link(lambda _: (interrupt(spawner), interrupted.send()))  # after the link that gives it the slot
    gate.send()
    await green.run(interrupted.wait)
    with pytest.raises(error):
        await spawner
    await waiting  # is told, although no green thread has ended since
    assert ran == []
    assert pool.free() == 1
    assert pool.running() == 0


@pytest.mark.parametrize("victims", ["before its start", "while it runs"])
async def test_a_killed_green_thread_leaves_its_slot(victims: str) -> None:
    pool = GreenPool(1)
    thread = pool.spawn(Event().wait)
    if victims == "while it runs":
        await turns()
    thread.kill()
    await green.run(pool.waitall)
    assert pool.free() == 1
    with pytest.raises(GreenletExit):
        await thread


def test_a_failing_green_thread_leaves_its_slot_and_its_error() -> None:
    pool = GreenPool(1)
    error = KeyError("x")
    threads = [pool.spawn(fail, error) for _ in range(3)]
    for thread in threads:
        with pytest.raises(KeyError):
            thread.wait()
    assert pool.free() == 1


async def test_spawn_n_logs_what_is_raised(loop_errors: LoopErrors) -> None:
    pool = GreenPool(1)
    result: object = pool.spawn_n(fail, ZeroDivisionError())
    assert result is None
    await green.run(pool.waitall)
    await turns()
    assert [type(error["exception"]) for error in loop_errors] == [ZeroDivisionError]
    assert pool.free() == 1


def run_in_place() -> None:
    pool = GreenPool(1)
    steps = []

    def inner(number: int) -> int:
        steps.append((number, green.getcurrent()))
        green.sleep(0)
        if number < 0:
            raise ValueError(number)
        return number

    def outer() -> GreenThread[int]:
        good = pool.spawn(inner, 1)
        assert good.dead
        assert good.wait() == 1
        bad = pool.spawn(inner, -1)
        assert bad.dead
        for _ in range(2):
            with pytest.raises(ValueError, match="-1") as caught:
                bad.wait()
            assert caught.traceback[-1].name == "inner"
        bad.kill()
        called: list[GreenThread[int]] = []
        good.link(called.append)
        assert called == [good]
        assert pool.running() == 1
        pool.spawn_n(inner, 2)
        steps.append((0, green.getcurrent()))
        return good

    thread = pool.spawn(outer)
    good = thread.wait()
    assert [number for number, _ in steps] == [1, -1, 2, 0]
    assert {where for _, where in steps} == {thread}
    assert pool.free() == 1
    assert good not in hubs.get_hub().green_threads


def test_a_full_pool_runs_functions_of_its_own_in_place_in_a_script() -> None:
    run_in_place()


async def test_a_full_pool_runs_functions_of_its_own_in_place_in_a_green_thread() -> None:
    await green.run(run_in_place)


async def test_spawn_n_in_place_logs_what_is_raised(loop_errors: LoopErrors) -> None:
    pool = GreenPool(1)
    thread = pool.spawn(lambda: (pool.spawn_n(fail, ZeroDivisionError()), "went on")[1])
    assert await thread == "went on"
    assert [type(error["exception"]) for error in loop_errors] == [ZeroDivisionError]


async def test_a_kill_of_a_green_thread_that_runs_a_function_in_place_is_its_own() -> None:
    pool = GreenPool(1)
    never = Event()
    for spawn in (pool.spawn, pool.spawn_n):
        thread = pool.spawn(spawn, never.wait)
        await turns()
        thread.kill()
        with pytest.raises(GreenletExit):
            await thread
    assert pool.free() == 1


async def test_green_run_inside_a_green_thread_of_the_pool_counts_as_inside() -> None:
    pool = GreenPool(1)

    async def nested() -> int:
        return (await green.run(pool.spawn, double, 4)).wait()

    assert await pool.spawn(green.sync(nested)) == 8


def test_waitall_from_inside_is_an_error() -> None:
    pool = GreenPool(2)
    with pytest.raises(AssertionError, match="call it from outside the pool"):
        pool.spawn(pool.waitall).wait()
    assert pool.free() == 2
    pool.waitall()  # with nothing to wait for


def test_waitall_may_be_interrupted() -> None:
    pool = GreenPool()
    gate = Event()
    pool.spawn(gate.wait)
    with green.Timeout(0.001, False):
        pool.waitall()
        pytest.fail("it went on")
    gate.send()
    pool.waitall()
    assert not pool._joining.waiting
    assert not pool._joining.woken


async def test_resize() -> None:
    pool = GreenPool(1)
    gate = Event()
    spawners = [green.spawn(pool.spawn, gate.wait) for _ in range(5)]
    await turns()
    assert (pool.running(), pool.waiting()) == (1, 4)
    pool.resize(3)
    await turns()
    assert (pool.running(), pool.waiting(), pool.free()) == (3, 2, 0)
    pool.resize(2)
    assert (pool.running(), pool.waiting(), pool.free()) == (3, 2, -1)
    gate.send()
    await green.run(pool.waitall)
    await asyncio.gather(*spawners)
    assert pool.free() == pool.size == 2
    pool.resize(0)
    spawner = green.spawn(pool.spawn, double, 2)
    await turns()
    assert not spawner.dead
    pool.resize(1)
    assert await (await spawner) == 4


@pytest.mark.parametrize("size", ["x", None, 1.5, []])
def test_sizes_that_are_no_numbers_are_refused(size: Any) -> None:
    for make in (GreenPool, GreenPile, GreenPool(1).resize):
        with pytest.raises(TypeError, match="the size of a GreenPool must be a whole number"):
            make(size)


def test_negative_sizes_are_refused() -> None:
    pool = GreenPool(1)
    for make in (GreenPool, GreenPile, pool.resize):
        with pytest.raises(ValueError, match="must be 0 or more, not -1"):
            make(-1)
    assert pool.size == pool.free() == 1


def test_what_is_not_callable_is_refused_and_takes_no_slot() -> None:
    async def coroutine() -> None: ...

    pool = GreenPool(1)
    pile: GreenPile[Any] = GreenPile(pool)
    wrong: Any
    for make in (lambda: 3, coroutine):
        for refuse in (pool.spawn, pool.spawn_n, pile.spawn, lambda fn: pool.imap(fn, [1])):
            wrong = make()
            with pytest.raises(TypeError, match="must be callable"):
                refuse(wrong)
    assert pool.free() == 1
    assert list(pile) == []


def test_a_pool_belongs_to_the_thread_that_first_uses_it() -> None:
    pool = GreenPool(1)

    def use() -> None:
        assert pool.spawn(double, 1).wait() == 2
        hubs.get_hub().close()

    in_a_thread(use)
    for refuse in (pool.waitall, lambda: pool.spawn(int), lambda: pool.resize(1), lambda: pool.imap(int, [])):
        with pytest.raises(RuntimeError, match="this GreenPool belongs to the thread 'other'"):
            refuse()
    assert pool.free() == 1
    assert pool.running() == 0


def test_keywords_belong_to_the_function() -> None:
    pool = GreenPool()
    assert pool.spawn(dict, function=1, self=2).wait() == {"function": 1, "self": 2}
    pile: GreenPile[Any] = GreenPile(pool)
    pile.spawn(dict, func=1, self=2)
    assert list(pile) == [{"func": 1, "self": 2}]


@pytest.mark.parametrize("name", ["spawn", "spawn_n"])
def test_a_green_thread_that_cannot_be_made_leaves_its_slot(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = GreenPool(1)
    with monkeypatch.context() as patch:
        patch.setattr(f"tpool_asyncio._green.spawning.{name}", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            getattr(pool, name)(double, 1)
    assert pool.free() == 1
    pool.waitall()


# imap and starmap


def results_in_order() -> None:
    pool = GreenPool(3)

    def later_ends_sooner(number: int) -> int:
        for _ in range(10 - number):
            green.sleep(0)
        return number

    assert list(pool.imap(later_ends_sooner, range(10))) == list(range(10))
    assert list(pool.imap(pow, [1, 2, 3], itertools.count())) == [1, 2, 9]
    assert list(pool.starmap(pow, [(2, 3), (3, 2)])) == [8, 9]
    assert list(pool.imap(None, "ab", "cd")) == [("a", "c"), ("b", "d")]
    assert list(pool.imap(double, [])) == []
    assert pool.free() == 3


def test_imap_cannot_be_copied_and_so_ended_by_a_copy() -> None:
    results = GreenPool(2).imap(double, range(9))
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        copy.copy(results)
    assert list(results) == list(range(0, 18, 2))


def test_imap_in_a_script() -> None:
    results_in_order()


async def test_imap_in_a_green_thread() -> None:
    await green.run(results_in_order)


def test_imap_inside_its_own_full_pool() -> None:
    pool = GreenPool(1)
    assert pool.spawn(lambda: list(pool.imap(double, range(4)))).wait() == [0, 2, 4, 6]


def test_imap_reads_ahead_in_proportion_to_the_size_only() -> None:
    pool = GreenPool(4)
    read = 0

    def arguments() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read = number + 1
            yield number

    results = pool.imap(double, arguments())
    for _ in range(50):
        green.sleep(0)
    assert 4 <= read <= 10
    for number in range(100):
        assert next(results) == 2 * number
        assert read <= number + 11
    results.close()
    green.sleep(0)


def test_no_more_calls_run_at_a_time_than_the_size() -> None:
    running = most = 0

    def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(number % 4):
            green.sleep(0)
        running -= 1

    list(GreenPool(3).imap(work, range(30)))
    assert most == 3


def test_an_exception_is_raised_at_its_item_and_the_iteration_can_go_on() -> None:
    def work(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number

    results = GreenPool(2).imap(work, range(5))
    seen: list[Any] = []
    while True:
        try:
            seen.append(next(results))
        except StopIteration:
            break
        except ValueError as error:
            seen.append(str(error))
    assert seen == [0, "1", 2, "3", 4]


def test_stop_iteration_does_not_end_the_iteration_in_silence() -> None:
    def work(number: int) -> Any:
        if number == 1:
            raise StopIteration("stop")
        return StopIteration() if number == 2 else number

    results = GreenPool().imap(work, range(4))
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="work raised StopIteration") as caught:
        next(results)
    assert isinstance(caught.value.__cause__, StopIteration)
    assert isinstance(next(results), StopIteration)  # a value like any other
    assert next(results) == 3
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(results)


@pytest.mark.parametrize("error", [KeyError("x"), green.Timeout()])
def test_an_exception_of_the_iterable_comes_after_the_results(error: BaseException) -> None:
    def arguments() -> Iterator[int]:
        yield 1
        yield 2
        raise error

    results = GreenPool().imap(double, arguments())
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(type(error)) as caught:
        next(results)
    assert caught.value is error
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(results)


def test_wrong_arguments_of_starmap() -> None:
    pool = GreenPool()
    wrong: Any = 3
    uses: list[Callable[[], object]] = [lambda: pool.imap(double, wrong), lambda: pool.starmap(double, wrong)]
    for use in uses:
        with pytest.raises(TypeError, match=r"not iterable|must support iteration"):
            use()
    with pytest.raises(TypeError, match="after \\*"):
        next(pool.starmap(double, [wrong]))
    with pytest.raises(ValueError, match=r"never call the function; resize\(\) it first"):
        GreenPool(0).imap(double, [1])


def abandon(leave: Callable[["GreenMap[int]"], object]) -> None:
    hub = hubs.get_hub()
    before = hub.green_threads
    closed = []

    def arguments() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    results = GreenPool(2).imap(double, arguments())
    assert next(results) == 0
    leave(results)
    del results
    gc.collect()
    for _ in range(10):
        green.sleep(0)
    assert hub.green_threads == before
    assert closed == [True]


LEAVING: list[Callable[["GreenMap[int]"], object]] = [
    lambda results: None,
    lambda results: results.close(),
    lambda results: [results.close(), results.close()],
    lambda results: in_a_thread(results.close),
    lambda results: results._feeder.kill(),
]


@pytest.mark.parametrize("leave", LEAVING)
def test_an_abandoned_imap_leaves_nothing_behind_in_a_script(leave: Callable[["GreenMap[int]"], object]) -> None:
    abandon(leave)


@pytest.mark.parametrize("leave", LEAVING)
async def test_an_abandoned_imap_leaves_nothing_behind(leave: Callable[["GreenMap[int]"], object]) -> None:
    await green.run(abandon, leave)


def test_an_imap_that_was_never_made_can_be_dropped() -> None:
    unmade = GreenMap.__new__(GreenMap)
    unmade.__del__()


def test_an_imap_dropped_before_its_start() -> None:
    GreenPool(2).imap(double, itertools.count())
    green.sleep(0)


def test_a_closed_imap_is_at_its_end_also_for_who_waits() -> None:
    started = Event()

    def arguments() -> Iterator[int]:
        started.send()
        Event().wait()
        yield 1

    results = GreenPool(2).imap(double, arguments())
    waiting = [green.spawn(list, results) for _ in range(2)]
    started.wait()
    results.close()
    assert [thread.wait() for thread in waiting] == [[], []]
    with pytest.raises(StopIteration):
        next(results)


def test_a_killed_feeder_is_reported() -> None:
    results = GreenPool(2).imap(double, itertools.count())
    assert next(results) == 0
    results._feeder.kill()
    with pytest.raises(RuntimeError, match="has been ended") as caught:
        list(results)
    assert isinstance(caught.value.__cause__, GreenletExit)
    assert list(results) == []


def test_an_interrupted_next_loses_no_result() -> None:
    gates = [Event() for _ in range(3)]
    results = GreenPool().imap(lambda number: (gates[number].wait(), number)[1], range(3))
    for number in range(3):
        with green.Timeout(0.001, False):
            next(results)
            pytest.fail("there was a result")
        gates[number].send()
        assert next(results) == number
    assert list(results) == []


def test_results_for_several_green_threads() -> None:
    results = GreenPool(2).imap(double, range(20))
    readers = [green.spawn(list, results) for _ in range(3)]
    assert sorted(itertools.chain(*(reader.wait() for reader in readers))) == [2 * number for number in range(20)]


async def test_an_iterator_that_outlives_its_loop_can_be_dropped() -> None:
    kept: list[GreenMap[int]] = []

    def other_loop() -> None:
        async def start() -> None:
            kept.append(GreenPool(1).imap(double, itertools.count()))
            await turns()

        asyncio.run(start())

    await green.run(tpool.execute, other_loop)
    reference = weakref.ref(kept[0])
    kept.clear()
    gc.collect()
    assert reference() is None


# GreenPile


def pile_up() -> None:
    pile: GreenPile[int] = GreenPile(2)
    for number in range(6):
        result: object = pile.spawn(double, number)
        assert result is None
    assert list(pile) == [0, 2, 4, 6, 8, 10]
    assert list(pile) == []
    pile.spawn(double, 8)
    assert next(pile) == 16
    assert pile.pool.free() == 2


def test_a_pile_in_a_script() -> None:
    pile_up()


async def test_a_pile_in_a_green_thread() -> None:
    await green.run(pile_up)


def test_piles_share_a_pool() -> None:
    pool = GreenPool(3)
    piles: list[GreenPile[int]] = [GreenPile(pool), GreenPile(pool)]
    for number in range(6):
        piles[number % 2].spawn(double, number)
    assert [list(pile) for pile in piles] == [[0, 4, 8], [2, 6, 10]]
    assert pool.free() == 3


def test_exceptions_in_a_pile_are_raised_at_their_items() -> None:
    pile: GreenPile[Any] = GreenPile()
    pile.spawn(double, 1)
    pile.spawn(fail, KeyError("x"))
    pile.spawn(fail, StopIteration())
    pile.spawn(double, 2)
    assert next(pile) == 2
    with pytest.raises(KeyError):
        next(pile)
    with pytest.raises(RuntimeError, match="fail raised StopIteration"):
        next(pile)
    assert list(pile) == [4]


def test_an_interrupted_next_of_a_pile_loses_no_result() -> None:
    pile: GreenPile[Any] = GreenPile(1)
    gate = Event()
    pile.spawn(gate.wait)
    with green.Timeout(0.001, False):
        next(pile)
    gate.send("value")
    assert list(pile) == ["value"]
    # the same while the spawner still waits for a slot
    gate = Event()
    pile.pool.spawn(gate.wait)
    spawner = green.spawn(pile.spawn, double, 3)
    reader = green.spawn(next, pile)
    green.sleep(0)
    reader.kill()
    gate.send()
    spawner.wait()
    assert list(pile) == [6]


async def test_a_reader_does_not_wait_for_a_spawn_that_was_killed() -> None:
    pile: GreenPile[int] = GreenPile(1)
    gate = Event()
    pile.pool.spawn(gate.wait)
    spawner = green.spawn(pile.spawn, double, 3)
    await turns()
    readers = [green.spawn(list, pile) for _ in range(2)]
    await turns()
    spawner.kill()
    assert await asyncio.gather(*readers) == [[], []]
    gate.send()
    await green.run(pile.pool.waitall)
    await green.run(pile.spawn, double, 4)
    assert await green.run(list, pile) == [8]


async def test_a_spawn_and_its_reader_are_killed_in_the_same_turn() -> None:
    # The reader has been told that nothing will come, and is killed before it knows. Nobody else is to be told that.
    pile: GreenPile[int] = GreenPile(1)
    gate = Event()
    pile.pool.spawn(gate.wait)
    spawner = green.spawn(pile.spawn, double, 3)
    await turns()
    reader = green.spawn(next, pile)
    await turns()
    spawner.link(lambda _: reader.kill())
    spawner.kill()
    await turns()
    assert reader.dead
    assert pile._due == 0
    gate.send()
    await green.run(pile.pool.waitall)
    for number in (4, 5):
        await green.run(pile.spawn, double, number)
    assert await green.run(list, pile) == [8, 10]


def test_a_pile_in_its_own_full_pool() -> None:
    def outer() -> list[int]:
        pile: GreenPile[int] = GreenPile(pool)
        for number in range(3):
            pile.spawn(double, number)
        return list(pile)

    pool = GreenPool(1)
    assert pool.spawn(outer).wait() == [0, 2, 4]


def test_pools_in_several_threads_at_once() -> None:
    outcomes = []

    def use() -> None:
        outcomes.append(list(GreenPool(3).imap(lambda number: tpool.execute(abs, -number), range(20))))
        hubs.get_hub().close()

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert outcomes == [list(range(20))] * 3
