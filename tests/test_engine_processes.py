"""Calls on real worker processes: what goes wrong there, at exit and in forks."""

import asyncio
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from tests import engine_calls
from tests.child import output_of, run_child
from tests.gate import PATIENCE
from tests.hand_executor import HandExecutor
from tpool_asyncio import green, tpool
from tpool_asyncio._pool.worker import _forget_worker
from tpool_asyncio.green import tpool as green_tpool

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
    pytest.mark.skipif(sys.platform == "win32", reason="the cases are made with POSIX signals and forks"),
]

FORK = ("-W", "ignore::DeprecationWarning")


def processes(method: str, number: int = 2) -> Callable[[], ProcessPoolExecutor]:
    return lambda: ProcessPoolExecutor(number, mp_context=multiprocessing.get_context(method))


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessPoolExecutor]:
    """Two processes for all the tests that leave them alive."""
    with processes("forkserver")() as executor:
        assert executor.submit(os.getpid).result(PATIENCE)
        yield executor


@pytest.mark.combination(caller="async code", library="ProcessPoolExecutor as an engine")
async def test_async_code(executor: ProcessPoolExecutor) -> None:
    async with tpool.Pool.over(executor) as pool:
        others = await asyncio.gather(*(pool.execute(engine_calls.process) for _ in range(10)))
        assert os.getpid() not in others
        assert await pool.execute(int, "20", base=3) == 6
        assert pool.statistics().completed == 11
    assert pool.statistics().size == 2
    assert executor.submit(abs, -1).result() == 1  # it is still its owner's


@pytest.mark.combination(caller="green thread", library="ProcessPoolExecutor as an engine")
async def test_green_threads(executor: ProcessPoolExecutor) -> None:
    def legacy() -> list[int]:
        with green_tpool.Pool.over(executor) as pool:
            threads = [green.spawn(pool.execute, engine_calls.power, number) for number in range(5)]
            return [thread.wait() for thread in threads]

    assert await green.run(legacy) == [1, 2, 4, 8, 16]


@pytest.mark.combination(caller="script", library="ProcessPoolExecutor as an engine")
@pytest.mark.usefixtures("script")
def test_a_script(executor: ProcessPoolExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with green_tpool.Pool.over(executor) as pool:
        assert pool.execute(engine_calls.process) != os.getpid()
        with pytest.raises(TimeoutError):
            pool.options(timeout=0.01).execute(engine_calls.wait_for, str(gate))
        gate.touch()


async def test_errors_of_the_function(executor: ProcessPoolExecutor) -> None:
    async with tpool.Pool.over(executor) as pool:
        with pytest.raises(ZeroDivisionError) as caught:
            await pool.execute(divmod, 1, 0)
        assert "Traceback" in str(caught.value.__cause__)
        with pytest.raises(RuntimeError, match="stop raised StopIteration"):
            await pool.execute(engine_calls.stop)


async def test_what_cannot_be_pickled(executor: ProcessPoolExecutor) -> None:
    async with tpool.Pool.over(executor) as pool:
        calls: list[asyncio.Future[Any]] = [
            pool.execute(lambda: 1),
            pool.execute(engine_calls.sleep_for, 0, threading.Lock()),
            pool.execute(engine_calls.return_lock),
        ]
        for call in calls:
            with pytest.raises((TypeError, AttributeError), match="pickle") as caught:
                await call
            assert "Take a function of a module that can be imported" in caught.value.__notes__[0]
        assert await pool.execute(abs, -1) == 1


async def test_what_an_engine_cannot_do(executor: ProcessPoolExecutor) -> None:
    engine_calls.variable.set("of the caller")
    async with tpool.Pool.over(executor) as pool:
        assert await pool.execute(engine_calls.read_variable) == "not carried over"
        with pytest.raises(RuntimeError, match=r"from_thread.run_sync works in a thread .* cannot call back"):
            await pool.execute(engine_calls.call_back)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
async def test_calls_inside_a_worker_process_use_its_own_pools(method: str) -> None:
    async with tpool.Pool.over(processes(method, 1)) as pool:
        process, inner, powers = await pool.execute(engine_calls.nested)
    assert process == inner != os.getpid()
    assert powers == [1, 2, 4]


async def test_worker_processes_do_not_take_themselves_for_the_thread_in_which_they_were_forked() -> None:
    for _ in range(2):
        async with tpool.Pool.over(processes("fork", 1)) as pool:
            assert await pool.execute(engine_calls.in_worker) is False
    # However many engines there are, `multiprocessing` has been asked once.
    hooks = [hook for _, _, hook in multiprocessing.util._afterfork_registry]  # type: ignore[attr-defined]
    assert hooks.count(_forget_worker) == 1


def test_an_engine_of_threads_needs_no_multiprocessing() -> None:
    program = """
    import asyncio, sys
    before = "multiprocessing.util" in sys.modules  # as it is where coverage is measured
    from concurrent.futures import ThreadPoolExecutor
    from tpool_asyncio import tpool
    async def main():
        async with tpool.Pool.over(ThreadPoolExecutor) as pool:
            print(await pool.execute(abs, -1), ("multiprocessing.util" in sys.modules) == before)
    asyncio.run(main())
    """
    assert output_of(program) == "1 True\n"


async def test_processes_that_were_forked_inside_a_call() -> None:
    executor = processes("fork", 1)()
    # The processes are forked in a thread of the pool, in the middle of a call whose loop is here.
    assert await tpool.execute(lambda: executor.submit(engine_calls.nested).result()[2]) == [1, 2, 4]
    async with tpool.Pool.over(executor) as pool:
        with pytest.raises(RuntimeError, match="cannot call back"):
            await pool.execute(engine_calls.call_back)
        assert (await pool.execute(engine_calls.nested))[2] == [1, 2, 4]
    executor.shutdown()


@pytest.mark.parametrize("method", ["fork", "forkserver"])
@pytest.mark.parametrize("harm", [engine_calls.raise_odd, engine_calls.return_unpicklable, engine_calls.die])
async def test_what_breaks_the_whole_executor(method: str, harm: Callable[[], object]) -> None:
    async with tpool.Pool.over(processes(method, 1), name="p") as pool:
        calls: list[asyncio.Future[Any]] = [pool.execute(engine_calls.process), pool.execute(harm)]
        first = await calls[0]
        # Some versions of Python hand such an error on as it is, in place of breaking.
        with pytest.raises((BrokenProcessPool, TypeError, ValueError, engine_calls.OddError)) as caught:
            await calls[1]
        broken = isinstance(caught.value, BrokenExecutor)
        if broken:
            assert "The call may have run, in part or as a whole, or not at all" in str(caught.value)
            assert "the next call asks the factory for a new one" in str(caught.value)
            assert ("It says: " in str(caught.value)) is (harm is not engine_calls.die)
        assert (await pool.execute(engine_calls.process) != first) is broken
    numbers = pool.statistics()
    assert (numbers.submitted, numbers.completed, numbers.failed) == (3, 2, 1)


async def test_a_worker_process_killed_in_mid_call(tmp_path: Path) -> None:
    note = tmp_path / "begun"
    executor = processes("forkserver", 1)()
    given = tpool.Pool.over(executor, name="given")
    running: asyncio.Future[Any] = given.execute(engine_calls.note_and_die, str(note))
    queued: list[asyncio.Future[Any]] = [given.execute(abs, -number) for number in range(5)]
    while not note.exists():
        await asyncio.sleep(0.001)
    for process in executor._processes.values():
        os.kill(process.pid or 0, signal.SIGKILL)
    for call in (running, *queued):
        with pytest.raises(BrokenProcessPool):
            await call
    with pytest.raises(BrokenProcessPool, match=r"abs has not been run: .* give Pool.over a factory"):
        await given.execute(abs, -1)
    await given.killall()
    executor.shutdown()
    assert given.statistics().failed == 7


async def test_calls_that_an_executor_takes_while_it_breaks_are_not_lost() -> None:
    # (1) The executor finds that it is not broken. (2) It breaks, and fails its calls. (3) It takes another one, which
    # it forgets in CPython 3.11; and if (3) comes in the middle of (2), it forgets what it has not failed by then.
    class Forgetful(HandExecutor):
        _broken: object = False
        _executor_manager_thread = None

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self._broken = len(self.calls) == 2 and "A process has died"
            return super().submit(fn, *args, **kwargs)

    executor = Forgetful()
    pool = tpool.Pool.over(executor)
    calls: list[asyncio.Future[Any]] = [pool.execute(abs, -number) for number in range(3)]
    async with asyncio.timeout(PATIENCE):
        for call in calls:
            with pytest.raises(BrokenProcessPool, match="The call may have run, in part or as a whole, or not at all"):
                await call
    for _, future in executor.calls:
        future.set_result(1)  # too late
    await pool.killall()
    assert (pool.statistics().submitted, pool.statistics().failed) == (3, 3)


async def test_interpreters() -> None:
    try:
        from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined, unused-ignore]
    except ImportError:
        pytest.skip("this Python has no InterpreterPoolExecutor, which came with 3.14")
    async with tpool.Pool.over(lambda: InterpreterPoolExecutor(2)) as pool:
        assert await asyncio.gather(*(pool.execute(pow, 2, number) for number in range(5))) == [1, 2, 4, 8, 16]


# Exit and fork


PRELUDE = """
import asyncio, multiprocessing, os, threading, time
from concurrent.futures import ProcessPoolExecutor
from tests import engine_calls
from tpool_asyncio import tpool

def make():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))

async def until_busy(pool):
    while not pool.statistics().busy:
        await asyncio.sleep(0.001)
"""


def test_calls_that_run_at_exit_are_finished() -> None:
    program = """
    async def main():
        global kept
        kept = tpool.Pool.over(make)
        await kept.execute(abs, -1)  # some versions of Python can start nothing any more once the exit has begun
        kept.execute(print, "done", flush=True)
    asyncio.run(main())
    """
    assert output_of(PRELUDE + unindent(program), options=FORK) == "done\n"


@pytest.mark.parametrize("factory", ["make", "engine_calls_in_threads"])
def test_what_still_runs_after_the_grace_time_is_named_and_killed(factory: str) -> None:
    program = f"""
    from concurrent.futures import ThreadPoolExecutor
    def engine_calls_in_threads():
        class Daemons(ThreadPoolExecutor):  # whose call ends when nobody waits for it any more
            pass
        return Daemons(1)
    seconds = 60 if "{factory}" == "make" else 0.6
    async def main():
        global kept
        kept = tpool.Pool.over({factory}, name="p", exit_grace=0.2)
        await kept.execute(abs, -1)
        kept.options(name="an endless call").execute(engine_calls.sleep_for, seconds)
        await until_busy(kept)
    asyncio.run(main())
    """
    done = run_child(PRELUDE + unindent(program), options=FORK, timeout=20)
    assert done.returncode == 0
    assert done.stderr.count("RuntimeWarning") == 1, done.stderr
    assert "1 call(s) still ran when their grace time at exit was over" in done.stderr
    assert "an endless call in thread of a " in done.stderr
    assert "Traceback" not in done.stderr


def test_exit_after_killall_has_given_up() -> None:
    program = """
    async def main():
        global kept
        kept = tpool.Pool.over(make, exit_grace=0.1)
        kept.execute(engine_calls.sleep_for, 60)
        await until_busy(kept)
        try:
            await kept.killall(timeout=0.5)
        except tpool.StillRunningError as error:
            print(error.calls[0])
        print(await kept.execute(abs, -1))
    asyncio.run(main())
    """
    done = run_child(PRELUDE + unindent(program), options=FORK, timeout=20)
    assert done.stdout == "tests.engine_calls.sleep_for in thread of a ProcessPoolExecutor\n1\n"
    assert done.returncode == 0
    assert done.stderr.count("RuntimeWarning") == 1, done.stderr


def test_calls_after_exit_has_begun_are_refused() -> None:
    program = """
    import atexit
    def late():
        async def main():
            try:
                await kept.execute(abs, -1)
            except RuntimeError as error:
                print(error)
        asyncio.run(main())
    atexit.register(late)
    async def main():
        global kept
        kept = tpool.Pool.over(make)
        print(await kept.execute(abs, -1))
    asyncio.run(main())
    """
    output = output_of(PRELUDE + unindent(program), options=FORK)
    assert output.startswith("1\nthe interpreter is exiting, so no further calls are taken")


LENT = (
    "the executor of pool 'lent' is that of the process that this one was forked from; make the pool anew in the child,"
    " or give Pool.over a factory"
)


def test_a_fork_makes_executors_of_its_own() -> None:
    program = """
    given = make()
    owned, lent = tpool.Pool.over(make), tpool.Pool.over(given, name="lent")
    async def both():
        return await owned.execute(os.getpid), await lent.execute(os.getpid)
    before = asyncio.run(both())
    held = tpool.Pool.over(make)
    async def main():
        held.execute(engine_calls.sleep_for, 0.2)
        await until_busy(held)
    asyncio.run(main())
    child = os.fork()
    if child == 0:
        async def main():
            print(await owned.execute(os.getpid) not in before, held.statistics().submitted, flush=True)
            try:
                await lent.execute(os.getpid)
            except RuntimeError as error:
                print(error, flush=True)
            await owned.killall()
            await held.killall()
        asyncio.run(main())
        os._exit(0)  # at a normal exit, multiprocessing would try to join the processes of the parent
    else:
        assert os.waitpid(child, 0)[1] == 0
        print(asyncio.run(both())[1] in given._processes)
        print(held.statistics().submitted)
    """
    assert output_of(PRELUDE + unindent(program), options=FORK).splitlines() == [
        "True 0",
        LENT,
        "True",
        "1",
    ]


def unindent(program: str) -> str:
    return "\n".join(line[4:] for line in program.splitlines())
