"""With anyio: its scopes, task groups and limiters around calls, and its `from_thread` inside them."""

import asyncio
import concurrent.futures
import contextvars
import sys
import tempfile
import threading
import types
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from tests.child import output_of
from tests.gate import Gate
from tests.test_from_thread_closed_loop import run_in_own_loop
from tpool_asyncio import from_thread, green, tpool
from tpool_asyncio._loop.errand import LoopClosedError
from tpool_asyncio._loop.option_call import OptionCall
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.interop import _anyio

T = TypeVar("T")
OnCancel = Literal["abandon", "wait"]

both = pytest.mark.parametrize("on_cancel", ["abandon", "wait"])
FINISHED: type[Exception] = getattr(anyio, "RunFinishedError", RuntimeError)
NEEDS_TOKENS = pytest.mark.skipif(not hasattr(anyio.lowlevel, "EventLoopToken"), reason="since anyio 4.11")


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """`anyio.run` on either loop."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return lambda main: anyio.run(main, backend_options={"use_uvloop": request.param == "uvloop"})


async def turns(number: int = 20) -> None:
    """Let the loop go round some times."""
    for _ in range(number):
        await asyncio.sleep(0)


# anyio.run


@pytest.mark.combination(caller="async code under anyio.run", library="tpool_asyncio.tpool")
def test_calls_under_anyio_run(run: Callable[..., Any]) -> None:
    def fail() -> None:
        raise LookupError("in the thread")

    async def main() -> None:
        async with tpool.Pool(2) as pool:
            assert await pool.execute(threading.get_ident) != threading.get_ident()
            with pytest.raises(LookupError, match="in the thread"):
                await pool.execute(fail)
            assert [item async for item in pool.iterate(range(3))] == [0, 1, 2]
            assert await pool.execute(from_thread.run, anyio.sleep, 0) is None

    run(main)


@pytest.mark.combination(caller="green thread", library="anyio")
def test_green_threads_under_anyio_run(run: Callable[..., Any]) -> None:
    def work() -> str:
        with green.with_(anyio.CapacityLimiter(1)):
            green.await_(anyio.sleep(0))
            return green_tpool.execute(anyio.from_thread.run_sync, str, "spam")

    async def main() -> str:
        return await green.run(work)

    assert run(main) == "spam"


# anyio.from_thread in our threads


@pytest.mark.combination(caller="worker", library="anyio.from_thread")
async def test_the_functions_of_anyio_go_to_the_loop_that_asked(pool: tpool.Pool) -> None:
    async def where(*args: int) -> tuple[object, ...]:
        await anyio.sleep(0)
        return asyncio.get_running_loop(), threading.get_ident(), *args

    def job() -> list[Any]:
        anyio.from_thread.check_cancelled()
        return [anyio.from_thread.run(where, 1, 2), anyio.from_thread.run_sync(threading.get_ident)]

    here = asyncio.get_running_loop(), threading.get_ident()
    assert await pool.execute(job) == [(*here, 1, 2), here[1]]


def test_the_functions_of_anyio_under_anyio_run(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with tpool.Pool(1) as pool:
            event = await pool.execute(anyio.from_thread.run_sync, anyio.Event)  # which asks what library runs there
            await pool.execute(anyio.from_thread.run_sync, event.set)
            await pool.execute(anyio.from_thread.run, event.wait)
            assert await pool.execute(anyio.from_thread.run_sync, anyio.get_cancelled_exc_class) is (
                asyncio.CancelledError
            )

    run(main)


async def test_errors_come_back_as_the_same_objects(pool: tpool.Pool) -> None:
    error = LookupError("from the loop")

    async def fail() -> None:
        raise error

    def fail_at_once() -> None:
        raise error

    for way, function in ((anyio.from_thread.run, fail), (anyio.from_thread.run_sync, fail_at_once)):
        with pytest.raises(LookupError) as caught:
            await pool.execute(way, function)  # type: ignore[arg-type]
        assert caught.value is error


async def test_worker_to_loop_to_worker_with_one_thread() -> None:
    async with tpool.Pool(1) as pool:

        def down(depth: int) -> int:
            async def call() -> int:
                return await pool.execute(down, depth - 1)

            return 1 + anyio.from_thread.run(call) if depth else 0

        assert await pool.execute(down, 10) == 10


async def test_in_a_pinned_thread(pool: tpool.Pool) -> None:
    class Thing:
        def back(self) -> int:
            return anyio.from_thread.run_sync(threading.get_ident)

    thing: Any = tpool.Proxy(Thing(), pool=pool, pin=True)
    assert await thing.back() == threading.get_ident()


async def test_what_is_awaited_is_cancelled_with_the_caller(pool: tpool.Pool, loop_errors: list[Any]) -> None:
    reached, cancelled, seen = asyncio.Event(), asyncio.Event(), list[BaseException]()

    async def forever() -> None:
        reached.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    def job() -> None:
        try:
            anyio.from_thread.run(forever)
        except BaseException as error:
            seen.append(error)
            raise  # nobody is to be told of it

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await reached.wait()
                scope.cancel()

            group.start_soon(cancel)
            await pool.execute(job)
    assert scope.cancelled_caught
    await cancelled.wait()
    await pool.killall()
    assert type(seen.pop()) is concurrent.futures.CancelledError
    assert loop_errors == []


@both
async def test_check_cancelled(pool: tpool.Pool, loop_errors: list[Any], on_cancel: OnCancel) -> None:
    started, seen, asked = asyncio.Event(), list[BaseException](), threading.Event()

    def job() -> None:
        anyio.from_thread.check_cancelled()
        from_thread.run_sync(started.set)
        try:
            while not asked.wait(0.001):
                anyio.from_thread.check_cancelled()
        except BaseException as error:
            seen.append(error)
            raise

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await started.wait()
                scope.cancel()

            group.start_soon(cancel)
            await pool.options(on_cancel=on_cancel).execute(job)
    await pool.killall()
    assert isinstance(seen.pop(), anyio.get_cancelled_exc_class())
    assert loop_errors == []


def test_the_loop_is_gone() -> None:
    gate, seen = Gate(), list[BaseException]()
    pool = tpool.Pool(1)

    def job() -> None:
        gate()
        try:
            anyio.from_thread.run_sync(int)
        except BaseException as error:
            seen.append(error)

    async def main() -> None:
        pool.execute(job)
        gate.wait_begun()

    run_in_own_loop(main())
    gate.open()
    run_in_own_loop(pool.killall())
    assert isinstance(seen.pop(), FINISHED)


def test_outside_of_a_call_nothing_has_changed() -> None:
    with pytest.raises(RuntimeError, match="AnyIO worker thread"):
        anyio.from_thread.run_sync(int)


def test_where_sniffio_is_not_there(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sniffio", raising=False)

    async def main() -> None:
        async with tpool.Pool(1) as pool:
            assert await pool.execute(lambda: anyio.from_thread.run_sync(int)) == 0

    run(main)


def test_an_anyio_that_has_no_error_of_its_own_for_closed_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise LoopClosedError("closed")

    monkeypatch.setattr(anyio, "RunFinishedError", None, raising=False)
    with pytest.raises(LoopClosedError):
        _anyio._go(fail, int, ())


# Loops inside of calls


def test_no_library_runs_inside_a_call(run: Callable[..., Any]) -> None:
    def job() -> str | None:
        sniffio = sys.modules.get("sniffio")
        return None if sniffio is None else sniffio.current_async_library_cvar.get()

    async def main() -> None:
        given = contextvars.copy_context()
        async with tpool.Pool(1) as pool:
            assert await pool.execute(job) is None
            assert await pool.options(context=given).execute(job) is None

    run(main)


@pytest.mark.combination(caller="worker", library="anyio.run")
def test_a_loop_inside_a_call(run: Callable[..., Any]) -> None:
    def job() -> list[object]:
        async def inner() -> list[object]:
            mine = asyncio.get_running_loop()
            outer = anyio.from_thread.run_sync(asyncio.get_running_loop)  # goes to the loop of the call, as in anyio
            in_thread = await anyio.to_thread.run_sync(anyio.from_thread.run_sync, asyncio.get_running_loop)
            return [outer, in_thread is mine, mine is not outer]

        return run(inner)  # type: ignore[no-any-return]

    async def main() -> None:
        async with tpool.Pool(1) as pool:
            assert await pool.execute(job) == [asyncio.get_running_loop(), True, True]
            assert await pool.execute(anyio.from_thread.run_sync, asyncio.get_running_loop) is (
                asyncio.get_running_loop()
            )

    run(main)


@pytest.mark.combination(caller="worker", library="anyio.from_thread.BlockingPortal")
def test_portals(run: Callable[..., Any]) -> None:
    def job(portal: anyio.from_thread.BlockingPortal) -> tuple[object, object]:
        with anyio.from_thread.start_blocking_portal() as other:
            elsewhere = other.call(asyncio.get_running_loop)
        future = portal.start_task_soon(anyio.sleep, 0)
        return portal.call(asyncio.get_running_loop), elsewhere if future.result() is None else None

    async def main() -> None:
        async with tpool.Pool(1) as pool, anyio.from_thread.BlockingPortal() as portal:
            here, elsewhere = await pool.execute(job, portal)
            assert here is asyncio.get_running_loop()
            assert elsewhere is not None
            assert elsewhere is not here

    run(main)


@NEEDS_TOKENS
async def test_a_token_of_another_loop_goes_there(pool: tpool.Pool) -> None:
    def job() -> list[bool]:
        with anyio.from_thread.start_blocking_portal() as other:
            token = other.call(anyio.lowlevel.current_token)
            there = other.call(asyncio.get_running_loop)

            async def where() -> object:
                return asyncio.get_running_loop()

            found = [anyio.from_thread.run(where, token=token), anyio.from_thread.run_sync(_loop, token=token)]
        with pytest.raises(FINISHED):
            anyio.from_thread.run_sync(int, token=token)
        return [loop is there for loop in found]

    assert await pool.execute(job) == [True, True]


def _loop() -> object:
    return asyncio.get_running_loop()


# Who was first


def test_threads_that_were_there_before_anyio() -> None:
    program = """
    import asyncio, sys
    from tpool_asyncio import tpool

    class Thing:
        def touch(self): pass
        def back(self):
            import anyio.from_thread
            return anyio.from_thread.run_sync(int)

    async def main():
        async with tpool.Pool(1) as pool:
            thing = tpool.Proxy(Thing(), pool=pool, pin=True)
            await pool.execute(int)
            await thing.touch()
            assert "anyio" not in sys.modules
            import anyio, anyio.from_thread
            print(await pool.execute(anyio.from_thread.run, anyio.sleep, 0), await thing.back())
            print(pool.statistics().threads)
            del thing

    asyncio.run(main())
    """
    assert output_of(program) == "None 0\n2\n"


def test_a_thread_that_starts_while_anyio_is_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    half = types.ModuleType("anyio._core._eventloop")

    def back() -> int:
        return anyio.from_thread.run_sync(int)

    async def main() -> None:
        async with tpool.Pool(1) as pool:
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, half.__name__, half)
                with pytest.raises(RuntimeError, match="AnyIO worker thread"):
                    await pool.execute(back)
            monkeypatch.setitem(
                sys.modules, "tests.imported_last", half
            )  # of an import, some module is always the last
            assert await pool.execute(back) == 0

    asyncio.run(main())


# Cancel scopes


class Slow:
    """A call that is under way, until it is let go."""

    def __init__(self, pool: tpool.Pool, on_cancel: OnCancel) -> None:
        self.gate = Gate()
        self.ended = False
        self._way = pool.options(on_cancel=on_cancel)
        self._is_waited_for = on_cancel == "wait"

    def end_later(self) -> None:
        """Let it go in a while, if it is waited for although it has been cancelled."""
        if self._is_waited_for:
            asyncio.get_running_loop().call_later(0.01, self.gate.open)

    async def __call__(self) -> None:
        call = self._way.execute(self._work)
        self.gate.wait_begun()
        await call

    def _work(self) -> None:
        self.gate()
        self.ended = True


@pytest.mark.combination(caller="async code", library="anyio cancel scopes")
@both
async def test_a_cancelled_scope(pool: tpool.Pool, on_cancel: OnCancel) -> None:
    slow = Slow(pool, on_cancel)
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as outer, anyio.CancelScope() as scope:
        loop.call_soon(scope.cancel)
        slow.end_later()
        await slow()
    assert scope.cancelled_caught
    assert not outer.cancel_called
    assert slow.ended is (on_cancel == "wait")
    slow.gate.open()
    await anyio.sleep(0)  # the task is as it was
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


@both
async def test_move_on_after_and_fail_after(pool: tpool.Pool, on_cancel: OnCancel) -> None:
    slow = Slow(pool, on_cancel)
    slow.end_later()
    with anyio.move_on_after(0.001) as scope:
        await slow()
    assert scope.cancelled_caught
    assert slow.ended is (on_cancel == "wait")
    slow.gate.open()
    slow = Slow(pool, on_cancel)
    slow.end_later()
    with pytest.raises(TimeoutError), anyio.fail_after(0.001):
        await slow()
    assert slow.ended is (on_cancel == "wait")
    slow.gate.open()


@both
async def test_in_a_shielded_scope_nothing_is_cancelled(pool: tpool.Pool, on_cancel: OnCancel) -> None:
    slow = Slow(pool, on_cancel)
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as outer:
        with anyio.CancelScope(shield=True):
            loop.call_soon(outer.cancel)
            loop.call_later(0.01, slow.gate.open)
            await slow()
            assert slow.ended
        with pytest.raises(asyncio.CancelledError):
            await anyio.sleep(0)
        assert outer.cancel_called


@both
async def test_in_a_scope_that_is_cancelled_already(pool: tpool.Pool, on_cancel: OnCancel) -> None:
    gate = Gate()
    async with tpool.Pool(1) as small:
        small.execute(gate)
        gate.wait_begun()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await small.options(on_cancel=on_cancel).execute(pytest.fail, "queued, so it never runs")
        assert scope.cancelled_caught
        assert small.statistics().cancelled == 1
        gate.open()


@pytest.mark.combination(caller="async code", library="anyio task groups")
@both
async def test_an_error_in_a_task_group(on_cancel: OnCancel, loop_errors: list[Any]) -> None:
    async with tpool.Pool(1) as pool:
        slow = Slow(pool, on_cancel)
        queued = list[asyncio.Future[None]]()

        async def wait_in_queue() -> None:
            queued.append(pool.options(on_cancel=on_cancel).execute(pytest.fail, "this must never run"))
            await queued[0]

        async def fail() -> None:
            await anyio.sleep(0)
            # When both calls have been cancelled; only the one that runs is waited for.
            queued[0].add_done_callback(lambda _: slow.end_later())
            raise LookupError("x")

        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                group.start_soon(slow)
                group.start_soon(wait_in_queue)
                group.start_soon(fail)
        assert [repr(error) for error in caught.value.exceptions] == ["LookupError('x')"]
        assert slow.ended is (on_cancel == "wait")
        slow.gate.open()
        assert queued[0].cancelled()
        assert pool.statistics().cancelled == 1
    assert loop_errors == []


async def test_while_a_call_is_waited_for_the_loop_rests(pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    # anyio cancels in every turn of the loop what waits in a cancelled scope, unless it is shielded.
    cancelled = list[object]()

    def cancel(self: OptionCall[Any], msg: object = None, original: Any = OptionCall.cancel) -> bool:
        cancelled.append(self)
        return original(self, msg)  # type: ignore[no-any-return]

    monkeypatch.setattr(OptionCall, "cancel", cancel)
    first, second = Slow(pool, "wait"), Slow(pool, "wait")
    async with anyio.create_task_group() as group:
        group.start_soon(first)
        group.start_soon(green.async_(lambda: green.await_(second())))
        await turns()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await turns()
            assert len(cancelled) == 2
            first.gate.open()
            second.gate.open()
    assert first.ended
    assert second.ended


async def test_two_tasks_wait_for_one_call(pool: tpool.Pool) -> None:
    gate, ends = Gate(), list[str]()
    call = pool.options(on_cancel="wait").execute(gate)
    gate.wait_begun()

    async def wait(name: str) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await call
        ends.append(f"{name} {scope.cancelled_caught}")

    scopes = list[anyio.CancelScope]()
    async with anyio.create_task_group() as group:
        group.start_soon(wait, "first")
        group.start_soon(wait, "second")
        await turns()
        for scope in scopes:
            scope.cancel()
            await turns(3)
        assert ends == []
        gate.open()
    assert sorted(ends) == ["first True", "second True"]


@pytest.mark.parametrize("native_first", [True, False])
async def test_a_cancellation_from_elsewhere_is_not_swallowed_by_the_scope(
    pool: tpool.Pool, native_first: bool
) -> None:
    slow = Slow(pool, "wait")
    scope = anyio.CancelScope()

    async def wait() -> None:
        with scope:
            await slow()
            pytest.fail("cancelled twice")

    task = asyncio.ensure_future(wait())
    await turns(2)
    for cancel in (task.cancel, scope.cancel) if native_first else (scope.cancel, task.cancel):
        cancel()
        await turns(3)
    assert not task.done()
    slow.gate.open()
    await asyncio.wait([task])
    assert slow.ended
    assert task.cancelled() or native_first  # in which case it depends on the version of anyio


async def test_a_time_limit_of_the_call_inside_a_scope(pool: tpool.Pool) -> None:
    gate = Gate()
    call = pool.options(on_cancel="wait", timeout=0.001).execute(gate)
    gate.wait_begun()
    while getattr(call, "_ending", None) is None:
        await asyncio.sleep(0.001)
    with anyio.move_on_after(0.001) as scope:
        asyncio.get_running_loop().call_later(0.01, gate.open)
        with pytest.raises(TimeoutError):
            await call
    assert scope.cancel_called


# Limiters


@pytest.mark.combination(caller="async code", library="anyio.CapacityLimiter")
@both
async def test_the_tokens_of_a_limiter_are_threads_that_are_busy(on_cancel: OnCancel) -> None:
    limiter = anyio.CapacityLimiter(2)
    async with tpool.Pool(5) as pool:
        way = pool.options(limiter=limiter, on_cancel=on_cancel)
        gate, last = Gate(), Gate()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                for function in (gate, last, int):

                    async def call(function: Callable[[], object] = function) -> None:
                        await way.execute(function)

                    group.start_soon(call)
                    await turns(3)
                gate.wait_begun()
                last.wait_begun()
                assert (limiter.borrowed_tokens, limiter.statistics().tasks_waiting) == (2, 1)
                assert pool.statistics().busy == 2
                if on_cancel == "wait":
                    for opened in (gate, last):
                        asyncio.get_running_loop().call_later(0.01, opened.open)
                scope.cancel()
        if on_cancel == "abandon":
            assert pool.statistics().abandoned == limiter.borrowed_tokens == 2
            gate.open()
            while limiter.borrowed_tokens > 1:
                await asyncio.sleep(0.001)
            assert pool.statistics().busy == 1
            last.open()
            await pool.killall()
            await turns()
        assert limiter.borrowed_tokens == 0


async def test_a_limiter_around_a_call_is_used_as_in_anyio(pool: tpool.Pool) -> None:
    limiter, most = anyio.CapacityLimiter(1), list[int]()

    async def call() -> None:
        async with limiter:
            most.append(limiter.borrowed_tokens)
            await pool.execute(int)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(call)
    assert most == [1] * 5


async def test_a_scope_knows_its_own_cancellation_of_a_green_thread_that_has_not_begun() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await green.spawn(green.sleep, 60).task  # type: ignore[misc]  # it has one
    assert scope.cancelled_caught


# Libraries on top of anyio


@pytest.mark.combination(caller="worker", library="starlette")
async def test_a_file_of_starlette_is_read_from_inside_a_call(pool: tpool.Pool) -> None:
    datastructures = pytest.importorskip("starlette.datastructures")
    large = tempfile.SpooledTemporaryFile(max_size=1)  # noqa: SIM115 - the other closes it
    large.write(b"spam")
    large.seek(0)
    upload = datastructures.UploadFile(large)

    def job() -> bytes:
        content = anyio.from_thread.run(upload.read)  # which needs a thread of anyio, as the file is on a disk
        anyio.from_thread.run(upload.close)
        return bytes(content)

    assert await pool.execute(job) == b"spam"
