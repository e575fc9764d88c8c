"""The end of a program that uses engines: when what is ended, and what is still taken; in child processes."""

import textwrap

from tests.child import output_of

PRELUDE = """
import asyncio, atexit, threading
at_end = threading.Event()
threading._register_atexit(at_end.set)  # the first one is called last, just before threads are joined
import concurrent.futures.process, concurrent.futures.thread
from tests.hand_executor import InPlaceExecutor
from tpool_asyncio import tpool
from tpool_asyncio._pool import engine
"""


def said_by(program: str) -> str:
    return output_of(PRELUDE + textwrap.dedent(program))


def test_the_end_of_an_engine_leaves_pools_of_threads_to_those_that_still_run() -> None:
    program = """
    pool = tpool.Pool.over(InPlaceExecutor)
    async def main():
        print(await pool.execute(abs, -1), flush=True)
    async def after_it():
        print(await tpool.execute(abs, -2))
    def run():
        assert at_end.wait(20)
        asyncio.run(after_it())
    asyncio.run(main())
    tpool.setup()  # Python 3.12.0 and 3.12.1 start no threads any more once the main thread has ended
    threading.Thread(target=run).start()
    """
    assert said_by(program) == "1\n2\n"


def test_one_executor_after_the_other_leaves_nothing_behind_to_be_called_at_the_end() -> None:
    program = """
    to_be_called = []
    threading._register_atexit = to_be_called.append
    counts = []
    async def main():
        for _ in range(3):
            async with tpool.Pool.over(InPlaceExecutor) as pool:
                await pool.execute(abs, -1)
            counts.append(len(to_be_called))
    asyncio.run(main())
    print(counts[0] > 0, counts[1] - counts[0], counts[2] - counts[1])
    """
    assert said_by(program) == "True 0 0\n"


def test_a_python_in_which_nothing_can_be_called_before_threads_are_joined() -> None:
    program = """
    del threading._register_atexit  # it is private
    async def main():
        async with tpool.Pool.over(InPlaceExecutor) as pool:
            print(await pool.execute(abs, -1))
    asyncio.run(main())
    """
    assert said_by(program) == "1\n"


def test_an_executor_that_is_made_when_the_exit_has_begun() -> None:
    program = """
    engine._IDLE = None  # some versions of Python start no threads any more at exit, so this one has to stay
    exiting = False
    def make():
        if not exiting:
            raise OSError("not yet")
        return InPlaceExecutor()
    pool = tpool.Pool.over(make)
    async def main():
        print(await pool.execute(abs, -1))
    def late():
        global exiting
        exiting = True
        asyncio.run(main())
    atexit.register(late)
    try:
        asyncio.run(main())
    except OSError as error:
        print(error)
    while pool._core._feeding.locked():  # or else the engine, which seems to be at work, is ended before exit hooks
        pass
    """
    assert said_by(program) == "not yet\n1\n"


def test_the_exit_begins_while_the_feeder_gives_its_token_back() -> None:
    # (1) The feeder finds no further call. (2) At exit, all pools are closed; the engine has something to do for it,
    # and gets no token. (3) The feeder gives the token back, and finds that. It must get a thread for it.
    program = """
    pool = tpool.Pool.over(InPlaceExecutor())
    closed_later = tpool.Pool(1)
    has_looked = threading.Event()
    async def main():
        await closed_later.execute(int)
        core, worker = pool._core, closed_later._core.workers()[0]
        end_feeding = core._end_feeding
        def end_late(rounds):
            del core._end_feeding
            has_looked.set()
            worker.join(20)
            print(str(core.refusal).partition(",")[0])
            end_feeding(rounds)
        core._end_feeding = end_late
        print(await pool.execute(abs, -1))
    asyncio.run(main())
    assert has_looked.wait(20)
    """
    assert said_by(program) == "1\nthe interpreter is exiting\n"
