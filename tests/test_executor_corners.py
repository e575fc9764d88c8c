"""A pool as an executor: inside calls, in loops and libraries, when something goes wrong, and what it leaves behind."""

import asyncio
import concurrent.futures
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.child import output_of
from tests.executors import fail_with
from tests.gate import PATIENCE, Gate
from tests.plain_job import end
from tpool_asyncio import green, tpool
from tpool_asyncio._green.pool import handle_on
from tpool_asyncio._pool.job import Job
from tpool_asyncio.green import tpool as green_tpool


def thread_name() -> str:
    return threading.current_thread().name


class TestInsideCalls:
    @pytest.mark.combination(caller="worker", library="concurrent.futures, tpool.executor()")
    @pytest.mark.parametrize("way", ["result", "exception", "wait", "as_completed", "map", "shutdown"])
    def test_waiting_for_calls_of_the_same_pool_of_one(self, one: tpool.Executor, way: str) -> None:
        def nested(depth: int) -> int:
            if not depth:
                return 0
            if way == "map":
                return 1 + sum(one.map(nested, [depth - 1]))
            if way == "shutdown":
                with tpool.executor(one._pool) as own:
                    future = own.submit(nested, depth - 1)
                return 1 + future.result()
            future = one.submit(nested, depth - 1)
            if way == "exception":
                assert future.exception(PATIENCE) is None
            elif way == "wait":
                assert concurrent.futures.wait([future], PATIENCE).done
            elif way == "as_completed":
                assert list(concurrent.futures.as_completed([future], PATIENCE)) == [future]
            return 1 + future.result(PATIENCE)

        assert one.submit(nested, 20).result(PATIENCE) == 20
        end(one._core)
        statistics = one._core.statistics()
        assert statistics.completed == 21
        assert statistics.parked == 0

    def test_two_calls_that_wait_for_each_other(self, two: tpool.Executor) -> None:
        def outer() -> list[float]:
            barrier = threading.Barrier(2)
            return [future.result() for future in [two.submit(barrier.wait, PATIENCE) for _ in range(2)]]

        assert sorted(two.submit(outer).result()) == [0, 1]

    def test_calls_of_the_other_spellings_inside(self, one: tpool.Executor) -> None:
        pool = one._pool
        assert isinstance(pool, tpool.Pool)

        async def coroutine() -> int:
            return await pool.execute(int, "3")

        assert one.submit(asyncio.run, coroutine()).result() == 3
        assert one.submit(handle_on(pool).execute, int, "4").result() == 4

    def test_from_thread_has_no_loop_to_go_back_to(self, one: tpool.Executor) -> None:
        from tpool_asyncio import from_thread

        with pytest.raises(RuntimeError, match=r"made with tpool\.execute"):
            one.submit(from_thread.run_sync, int).result()

    def test_in_a_pool_without_threads(self) -> None:
        executor = tpool.executor(tpool.Pool(0))
        with pytest.warns(RuntimeWarning, match="has no threads"):
            future = executor.submit(threading.get_ident)
        assert future.done()
        assert future.result() == threading.get_ident()
        with pytest.raises(RuntimeError, match="would wait for itself"):
            executor.submit(executor.shutdown).result()
        nested = executor.submit(lambda: executor.submit(fail_with, ValueError("x")).exception())
        assert isinstance(nested.result(), ValueError)
        executor.shutdown()
        assert not executor._ledger.futures

    def test_a_call_that_the_pool_refuses_is_no_call(self) -> None:
        executor = tpool.executor(tpool.Pool(0))
        with pytest.raises(RuntimeWarning):  # warnings are errors here
            executor.submit(int)
        assert not executor._ledger.futures
        executor.shutdown()
        assert executor._core.statistics().submitted == 0


class TestInterruptedSubmit:
    """A signal handler may raise at any point of `submit`, and others may see the future before it is over."""

    @pytest.mark.parametrize("cancelled", [False, True])
    def test_what_has_not_been_queued_is_not_waited_for(
        self, one: tpool.Executor, cancelled: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = one._core

        def interrupted(job: Job) -> None:
            if cancelled:
                one.shutdown(wait=False, cancel_futures=True)
            raise KeyboardInterrupt

        monkeypatch.setattr(core, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.submit(int)
        one.shutdown()
        assert core.statistics().queued == core._dropped == 0

    def test_what_runs_nevertheless_is_waited_for(self, one: tpool.Executor, monkeypatch: pytest.MonkeyPatch) -> None:
        core, gate, seen = one._core, Gate(), list[object]()
        submit = core.submit

        def interrupted(job: Job) -> None:
            submit(job)
            gate.wait_begun()
            raise KeyboardInterrupt

        monkeypatch.setattr(core, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.submit(lambda: seen.append(gate("value")))
        assert len(one._ledger.futures) == 1
        gate.open()
        one.shutdown()
        assert seen == ["value"]
        assert core._dropped == 0


class Thing:
    """Something that can be referred to weakly."""


class TroubleError(Exception):
    """An error that can be referred to weakly."""


def trouble(thing: object) -> None:
    raise TroubleError(thing)  # and no variable that would make a cycle of it


class TestReferences:
    def test_nothing_is_kept_and_there_are_no_cycles(self, two: tpool.Executor) -> None:
        gc.disable()
        try:
            things = [Thing(), Thing()]
            futures: list[concurrent.futures.Future[Any]] = [
                two.submit(lambda _: Thing(), things[0]),
                two.submit(trouble, things[1]),
            ]
            concurrent.futures.wait(futures, PATIENCE)
            for future in futures:
                try:
                    future.result()
                except TroubleError:
                    pass
            references = [weakref.ref(thing) for thing in (*things, *futures, futures[0].result(), two)]
            end(two._core)
            del things, futures, future
            left = [reference() for reference in references[:-1]]
            assert left == [None] * 5
        finally:
            gc.enable()

    def test_an_error_does_not_lead_back_to_itself(self, two: tpool.Executor) -> None:
        def waits() -> None:
            two.submit(trouble, None).result()

        gc.disable()
        try:
            future = two.submit(waits)
            error = future.exception()
            assert isinstance(error, TroubleError)
            reference = weakref.ref(error)
            del error
            end(two._core)
            del future
            assert reference() is None
        finally:
            gc.enable()

    def test_the_executor_goes(self) -> None:
        executor = tpool.executor(tpool.Pool(1))
        executor.submit(int).result()
        reference = weakref.ref(executor)
        del executor
        assert reference() is None


class TestLoops:
    @pytest.mark.combination(caller="async code", library="concurrent.futures, tpool.executor()")
    async def test_as_the_default_executor(self, pool: tpool.Pool) -> None:
        loop = asyncio.get_running_loop()
        executor = tpool.executor(pool)
        loop.set_default_executor(executor)
        names = await asyncio.gather(*(asyncio.to_thread(lambda: threading.current_thread().name) for _ in range(50)))
        assert {name.rpartition("-")[0] for name in names} == {"test"}
        assert await loop.getaddrinfo("127.0.0.1", 80)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(int)
        assert await pool.execute(int) == 0

    async def test_cancelling_drops_what_is_queued(self) -> None:
        async with tpool.Pool(1) as pool:
            executor = tpool.executor(pool)
            loop = asyncio.get_running_loop()
            gate = Gate()
            running = loop.run_in_executor(executor, gate)
            queued = loop.run_in_executor(executor, int)
            gate.wait_begun()
            queued.cancel()
            await asyncio.sleep(0)
            assert pool.statistics().cancelled == 1
            running.cancel()
            gate.open()
            executor.shutdown()
        assert pool.statistics().completed == 1

    @pytest.mark.usefixtures("script")
    @pytest.mark.combination(caller="green thread", library="concurrent.futures, tpool.executor()")
    def test_submitted_in_green_threads(self, two: tpool.Executor) -> None:
        def body(number: int) -> int:
            future = two.submit(pow, number, 2)
            return green_tpool.execute(future.result, PATIENCE)

        threads = [green.spawn(body, number) for number in range(20)]
        assert [thread.wait() for thread in threads] == [number**2 for number in range(20)]


class TestLibraries:
    """Libraries that take an executor."""

    @pytest.mark.combination(caller="async code", library="aiofiles with tpool.executor()")
    async def test_aiofiles(self, pool: tpool.Pool, tmp_path: Path) -> None:
        aiofiles = pytest.importorskip("aiofiles")
        with tpool.executor(pool) as executor:
            async with aiofiles.open(tmp_path / "file", "w", executor=executor) as file:
                await file.write("one\ntwo\n")
            async with aiofiles.open(tmp_path / "file", executor=executor) as file:
                assert [line async for line in file] == ["one\n", "two\n"]
        assert pool.statistics().completed >= 6

    @pytest.mark.combination(caller="async code", library="asgiref with tpool.executor()")
    async def test_asgiref(self, pool: tpool.Pool) -> None:
        sync = pytest.importorskip("asgiref.sync")
        with tpool.executor(pool) as executor:
            name = sync.sync_to_async(thread_name, thread_sensitive=False, executor=executor)
            assert {(await name()).rpartition("-")[0] for _ in range(5)} == {"test"}
        assert pool.statistics().completed == 5


class TestProcess:
    def test_a_fork_leaves_the_calls_of_the_parent_to_the_parent(self) -> None:
        program = """
        import os, threading, warnings
        from tpool_asyncio import tpool
        warnings.simplefilter("ignore", DeprecationWarning)
        executor = tpool.executor(tpool.Pool(1))
        begun, go = threading.Event(), threading.Event()
        running = executor.submit(lambda: (begun.set(), go.wait(20)))
        queued = executor.submit(int, "3")
        begun.wait(20)
        if os.fork() == 0:
            assert not queued.done()
            assert executor.submit(int, "4").result(20) == 4
            executor.shutdown()
            try:
                executor.submit(int)
            except RuntimeError:
                os._exit(7)
        _, status = os.wait()
        assert os.waitstatus_to_exitcode(status) == 7, status
        go.set()
        print(queued.result(20), executor.submit(int).result(20))
        """
        assert output_of(program) == "3 0\n"

    def test_a_fork_inside_a_call(self) -> None:
        program = """
        import os, warnings
        from tpool_asyncio import tpool
        warnings.simplefilter("ignore", DeprecationWarning)
        def call():
            child = os.fork()
            if child:
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        future = tpool.executor().submit(call)
        future.add_done_callback(lambda future: print("callback", future.result(), flush=True))
        future.result()
        tpool.executor().submit(int).result()
        """
        assert output_of(program) == "callback 0\n"

    def test_at_exit_calls_have_their_grace_time_and_further_ones_are_refused(self) -> None:
        program = """
        import atexit, threading, time
        from tpool_asyncio import tpool
        executor = tpool.executor()
        def late():
            try:
                executor.submit(int)
            except RuntimeError as error:
                print(error)
        def call():
            threading.main_thread().join()
            time.sleep(0.05)
            print("done", flush=True)
        future = executor.submit(call)
        future.add_done_callback(lambda _: late())
        """
        first, second = output_of(program).splitlines()
        assert first == "done"
        assert second.startswith("the interpreter is exiting, so no further calls are taken")

    def test_a_thread_that_cannot_be_started_is_the_outcome(
        self, one: tpool.Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threading.Thread, "start", lambda _: fail_with(RuntimeError("no more threads")))
        future = one.submit(int)
        with pytest.raises(RuntimeError, match="no thread could be started"):
            future.result(PATIENCE)
        assert not one._ledger.futures
