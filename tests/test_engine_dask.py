"""Calls on a real Dask cluster: worker processes that die, results that cannot be pickled, a cluster that goes away."""

import asyncio
import contextlib
import logging
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import engine_calls
from tests.gate import PATIENCE
from tests.test_engine import wait_handed_over
from tests.test_engine_processes import unindent
from tpool_asyncio import green, tpool
from tpool_asyncio.green import tpool as green_tpool

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the clusters are made for POSIX"),
    pytest.mark.timeout(180),  # to start a cluster takes its time on a busy machine
    # Of sockets and processes of Dask's own, when a cluster ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail if a test leaves threads of an engine. Dask keeps and starts threads as it likes."""
    yield
    deadline = time.monotonic() + PATIENCE
    while any(thread.name.startswith("engine-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two worker processes, for all tests of this module but those that break a cluster."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    # Coverage would make the worker processes slow to start, and is not asked for there.
    covered = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COVERAGE_")}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            processes=True, n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.submit(abs, -1).result()  # which starts the threads of the client
        os.environ.update(covered)
        yield client


@pytest.mark.combination(caller="async code", library="Dask as an engine")
async def test_async_code(client: Any) -> None:
    async with tpool.Pool.over(client.get_executor) as pool:
        assert await asyncio.gather(*(pool.execute(pow, 2, number) for number in range(20))) == [
            2**n for n in range(20)
        ]
        assert await pool.execute(engine_calls.process) != os.getpid()
        assert await pool.execute(lambda: 4) == 4  # which Dask can pickle
        with pytest.raises(ZeroDivisionError):
            await pool.execute(divmod, 1, 0)
    numbers = pool.statistics()
    assert (numbers.submitted, numbers.completed, numbers.failed, numbers.size) == (23, 22, 1, 0)


@pytest.mark.combination(caller="green thread", library="Dask as an engine")
async def test_green_threads(client: Any) -> None:
    def legacy() -> list[int]:
        with green_tpool.Pool.over(client.get_executor()) as pool:
            threads = [green.spawn(pool.execute, engine_calls.power, number) for number in range(5)]
            return [thread.wait() for thread in threads]

    assert await green.run(legacy) == [1, 2, 4, 8, 16]


@pytest.mark.combination(caller="script", library="Dask as an engine")
@pytest.mark.usefixtures("script")
def test_a_script(client: Any) -> None:
    with green_tpool.Pool.over(client.get_executor) as pool:
        assert pool.execute(engine_calls.power, 3) == 8


async def test_the_same_call_runs_each_time_unless_it_is_said_to_be_pure(client: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with tpool.Pool.over(client.get_executor) as pool:
        assert len(set(await asyncio.gather(*(pool.execute(engine_calls.now) for _ in range(5))))) == 5
        async with tpool.Pool.over(client.get_executor(pure=True)) as pure:
            # The cluster forgets an outcome that nobody has asked for, so none is there before all have asked.
            held_up = [pool.execute(engine_calls.wait_for, str(gate), number) for number in range(2)]
            wait_handed_over(pool)
            calls = [pure.execute(engine_calls.now) for _ in range(5)]
            wait_handed_over(pure)
            gate.touch()
            assert len(set(await asyncio.gather(*calls))) == 1
            assert await asyncio.gather(*held_up) == [0, 1]


async def test_what_cannot_be_pickled(client: Any) -> None:
    async with tpool.Pool.over(client.get_executor) as pool:
        # They travel together with results that can be.
        calls: list[Any] = [
            pool.execute(engine_calls.return_lock if number % 3 else engine_calls.process) for number in range(6)
        ]
        outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            assert isinstance(outcome, TypeError if number % 3 else int), outcome
        with pytest.raises(TypeError, match="serialize") as caught:
            await pool.execute(engine_calls.sleep_for, 0, threading.Lock())
        for error in (outcomes[1], caught.value):
            assert "picklable" in error.__notes__[0]


async def test_an_exception_that_cannot_be_unpickled_harms_nobody_else(client: Any) -> None:
    async with tpool.Pool.over(client.get_executor) as pool:
        for harm in (engine_calls.raise_odd, engine_calls.return_unpicklable):
            with pytest.raises(Exception, match=r"."):
                await pool.execute(harm)
        assert await pool.execute(abs, -1) == 1


async def test_what_an_engine_cannot_do(client: Any) -> None:
    engine_calls.variable.set("of the caller")
    async with tpool.Pool.over(client.get_executor) as pool:
        assert await pool.execute(engine_calls.read_variable) == "not carried over"
        with pytest.raises(RuntimeError, match=r"cannot call back"):
            await pool.execute(engine_calls.call_back)
        with pytest.raises(RuntimeError, match=r"a ClientExecutor does not tell when it has started a call"):
            await pool.options(queue_timeout=1).execute(abs, -1)


async def test_nobody_waits_any_more(client: Any, tmp_path: Path) -> None:
    async with tpool.Pool.over(client.get_executor) as pool:
        for on_cancel in ("abandon", "wait"):
            gate = tmp_path / on_cancel
            call: Any = pool.options(timeout=PATIENCE, on_cancel=on_cancel).execute(engine_calls.wait_for, str(gate))
            wait_handed_over(pool)
            call._expire(PATIENCE)  # now that it has been handed over, and no sooner
            await asyncio.sleep(0.01)
            assert call.done() == (on_cancel == "abandon")
            gate.touch()
            with pytest.raises(TimeoutError):
                await call
    assert (pool.statistics().cancelled, pool.statistics().completed) == (1, 1)


async def test_a_worker_process_that_dies(client: Any) -> None:
    async with tpool.Pool.over(client.get_executor) as pool:
        with pytest.raises(
            BrokenExecutor, match=r"the worker processes that ran the call died .* once or several times"
        ):
            await pool.execute(engine_calls.die)
        assert await pool.execute(abs, -1) == 1


async def test_an_executor_that_its_owner_has_shut_down(client: Any) -> None:
    executor = client.get_executor()
    pool = tpool.Pool.over(executor)
    assert await pool.execute(abs, -1) == 1
    executor.shutdown()
    with pytest.raises(RuntimeError, match="takes no calls any more"):
        await pool.execute(abs, -1)
    await pool.killall()


PROGRAM = """
import asyncio, logging, os, subprocess, sys, time
from concurrent.futures import BrokenExecutor
import dask
from distributed import Client
from tests import engine_calls
from tpool_asyncio import tpool

logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
address = sys.argv[1]

def start(what, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{what}", *arguments]
    # Coverage would make them slow to start, and is not asked for here.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    processes.append(process)
    return process

def cluster():
    port = address.rpartition(":")[2]
    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show")
    return scheduler, start("worker", address, "--no-nanny", "--no-dashboard", "--nthreads", "1")

async def fails(call, what):
    try:
        print(await call)
    except (BrokenExecutor, OSError) as error:
        print(what in str(error), flush=True)

async def submitted(number):
    while len(pool._core._outlet.executor._calls) < number:
        await asyncio.sleep(0.01)

def wait_for_worker(patience):
    dask.config.set({"distributed.scheduler.no-workers-timeout": patience})

async def main():
    global pool
    scheduler, worker = cluster()
    # This is what a program writes that is to survive its cluster: the factory connects anew.
    def connect():
        client = Client(address, timeout=60 if scheduler.poll() is None else 0.5)
        client.wait_for_workers(1, timeout=60)
        return client.get_executor()

    pool = tpool.Pool.over(connect)
    print(await pool.execute(engine_calls.power, 3), flush=True)
    wait_for_worker("0.5s")
    calls = [pool.execute(engine_calls.sleep_for, 60) for _ in range(3)]
    await submitted(3)
    worker.kill()
    worker.wait()
    for call in calls:
        await fails(call, "the Dask cluster has had no worker for 0.5 s")
    wait_for_worker("60s")
    client = pool._core._outlet.executor._client
    client._timeout = 0.5  # for which it tries to connect again
    call = pool.execute(engine_calls.sleep_for, 60)
    await submitted(1)
    scheduler.kill()
    scheduler.wait()
    await fails(call, "the Dask cluster has dropped the call")
    while client.status != "closed":
        await asyncio.sleep(0.01)
    await fails(pool.execute(abs, -1), "imed out")
    scheduler, worker = cluster()
    print(await pool.execute(engine_calls.power, 4), flush=True)
    client = pool._core._outlet.executor._client
    call = pool.execute(engine_calls.sleep_for, 60)
    await submitted(1)
    await tpool.execute(client.close)
    await fails(call, "the Dask cluster has dropped the call")
    await pool.killall()

processes = []
try:
    asyncio.run(main())
finally:
    for process in processes:
        process.kill()
        process.wait()
"""


def free_port() -> int:
    """A port that is free, and stays so: it is none of those that the system gives to whoever asks for any."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def test_a_cluster_that_goes_away() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-c", unindent(PROGRAM.replace("\n", "\n    ")), address],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.stdout.split() == ["8", "True", "True", "True", "True", "True", "16", "True"], done.stderr
    assert done.returncode == 0
