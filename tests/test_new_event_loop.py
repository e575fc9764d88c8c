"""Event loops whose default executor is the default pool, made from those of asyncio and of uvloop."""

import asyncio
import contextvars
import functools
import gc
import re
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

import tpool_asyncio
from tests.child import output_of, run_child
from tests.gate import PATIENCE, Gate
from tests.plain_job import end
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._loop import event_loop
from tpool_asyncio._pool.default import shared_pool

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

KINDS = ["asyncio", "uvloop"]
ON_BOTH = pytest.mark.parametrize("kind", KINDS)


def stock_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop]
    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    return factory


def factory_of(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    return functools.partial(tpool_asyncio.new_event_loop, stock_factory(kind))


@pytest.fixture(params=KINDS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """What runs coroutines on a new loop of either kind, and closes that in the end."""
    with asyncio.Runner(loop_factory=factory_of(request.param)) as runner:
        yield runner


@pytest.fixture
def one_thread() -> None:
    """The default pool has one thread."""
    tpool.set_num_threads(1)


@dataclass
class Counted:
    """What the default pool has done in this test."""

    before: tpool.Statistics

    def __getattr__(self, name: str) -> int:
        return int(getattr(tpool.statistics(), name) - getattr(self.before, name))


@pytest.fixture
def counted() -> Counted:
    """Counts from the beginning of the test."""
    return Counted(tpool.statistics())


def fail_with(error: BaseException) -> None:
    raise error


async def echo(value: str) -> str:
    await asyncio.sleep(0)
    return value


def thread_name() -> str:
    return threading.current_thread().name


class TestMaking:
    @ON_BOTH
    def test_it_is_a_loop_of_its_kind(self, kind: str) -> None:
        stock = stock_factory(kind)()
        loop = factory_of(kind)()
        assert isinstance(loop, type(stock))
        assert type(loop) is not type(stock)
        assert repr(type(loop)) == repr(type(stock))
        assert re.sub("0x[0-9a-f]+", "", repr(loop)) == re.sub("0x[0-9a-f]+", "", repr(stock))
        second = factory_of(kind)()
        assert type(second) is type(loop)
        for each in (stock, loop, second):
            each.close()

    def test_without_a_factory_it_is_that_of_the_policy(self) -> None:
        loop = tpool_asyncio.new_event_loop()
        stock = asyncio.new_event_loop()
        assert isinstance(loop, type(stock))
        assert not isinstance(stock, type(loop))
        loop.close()
        stock.close()

    def test_twice_is_once(self) -> None:
        loop = tpool_asyncio.new_event_loop(tpool_asyncio.new_event_loop)
        assert type(loop).__mro__.count(event_loop._PoolLoop) == 1
        loop.close()

    @pytest.mark.parametrize("thing", [3, "uvloop", asyncio], ids=["number", "name", "module"])
    def test_no_factory(self, thing: Any) -> None:
        with pytest.raises(TypeError, match="factory must be a function that makes an event loop"):
            tpool_asyncio.new_event_loop(thing)

    def test_a_factory_of_something_else(self) -> None:
        with pytest.raises(TypeError, match="factory must return an event loop, not 0"):
            tpool_asyncio.new_event_loop(int)  # type: ignore[arg-type]

    def test_a_loop_with_slots_and_subclasses(self) -> None:
        class Rigid(asyncio.SelectorEventLoop):
            __slots__ = ("mine",)

        made = list[asyncio.AbstractEventLoop]()

        def factory() -> asyncio.AbstractEventLoop:
            made.append(Rigid())
            return made[0]

        class Other(Rigid):
            """Another subclass, beside the one that is made."""

        loop = tpool_asyncio.new_event_loop(factory)  # slots of its own are no obstacle
        assert not isinstance(loop, Other)
        assert loop is made[0]
        loop.close()

    def test_a_loop_whose_class_takes_no_subclass(self) -> None:
        class Final(asyncio.SelectorEventLoop):
            def __init_subclass__(cls) -> None:
                raise TypeError("this class is final")

        made = list[asyncio.AbstractEventLoop]()

        def factory() -> asyncio.AbstractEventLoop:
            made.append(Final())
            return made[0]

        with pytest.raises(TypeError, match=r"cannot be extended \(this class is final\); use tpool.executor\(\) with"):
            tpool_asyncio.new_event_loop(factory)
        assert made[0].is_closed()

    @ON_BOTH
    def test_nothing_keeps_a_loop(self, kind: str) -> None:
        gc.disable()
        try:
            loop = factory_of(kind)()
            loop.run_until_complete(loop.run_in_executor(None, int))
            abandoned = loop.run_in_executor(None, Gate().wait_begun, 0)
            abandoned.cancel()
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            reference = weakref.ref(loop)
            del loop, abandoned
            end(shared_pool)  # no thread holds what it has delivered last
            assert reference() is None
        finally:
            gc.enable()


class TestCalls:
    @pytest.mark.parametrize("way", ["run_in_executor", "to_thread"])
    def test_they_run_in_the_default_pool(self, runner: asyncio.Runner, way: str, counted: Counted) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            if way == "to_thread":
                names = await asyncio.gather(*(asyncio.to_thread(thread_name) for _ in range(100)))
            else:
                names = await asyncio.gather(*(loop.run_in_executor(None, thread_name) for _ in range(100)))
            assert {name.rpartition("-")[0] for name in names} == {"tpool"}

        runner.run(main())
        assert counted.completed == 100

    @pytest.mark.parametrize("kind", KINDS)
    def test_names_are_looked_up(self, kind: str, counted: Counted) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            assert await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
            assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST) == ("127.0.0.1", "http")
            assert counted.completed == (2 if kind == "asyncio" else 0)  # uvloop asks libuv

        with asyncio.Runner(loop_factory=factory_of(kind)) as runner:
            runner.run(main())

    def test_arguments_and_outcomes(self, runner: asyncio.Runner) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, pow, 2, 5) == 32
            assert await loop.run_in_executor(None, functools.partial(int, base=2), "101") == 5
            assert await asyncio.to_thread(dict, [("a", 1)], b=2) == {"a": 1, "b": 2}
            error = ValueError("mine")
            with pytest.raises(ValueError, match="mine") as caught:
                await asyncio.to_thread(fail_with, error)
            assert caught.value is error
            with pytest.raises(TypeError, match="must be callable"):
                loop.run_in_executor(None, 3)  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match="fail_with raised StopIteration"):
                await loop.run_in_executor(None, fail_with, StopIteration())

        runner.run(main())

    def test_context_variables(self, runner: asyncio.Runner) -> None:
        def read_and_write() -> str:
            seen = variable.get()
            variable.set("thread")
            return seen

        async def main() -> None:
            loop = asyncio.get_running_loop()
            variable.set("caller")
            to_thread = asyncio.ensure_future(asyncio.to_thread(read_and_write))
            call = loop.run_in_executor(None, read_and_write)
            await asyncio.sleep(0)
            variable.set("later")
            assert await to_thread == await call == "caller"
            assert variable.get() == "later"

            shared = contextvars.Context()
            assert await loop.run_in_executor(None, shared.run, read_and_write) == "unset"
            assert await loop.run_in_executor(None, functools.partial(shared.run, read_and_write)) == "thread"
            assert shared[variable] == "thread"
            assert await loop.run_in_executor(None, functools.partial(shared.get, variable)) == "thread"
            with pytest.raises(TypeError, match="run"):
                await loop.run_in_executor(None, functools.partial(shared.run))

        runner.run(main())

    def test_messages_name_the_function(self, runner: asyncio.Runner) -> None:
        async def main() -> None:
            gate = Gate()
            task = asyncio.ensure_future(asyncio.to_thread(gate))
            await asyncio.sleep(0)
            (call,) = asyncio.get_running_loop()._tpool_calls  # type: ignore[attr-defined]
            assert "tests.gate.Gate" in repr(call)
            gate.open()
            await task

        runner.run(main())

    def test_they_can_go_back_to_the_loop(self, runner: asyncio.Runner) -> None:
        async def main() -> None:
            assert await asyncio.to_thread(from_thread.run, echo, "value") == "value"

        runner.run(main())

    def test_before_the_loop_runs(self, runner: asyncio.Runner) -> None:
        loop = runner.get_loop()
        gate = Gate()
        call = loop.run_in_executor(None, gate, "value")
        gate.wait_begun()
        gate.open()
        assert loop.run_until_complete(call) == "value"

    def test_from_a_thread_that_is_not_the_loops(self, runner: asyncio.Runner) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            made = list[asyncio.Future[int]]()
            thread = threading.Thread(target=lambda: made.append(loop.run_in_executor(None, int, "3")))
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0)
            assert await made[0] == 3

        runner.run(main())

    def test_in_a_worker_they_run_in_place(self) -> None:
        async def inner() -> tuple[int, int]:
            return threading.get_ident(), await asyncio.to_thread(threading.get_ident)

        def call() -> tuple[int, int]:
            with asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop) as runner:
                return runner.run(inner())

        here, there = asyncio.run(_execute(call))
        assert here == there

    @pytest.mark.combination(caller="async code", library="asyncio.to_thread on tpool_asyncio.new_event_loop")
    async def test_two_loops_at_once(self) -> None:
        def other() -> list[int]:
            with asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop) as runner:
                return runner.run(main())

        async def main() -> list[int]:
            return await asyncio.gather(*(asyncio.to_thread(int, str(number)) for number in range(500)))

        threads = [asyncio.create_task(_in_thread(other)) for _ in range(3)]
        assert await asyncio.gather(*threads) == [list(range(500))] * 3


async def _execute(fn: Callable[[], Any]) -> Any:
    return await tpool.execute(fn)


async def _in_thread(fn: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, fn)


class TestOtherExecutors:
    def test_one_that_is_named_is_used(self, runner: asyncio.Runner, counted: Counted) -> None:
        async def main() -> str:
            with ThreadPoolExecutor(1, "mine") as executor:
                return await asyncio.get_running_loop().run_in_executor(executor, thread_name)

        assert runner.run(main()) == "mine_0"
        assert counted.submitted == 0

    def test_one_that_is_set_is_used_from_then_on(self, runner: asyncio.Runner) -> None:
        async def main() -> list[str]:
            loop = asyncio.get_running_loop()
            names = [await asyncio.to_thread(thread_name)]
            loop.set_default_executor(ThreadPoolExecutor(1, "mine"))
            return [*names, await asyncio.to_thread(thread_name)]

        first, second = runner.run(main())
        assert first.startswith("tpool-")
        assert second == "mine_0"

    def test_one_that_the_factory_has_set_stays(self) -> None:
        def factory() -> asyncio.AbstractEventLoop:
            loop = asyncio.new_event_loop()
            loop.set_default_executor(ThreadPoolExecutor(1, "mine"))
            return loop

        with asyncio.Runner(loop_factory=lambda: tpool_asyncio.new_event_loop(factory)) as runner:
            assert runner.run(asyncio.to_thread(thread_name)) == "mine_0"

    def test_asyncio_still_refuses_what_is_no_executor(self) -> None:
        with asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop) as runner:
            with pytest.raises(TypeError, match="ThreadPoolExecutor"):
                runner.get_loop().set_default_executor(3)  # type: ignore[arg-type]
            assert runner.run(asyncio.to_thread(thread_name)).startswith("tpool-")


class TestDebug:
    @pytest.mark.parametrize("debug", [True, False])
    @ON_BOTH
    def test_coroutine_functions_are_refused_where_the_base_does_it(self, kind: str, debug: bool) -> None:
        async def coroutine() -> None:
            """Do nothing."""

        class Callee:
            async def method(self) -> None:
                """Do nothing."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for fn in (coroutine, Callee().method, functools.partial(coroutine)):
                if debug or kind == "uvloop":
                    with pytest.raises(TypeError, match="coroutines cannot be used with run_in_executor"):
                        loop.run_in_executor(None, fn)
                else:
                    (await loop.run_in_executor(None, fn)).close()
            with pytest.raises(TypeError):
                loop.run_in_executor(None, coroutine())  # type: ignore[arg-type]
            plain: Callable[[], object]
            for plain in (int, thread_name, functools.partial(int), functools.lru_cache(int)):
                await loop.run_in_executor(None, plain)

        with asyncio.Runner(debug=debug, loop_factory=factory_of(kind)) as runner:
            runner.run(main())


class TestCancelling:
    @pytest.mark.usefixtures("one_thread")
    def test_a_queued_one_is_dropped(self, runner: asyncio.Runner, counted: Counted) -> None:
        async def main() -> None:
            gate, never = Gate(), Gate()
            running = asyncio.ensure_future(asyncio.to_thread(gate))
            queued = asyncio.ensure_future(asyncio.to_thread(never))
            await asyncio.sleep(0)
            gate.wait_begun()
            queued.cancel()
            await asyncio.wait([queued])
            assert counted.cancelled == 1
            gate.open()
            await running
            assert not never.calls
            assert not asyncio.get_running_loop()._tpool_calls  # type: ignore[attr-defined]

        runner.run(main())

    def test_a_storm_leaves_nothing_behind(self, runner: asyncio.Runner, counted: Counted) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            ran = list[int]()
            calls = [loop.run_in_executor(None, ran.append, number) for number in range(2_000)]
            for call in calls[::3]:
                call.cancel()
            await asyncio.wait(calls)
            assert not loop._tpool_calls  # type: ignore[attr-defined]
            cancelled = sum(call.cancelled() for call in calls)
            await tpool.killall()
            assert counted.completed == len(ran) >= 2_000 - cancelled
            assert counted.submitted == 2_000
            assert counted.completed + counted.cancelled == 2_000

        runner.run(main())


class TestShutdown:
    @ON_BOTH
    def test_the_end_waits_for_what_nobody_has_cancelled(self, kind: str) -> None:
        gate, saved = Gate(), list[object]()

        def save(number: int) -> None:
            saved.append(gate(number))

        def open_at_the_end(loop: Any) -> None:
            while loop._tpool_open is not None:
                time.sleep(0.001)
            gate.open()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for number in range(50):
                loop.run_in_executor(None, save, number)
            gate.wait_begun()
            threading.Thread(target=open_at_the_end, args=[loop]).start()

        with asyncio.Runner(loop_factory=factory_of(kind)) as runner:
            runner.run(main())
            assert not saved
        assert sorted(map(str, saved)) == sorted(map(str, range(50)))

    @ON_BOTH
    def test_the_end_does_not_wait_for_what_has_been_abandoned(self, kind: str) -> None:
        gate = Gate()

        async def main() -> None:
            asyncio.get_running_loop().create_task(asyncio.to_thread(gate))
            while not gate.calls:
                await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=factory_of(kind)) as runner:
            runner.run(main())
        assert tpool.statistics().busy == 1  # and the runner is closed
        gate.open()

    def test_afterwards_no_call_is_taken(self, runner: asyncio.Runner) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, int)
            gate = Gate()
            call = loop.run_in_executor(None, gate)
            shutdown = asyncio.ensure_future(loop.shutdown_default_executor())
            await asyncio.sleep(0)
            for _ in range(2):
                with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
                    loop.run_in_executor(None, int)
                with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
                    await asyncio.to_thread(int)
                gate.open()
                await shutdown
            assert call.done()
            assert await _in_thread(int) == 0
            assert await tpool.execute(int) == 0

        runner.run(main())

    def test_a_call_that_could_not_be_queued_is_not_waited_for(
        self, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            with monkeypatch.context() as patched:
                patched.setattr(shared_pool, "submit", lambda _: fail_with(KeyboardInterrupt()))
                with pytest.raises(KeyboardInterrupt):
                    loop.run_in_executor(None, int)
            await loop.shutdown_default_executor()

        runner.run(main())

    def test_a_closed_loop_takes_no_call(self) -> None:
        loop = tpool_asyncio.new_event_loop()
        loop.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.run_in_executor(None, int)

    def test_a_loop_that_is_closed_in_mid_call_lets_go_of_it(self) -> None:
        gate = Gate()
        loop = tpool_asyncio.new_event_loop()
        call = loop.run_in_executor(None, gate)
        gate.wait_begun()
        loop.close()
        reference = weakref.ref(loop)
        del loop, call
        gate.open()
        end(shared_pool)
        gc.collect()
        assert reference() is None

    @pytest.mark.parametrize("also_set", [False, True])
    @ON_BOTH
    def test_too_little_time(self, kind: str, also_set: bool) -> None:
        gate = Gate()
        said = r"2 call\(s\) made with run_in_executor still ran .*: tests\.gate\.Gate; await them"

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for _ in range(2):
                loop.run_in_executor(None, gate)
            gate.wait_begun(2)
            if also_set:
                loop.set_default_executor(ThreadPoolExecutor(1))
                await asyncio.to_thread(int)
            shutdown: Any = loop.shutdown_default_executor
            with pytest.warns(RuntimeWarning, match=said):
                await shutdown(timeout=0.01)
            gate.open()

        skip_without_time_limit(kind)
        loop = factory_of(kind)()
        loop.run_until_complete(main())
        loop.close()

    @ON_BOTH
    def test_enough_time(self, kind: str) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            shutdown: Any = loop.shutdown_default_executor
            call = loop.run_in_executor(None, int)
            await shutdown(timeout=PATIENCE)
            assert call.done()

        skip_without_time_limit(kind)
        with asyncio.Runner(loop_factory=factory_of(kind)) as runner:
            runner.run(main())


def skip_without_time_limit(kind: str) -> None:
    if kind == "asyncio" and sys.version_info < (3, 12):
        pytest.skip("asyncio has no time limit here before Python 3.12")


class TestProcess:
    def test_one_line(self) -> None:
        program = """
        import asyncio, sys, threading
        import tpool_asyncio
        async def main():
            print(await asyncio.to_thread(lambda: threading.current_thread().name))
            asyncio.get_running_loop().run_in_executor(None, lambda: print("saved"))
        if sys.version_info >= (3, 12):
            asyncio.run(main(), loop_factory=tpool_asyncio.new_event_loop)
        else:
            with asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop) as runner:
                runner.run(main())
        """
        assert output_of(program) == "tpool-1\nsaved\n"

    def test_an_abandoned_call_has_its_grace_time_at_exit(self) -> None:
        program = """
        import asyncio, threading, time
        import tpool_asyncio
        begun = threading.Event()
        def call():
            begun.set()
            threading.main_thread().join()
            print("still there", flush=True)
        async def main():
            task = asyncio.create_task(asyncio.to_thread(call))
            while not begun.is_set():
                await asyncio.sleep(0)
        with asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop) as runner:
            runner.run(main())
        print("closed", flush=True)
        """
        assert output_of(program) == "closed\nstill there\n"

    def test_a_pool_without_threads(self) -> None:
        program = """
        import asyncio, threading, warnings
        import tpool_asyncio
        warnings.simplefilter("ignore")
        tpool_asyncio.tpool.set_num_threads(0)
        with asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop) as runner:
            print(runner.run(asyncio.to_thread(threading.current_thread)) is threading.main_thread())
        """
        assert output_of(program) == "True\n"

    def test_a_bad_size_in_the_environment_is_an_error_of_the_call(self) -> None:
        program = """
        import asyncio
        import tpool_asyncio
        with asyncio.Runner(loop_factory=tpool_asyncio.new_event_loop) as runner:
            try:
                runner.run(asyncio.to_thread(int))
            except ValueError as error:
                print(str(error)[:51])
        """
        output = output_of(program, env={"EVENTLET_THREADPOOL_SIZE": "many"})
        assert output == "the environment variable EVENTLET_THREADPOOL_SIZE m\n"


class TestLibraries:
    @pytest.mark.combination(caller="async code", library="aiohttp on tpool_asyncio.new_event_loop")
    @pytest.mark.parametrize("kind", KINDS)
    def test_aiohttp_looks_up_names(self, kind: str) -> None:
        aiohttp = pytest.importorskip("aiohttp")
        web = pytest.importorskip("aiohttp.web")

        async def hello(_: object) -> Any:
            return web.Response(text=await asyncio.to_thread(thread_name))

        async def main() -> str:
            app = web.Application()
            app.router.add_get("/", hello)
            serving = web.AppRunner(app)
            await serving.setup()
            try:
                site = web.TCPSite(serving, "localhost", 0)
                await site.start()
                port = serving.addresses[0][1]
                resolver = aiohttp.ThreadedResolver()
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session,
                    session.get(f"http://localhost:{port}/") as response,
                ):
                    return str(await response.text())
            finally:
                await serving.cleanup()

        with asyncio.Runner(loop_factory=factory_of(kind)) as runner:
            assert runner.run(main()).startswith("tpool-")

    @pytest.mark.combination(caller="FastAPI endpoint", library="asyncio.to_thread on tpool_asyncio.new_event_loop")
    def test_uvicorn_makes_its_loop_with_it(self) -> None:
        pytest.importorskip("fastapi")
        if not hasattr(pytest.importorskip("uvicorn").Config, "get_loop_factory"):
            pytest.skip("this uvicorn takes no loop factory")
        program = """
        import asyncio, threading, time, urllib.request
        import fastapi, uvicorn
        app = fastapi.FastAPI()
        @app.get("/")
        async def name() -> str:
            return await asyncio.to_thread(lambda: threading.current_thread().name)
        config = uvicorn.Config(app, port=0, loop="tpool_asyncio:new_event_loop", log_level="error")
        server = uvicorn.Server(config)
        def ask():
            while not server.started:
                time.sleep(0.001)
            port = server.servers[0].sockets[0].getsockname()[1]
            print(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).read().decode())
            server.should_exit = True
        threading.Thread(target=ask).start()
        server.run()
        """
        done = run_child(program)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith('"tpool-')
