"""What every test gets: both event loops, a pool of its own, and a check that it leaves nothing behind."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import hypothesis
import hypothesis.strategies
import pytest
import pytest_asyncio

from tests.gate import PATIENCE
from tests.plain_job import end
from tpool_asyncio import hubs, tpool
from tpool_asyncio._pool.default import DEFAULT_SIZE, shared_pool
from tpool_asyncio._pool.thread_pool import ThreadPool

pytest_plugins = ["tests.combinations", "tests.executors"]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each async test once per kind of event loop."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what is there by now: many tests ask it to look at everything."""
    # Hypothesis asks the collector who refers to its random numbers, once, when it is used for the first time.
    hypothesis.find(hypothesis.strategies.booleans(), bool)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def the_development_mode_is_not_handed_on() -> None:
    """Keep it to this process: child processes should not say what asyncio says then of steps that take long."""
    os.environ.pop("PYTHONDEVMODE", None)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_not_ignored() -> None:
    """Undo what a shell does to a job in the background, which hands it on to all child processes."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def the_collector_is_on() -> Iterator[None]:
    """Fail the test that has left the garbage collector off, in place of others that come later."""
    yield
    was_on = gc.isenabled()
    gc.enable()
    assert was_on


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """End the threads of the default pool after each test, and fail the test if others are left."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while shared_pool.statistics().pinned and time.monotonic() < deadline:
        time.sleep(0.001)  # an iteration that nobody has read to its end is being closed
    shared_pool.set_size(DEFAULT_SIZE)
    ended = threading.Event()
    farewell = shared_pool.dismiss(ended.set)
    assert ended.wait(10), "a call of the default pool never ended"
    while farewell.ending():
        time.sleep(0.001)
    left = [thread for thread in threading.enumerate() if thread not in before]
    deadline = time.monotonic() + 10
    while (alive := set(threading.enumerate()).intersection(left)) and time.monotonic() < deadline:
        time.sleep(0.001)  # to join one that another thread is just starting would be an error
    assert not alive


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[tpool.Pool]:
    """A pool of two threads; at its end no call is queued or running, and no task is left."""
    async with tpool.Pool(2, name="test") as pool:
        yield pool
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left


class StoppedClock:
    """Stands for `time` where time is not to pass."""

    monotonic = staticmethod(lambda: 0.0)


@pytest.fixture
def a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a trip of an iteration read a whole batch, however long the machine takes."""
    monkeypatch.setattr("tpool_asyncio._loop.stream.time", StoppedClock)


@pytest.fixture
def a_patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have who closes an iteration wait for a read that is about to end, however long the machine takes."""
    monkeypatch.setattr("tpool_asyncio._loop.stream._PATIENCE", PATIENCE)


class LoopErrors(list[dict[str, object]]):
    """What was reported to the exception handler of the running loop."""


@pytest_asyncio.fixture
async def loop_errors() -> AsyncIterator[LoopErrors]:
    """Collect what goes to the exception handler of the loop."""
    errors = LoopErrors()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    yield errors


@pytest.fixture
def script() -> Iterator[hubs.Hub]:
    """The hub of a script, in a thread without a loop; at its end no green thread is left, and its loop is closed."""
    hub = hubs.get_hub()
    assert not hub._started, "an earlier test has left its hub"
    yield hub
    left = hub.green_threads
    hub.close()
    assert not left


@pytest.fixture
def core() -> Iterator[ThreadPool]:
    """A pool of two threads without the loop floor; at its end all its threads have ended."""
    pool = ThreadPool(2, name="core")
    yield pool
    end(pool)
