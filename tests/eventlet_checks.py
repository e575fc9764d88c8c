"""What is to hold in a program that uses Eventlet's asyncio hub, all of it in one process: see `tests.test_eventlet`.

    python -m tests.eventlet_checks WHEN WHAT

where WHEN tells when ``eventlet.monkey_patch`` is called (never, before, after, late: with threads and locks in use),
and WHAT is what it patches (all, or "but-threads"). It prints the names of the checks that hold, and fails with the
first that does not.
"""

import asyncio
import contextvars
import gc
import os
import signal
import sys
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
warnings.filterwarnings("ignore", "unclosed", ResourceWarning)  # the hub's loop at exit, up to Eventlet 0.40

import eventlet  # type: ignore[import-untyped]  # noqa: E402 - after the filter
import eventlet.debug  # type: ignore[import-untyped]  # noqa: E402
import eventlet.patcher  # type: ignore[import-untyped]  # noqa: E402
from greenlet import GreenletExit  # noqa: E402

WHEN, WHAT = sys.argv[1:3] if __name__ == "__main__" else ("never", "all")


def patch() -> None:
    eventlet.monkey_patch(**({} if WHAT == "all" else {"all": True, "thread": False}))


if WHEN == "before":
    patch()

from tests.gate import PATIENCE  # noqa: E402
from tpool_asyncio import from_thread  # noqa: E402
from tpool_asyncio import tpool as async_tpool  # noqa: E402

green: Any = import_module("tpool_asyncio.green")
tpool: Any = import_module("tpool_asyncio.green.tpool")
interop: Any = import_module("tpool_asyncio.interop.eventlet")

if WHEN == "after":
    patch()
if WHEN == "late":
    assert [thread.wait() for thread in [eventlet.spawn(tpool.execute, abs, -1) for _ in range(5)]] == [1] * 5
    patch()

real: Any = eventlet.patcher.original("threading")  # which is never patched
CHECKS: list[Callable[[], None]] = []


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS.append(function)
    return function


class Stuck:
    """A call that blocks its thread until it is let go."""

    def __init__(self) -> None:
        self.started, self.gate, self.ended = real.Event(), real.Event(), real.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self.gate.wait(PATIENCE)
        self.ended.set()
        return "late"

    def spin(self) -> None:
        """Wait, as a greenthread does, for the call to be under way."""
        while not self.started.is_set():
            eventlet.sleep(0.001)


@contextmanager
def stuck() -> Iterator[Stuck]:
    call = Stuck()
    try:
        yield call
    finally:
        call.gate.set()


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@check
def a_worker_is_a_real_thread() -> None:
    mine = real.get_ident()
    assert mine not in {thread.wait() for thread in [eventlet.spawn(tpool.execute, real.get_ident) for _ in range(5)]}
    import threading

    if WHEN == "late":
        tpool.killall()  # nobody knows the names of threads that are older than the patch
    assert tpool.execute(threading.current_thread).name.startswith("tpool")
    assert tpool.execute(threading.current_thread).name.startswith("tpool")  # and again, where others may be asked


@check
def the_locks_are_real() -> None:
    native: Any = import_module("tpool_asyncio._pool.native")
    core = tpool.default_pool()._pool._core
    tpool.execute(abs, -1)
    assert type(core.lock) is native.RLock
    assert type(core.submit.__self__.scout) is native.LockType
    assert native.get_ident() == real.get_ident()
    assert native.current_thread() is real.current_thread() or WHAT != "all" or WHEN == "never"

    values = native.local()  # of the thread, and not of each greenlet
    values.mine = "mine"
    assert eventlet.spawn(getattr, values, "mine", None).wait() == "mine"


@check
def twenty_greenthreads_have_twenty_threads() -> None:
    barrier = real.Barrier(20)
    threads = [eventlet.spawn(tpool.execute, barrier.wait, PATIENCE) for _ in range(20)]
    assert sorted(thread.wait() for thread in threads) == list(range(20))


@check
def only_the_calling_greenthread_waits() -> None:
    with stuck() as call:
        caller = eventlet.spawn(tpool.execute, call)
        call.spin()
        assert eventlet.spawn(lambda: "meanwhile").wait() == "meanwhile"
        assert not caller.dead
        call.gate.set()
        assert caller.wait() == "late"
    with stuck() as call:  # and so it is when the main greenlet calls
        eventlet.spawn(lambda: [call.spin(), call.gate.set()])
        assert tpool.execute(call) == "late"


@check
def errors_come_as_they_are() -> None:
    failure = KeyError("here")

    def fail() -> None:
        raise failure

    error = raised(partial(tpool.execute, fail))
    assert error is failure
    assert error.__traceback__ is not None
    frames = []
    trace: Any = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert frames[-1] == "fail"
    assert isinstance(raised(partial(tpool.execute, 3)), TypeError)
    assert isinstance(raised(partial(tpool.execute, next, iter(()))), RuntimeError)


@check
def errors_do_not_lead_back_to_themselves() -> None:
    class MarkedError(Exception):
        pass

    async def fail_async() -> None:
        await asyncio.sleep(0)
        raise MarkedError

    def fail() -> None:
        raise MarkedError

    def dies(call: Callable[[], object]) -> bool:
        try:
            call()
        except MarkedError as error:
            there = weakref.ref(error)
        eventlet.sleep(0.01)  # whoever woke us has gone on
        return there() is None

    async_options = tpool.options(timeout=PATIENCE)
    gc.collect()
    gc.disable()
    try:
        for call in (
            partial(tpool.execute, fail),
            partial(async_options.execute, fail),
            lambda: green.await_(fail_async()),
        ):
            assert eventlet.spawn(dies, call).wait()
    finally:
        gc.enable()


@check
def a_timeout_ends_the_wait() -> None:
    with stuck() as call:
        with eventlet.Timeout(0.01) as timeout:
            assert raised(partial(tpool.execute, call)) is timeout
        assert not call.ended.is_set()
        assert eventlet.with_timeout(0.01, tpool.execute, call, timeout_value="over") == "over"
        with eventlet.Timeout(0.01, False):
            green.await_(asyncio.sleep(PATIENCE))
        with eventlet.Timeout(0.01, OSError("slow")):
            assert isinstance(raised(partial(tpool.execute, call)), OSError)
    with eventlet.Timeout(PATIENCE):
        assert tpool.execute(abs, -3) == 3


@check
def a_timeout_in_the_turn_of_the_outcome() -> None:
    # The outcome has come, but its greenthread has not been woken when the exception is thrown in.
    future = eventlet.hubs.get_hub().loop.create_future()
    waiter = eventlet.spawn(green.await_, future)
    eventlet.sleep(0.01)
    future.set_result("lost")
    waiter.kill(OSError, OSError("first"), None)
    assert isinstance(raised(waiter.wait), OSError)
    eventlet.sleep(0.01)  # the wake-up finds nobody
    timeout = eventlet.Timeout(0.001)
    error: object = None
    for _ in range(1000):
        try:
            tpool.execute(abs, -1)
        except BaseException as late:
            error = late
            break
    assert error is timeout
    assert tpool.execute(abs, -2) == 2


@check
def kill_ends_the_wait_at_once() -> None:
    seen = []

    def caller(call: Stuck) -> None:
        try:
            tpool.execute(call)
        finally:
            seen.append("cleaned up")

    with stuck() as call:
        thread = eventlet.spawn(caller, call)
        call.spin()
        thread.kill()
        assert thread.dead
        assert seen == ["cleaned up"]
        assert tpool.statistics().abandoned
    never = eventlet.spawn(tpool.execute, seen.append, "started")
    never.kill()
    killed_with = OSError("other")
    with stuck() as call:
        thread = eventlet.spawn(tpool.execute, call)
        call.spin()
        thread.kill(killed_with)
        assert raised(thread.wait) is killed_with
    eventlet.sleep(0.01)
    assert seen == ["cleaned up"]


@check
def a_queued_call_of_a_killed_greenthread_never_runs() -> None:
    ran: list[int] = []
    with green.tpool.Pool(1) as pool, stuck() as call:
        first = eventlet.spawn(pool.execute, call)
        call.spin()
        second = eventlet.spawn(pool.execute, ran.append, 1)
        eventlet.sleep(0.01)
        second.kill()
        call.gate.set()
        assert first.wait() == "late"
        assert pool.statistics().cancelled == 1
    assert ran == []


@check
def options_and_proxies_and_iterations() -> None:
    with stuck() as call:
        assert isinstance(raised(partial(tpool.options(timeout=0.01).execute, call)), TimeoutError)
    with stuck() as call:
        waits = eventlet.spawn(tpool.options(on_cancel="wait").execute, call)
        call.spin()
        killer = eventlet.spawn(waits.kill)
        eventlet.sleep(0.01)
        assert not waits.dead
        call.gate.set()
        assert isinstance(raised(waits.wait), GreenletExit)
        assert call.ended.is_set()
        killer.wait()
    items = tpool.Proxy([1, 2])
    items.append(3)
    assert (items._obj, len(items), items[2]) == ([1, 2, 3], 3, 3)
    assert list(tpool.iterate(range(5000))) == list(range(5000))
    assert eventlet.spawn(lambda: list(tpool.iterate(iter, range(5000)))).wait() == list(range(5000))


@check
def an_iteration_that_is_ahead_gives_way() -> None:
    module: Any = import_module("tpool_asyncio._green.iteration")
    give_way = module._give_way
    turns: list[int] = []
    given: list[bool] = []

    def watched() -> None:
        before = len(turns)
        give_way()
        given.append(len(turns) > before)

    def other() -> None:
        while True:
            turns.append(1)
            eventlet.sleep(0)

    greenthread = eventlet.spawn(other)
    module._give_way = watched
    try:
        for _ in range(100):
            assert sum(1 for _ in tpool.iterate(range(100_000))) == 100_000
            if any(given):
                return
        raise AssertionError("nobody else has had a turn")
    finally:
        module._give_way = give_way
        greenthread.kill()


@check
def what_is_called_in_a_worker() -> None:
    async def answer() -> str:
        await asyncio.sleep(0)
        return "from the loop"

    assert eventlet.spawn(tpool.execute, tpool.execute, abs, -1).wait() == 1  # in place
    assert eventlet.spawn(tpool.execute, from_thread.run, answer).wait() == "from the loop"
    assert tpool.execute(from_thread.run_sync, asyncio.get_running_loop) is eventlet.hubs.get_hub().loop
    # In a patched program this sleeps on a hub in the thread of the worker, and still that is a thread of the pool.
    assert tpool.execute(lambda: [time.sleep(0.001), tpool.execute(abs, -5)]) == [None, 5]


@check
def context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="nothing")

    async def change() -> str:
        seen = variable.get()
        await asyncio.sleep(0)
        variable.set("changed")
        return seen

    def body(value: str) -> tuple[str, str, str]:
        variable.set(value)
        return tpool.execute(variable.get), green.await_(change()), variable.get()

    threads = [eventlet.spawn(body, value) for value in "ab"]
    assert [thread.wait() for thread in threads] == [("a", "a", "changed"), ("b", "b", "changed")]
    assert variable.get() == "nothing"


@check
def coroutines_clean_up() -> None:
    events: list[str] = []

    async def cleans_up(ending: str) -> str:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            events.append("clean")
            if ending == "raises":
                raise KeyError("in the cleanup") from None
            if ending != "swallows":
                raise
        return "swallowed"

    for ending, expected in (("passes", eventlet.Timeout), ("swallows", eventlet.Timeout), ("raises", KeyError)):
        with eventlet.Timeout(0.01):
            assert isinstance(raised(lambda how=ending: green.await_(cleans_up(how))), expected)  # type: ignore[misc]
    assert events == ["clean"] * 3

    async def holds_on() -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            events.append("holds on")
            await asyncio.sleep(PATIENCE)

    thread = eventlet.spawn(green.await_, holds_on())
    eventlet.sleep(0.01)
    thread.kill()
    eventlet.sleep(0.01)
    assert not thread.dead
    thread.kill()  # who insists is not kept waiting
    assert thread.dead
    assert events[3:] == ["holds on"]
    for task in asyncio.all_tasks(eventlet.hubs.get_hub().loop):
        if getattr(task.get_coro(), "__name__", "") == "holds_on":
            task.cancel()
    eventlet.sleep(0.01)


@check
def async_code_is_told_to_await() -> None:
    async def main() -> int:
        assert "await" in str(raised(partial(tpool.execute, abs, -1)))
        assert "await" in str(raised(partial(green.await_, asyncio.sleep(0))))
        one: int = await green.run(tpool.execute, abs, -1)
        return one + await async_tpool.execute(abs, -7)

    assert eventlet.spawn(green.await_, main()).wait() == 8
    assert asyncio.get_running_loop() is eventlet.hubs.get_hub().loop  # so a greenthread can make the future itself
    assert green.await_(async_tpool.execute(abs, -9)) == 9
    loop = asyncio.new_event_loop()
    assert "another loop" in str(raised(partial(green.await_, loop.create_future())))
    loop.close()


@check
def a_cancelled_task() -> None:
    loop = eventlet.hubs.get_hub().loop
    task = loop.create_task(asyncio.sleep(PATIENCE))
    thread = eventlet.spawn(green.await_, task)
    eventlet.sleep(0.01)
    task.cancel()
    assert isinstance(raised(thread.wait), asyncio.CancelledError)
    other = loop.create_task(asyncio.sleep(PATIENCE))
    thread = eventlet.spawn(green.await_, other)
    eventlet.sleep(0.01)
    thread.kill()
    assert thread.dead or other.cancelling()
    eventlet.sleep(0.01)
    assert other.cancelled()
    assert green.await_(loop.create_task(asyncio.sleep(0, "done"))) == "done"


@check
def install_and_uninstall() -> None:
    from eventlet import tpool as module

    names = [name for name in dir(module) if not name.startswith("_")]  # the others are the state of their pool
    theirs = [getattr(module, name) for name in names]
    before = module.execute(real.get_ident)
    interop.install()
    interop.install()
    try:
        assert module.execute.__self__ is tpool.default_pool()
        assert module.Proxy is tpool.Proxy
        assert isinstance(module.Proxy([]), module.Proxy)
        assert eventlet.spawn(module.execute, real.get_ident).wait() != before
        assert module.proxy_call((list,), list, "ab")._obj == ["a", "b"]
        assert module.proxy_call((), real.get_ident, nonblocking=True) == real.get_ident()
        module.killall()
        module.set_num_threads(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert module.execute(real.get_ident) == real.get_ident()
        assert len(caught) == 1
        module.set_num_threads(20)
        module.setup()
        assert tpool.statistics().threads == 20
        module.killall()
        assert tpool.statistics().threads == 0
    finally:
        interop.uninstall()
    interop.uninstall()
    assert [getattr(module, name) for name in names] == theirs
    assert module.execute(real.get_ident)
    module.killall()


@check
def futures_of_executors_are_for_programs_that_are_not_patched() -> None:
    with stuck() as call:
        future = tpool.executor().submit(call)
        if WHEN != "never" and WHAT == "all":
            for wait in (future.result, future.exception):
                error = raised(partial(wait, PATIENCE))
                assert isinstance(error, RuntimeError)
                assert "Eventlet has patched this program" in str(error)
                assert "use tpool.execute of tpool_asyncio.green" in str(error)
        call.gate.set()
        while not future.done():
            eventlet.sleep(0.001)
    assert future.result() == "late"  # nobody has to wait for that


@check
def a_task_factory_that_fails() -> None:
    def refuse(*args: object, **kwargs: object) -> Any:
        raise ValueError("no tasks today")

    green.await_(asyncio.sleep(0))
    loop = eventlet.hubs.get_hub().loop
    loop.set_task_factory(refuse)
    assert str(raised(partial(green.await_, asyncio.sleep(0)))) == "no tasks today"
    loop.set_task_factory(None)


@check
def killall_while_calls_run() -> None:
    with stuck() as call:
        caller = eventlet.spawn(tpool.execute, call)
        call.spin()
        error = raised(partial(tpool.killall, 0.01))
        assert isinstance(error, tpool.StillRunningError)
        assert "wait" in str(error)  # its stack
        call.gate.set()
        assert caller.wait() == "late"
    assert tpool.execute(abs, -1) == 1
    tpool.killall()
    assert tpool.statistics().threads == 0


@check
def threads_with_a_hub_each() -> None:
    outcomes: dict[int, list[set[int]]] = {}

    def main(number: int) -> None:
        pile = [eventlet.spawn(lambda k=k: {tpool.execute(pow, k, 2) for _ in range(20)}) for k in range(5)]
        outcomes[number] = [thread.wait() for thread in pile]
        with stuck() as call, eventlet.Timeout(0.01, False):
            tpool.execute(call)
        hub = eventlet.hubs.get_hub()
        hub.abort(wait=True)
        hub.loop.close()

    threads = [real.Thread(target=main, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert tpool.execute(abs, -1) == 1  # and the hub of this one, at the same time
    for thread in threads:
        tpool.execute(thread.join, PATIENCE)
        assert not thread.is_alive()
    assert outcomes == {number: [{0}, {1}, {4}, {9}, {16}] for number in range(4)}


@check
def a_fork_after_use() -> None:
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    loop = eventlet.hubs.get_hub().loop

    def both() -> None:
        mine = [eventlet.spawn(tpool.execute, abs, -k) for k in range(10)]
        assert [thread.wait() for thread in mine] == list(range(10))

    def forks() -> None:
        both()
        readable, writable = os.pipe()
        reader = eventlet.spawn(eventlet.hubs.trampoline, readable, read=True)
        eventlet.sleep(0.01)
        wakes_up = os.fstat(loop._csock.fileno()).st_ino  # what other threads wake the loop by
        sys.unraisablehook = lambda _: None  # on Python 3.13, Eventlet's copies of `threading` stumble over any fork
        child = os.fork()
        sys.unraisablehook = sys.__unraisablehook__
        if child == 0:
            code = 1
            try:
                with eventlet.Timeout(PATIENCE):
                    # Or else each of the two processes would take wake-ups from the other, now and then.
                    assert os.fstat(loop._csock.fileno()).st_ino != wakes_up
                    for _ in range(20):
                        both()
                        assert green.await_(asyncio.sleep(0, "child")) == "child"
                    os.write(writable, b".")
                    reader.wait()  # which the loop of the child watches for as that of the parent does
                    code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        status = (0, 0)
        with eventlet.Timeout(PATIENCE):
            while status[0] == 0:  # both go on at the same time
                both()
                status = os.waitpid(child, os.WNOHANG)
                eventlet.sleep(0.001)
            reader.wait()
        assert os.waitstatus_to_exitcode(status[1]) == 0
        both()
        os.close(readable)
        os.close(writable)

    eventlet.spawn(forks).wait()


@check
def a_greenthread_ends_the_program() -> None:
    def leave() -> None:
        tpool.execute(abs, -1)
        raise SystemExit(3)

    thread = eventlet.spawn(leave)
    error = raised(partial(green.await_, asyncio.sleep(PATIENCE)))
    assert isinstance(error, SystemExit)
    assert thread.dead
    assert tpool.execute(abs, -1) == 1  # the hub has ended in order, and starts again


@check
def ctrl_c_ends_the_wait() -> None:
    async def wait_for(call: Stuck) -> None:
        await async_tpool.execute(call)

    with stuck() as call:

        def interrupt() -> None:
            assert call.started.wait(PATIENCE)
            call.gate.wait(0.02)  # most probably until the main thread sleeps in the selector; else it must do too
            signal.pthread_kill(real.main_thread().ident, signal.SIGINT)

        thread = real.Thread(target=interrupt)
        thread.start()
        error = raised(lambda: green.await_(wait_for(call)))
        assert isinstance(error, KeyboardInterrupt)
        thread.join()


def main() -> None:
    eventlet.debug.hub_exceptions(False)  # of greenthreads that end with an exception, for which somebody waits
    for function in CHECKS:
        function()
        print(function.__name__)


if __name__ == "__main__":
    main()
