"""Eventlet: greenthreads wait for the pool and for async code, in whatever order things are imported and patched.

The hub and the patching are those of a whole process, so that all of it happens in child processes. Each costs a third
of a second, so each makes many checks: those of `tests.eventlet_checks` are made in programs that patch nothing, and in
programs that patch before, after and late.
"""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.child import output_of

ROOT = Path(__file__).parent.parent
CHECKS = re.findall(r"^@check\ndef (\w+)", (ROOT / "tests" / "eventlet_checks.py").read_text("utf-8"), re.MULTILINE)
GREENTHREAD = "greenthread of Eventlet (asyncio hub)"


@cache
def checked(when: str, what: str) -> str:
    """Run the checks in a program of their own, and return what it prints: the names of those that hold."""
    program = f"""
        import runpy, sys
        sys.path.insert(0, {str(ROOT)!r})
        sys.argv = ["eventlet_checks", {when!r}, {what!r}]
        runpy.run_module("tests.eventlet_checks", run_name="__main__")
    """
    return output_of(program, env={"EVENTLET_HUB": "asyncio"})


@pytest.mark.combination(caller="program patched by Eventlet (asyncio hub)", library="tpool_asyncio.green.tpool")
@pytest.mark.parametrize(
    ("when", "what"),
    [("before", "all"), ("after", "all"), ("late", "all"), ("before", "but-threads"), ("late", "but-threads")],
)
def test_patched(when: str, what: str) -> None:
    assert checked(when, what).split() == CHECKS


@pytest.mark.combination(caller=GREENTHREAD, library="tpool_asyncio.green.tpool")
def test_not_patched() -> None:
    assert checked("never", "all").split() == CHECKS


HUB_AND_PATCH = """
    import warnings

    warnings.filterwarnings("ignore", r"\\s*Eventlet is deprecated")
    warnings.filterwarnings("ignore", "unclosed", ResourceWarning)

    import eventlet
    import eventlet.hubs
    import eventlet.patcher

    eventlet.hubs.use_hub("asyncio")
    eventlet.monkey_patch()

    from tpool_asyncio.green import tpool

    real = eventlet.patcher.original("threading")


    def use(number):
        eventlet.hubs.use_hub("asyncio")
        print(eventlet.spawn(tpool.execute, abs, number).wait())
        hub = eventlet.hubs.get_hub()
        hub.abort(wait=True)
        hub.loop.close()


    thread = real.Thread(target=use, args=(-1,))
    thread.start()
    thread.join()
    print(eventlet.spawn(tpool.execute, abs, -2).wait())
"""


def test_a_hub_that_the_program_chooses_before_it_patches() -> None:
    assert output_of(HUB_AND_PATCH).split() == ["1", "2"]


COMBINATIONS = {
    "only_the_calling_greenthread_waits": ("main greenlet of Eventlet (asyncio hub)", "tpool_asyncio.green.tpool"),
    "coroutines_clean_up": (GREENTHREAD, "tpool_asyncio.green.await_"),
    "async_code_is_told_to_await": ("async code on Eventlet's asyncio hub", "tpool_asyncio.tpool"),
    "options_and_proxies_and_iterations": (GREENTHREAD, "tpool_asyncio.green.tpool.Proxy"),
    "install_and_uninstall": (GREENTHREAD, "eventlet.tpool, installed"),
    "threads_with_a_hub_each": ("several threads with an Eventlet hub each", "tpool_asyncio.green.tpool"),
    "a_fork_after_use": ("fork of a program with Eventlet", "tpool_asyncio.green.tpool"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.combination(caller=caller, library=library), id=name)
        for name, (caller, library) in COMBINATIONS.items()
    ],
)
def test_combination(name: str) -> None:
    assert name in checked("never", "all").split()


ANOTHER_HUB = """
    import asyncio
    import os
    import threading
    import warnings

    warnings.filterwarnings("ignore", r"\\s*Eventlet is deprecated")
    warnings.filterwarnings("ignore", "unclosed", ResourceWarning)  # the hub's loop at exit, up to Eventlet 0.40
    import eventlet, eventlet.debug, eventlet.hubs
    from tpool_asyncio import green, tpool as async_tpool
    from tpool_asyncio.green import tpool

    real = eventlet.patcher.original("threading")
    outcomes = []

    def in_thread(function):
        thread = threading.Thread(target=lambda: outcomes.append(function()))
        thread.start()
        thread.join(20)
        return outcomes.pop()

    # To have imported Eventlet makes no difference.
    async def main():
        return await async_tpool.execute(abs, -2) + await green.run(tpool.execute, abs, -3)

    assert tpool.execute(abs, -1) == 1
    assert green.await_(main()) == asyncio.run(main()) == 5
    assert [thread.wait() for thread in [green.spawn(tpool.execute, abs, -4)]] == [4]
    assert list(tpool.iterate([1, 2])) == [1, 2]
    assert not hasattr(eventlet.hubs._threadlocal, "hub")
    print("a script")

    class Numbers:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise AssertionError

        async def aclose(self):
            raise AssertionError

    def refuses():
        for call in (
            lambda: tpool.execute(abs, -1),
            lambda: tpool.options(timeout=9).execute(abs, -1),
            lambda: green.await_(asyncio.sleep(0)),
            lambda: next(tpool.iterate([1])),
            lambda: tpool.Proxy([]).append(1),
            tpool.killall,
            lambda: list(green.iter_(Numbers())),
        ):
            try:
                call()
            except RuntimeError as error:
                assert "asyncio hub" in str(error), error
                assert "EVENTLET_HUB=asyncio" in str(error) and "use_hub('asyncio')" in str(error)
                assert type(eventlet.hubs.get_hub()).__module__ in str(error)
            else:
                raise AssertionError(call)
        return "refused"

    # A hub that has been made, but has nothing to do, leaves a script alone.
    eventlet.hubs.get_hub()
    assert tpool.execute(abs, -1) == 1
    assert eventlet.spawn(refuses).wait() == "refused"
    assert refuses() == "refused"  # in the main greenlet, now that the hub runs
    timer = in_thread(lambda: (eventlet.spawn_after(20, print), refuses())[1])  # and in a thread with somebody waiting
    print(timer)

    async def in_async_code():
        try:
            list(green.iter_(Numbers()))
        except RuntimeError as error:
            assert "asyncio hub" in str(error)
            return True

    assert in_thread(lambda: (eventlet.spawn_after(20, print), asyncio.run(in_async_code()))[1])

    # Other threads go their own ways.
    assert in_thread(lambda: asyncio.run(main())) == 5
    assert in_thread(lambda: tpool.execute(abs, -1)) == 1

    def job():
        eventlet.sleep(0)  # on a hub in the worker's thread
        with tpool.Pool(1) as other:
            return tpool.execute(abs, -1) + other.execute(abs, -2)

    assert in_thread(lambda: tpool.execute(job)) == 3
    print("other threads")

    # A fork leaves such a hub alone.
    warnings.simplefilter("ignore", DeprecationWarning)  # of threads, since Python 3.12
    child = os.fork()
    if child == 0:
        try:
            assert asyncio.run(main()) == 5
            print("a fork")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    # The hub of a thread can be another than that of the next one. Its main greenlet is the first to wait here.
    def with_asyncio():
        eventlet.hubs.use_hub("asyncio")
        hub = eventlet.hubs.get_hub()
        begun, seen = real.Event(), []
        eventlet.spawn(lambda: (seen.append(tpool.execute(abs, -6)), begun.set()))
        assert not hub.running
        assert tpool.execute(begun.wait, 20)  # which lets the greenthread go on
        assert green.await_(asyncio.sleep(0, "awaited")) == "awaited"
        hub.abort(wait=True)
        hub.loop.close()
        return seen

    def with_asyncio_awaiting():
        eventlet.hubs.use_hub("asyncio")

        async def spawns():
            return await eventlet.spawn(tpool.execute, abs, -7)

        assert green.await_(spawns()) == 7
        hub = eventlet.hubs.get_hub()
        hub.abort(wait=True)
        hub.loop.close()
        return True

    def beside_another_loop():
        eventlet.hubs.use_hub("asyncio")
        hub = eventlet.hubs.get_hub()

        async def waits():
            try:
                green.await_(asyncio.sleep(0))
            except RuntimeError as error:
                return str(error)

        try:
            return asyncio.run(waits())
        finally:
            hub.loop.close()

    assert in_thread(with_asyncio) == [6]
    assert "synchronous code cannot wait here" in in_thread(beside_another_loop)
    assert in_thread(with_asyncio_awaiting)
    print("use_hub")
"""


def test_another_hub() -> None:
    assert output_of(ANOTHER_HUB, options=("-u",)).splitlines() == [
        "a script",
        "refused",
        "other threads",
        "a fork",
        "use_hub",
    ]


def test_nobody_else_takes_threads_and_locks_from_the_standard_library() -> None:
    # Eventlet patches these; see `tpool_asyncio._pool.native`. Of what is left, nothing waits or differs by thread.
    left = {
        "worker.py": ["import threading"],  # for type checkers
        "hub.py": ["import threading"],  # for type checkers
        "ctrl_c.py": ["import threading"],  # the main thread
        "thread_pool.py": ["from _thread import TIMEOUT_MAX"],
        "engine.py": ["from _thread import TIMEOUT_MAX"],
        "lifetime.py": ["import threading"],  # what is called at the end of the main thread
        "executor_future.py": ["import threading"],  # the events of `concurrent.futures`
        "_anyio.py": ["import threading"],  # the type of a thread-local
        "light_queue.py": ["from queue import Empty, Full"],
    }
    statement = re.compile(r"^ *((?:import|from) (?:threading|_thread|queue)\b.*)", re.MULTILINE)
    for path in sorted((ROOT / "tpool_asyncio").rglob("*.py")):
        if not {"_bench", "_cli"} & set(path.parts) and path.name != "native.py":
            assert statement.findall(path.read_text("utf-8")) == left.get(path.name, []), path
