"""Calls that wait for the import in whose middle they are made. The fault suite has the plain cases."""

import os
import sys
from pathlib import Path

import pytest

from tests.child import output_of
from tpool_asyncio._pool import importing
from tpool_asyncio._pool.thread_pool import ThreadPool

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
    assert importing._waiting_code is not None
    assert importing.module_locks is importing._machinery._module_locks
