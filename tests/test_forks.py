"""Forks at the worst moments: in a call, in a callback, while an outcome is on its way; in child processes."""

import os

import pytest

from tests.child import output_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

FORK = ("-W", "ignore::DeprecationWarning")


def test_inside_a_call_while_an_earlier_outcome_waits_for_the_loop() -> None:
    # (1) An outcome is posted to the loop, which is busy. (2) A call forks. In the child nobody ever takes what was
    # posted, and the call must not wait for that.
    program = """
    import asyncio, os
    from concurrent.futures import Future
    from tpool_asyncio import tpool
    child_status = Future()
    def call():
        child = os.fork()
        if child:
            child_status.set_result(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    async def main():
        async with tpool.Pool(1) as pool:
            calls = [pool.execute(int), pool.execute(call)]
            print(child_status.result(20))
            await asyncio.gather(*calls)
    asyncio.run(main())
    """
    assert output_of(program, options=FORK) == "0\n"


def test_inside_a_call_the_way_back_to_the_loop_is_cut_off() -> None:
    program = """
    import asyncio, os
    from tpool_asyncio import from_thread, tpool
    def answers():
        for ask in (tpool.current_token, from_thread.check_cancelled, lambda: from_thread.run_sync(int)):
            try:
                yield str(ask())
            except RuntimeError as error:
                yield str(error).partition(" works in")[0].partition(" here:")[0]
    def call():
        child = os.fork()
        if child == 0:
            try:
                for answer in answers():
                    print(answer, flush=True)
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        return from_thread.run_sync(int)
    async def main():
        print(await tpool.execute(call))
    asyncio.run(main())
    """
    assert output_of(program, options=FORK).splitlines() == [
        "there is no token",
        "from_thread.check_cancelled",
        "from_thread.run_sync",
        "0",
    ]


def test_inside_a_callback_of_a_future_that_a_worker_has_set() -> None:
    program = """
    import os, threading
    from tpool_asyncio import tpool
    def callback(future):
        child = os.fork()
        if child == 0:
            try:
                print("child", tpool.executor().submit(pow, 2, 3).result(20), flush=True)
            finally:
                os._exit(0)
        print("parent", future.result(), os.waitpid(child, 0)[1], flush=True)
    has_callback = threading.Event()
    with tpool.executor() as executor:
        future = executor.submit(has_callback.wait, 20)
        future.add_done_callback(callback)
        has_callback.set()
    """
    assert output_of(program, options=FORK) == "child 8\nparent True 0\n"


def test_while_a_worker_is_about_to_wake_a_loop_that_goes_on_in_the_child() -> None:
    # (1) A worker has made up its mind to wake the loop. (2) Another thread forks. In the child the worker does not
    # come to it, so further calls must not rely on it.
    program = """
    import asyncio, os, selectors, threading
    from tpool_asyncio import tpool
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())  # a kqueue would not be there in the child
    about_to_wake, forked = threading.Event(), threading.Event()
    wake = loop.call_soon_threadsafe
    def wake_late(*args, **kwargs):
        about_to_wake.set()
        assert forked.wait(20)
        return wake(*args, **kwargs)
    async def begin():
        loop.call_soon_threadsafe = wake_late
        return tpool.execute(pow, 2, 2)
    async def again():
        return await tpool.execute(pow, 2, 3)
    call = loop.run_until_complete(begin())
    assert about_to_wake.wait(20)
    child = os.fork()
    loop.call_soon_threadsafe = wake
    forked.set()
    if child == 0:
        print("child", loop.run_until_complete(again()), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("parent", loop.run_until_complete(call), loop.run_until_complete(again()))
    loop.close()
    """
    assert output_of(program, options=FORK) == "child 8\nparent 4 8\n"


@pytest.mark.parametrize("forks", ["forks()", "tpool.execute(forks)"])
def test_ctrl_c_strikes_the_child_of_a_script_that_waits(forks: str) -> None:
    # The script notes Ctrl-C for the end of its wait, which never comes in the child.
    program = f"""
    import os, signal
    from tpool_asyncio import green
    from tpool_asyncio.green import tpool
    def forks():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGINT)
                print("nothing", flush=True)
            except KeyboardInterrupt:
                print("struck", flush=True)
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    green.spawn(lambda: {forks}).wait()
    """
    assert output_of(program, options=FORK) == "struck\n"


def test_a_process_of_multiprocessing_started_inside_a_call_makes_calls_like_any_other() -> None:
    program = """
    import asyncio, multiprocessing
    from tpool_asyncio import from_thread, tpool
    async def answer():
        return 7
    async def two_calls():
        return await tpool.execute(from_thread.run, answer), await tpool.execute(int, 2)
    def child(connection):
        try:
            connection.send(asyncio.run(two_calls()))
        except BaseException as error:
            connection.send(error)
    def job():
        context = multiprocessing.get_context("fork")
        reader, writer = context.Pipe()
        process = context.Process(target=child, args=(writer,))
        process.start()
        outcome = reader.recv()
        process.join()
        return outcome
    async def main():
        print(await tpool.execute(job))
    asyncio.run(main())
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")) == "(7, 2)\n"
