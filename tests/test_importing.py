"""Calls that wait for the import in whose middle they are made. The fault suite has the plain cases."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.child import output_of
from tests.gate import PATIENCE, Gate
from tests.plain_job import crew_of, submit
from tpool_asyncio import tpool
from tpool_asyncio._pool import importing
from tpool_asyncio._pool.executor_future import ExecutorFuture
from tpool_asyncio._pool.job import Job
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio.green import tpool as green_tpool
from tpool_asyncio.hubs import Hub

GREEN_THREAD = """
from tpool_asyncio import green
from tpool_asyncio.green import tpool

def job():
    import inner
    return "job"

def importer():
    tpool.execute(int)  # from here on the loop is known to the pool
    import inner
    print(inner.outcome)

green.spawn(importer).wait()
print(tpool.execute(job))
"""

SCRIPT = """
from tpool_asyncio import green
from tpool_asyncio.green import tpool

def job():
    import inner
    return "job"

green.sleep(0)  # from here on the script waits in a loop
tpool.execute(int)
import inner
print(inner.outcome)
print(tpool.execute(job))
"""

INNER = """
import outer
from tpool_asyncio import green, tpool as async_tpool
from tpool_asyncio.green import tpool

async def ask():
    return await async_tpool.execute(outer.job)

try:
    outcome = {call}
except RuntimeError as error:
    outcome = str(error)
"""


@pytest.mark.parametrize("outer", [GREEN_THREAD, SCRIPT], ids=["green thread", "script"])
@pytest.mark.parametrize(
    "call", ["tpool.execute(outer.job)", "tpool.options(timeout=50).execute(outer.job)", "green.await_(ask())"]
)
def test_in_a_loop_that_is_used_already(outer: str, call: str, tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(outer)
    (tmp_path / "inner.py").write_text(INNER.replace("{call}", call))
    output = output_of("import outer", env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})
    error, value = output.splitlines()
    assert error.startswith("outer.job imports the module 'inner', which waits for outer.job in the middle of its own ")
    assert value == "job"


def test_who_imports_nothing_is_not_importing(core: ThreadPool) -> None:
    assert not importing.importing()
    assert list(importing.stuck_in_import(core)) == []


def test_the_private_parts_of_python_are_where_they_are_looked_for() -> None:
    # If this fails, a new Python keeps the locks of modules elsewhere, and calls at import time may hang again.
    assert importing.module_locks is importing._machinery._module_locks
    assert importing.blocking_on is importing._machinery._blocking_on
    assert importing.blocking_on is not None


@contextmanager
def in_the_middle_of_importing(module: str) -> Iterator[None]:
    """Hold the lock that an import of this module holds."""
    with importing._machinery._ModuleLockManager(module):
        yield


def imports(module: str) -> str:
    """Wait for that lock, as a function does that imports the module."""
    with in_the_middle_of_importing(module):
        return "imported"


def waits_for_a_module(core: ThreadPool, job: Job) -> bool:
    threads = [worker.ident for worker in crew_of(core).workers.copy() if worker.job is job]
    return any(importing.locks_waited_for_by(thread) for thread in threads)


def test_who_is_stuck(core: ThreadPool) -> None:
    held, let_go, gate = threading.Event(), threading.Event(), Gate()

    def import_theirs() -> None:
        with in_the_middle_of_importing("theirs"):
            held.set()
            assert let_go.wait(PATIENCE)

    other = threading.Thread(target=import_theirs)
    other.start()
    assert held.wait(PATIENCE)
    core.resize(3)
    with in_the_middle_of_importing("mine"):
        jobs = [submit(core, imports, "mine"), submit(core, imports, "theirs"), submit(core, gate)]
        gate.wait_begun()
        for job in jobs[:2]:
            while not waits_for_a_module(core, job):
                pass
        # Not the one that waits for another thread's import, nor the one that waits for something else.
        assert list(importing.stuck_in_import(core)) == [(jobs[0], "mine")]
    let_go.set()
    other.join()
    gate.open()
    assert [job.result() for job in jobs] == ["imported", "imported", None]


def imports_once_others_were_seen(monkeypatch: pytest.MonkeyPatch, where: str) -> Callable[[str], str]:
    """Return a function that imports when somebody has looked who is stuck, and has found a call of an executor."""
    seen = threading.Event()

    def looking(pool: ThreadPool) -> Iterator[tuple[Job, str]]:
        for job, module in importing.stuck_in_import(pool):
            if isinstance(job, ExecutorFuture):
                seen.set()
            yield job, module

    def then_imports(module: str) -> str:
        assert seen.wait(PATIENCE)
        return imports(module)

    monkeypatch.setattr(f"{where}.LOOK_AGAIN", 0.001)
    monkeypatch.setattr(f"{where}.stuck_in_import", looking)
    return then_imports


def test_in_a_script_that_waits_for_no_loop(monkeypatch: pytest.MonkeyPatch, script: Hub) -> None:
    then_imports = imports_once_others_were_seen(monkeypatch, "tpool_asyncio._green.script_call")
    pool = green_tpool.Pool(2)
    with in_the_middle_of_importing("mine"):
        # This one is stuck, too, but nobody waits for it.
        other = tpool.executor(pool).submit(imports, "mine")
        with pytest.raises(RuntimeError, match="then_imports imports the module 'mine', which waits for"):
            pool.execute(then_imports, "mine")
    assert not script._started
    assert other.result(PATIENCE) == "imported"
    pool.killall()


async def test_in_a_loop_with_others_who_wait_for_the_same(pool: tpool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    then_imports = imports_once_others_were_seen(monkeypatch, "tpool_asyncio._loop.import_watch")
    await pool.execute(int)  # from here on the loop is known to the pool
    with in_the_middle_of_importing("mine"):
        other = tpool.executor(pool).submit(imports, "mine")
        with pytest.raises(RuntimeError, match="then_imports imports the module 'mine', which waits for"):
            await pool.execute(then_imports, "mine")
        assert not other.done()
    assert other.result(PATIENCE) == "imported"
