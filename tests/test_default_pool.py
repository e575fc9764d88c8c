"""The pool that the process shares: its size, from the environment and by call."""

import pytest

from tests.child import output_of
from tpool_asyncio import tpool

CALL = """
import asyncio
from tpool_asyncio import tpool
async def main():
    return await tpool.execute(int)
try:
    asyncio.run(main())
except ValueError as error:
    print(error)
print(tpool.get_num_threads(), tpool.statistics().submitted)
"""


@pytest.mark.parametrize(("text", "size"), [(None, 20), ("1", 1), (" 7 ", 7), ("500", 500)])
def test_the_size_comes_from_the_environment(text: str | None, size: int) -> None:
    env = {} if text is None else {"EVENTLET_THREADPOOL_SIZE": text}
    assert output_of(CALL, env=env) == f"{size} 1\n"


@pytest.mark.parametrize("text", ["", "many", "-1", "2.5", "1e3", "٣", "0x10"])
def test_a_bad_size_in_the_environment_is_an_error_of_the_call(text: str) -> None:
    lines = output_of(CALL, env={"EVENTLET_THREADPOOL_SIZE": text}).splitlines()
    assert lines[0].startswith("the environment variable EVENTLET_THREADPOOL_SIZE must be a whole number, 1 or more")
    assert "correct or unset it, or call set_num_threads() first" in lines[0]
    assert lines[1] == "20 0"


def test_setting_the_size_makes_up_for_a_bad_one_in_the_environment() -> None:
    program = "from tpool_asyncio import tpool; tpool.set_num_threads(3)" + CALL
    assert output_of(program, env={"EVENTLET_THREADPOOL_SIZE": "many"}) == "3 1\n"


def test_size_0_in_the_environment() -> None:
    program = "import warnings; warnings.simplefilter('ignore')" + CALL + "print(tpool.statistics().threads)"
    assert output_of(program, env={"EVENTLET_THREADPOOL_SIZE": "0"}) == "0 1\n0\n"


@pytest.mark.parametrize("size", [-1, "3", 1.0, None])
def test_a_bad_size_by_call_leaves_the_pool_as_it_was(size: int) -> None:
    with pytest.raises(ValueError, match="the number of threads must be a whole number, 1 or more"):
        tpool.set_num_threads(size)
    assert tpool.get_num_threads() == 20


def test_before_the_first_call_any_size() -> None:
    tpool.set_num_threads(2)
    assert tpool.get_num_threads() == 2
    tpool.setup()
    assert tpool.statistics().threads == 2


def test_later_a_larger_size_at_once_and_a_smaller_one_after_killall() -> None:
    tpool.set_num_threads(2)
    tpool.setup()
    tpool.set_num_threads(4)
    tpool.setup()
    assert tpool.statistics().threads == 4
    tpool.set_num_threads(1)
    assert (tpool.get_num_threads(), tpool.statistics().threads) == (1, 4)
