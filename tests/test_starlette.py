"""What Starlette and FastAPI run in threads runs in a pool, with all that anyio promises of it."""

import asyncio
import contextvars
import gc
import io
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
import starlette.concurrency
from anyio._backends._asyncio import AsyncIOBackend
from fastapi import BackgroundTasks, Depends, FastAPI, UploadFile
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Message

from tests.child import output_of
from tests.conftest import LoopErrors
from tests.gate import PATIENCE, Gate
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio.interop._anyio_call import WorkerCall
from tpool_asyncio.interop.starlette import install, lifespan, uninstall, using

METHOD = "run_sync_in_worker_thread"


@pytest.fixture(autouse=True)
def anyio_as_it_was() -> Iterator[None]:
    """Fail the test if it leaves anything of ours in anyio."""
    before = vars(AsyncIOBackend)[METHOD]
    yield
    assert vars(AsyncIOBackend)[METHOD] is before


def thread_name() -> str:
    return threading.current_thread().name


async def begun(gate: Gate, times: int = 1) -> None:
    await asyncio.to_thread(gate.wait_begun, times)


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


# Where calls go


@pytest.mark.combination(caller="Starlette", library="tpool_asyncio.interop.starlette")
async def test_starlette_runs_blocking_functions_in_the_pool(pool: tpool.Pool) -> None:
    async with using(pool):
        assert (await run_in_threadpool(thread_name)).startswith("test-")
        assert await run_in_threadpool(int, "ff", base=16) == 255
        names = [name async for name in starlette.concurrency.iterate_in_threadpool(thread_name() for _ in range(3))]
    assert len(names) == 3
    assert all(name.startswith("test-") for name in names)
    assert not (await run_in_threadpool(thread_name)).startswith("test-")


@pytest.mark.combination(caller="FastAPI endpoint", library="tpool_asyncio.interop.starlette")
async def test_all_that_fastapi_runs_in_threads(pool: tpool.Pool, tmp_path: Path) -> None:
    pytest.importorskip("python_multipart")
    seen: dict[str, str] = {}
    (tmp_path / "file").write_bytes(b"spam" * 100_000)
    app = FastAPI()

    def dependency() -> Iterator[str]:
        seen["enter"] = thread_name()
        yield "dependency"
        seen["exit"] = thread_name()

    def plain_dependency() -> str:
        seen["dependency"] = thread_name()
        return "plain"

    @app.get("/")
    def endpoint(background: BackgroundTasks, a: str = Depends(dependency), b: str = Depends(plain_dependency)) -> Any:
        seen["endpoint"] = thread_name()
        background.add_task(lambda: seen.update(background=thread_name()))
        return [a, b]

    @app.get("/file")
    def file() -> FileResponse:
        return FileResponse(tmp_path / "file")

    @app.get("/stream")
    def stream() -> StreamingResponse:
        def lines() -> Iterator[str]:
            for n in range(3):
                seen[f"line {n}"] = thread_name()
                yield f"{n}\n"

        return StreamingResponse(lines())

    @app.post("/upload")
    async def upload(file: UploadFile) -> int:
        return len(await file.read())

    async with using(pool), client(app) as http:
        before = pool.statistics().submitted
        assert (await http.get("/")).json() == ["dependency", "plain"]
        assert (await http.get("/stream")).text == "0\n1\n2\n"
        served = pool.statistics().submitted
        assert (await http.get("/file")).content == b"spam" * 100_000
        assert pool.statistics().submitted > served + 3  # stat, open, read, close
        served = pool.statistics().submitted
        big = b"x" * 3_000_000  # is written to a file
        assert (await http.post("/upload", files={"file": ("name", io.BytesIO(big))})).json() == len(big)
        assert pool.statistics().submitted > served
    assert served > before
    assert seen.pop("exit").startswith("test-beside-")
    assert set(seen) == {"enter", "dependency", "endpoint", "background", "line 0", "line 1", "line 2"}
    assert [name for name in seen.values() if not name.startswith("test-") or "beside" in name] == []


async def test_what_a_function_sees(pool: tpool.Pool) -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("mine")
    sniffio = pytest.importorskip("sniffio")
    async with using(pool):
        assert await run_in_threadpool(variable.get) == "mine"
        await run_in_threadpool(variable.set, "other")
        assert variable.get() == "mine"
        assert await run_in_threadpool(sniffio.current_async_library_cvar.get) is None
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            await run_in_threadpool(sniffio.current_async_library)


async def test_a_call_for_which_a_call_of_another_pool_waits(pool: tpool.Pool) -> None:
    def name() -> str:
        return threading.current_thread().name

    async with using(pool), tpool.Pool(1, name="other") as other:
        assert (await other.execute(lambda: from_thread.run(run_in_threadpool, name))).startswith("test-")
        assert pool.statistics().parked == 0


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_errors_come_as_they_are(error: BaseException, pool: tpool.Pool) -> None:
    def fail() -> None:
        raise error

    async def call() -> BaseException:
        try:
            await run_in_threadpool(fail)
        except BaseException as caught:
            return caught
        raise AssertionError("nothing was raised")

    async with using(pool):
        assert await call() is error


async def test_errors_that_a_coroutine_cannot_get(pool: tpool.Pool) -> None:
    async with using(pool):
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await run_in_threadpool(next, iter(()))
        assert isinstance(caught.value.__cause__, StopIteration)

        def cancelled() -> None:
            raise asyncio.CancelledError

        with pytest.raises(RuntimeError, match="CancelledError"):
            await run_in_threadpool(cancelled)


async def test_nothing_is_held(pool: tpool.Pool) -> None:
    class Thing:
        pass

    def fail(thing: Thing) -> None:
        raise ValueError(thing)

    thing = Thing()
    there = weakref.ref(thing)
    gc.disable()
    try:
        async with using(pool):
            assert await anyio.to_thread.run_sync(lambda thing: thing, thing) is thing
            try:
                await anyio.to_thread.run_sync(fail, thing)
            except ValueError:
                pass
            del thing
            await asyncio.sleep(0)  # what woke this task holds the call until then
            assert there() is None
    finally:
        gc.enable()


# Limiters


async def test_the_default_limiter_admits_as_before(pool: tpool.Pool) -> None:
    gate = Gate()
    limiter = anyio.to_thread.current_default_thread_limiter()
    async with using(pool), asyncio.TaskGroup() as group:
        limiter.total_tokens = 1
        try:
            first = group.create_task(run_in_threadpool(gate, 1))
            await begun(gate)
            assert limiter.statistics().borrowers == (first,)
            second = group.create_task(anyio.to_thread.run_sync(gate, 2, limiter=limiter))
            await settled(lambda: limiter.statistics().tasks_waiting == 1)
            assert (limiter.borrowed_tokens, gate.calls) == (1, 1)
        finally:
            gate.open()
        assert [await first, await second] == [1, 2]
        assert limiter.borrowed_tokens == 0
        limiter.total_tokens = 40


async def test_the_pool_size_bounds_what_the_default_limiter_admits(pool: tpool.Pool) -> None:
    gate = Gate()
    async with using(pool), asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_in_threadpool(gate, n)) for n in range(20)]
        await begun(gate, 2)
        await settled(lambda: pool.statistics().queued == 18)
        assert gate.calls == 2
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 20
        gate.open()
        assert [await task for task in tasks] == list(range(20))


async def test_calls_with_a_limiter_of_their_own_have_threads_of_their_own(pool: tpool.Pool) -> None:
    gate, other = Gate(), Gate()
    three = anyio.CapacityLimiter(3)
    async with using(pool), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(run_in_threadpool(gate))
        await begun(gate, 2)
        tasks = [group.create_task(anyio.to_thread.run_sync(other, n, limiter=three)) for n in range(4)]
        await begun(other, 3)
        assert (three.borrowed_tokens, three.statistics().tasks_waiting) == (3, 1)
        other.open()
        assert [await task for task in tasks] == [0, 1, 2, 3]
        gate.open()


@pytest.mark.combination(caller="FastAPI dependency with yield", library="tpool_asyncio.interop.starlette")
async def test_the_exit_of_a_dependency_frees_threads_that_wait_for_it(pool: tpool.Pool) -> None:
    """With all threads in blocked entries, as of a pool of connections that is exhausted."""
    connections = threading.Semaphore(1)

    class Connection:
        def __enter__(self) -> None:
            assert connections.acquire(timeout=PATIENCE)

        def __exit__(self, *failure: object) -> None:
            connections.release()

    held, let_go = asyncio.Event(), asyncio.Event()

    async def request() -> None:
        async with contextmanager_in_threadpool(Connection()):
            held.set()
            await let_go.wait()

    async with using(pool), asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(request())
        await held.wait()
        await settled(lambda: pool.statistics().queued > 0)  # both threads wait for the connection
        let_go.set()


async def nested(depth: int) -> int:
    if depth == 0:
        return await run_in_threadpool(int, 1)
    return 1 + await run_in_threadpool(from_thread.run, nested, depth - 1)


async def test_calls_that_come_back_and_call_again_exhaust_nothing(pool: tpool.Pool) -> None:
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 2
    async with using(pool), asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*(nested(3) for _ in range(50))) == [4] * 50
    assert limiter.borrowed_tokens == 0


async def test_a_call_beside_that_comes_back_finds_a_thread(pool: tpool.Pool) -> None:
    gate = Gate()
    own = anyio.CapacityLimiter(1)

    async def again() -> str:
        return await run_in_threadpool(thread_name)

    async with using(pool), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(run_in_threadpool(gate))
        await begun(gate, 2)
        assert "beside" in await anyio.to_thread.run_sync(from_thread.run, again, limiter=own)
        gate.open()


async def test_a_loop_inside_a_call_has_threads_beside(pool: tpool.Pool) -> None:
    meeting = threading.Barrier(2)

    async def inside() -> None:
        async with using(pool), asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(run_in_threadpool(meeting.wait, PATIENCE))  # would block one another in one thread

    async with using(pool):
        await asyncio.gather(*(run_in_threadpool(asyncio.run, inside()) for _ in range(2)))


# Cancellation


async def test_a_running_call_is_waited_for_and_its_outcome_is_kept(pool: tpool.Pool) -> None:
    gate = Gate()
    got = list[object]()

    async def caller(scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await run_in_threadpool(gate, "outcome"))
            await asyncio.sleep(0)
            got.append("not cancelled")

    async with using(pool), asyncio.TaskGroup() as group:
        scope = anyio.CancelScope()
        task = group.create_task(caller(scope))
        await begun(gate)
        scope.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 1
        gate.open()
    assert got == ["outcome"]
    assert scope.cancelled_caught
    assert task.cancelling() == 0


async def test_an_error_of_a_call_that_was_waited_for_arrives(pool: tpool.Pool) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise ValueError("mine")

    async with using(pool):
        scope = anyio.CancelScope()
        with scope:
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, cancel_when_begun(gate, scope))
            with pytest.raises(ValueError, match="mine") as caught:
                await run_in_threadpool(fail)
            assert caught.value.__context__ is None


async def cancel_when_begun(gate: Gate, scope: anyio.CancelScope) -> None:
    await begun(gate)
    scope.cancel()
    await asyncio.sleep(0)
    gate.open()


async def test_the_loop_rests_while_a_cancelled_call_is_waited_for(pool: tpool.Pool) -> None:
    gate = Gate()
    scope = anyio.CancelScope()

    async def caller() -> None:
        with scope:
            await run_in_threadpool(gate)

    async with using(pool), asyncio.TaskGroup() as group:
        task = group.create_task(caller())
        await begun(gate)
        scope.cancel()
        cancelled = task.cancelling()
        for _ in range(20):
            await asyncio.sleep(0)
        assert scope._cancel_handle is None  # type: ignore[attr-defined] # or else anyio would try in each turn of the loop
        assert (task.cancelling(), task.done()) == (cancelled, False)
        gate.open()


async def test_a_queued_call_is_cancelled_at_once(pool: tpool.Pool) -> None:
    gate, never = Gate(), Gate()
    async with using(pool), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(run_in_threadpool(gate))
        await begun(gate, 2)
        with anyio.move_on_after(0.01) as scope:
            await run_in_threadpool(never)
        assert scope.cancelled_caught
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 2
        gate.open()
    assert never.calls == 0


async def test_nobody_waits_for_a_queued_call_that_is_struck_while_it_is_cancelled(
    pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blow(BaseException):
        """What a signal handler raises."""

    def strike(_: ThreadPool) -> None:
        raise Blow

    gate = Gate()
    async with using(pool), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(run_in_threadpool(gate))
        await begun(gate, 2)
        task = asyncio.create_task(run_in_threadpool(int))
        while not pool.statistics().queued:
            await asyncio.sleep(0)
        with monkeypatch.context() as patch:
            patch.setattr(ThreadPool, "dropped", strike)
            with pytest.raises(Blow):
                task.cancel()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE)


async def test_a_call_in_a_cancelled_scope_is_not_made(pool: tpool.Pool) -> None:
    gate = Gate()
    async with using(pool):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await run_in_threadpool(gate)
        assert scope.cancelled_caught
    assert gate.calls == 0


async def test_an_abandoned_call_is_not_waited_for(pool: tpool.Pool) -> None:
    gate = Gate()
    ended = threading.Event()
    unwanted = list[bool]()

    def long() -> None:
        gate()
        try:
            from_thread.check_cancelled()
        except asyncio.CancelledError:
            unwanted.append(True)
        ended.set()

    async with using(pool):
        scope = anyio.CancelScope()
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, cancel_when_begun_only(gate, scope))
        with scope:
            await anyio.to_thread.run_sync(long, abandon_on_cancel=True)
        assert scope.cancelled_caught
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        gate.open()
        assert await asyncio.to_thread(ended.wait, PATIENCE)
    assert unwanted == [True]


async def cancel_when_begun_only(gate: Gate, scope: anyio.CancelScope) -> None:
    await begun(gate)
    scope.cancel()


async def test_a_call_can_ask_whether_it_is_wanted_and_end_by_it(pool: tpool.Pool) -> None:
    gate = Gate()

    def long() -> None:
        gate()
        from_thread.check_cancelled()
        raise AssertionError("still wanted")

    async with using(pool):
        scope = anyio.CancelScope()
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, cancel_when_begun(gate, scope))
        with scope:
            await run_in_threadpool(long)
        assert scope.cancelled_caught


async def test_what_a_cancelled_call_awaits_is_cancelled(pool: tpool.Pool) -> None:
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.sleep(PATIENCE)

    async with using(pool):
        scope = anyio.CancelScope()

        async def cancel() -> None:
            await waiting.wait()
            scope.cancel()

        task = asyncio.create_task(cancel())
        with scope:
            await run_in_threadpool(from_thread.run, wait)
        assert scope.cancelled_caught
        await task


async def test_a_cancellation_of_asyncio_waits_too_and_comes_first(pool: tpool.Pool) -> None:
    gate = Gate()
    async with using(pool):
        task = asyncio.create_task(run_in_threadpool(gate, 1))
        await begun(gate)
        task.cancel("reason")
        await asyncio.sleep(0)
        assert not task.done()
        gate.open()
        with pytest.raises(asyncio.CancelledError, match="reason"):
            await task
    assert gate.calls == 1


async def test_a_time_limit_of_asyncio(pool: tpool.Pool) -> None:
    gate = Gate()
    async with using(pool):
        opening = asyncio.get_running_loop().call_later(0.03, gate.open)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await run_in_threadpool(gate)
        opening.cancel()
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        await asyncio.sleep(0)


async def test_a_cancellation_in_the_moment_in_which_the_outcome_comes(
    pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is done (1), its caller is cancelled (2), and only then has its turn (3)."""
    settle = WorkerCall.settle
    async with using(pool):

        def settle_and_cancel(call: WorkerCall[object]) -> None:
            settle(call)
            task.cancel("reason")

        monkeypatch.setattr(WorkerCall, "settle", settle_and_cancel)
        task = asyncio.create_task(run_in_threadpool(int))
        with pytest.raises(asyncio.CancelledError, match="reason"):
            await task
    assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0


async def test_a_late_error_is_reported(pool: tpool.Pool, loop_errors: LoopErrors) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise ValueError("late")

    async with using(pool):
        task = asyncio.create_task(run_in_threadpool(fail))
        await begun(gate)
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [str(error["exception"]) for error in loop_errors] == ["late"]


async def test_what_was_entered_in_spite_of_a_cancellation_is_left(pool: tpool.Pool) -> None:
    gate = Gate()
    steps = list[str]()

    def enter() -> None:
        gate()
        steps.append("enter")

    @asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        await run_in_threadpool(enter)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(steps.append, "exit", limiter=anyio.CapacityLimiter(1))

    async with using(pool):
        scope = anyio.CancelScope()
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, cancel_when_begun(gate, scope))
        with scope:
            async with dependency():
                await asyncio.sleep(0)
                steps.append("not cancelled")
    assert steps == ["enter", "exit"]


async def test_a_client_that_goes_away(pool: tpool.Pool) -> None:
    """Starlette cancels a streaming response; its dependencies are left, and all tokens come back."""
    app = FastAPI()
    steps = list[str]()
    gate = Gate()

    def dependency() -> Iterator[None]:
        try:
            yield
        finally:
            steps.append("exit")

    def endless() -> Iterator[bytes]:
        yield b"first"
        gate()
        yield b"second"
        raise AssertionError("nobody wants more")

    @app.get("/", dependencies=[Depends(dependency)])
    def endpoint() -> StreamingResponse:
        return StreamingResponse(endless())

    gone = asyncio.Event()
    sent = list[Message]()
    requests = iter([{"type": "http.request"}])

    async def receive() -> Message:
        for request in requests:
            return request
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
    }
    async with using(pool):
        request = asyncio.create_task(app(scope, receive, send))
        await begun(gate)
        gone.set()
        await asyncio.sleep(0.01)
        assert not request.done()
        gate.open()
        await request
    assert [message.get("body") for message in sent if message["type"] == "http.response.body"] == [b"first"]
    assert steps == ["exit"]
    assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0


# What is replaced, and when


async def where() -> str:
    return (await run_in_threadpool(thread_name)).rpartition("-")[0] or "anyio"


async def test_install_and_uninstall(pool: tpool.Pool) -> None:
    async with tpool.Pool(1, name="other") as other:
        before = vars(AsyncIOBackend)[METHOD]
        uninstall()
        assert vars(AsyncIOBackend)[METHOD] is before
        install(pool)
        try:
            replaced = vars(AsyncIOBackend)[METHOD]
            install(pool)
            assert vars(AsyncIOBackend)[METHOD] is replaced
            assert await where() == "test"
            install(other)
            assert vars(AsyncIOBackend)[METHOD] is replaced
            assert await where() == "other"
            async with using(pool):
                assert await where() == "test"
            assert await where() == "other"
            install()
            assert await where() == "tpool"
        finally:
            uninstall()
        assert vars(AsyncIOBackend)[METHOD] is before
        assert await where() == "anyio"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_while_another_thread_installs() -> None:
    program = """
    import os, signal, threading
    from tpool_asyncio.interop import _anyio_switch, starlette
    begun, opened = threading.Event(), threading.Event()
    signature_of = _anyio_switch.inspect.signature
    def slow(function):
        begun.set()
        opened.wait()
        return signature_of(function)
    _anyio_switch.inspect.signature = slow
    installing = threading.Thread(target=starlette.install)
    installing.start()
    begun.wait()
    child = os.fork()
    opened.set()
    if child == 0:
        signal.alarm(20)
        starlette.install()
        starlette.uninstall()
        os._exit(0)
    installing.join()
    print(os.waitpid(child, 0)[1])
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")) == "0\n"


async def test_several_are_left_in_any_order(pool: tpool.Pool) -> None:
    async with tpool.Pool(1, name="other") as other:
        first, second = using(pool), using(other)
        await first.__aenter__()
        await second.__aenter__()
        assert await where() == "other"
        await first.__aexit__(None, None, None)
        assert await where() == "other"
        await second.__aexit__(None, None, None)
        assert await where() == "anyio"


@pytest.mark.combination(caller="Starlette, several loops", library="tpool_asyncio.interop.starlette")
def test_two_loops_have_each_its_pool() -> None:
    meeting = threading.Barrier(3)
    seen: dict[str, set[str]] = {}

    async def serve(name: str | None) -> None:
        async def work() -> None:
            await asyncio.to_thread(meeting.wait, PATIENCE)
            seen[str(name)] = set(await asyncio.gather(*(where() for _ in range(20))))
            await asyncio.to_thread(meeting.wait, PATIENCE)

        if name is None:
            await work()
        else:
            async with tpool.Pool(2, name=name) as pool, using(pool):
                await work()

    threads = [threading.Thread(target=asyncio.run, args=(serve(name),)) for name in ("one", "two", None)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == {"one": {"one"}, "two": {"two"}, "None": {"anyio"}}


async def test_a_replacement_put_over_ours_stays(pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    with monkeypatch.context() as patch:
        async with using(pool):
            ours = AsyncIOBackend.run_sync_in_worker_thread

            async def counted(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                return await ours(*args, **kwargs)

            patch.setattr(AsyncIOBackend, METHOD, counted)
            assert await where() == "test"
        assert await where() == "anyio"
        async with using(pool):
            assert await where() == "test"
    assert calls == 4  # one of them to try whether Starlette comes here
    async with using(pool):
        assert await where() == "test"


async def test_the_original_put_back_by_somebody_else(pool: tpool.Pool) -> None:
    before = vars(AsyncIOBackend)[METHOD]
    async with using(pool):
        setattr(AsyncIOBackend, METHOD, before)
        assert await where() == "anyio"
    async with using(pool):
        assert await where() == "test"


async def test_an_anyio_that_is_different(monkeypatch: pytest.MonkeyPatch) -> None:
    async def other(cls: Any, func: Any) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(AsyncIOBackend, METHOD, classmethod(other))
        with pytest.raises(RuntimeError, match=r"anyio \d.* in another way"):
            install()
        with pytest.raises(RuntimeError, match="in another way"):
            async with using():
                raise AssertionError("it was taken")
        patch.delattr(AsyncIOBackend, METHOD)
        with pytest.raises(RuntimeError, match="in another way"):
            install()


async def test_a_starlette_that_is_different(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starlette.concurrency, "run_in_threadpool", asyncio.to_thread)
    with pytest.raises(RuntimeError, match=r"Starlette \d.* other threads"):
        async with using():
            raise AssertionError("it was taken")


async def test_without_starlette(monkeypatch: pytest.MonkeyPatch, pool: tpool.Pool) -> None:
    monkeypatch.delitem(sys.modules, "starlette.concurrency")
    async with using(pool):
        assert (await anyio.to_thread.run_sync(thread_name)).startswith("test-")
        async with await anyio.open_file(__file__) as file:
            assert (await file.read()).startswith('"""')


async def test_a_pool_without_threads() -> None:
    async with tpool.Pool(0) as pool:
        with pytest.warns(RuntimeWarning, match="has no threads"):
            async with using(pool):
                assert await run_in_threadpool(threading.get_ident) == threading.get_ident()


async def test_what_is_no_pool() -> None:
    for wrong in ("pool", 3, tpool):
        with pytest.raises(TypeError, match="Pool"):
            install(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="Pool"):
            async with using(wrong):  # type: ignore[arg-type]
                raise AssertionError("it was taken")


# Applications


async def test_a_lifespan(pool: tpool.Pool) -> None:
    steps = list[str]()

    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        steps.append(await where())
        yield {"title": app.title}
        steps.append(await where())

    app = FastAPI(title="mine", lifespan=lifespan(pool, inner))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        assert state["title"] == "mine"
        assert await where() == "test"
    assert steps == ["test", "test"]
    assert await where() == "anyio"

    async with lifespan()(app) as state:
        assert state is None
        assert await where() == "tpool"


async def test_requests_at_once(pool: tpool.Pool) -> None:
    app = FastAPI()

    def connection() -> Iterator[str]:
        yield "connection"

    @app.get("/{number}")
    def endpoint(number: int, connection: str = Depends(connection)) -> dict[str, Any]:
        return {"number": number, "connection": connection}

    async with using(pool), client(app) as http:
        answers = await asyncio.gather(*(http.get(f"/{number}") for number in range(60)))
    assert [answer.json() for answer in answers] == [{"number": n, "connection": "connection"} for n in range(60)]


@pytest.mark.combination(caller="worker of an endpoint", library="anyio.from_thread")
async def test_anyio_from_thread_in_an_endpoint(pool: tpool.Pool) -> None:
    import anyio.from_thread

    async def again(number: int) -> int:
        return await run_in_threadpool(int, number)

    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 2
    async with using(pool), asyncio.timeout(PATIENCE):
        calls = [run_in_threadpool(anyio.from_thread.run, again, number) for number in range(50)]
        assert await asyncio.gather(*calls) == list(range(50))
        scope = anyio.CancelScope()
        gate = Gate()

        def long() -> None:
            gate()
            anyio.from_thread.check_cancelled()
            raise AssertionError("still wanted")

        asyncio.get_running_loop().call_soon(asyncio.ensure_future, cancel_when_begun(gate, scope))
        with scope:
            await run_in_threadpool(long)
        assert scope.cancelled_caught
