"""A pool as an executor: the contract of `concurrent.futures`, point by point."""

import asyncio
import concurrent.futures
import contextvars
import gc
import random
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Future
from typing import Any

import pytest

from tests.child import output_of
from tests.executors import fail_with
from tests.gate import PATIENCE, Gate
from tests.plain_job import end
from tpool_asyncio import tpool
from tpool_asyncio._green.pool import handle_on
from tpool_asyncio.green import tpool as green_tpool

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class TestMaking:
    def test_it_is_an_executor_on_the_default_pool(self) -> None:
        before = tpool.statistics().completed
        executor = tpool.executor()
        assert isinstance(executor, concurrent.futures.Executor)
        assert isinstance(executor, tpool.Executor)
        assert tpool.Executor is green_tpool.Executor
        future = executor.submit(lambda: threading.current_thread().name)
        assert isinstance(future, Future)
        assert future.result().startswith("tpool-")
        assert tpool.statistics().completed == before + 1

    @pytest.mark.parametrize("spelling", [tpool, green_tpool], ids=["async", "green"])
    def test_both_spellings_take_pools_of_both(self, spelling: Any) -> None:
        for pool in (tpool.Pool(1, name="mine"), green_tpool.Pool(1, name="mine")):
            with spelling.executor(pool) as executor:
                assert executor.submit(lambda: threading.current_thread().name).result() == "mine-1"
                assert repr(executor) == "<Executor of pool 'mine'>"
            assert repr(executor) == "<Executor of pool 'mine' shut down>"

    @pytest.mark.parametrize(
        "thing", [3, "tpool", tpool, tpool.Pool, tpool.options()], ids=lambda thing: type(thing).__name__
    )
    def test_no_pool(self, thing: Any) -> None:
        with pytest.raises(TypeError, match=r"pool must be a Pool of .* make one with tpool.Pool\(size\)"):
            tpool.executor(thing)

    def test_what_libraries_look_at(self, two: tpool.Executor) -> None:
        assert two._max_workers == 2
        assert two._thread_name_prefix == "two"
        assert len(two._threads) == 0

    def test_a_module_without_such_a_name(self) -> None:
        with pytest.raises(AttributeError, match="has no attribute 'Execute'"):
            tpool.Execute  # noqa: B018

    def test_nobody_imports_an_executor_who_needs_none(self) -> None:
        program = """
        import sys
        import asyncio
        before = "concurrent.futures.thread" in sys.modules
        import tpool_asyncio
        print(before, "concurrent.futures.thread" in sys.modules)
        print(tpool_asyncio.tpool.Executor, "concurrent.futures.thread" in sys.modules)
        """
        first, second = output_of(program).splitlines()
        assert len(set(first.split())) == 1
        assert second == "<class 'tpool_asyncio._pool.executor.Executor'> True"

    def test_the_executor_keeps_the_threads_of_a_pool_whose_handle_is_gone(self) -> None:
        pool = tpool.Pool(1)
        executor = tpool.executor(pool)
        reference = weakref.ref(pool)
        del pool
        first = executor.submit(threading.get_ident).result()
        gc.collect()
        assert executor.submit(threading.get_ident).result() == first
        del executor
        assert reference() is None


class TestSubmit:
    def test_arguments_and_value(self, two: tpool.Executor) -> None:
        assert two.submit(dict, [("a", 1)], fn=2, self=3).result() == {"a": 1, "fn": 2, "self": 3}

    @pytest.mark.parametrize(
        "make",
        [
            ValueError,
            lambda: SystemExit(3),
            KeyboardInterrupt,
            lambda: StopIteration(4),
            lambda: CancelledError("mine"),
            lambda: asyncio.CancelledError("mine"),
            lambda: BaseExceptionGroup("group", [SystemExit()]),
        ],
        ids=lambda make: type(make()).__name__,
    )
    def test_the_same_error_comes_back(self, two: tpool.Executor, make: Callable[[], BaseException]) -> None:
        error = make()
        future = two.submit(fail_with, error)
        assert future.exception() is error
        caught: BaseException | None = None
        try:
            future.result()
        except BaseException as reached:
            caught = reached
        assert caught is error
        assert not future.cancelled()
        assert two.submit(int).result() == 0

    @pytest.mark.parametrize("thing", [None, 3], ids=repr)
    def test_not_callable(self, two: tpool.Executor, thing: Any) -> None:
        with pytest.raises(TypeError, match="first argument must be callable"):
            two.submit(thing)

    def test_context_variables_are_copied_in(self, two: tpool.Executor) -> None:
        context = contextvars.copy_context()
        context.run(variable.set, "caller")
        assert context.run(two.submit, variable.get).result() == "caller"
        context.run(two.submit, variable.set, "thread").result()
        assert context[variable] == "caller"

    def test_states(self, one: tpool.Executor) -> None:
        gate = Gate()
        running = one.submit(gate, "value")
        queued = one.submit(int)
        gate.wait_begun()
        assert (running.running(), running.done(), queued.running(), queued.done()) == (True, False, False, False)
        assert "ExecutorFuture tests.gate.Gate" in repr(running)
        assert "state=running" in repr(running)
        assert "ExecutorFuture int" in repr(queued)
        assert "state=pending" in repr(queued)
        assert running.cancel() is False
        with pytest.raises(TimeoutError):
            running.result(timeout=0)
        with pytest.raises(TimeoutError):
            running.exception(timeout=0)
        gate.open()
        assert running.result() == "value"
        assert running.exception() is None
        assert running.cancel() is False
        assert (running.running(), running.done(), running.cancelled()) == (False, True, False)
        assert "state=finished returned str" in repr(running)

    def test_calls_start_in_order_among_all_calls_of_the_pool(self, one: tpool.Executor) -> None:
        order = list[int]()
        other = tpool.executor(one._pool)
        for number in range(500):
            (one, other)[number % 2].submit(order.append, number)
        other.shutdown()
        one.submit(int).result()
        assert order == list(range(500))

    async def test_next_to_calls_of_async_code(self, pool: tpool.Pool) -> None:
        executor = tpool.executor(pool)
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(
            pool.execute(pow, 2, 3),
            loop.run_in_executor(executor, pow, 2, 4),
            asyncio.wrap_future(executor.submit(int)),
        )
        assert list(results) == [8, 16, 0]
        executor.shutdown()
        assert pool.statistics().completed == 3


class TestCancelling:
    def test_a_queued_call_never_runs_and_lets_go_at_once(self, one: tpool.Executor) -> None:
        gate, never = Gate(), Gate()
        one.submit(gate)
        gate.wait_begun()
        future = one.submit(never, never)
        reference = weakref.ref(never)
        del never
        assert reference() is not None
        assert future.cancel() is True
        assert reference() is None
        assert future.cancel() is True
        assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
        with pytest.raises(CancelledError):
            future.result()
        with pytest.raises(CancelledError):
            future.exception()
        statistics = one._core.statistics()
        assert (statistics.cancelled, statistics.queued) == (1, 0)
        gate.open()
        end(one._core)

    def test_callbacks_and_waiters_are_told(self, one: tpool.Executor) -> None:
        gate = Gate()
        one.submit(gate)
        gate.wait_begun()
        future = one.submit(int)
        seen = list[object]()
        future.add_done_callback(seen.append)
        waiting = threading.Event()
        result = list[object]()

        def wait() -> None:
            waiting.set()
            result.append(concurrent.futures.wait([future]))

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(PATIENCE)
        assert future.cancel()
        assert seen == [future]
        thread.join(PATIENCE)
        assert result == [({future}, set())]
        assert list(concurrent.futures.as_completed([future])) == [future]
        gate.open()

    def test_what_somebody_has_set_is_not_cancelled(self, one: tpool.Executor) -> None:
        gate = Gate()
        one.submit(gate)
        gate.wait_begun()
        future = one.submit(int)
        seen = list[object]()
        future.add_done_callback(seen.append)
        future.set_result(3)
        assert future.cancel() is False
        assert future.result(0) == 3
        assert seen == [future]
        gate.open()

    def test_a_storm_of_cancels_leaves_exact_counts(self, two: tpool.Executor) -> None:
        ran = list[int]()
        futures = list[Future[None]]()
        told = list[object]()
        winners = list[bool]()
        start = threading.Barrier(4)

        def submit() -> None:
            start.wait(PATIENCE)
            for number in range(3_000):
                future = two.submit(ran.append, number)
                future.add_done_callback(told.append)
                futures.append(future)

        def cancel(seed: int) -> None:
            choose = random.Random(seed)
            start.wait(PATIENCE)
            while len(futures) < 3_000:
                if futures:
                    winners.append(choose.choice(futures[-50:]).cancel())

        threads = [threading.Thread(target=submit), *(threading.Thread(target=cancel, args=(n,)) for n in range(3))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        done, pending = concurrent.futures.wait(futures, PATIENCE)
        assert not pending
        cancelled = sum(future.cancelled() for future in done)
        end(two._core)
        statistics = two._core.statistics()
        assert len(ran) + cancelled == 3_000
        assert len(told) == 3_000
        assert (statistics.completed, statistics.cancelled, statistics.failed) == (len(ran), cancelled, 0)
        assert (statistics.submitted, statistics.queued) == (3_000, 0)
        assert two._core._dropped == 0
        assert not two._ledger.futures

    @pytest.mark.parametrize("rounds", [300])
    def test_of_many_who_cancel_all_or_none_succeed(self, one: tpool.Executor, rounds: int) -> None:
        gate = Gate()
        one.submit(gate)
        gate.wait_begun()
        barrier = threading.Barrier(3)
        answers = list[tuple[int, bool]]()
        futures = [one.submit(int) for _ in range(rounds)]

        def cancel() -> None:
            for number, future in enumerate(futures):
                barrier.wait(PATIENCE)
                answers.append((number, future.cancel()))

        threads = [threading.Thread(target=cancel) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(answers) == [(number, True) for number in range(rounds) for _ in range(3)]
        assert one._core.statistics().cancelled == rounds
        gate.open()


class TestCallbacks:
    def test_they_run_in_order_in_the_thread_of_the_call(self, one: tpool.Executor) -> None:
        gate = Gate()
        future = one.submit(gate)
        seen = list[object]()
        for number in range(3):
            future.add_done_callback(lambda done, number=number: seen.append((number, done, threading.get_ident())))  # type: ignore[misc]
        gate.open()
        worker = one.submit(threading.get_ident).result()
        assert seen == [(number, future, worker) for number in range(3)]

    def test_one_that_raises_is_logged_and_stops_nobody(
        self, one: tpool.Executor, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate = Gate()
        future = one.submit(gate)
        seen = list[object]()
        future.add_done_callback(lambda _: fail_with(ValueError("mine")))
        future.add_done_callback(seen.append)
        gate.open()
        one.submit(int).result()
        assert seen == [future]
        (record,) = [record for record in caplog.records if record.name == "concurrent.futures"]
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "mine"

    def test_one_that_raises_what_ends_threads_elsewhere(
        self, one: tpool.Executor, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate = Gate()
        future = one.submit(gate, "value")
        future.add_done_callback(lambda _: fail_with(SystemExit()))
        gate.open()
        assert one.submit(int).result() == 0
        assert future.result() == "value"
        assert "could not be delivered" in caplog.text
        one.shutdown()

    def test_added_after_the_end_it_runs_at_once(self, two: tpool.Executor, caplog: pytest.LogCaptureFixture) -> None:
        future = two.submit(int)
        future.result()
        seen = list[object]()
        future.add_done_callback(lambda done: seen.append((done, threading.get_ident())))
        assert seen == [(future, threading.get_ident())]
        future.add_done_callback(lambda _: fail_with(ValueError("mine")))
        assert "exception calling callback" in caplog.text

    def test_a_result_that_somebody_else_has_set_stays(
        self, one: tpool.Executor, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate = Gate()
        future = one.submit(gate, "value")
        gate.wait_begun()
        future.set_result("mine")
        gate.open()
        one.submit(int).result()
        assert future.result() == "mine"
        assert "could not be delivered" in caplog.text


class TestWaiting:
    def test_first_completed(self, two: tpool.Executor) -> None:
        gate = Gate()
        slow: Future[Any] = two.submit(gate)
        fast: Future[Any] = two.submit(int)
        assert concurrent.futures.wait([slow, fast], PATIENCE, FIRST_COMPLETED) == ({fast}, {slow})
        gate.open()

    def test_first_exception(self, two: tpool.Executor) -> None:
        gate = Gate()
        slow: Future[Any]
        failing: Future[Any]
        slow, failing = two.submit(gate), two.submit(fail_with, ValueError())
        assert concurrent.futures.wait([slow, failing], PATIENCE, FIRST_EXCEPTION) == ({failing}, {slow})
        gate.open()
        fine: list[Future[Any]] = [two.submit(int) for _ in range(3)]
        assert concurrent.futures.wait([slow, *fine], PATIENCE, FIRST_EXCEPTION) == ({slow, *fine}, set())

    def test_all_completed(self, two: tpool.Executor) -> None:
        gate = Gate()
        futures: list[Future[Any]] = [two.submit(gate), two.submit(fail_with, ValueError()), two.submit(int)]
        concurrent.futures.wait(futures[1:], PATIENCE)
        assert concurrent.futures.wait(futures, 0, ALL_COMPLETED) == (set(futures[1:]), {futures[0]})
        gate.open()
        assert concurrent.futures.wait(futures, PATIENCE, ALL_COMPLETED) == (set(futures), set())

    def test_as_completed(self, two: tpool.Executor) -> None:
        gates = [Gate(), Gate()]
        futures = [two.submit(gate) for gate in gates]
        seen = concurrent.futures.as_completed(futures, PATIENCE)
        gates[1].open()
        assert next(seen) is futures[1]
        gates[0].open()
        assert list(seen) == [futures[0]]

    def test_as_completed_with_too_little_time(self, one: tpool.Executor) -> None:
        gate = Gate()
        future = one.submit(gate)
        with pytest.raises(TimeoutError):
            list(concurrent.futures.as_completed([future], 0))
        gate.open()

    def test_together_with_futures_of_another_executor(self, two: tpool.Executor) -> None:
        with concurrent.futures.ThreadPoolExecutor(1) as stock:
            futures = [two.submit(int), stock.submit(int)]
            assert set(concurrent.futures.as_completed(futures, PATIENCE)) == set(futures)


class TestMap:
    def test_order(self, two: tpool.Executor) -> None:
        assert list(two.map(pow, range(100), [2] * 100, timeout=PATIENCE, chunksize=7)) == [n**2 for n in range(100)]

    def test_calls_are_submitted_at_once_and_results_come_as_they_are_asked_for(self, one: tpool.Executor) -> None:
        gate = Gate()
        results = one.map(gate, range(3))
        gate.wait_begun()
        gate.open()
        assert next(results) == 0
        assert list(results) == [1, 2]

    def test_an_error_comes_in_its_place(self, two: tpool.Executor) -> None:
        results = two.map(lambda n: 1 / n, [1, 0, 2])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []

    def test_time_is_over(self, one: tpool.Executor) -> None:
        gate = Gate()
        results = one.map(gate, range(3), timeout=0)
        gate.wait_begun()
        with pytest.raises(TimeoutError):
            next(results)
        gate.open()
        end(one._core)
        assert one._core.statistics().cancelled == 2

    def test_an_early_close_cancels_the_rest(self, one: tpool.Executor) -> None:
        gate, first = Gate(), Gate()
        first.open()
        results = one.map(lambda n: gate() if n else first(), range(10))
        assert next(results) is None
        gate.wait_begun()
        results.close()  # type: ignore[attr-defined]
        assert one._core.statistics().cancelled == 8
        gate.open()


class TestShutdown:
    def test_it_waits_for_calls_and_their_callbacks(self, one: tpool.Executor) -> None:
        gate, seen = Gate(), list[object]()
        future = one.submit(gate)
        future.add_done_callback(lambda _: (gate.wait_begun(), seen.append("callback")))
        gate.wait_begun()
        ended = threading.Event()
        thread = threading.Thread(target=lambda: (one.shutdown(), ended.set()))
        thread.start()
        while not one._ledger.bells:
            time.sleep(0.001)
        assert not ended.is_set()
        gate.open()
        while not future.done():
            time.sleep(0.001)
        assert not ended.is_set()
        gate._begun.release()
        thread.join(PATIENCE)
        assert ended.is_set()
        assert seen == ["callback"]

    @pytest.mark.parametrize("wait", [True, False])
    def test_afterwards_no_call_is_taken_and_again_does_no_harm(self, two: tpool.Executor, wait: bool) -> None:
        future = two.submit(int)
        future.result()
        two.shutdown(wait)
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"cannot schedule new futures after shutdown; make another"):
                two.submit(int)
        with pytest.raises(RuntimeError, match="after shutdown"):
            two.map(int, "123")
        two.shutdown(wait)
        two.shutdown(wait=True, cancel_futures=True)
        assert future.result() == 0
        end(two._core)
        assert two._core.statistics().submitted == 1
        assert not two._ledger.futures

    def test_the_pool_and_other_executors_go_on(self, one: tpool.Executor) -> None:
        gate = Gate()
        other = tpool.executor(one._pool)
        waiting = other.submit(gate)
        one.shutdown()  # which does not wait for calls of the other
        assert not waiting.done()
        gate.open()
        assert other.submit(int).result() == 0
        other.shutdown()

    def test_without_waiting_what_has_been_submitted_still_runs(self, one: tpool.Executor) -> None:
        gate = Gate()
        futures = [one.submit(gate, number) for number in range(3)]
        one.shutdown(wait=False)
        gate.open()
        assert [future.result() for future in futures] == [0, 1, 2]

    def test_cancel_futures(self, one: tpool.Executor) -> None:
        gate = Gate()
        other = tpool.executor(one._pool)
        running = one.submit(gate)
        gate.wait_begun()
        queued = [one.submit(int) for _ in range(3)]
        stranger = other.submit(int)
        order = list[object]()
        for future in queued:
            future.add_done_callback(order.append)
        one.shutdown(wait=False, cancel_futures=True)
        assert order == queued
        assert all(future.cancelled() for future in queued)
        gate.open()
        one.shutdown()
        assert running.result() is None
        assert stranger.result() == 0
        assert one._core.statistics().cancelled == 3

    def test_with(self, one: tpool.Executor) -> None:
        with one as executor:
            futures = [executor.submit(int) for _ in range(100)]
        assert all(future.done() for future in futures)
        with pytest.raises(RuntimeError, match="after shutdown"):
            one.submit(int)

    @pytest.mark.parametrize("place", ["call", "nested", "callback", "cancel callback"])
    def test_it_does_not_wait_for_itself(self, one: tpool.Executor, place: str) -> None:
        errors = list[str]()

        def shutdown(*_: object) -> None:
            try:
                one.shutdown()
            except RuntimeError as error:
                errors.append(str(error))

        if place == "call":
            one.submit(shutdown).result()
        elif place == "nested":
            pool = one._pool
            assert isinstance(pool, tpool.Pool)
            one.submit(lambda: handle_on(pool).execute(shutdown)).result()
        else:
            gate = Gate()
            future = one.submit(gate)
            gate.wait_begun()
            if place == "cancel callback":
                future = one.submit(int)
            future.add_done_callback(shutdown)
            future.cancel()
            gate.open()
        one.submit(int).result()
        assert [text.partition(" would wait for itself; use shutdown(wait=False)")[1] != "" for text in errors] == [
            True
        ]
        one.submit(one.shutdown, wait=False).result()
        with pytest.raises(RuntimeError, match="after shutdown"):
            one.submit(int)

    def test_a_submit_in_between_is_either_waited_for_or_refused(self) -> None:
        pool = tpool.Pool(2)
        ran = list[int]()
        for _ in range(100):
            executor = tpool.executor(pool)
            start = threading.Barrier(2)
            taken = list[Future[None]]()

            def submit(executor: tpool.Executor, start: threading.Barrier, taken: list[Future[None]]) -> None:
                start.wait(PATIENCE)
                try:
                    for number in range(100):
                        taken.append(executor.submit(ran.append, number))
                except RuntimeError:
                    pass

            thread = threading.Thread(target=submit, args=(executor, start, taken))
            thread.start()
            start.wait(PATIENCE)
            executor.shutdown(cancel_futures=True)
            thread.join(PATIENCE)
            assert all(future.done() for future in taken)
            assert not executor._ledger.futures
        core = pool._core
        statistics = core.statistics()
        assert statistics.completed == len(ran)
        assert statistics.queued == core._dropped == 0
