"""Executors on pools, for the tests of what a pool is as an executor. `tests.conftest` has pytest find the fixtures."""

from collections.abc import Iterator

import pytest

from tests.plain_job import end
from tpool_asyncio import tpool
from tpool_asyncio.green import tpool as green_tpool


def fail_with(error: BaseException) -> None:
    raise error


@pytest.fixture
def two() -> Iterator[tpool.Executor]:
    """An executor on a pool of two threads."""
    executor = tpool.executor(green_tpool.Pool(2, name="two"))
    yield executor
    executor.shutdown()
    end(executor._core)


@pytest.fixture
def one() -> Iterator[tpool.Executor]:
    """An executor on a pool of one thread."""
    executor = tpool.executor(tpool.Pool(1, name="one"))
    yield executor
    executor.shutdown()
    end(executor._core)
