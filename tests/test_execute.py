"""`execute`: what goes in, what comes out, in which order and in which thread."""

import asyncio
import contextvars
import gc
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.gate import Gate
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._loop.call import Call
from tpool_asyncio._pool.default import shared_pool

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def fail_with(error: BaseException) -> None:
    raise error


@pytest.mark.combination(caller="async code", library="tpool_asyncio.tpool")
async def test_a_call_runs_in_a_thread_and_its_value_comes_back() -> None:
    assert await tpool.execute(threading.get_ident) != threading.get_ident()
    assert await tpool.execute(dict, [("a", 1)], fn=2, loop=3, timeout=4) == {"a": 1, "fn": 2, "loop": 3, "timeout": 4}


async def test_the_loop_goes_on_meanwhile(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.execute(gate, "value")
    for _ in range(10):
        await asyncio.sleep(0)
    assert not call.done()
    gate.open()
    assert await call == "value"


async def test_execute_submits_at_once_and_returns_a_future_of_the_loop(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.execute(gate)
    gate.wait_begun()  # although nothing has been awaited
    assert isinstance(call, asyncio.Future)
    assert call.get_loop() is asyncio.get_running_loop()
    gate.open()
    done, pending = await asyncio.wait([call])
    assert (done, pending) == ({call}, set())
    assert call.result() is None


async def test_what_asyncio_says_of_a_call_names_the_function(pool: tpool.Pool) -> None:
    for execute, name in ((pool.execute, "tests.gate.Gate"), (pool.options(name="mine").execute, "mine")):
        gate = Gate()
        call = execute(gate)
        gate.wait_begun()
        assert f"Call {name} pending" in repr(call)
        gate.open()
        await call
        assert "Call finished" in repr(call) or "Call mine finished" in repr(call)
    failed = pool.execute(divmod, 1, 0)
    await asyncio.wait([failed])
    assert "Call divmod finished exception=ZeroDivisionError" in repr(failed)
    assert failed.exception()


async def test_a_call_says_that_it_is_not_yet_its_result(pool: tpool.Pool) -> None:
    call: Any = pool.execute(list)
    with pytest.raises(TypeError, match=r"awaited before its result is iterated over: .*tpool.iterate"):
        async for _ in call:
            pass
    with pytest.raises(TypeError, match="has to be awaited before its result is entered"):
        async with call:
            pass
    assert await call == []


async def test_calls_in_a_task_group_and_in_gather(pool: tpool.Pool) -> None:
    assert await asyncio.gather(*(pool.execute(pow, 2, n) for n in range(100))) == [2**n for n in range(100)]

    async def square(n: int) -> int:
        return await pool.execute(pow, n, 2)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(square(n)) for n in range(100)]
    assert [task.result() for task in tasks] == [n**2 for n in range(100)]


async def test_calls_start_in_order() -> None:
    async with tpool.Pool(1) as pool:
        order = list[int]()
        await asyncio.gather(*(pool.execute(order.append, n) for n in range(1_000)))
        assert order == list(range(1_000))


async def test_more_outcomes_than_a_turn_settles(pool: tpool.Pool) -> None:
    assert sum(await asyncio.gather(*(pool.execute(int, 1) for _ in range(3_500)))) == 3_500


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class ClasslessError(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise ValueError("no class")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ZeroDivisionError("x"),
        lambda: SystemExit(3),
        KeyboardInterrupt,
        GeneratorExit,
        StopAsyncIteration,
        lambda: BaseException("bare"),
        lambda: BaseExceptionGroup("group", [SystemExit(), ValueError()]),
        TimeoutError,
        UnprintableError,
        ClasslessError,
    ],
    ids=lambda make: type(make()).__name__,
)
async def test_the_same_error_comes_back(pool: tpool.Pool, make: Callable[[], BaseException]) -> None:
    error = make()
    caught: BaseException | None = None
    try:  # and not pytest.raises, which lets SystemExit pass
        await pool.execute(fail_with, error)
    except BaseException as reached:
        caught = reached
    assert caught is error
    assert [entry.name for entry in traceback.extract_tb(error.__traceback__)][-1] == "fail_with"
    assert await pool.execute(int) == 0
    assert pool.statistics().failed == 1


@pytest.mark.parametrize(
    "make", [lambda: StopIteration(5), lambda: asyncio.CancelledError("mine")], ids=["stop", "cancelled"]
)
async def test_errors_that_would_mislead_the_awaiter_are_wrapped(
    pool: tpool.Pool, make: Callable[[], BaseException]
) -> None:
    error = make()
    with pytest.raises(RuntimeError, match=rf"fail_with raised {type(error).__name__}") as caught:
        await pool.execute(fail_with, error)
    assert caught.value.__cause__ is error


async def test_a_returned_tuple_or_error_is_just_a_value(pool: tpool.Pool) -> None:
    value = (ValueError, ValueError("x"), None)
    assert await pool.execute(lambda: value) is value
    error = ValueError()
    assert await pool.execute(lambda: error) is error


@pytest.mark.parametrize("thing", [None, 3, "name", object()], ids=lambda thing: type(thing).__name__)
async def test_not_callable(pool: tpool.Pool, thing: Any) -> None:
    for execute in (pool.execute, pool.options().execute):
        with pytest.raises(TypeError, match=r"first argument must be callable, not .*pass the function itself"):
            execute(thing)
    assert pool.statistics().submitted == 0


def test_no_running_loop() -> None:
    for execute in (tpool.execute, tpool.options().execute):
        with pytest.raises(RuntimeError, match=r"needs an event loop that runs in this thread.*tpool_asyncio.green"):
            execute(int)
    assert tpool.statistics().threads == 0


async def test_a_missing_argument_is_an_error_of_the_call() -> None:
    with pytest.raises(TypeError, match="execute"):
        tpool.execute()  # type: ignore[call-arg]


async def test_context_variables_are_copied_in(pool: tpool.Pool) -> None:
    def read_and_write() -> str:
        seen = variable.get()
        variable.set("thread")
        return seen

    variable.set("caller")
    call = pool.execute(read_and_write)
    variable.set("later")
    assert await call == "caller"
    assert variable.get() == "later"


async def test_a_given_context(pool: tpool.Pool) -> None:
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    options = pool.options(context=context)
    assert await options.execute(variable.get) == "given"
    await options.execute(variable.set, "written")
    assert context[variable] == "written"
    assert variable.get() == "unset"


async def test_a_context_that_is_in_use_is_an_error_of_the_call(pool: tpool.Pool) -> None:
    context = contextvars.copy_context()
    options = pool.options(context=context)
    gate = Gate()
    first = options.execute(gate)
    gate.wait_begun()
    with pytest.raises(RuntimeError, match="already entered"):
        await options.execute(int)
    gate.open()
    await first


async def test_a_call_from_a_worker_of_the_same_pool_runs_in_place() -> None:
    async with tpool.Pool(1) as pool:

        def outer() -> list[int]:
            async def main() -> list[int]:
                calls = [pool.execute(threading.get_ident), pool.options(timeout=20).execute(threading.get_ident)]
                return [threading.get_ident(), *await asyncio.gather(*calls)]

            return asyncio.run(main())

        idents = await pool.execute(outer)
        assert len(idents) == 3
        assert len(set(idents)) == 1
        assert pool.statistics() == (1, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0, 0)


async def test_a_call_from_a_worker_of_another_pool_is_a_call_like_any_other() -> None:
    async with tpool.Pool(1, name="a") as a, tpool.Pool(1, name="b") as b:

        def nested() -> str:
            async def main() -> str:
                return await b.execute(lambda: threading.current_thread().name)

            return asyncio.run(main())

        assert await a.execute(nested) == "b-1"


async def test_nothing_is_kept_alive_after_a_call(pool: tpool.Pool) -> None:
    class Thing:
        pass

    for outcome in ("value", "error"):
        thing = Thing()
        reference = weakref.ref(thing)

        def fn(thing: Thing, outcome: str = outcome) -> Thing:
            if outcome == "error":
                raise LookupError(thing)
            return thing

        call = pool.execute(fn, thing)
        await asyncio.wait([call])
        if outcome == "error":
            assert isinstance(call.exception(), LookupError)
        del thing, call
        while reference() is not None:  # until the worker has come back from delivering
            gc.collect()


async def test_a_call_leaves_no_reference_cycle(pool: tpool.Pool) -> None:
    await pool.execute(int)
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(10):
            await pool.execute(int)
            await pool.options(timeout=10, name="x").execute(int)
        gc.collect()
        assert [thing for thing in gc.garbage if isinstance(thing, Call)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_an_exception_nobody_collects_is_reported_by_asyncio(
    pool: tpool.Pool, loop_errors: list[dict[str, Any]]
) -> None:
    call = pool.execute(divmod, 1, 0)
    await asyncio.wait([call])
    del call
    while not loop_errors:  # until the worker has come back from delivering
        gc.collect()
        await asyncio.sleep(0)
    assert ["never retrieved" in error["message"] for error in loop_errors] == [True]


async def test_debug_mode(pool: tpool.Pool) -> None:
    asyncio.get_running_loop().set_debug(True)
    assert await asyncio.gather(*(pool.execute(int) for _ in range(50))) == [0] * 50
    assert await pool.options(timeout=20).execute(lambda: from_thread.run(asyncio.sleep, 0, "x")) == "x"


async def test_size_0_blocks_the_caller_and_says_so_once() -> None:
    pool = tpool.Pool(0)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        assert await pool.execute(threading.get_ident) == threading.get_ident()
        assert await pool.options(timeout=20).execute(threading.get_ident) == threading.get_ident()
    assert ["no threads" in str(warning.message) for warning in record] == [True]
    assert [warning.filename for warning in record] == [__file__]
    pool.resize(0)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        await pool.options(timeout=20).execute(int)
    assert [warning.filename for warning in record] == [__file__]
    with pytest.raises(RuntimeError, match="works in a thread of a pool"):
        await pool.execute(from_thread.check_cancelled)


async def test_pools_have_threads_and_statistics_of_their_own() -> None:
    async with tpool.Pool(1, name="first") as first, tpool.Pool(1, name="second") as second:
        assert await first.execute(lambda: threading.current_thread().name) == "first-1"
        assert await second.execute(lambda: threading.current_thread().name) == "second-1"
        assert (first.statistics().submitted, second.statistics().submitted) == (1, 1)
        assert repr(first) == "<Pool 'first' size=1>"


async def test_a_pool_that_is_dropped_ends_its_threads() -> None:
    pool = tpool.Pool(1)
    gate = Gate()
    call = pool.execute(gate, "value")
    gate.wait_begun()
    (worker,) = pool._core._crews[-1].workers
    del pool
    gc.collect()
    gate.open()
    assert await call == "value"
    worker.join(20)
    assert not worker.is_alive()


async def test_the_default_pool() -> None:
    assert tpool.default_pool().execute == tpool.execute
    assert tpool.default_pool()._core is shared_pool
    assert tpool.get_num_threads() == tpool.statistics().size == 20
    await tpool.execute(int)
    tpool.default_pool().resize(3)
    assert tpool.get_num_threads() == 3
    tpool.setup()
    assert tpool.statistics().threads == 3


async def test_a_test_may_replace_execute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpool, "execute", lambda *_: asyncio.sleep(0, "replaced"))
    assert await tpool.execute(time.sleep, 3) == "replaced"


async def test_calls_one_after_another_need_one_thread() -> None:
    """The worker goes idle before it wakes its caller, so that the next call does not wake another one."""
    async with tpool.Pool(5, name="lone") as pool:
        for number in range(300):
            assert await pool.execute(abs, -number) == number
        assert pool.statistics().threads == 1
