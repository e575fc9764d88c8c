"""The end of the process, forks and Ctrl-C, with green threads alive. Each case in a child process."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.child import output_of, run_child

LOOPS = ["asyncio", "uvloop"]

FORKS = """
import os, sys, threading
from tpool_asyncio import green, hubs
from tpool_asyncio.green import tpool
hubs.use_hub(LOOP)

def forever():
    try:
        green.await_(hubs.get_hub().loop.create_future())
    finally:
        print("ended in", "parent" if os.getpid() == parent else "child", flush=True)

def in_child(fork):
    pid = fork()
    if pid == 0:
        try:
            assert not hubs.get_hub().green_threads
            assert tpool.execute(int, "1") == 1
            green.sleep(0)
            assert [green.spawn(tpool.execute, int, n).wait() for n in "23"] == [2, 3]
            with green.Timeout(0.001, False):
                green.sleep(60)
            assert tpool.execute(int, "4") == 4
            print("child works", flush=True)
        except BaseException as error:
            print("child fails:", repr(error), flush=True)
        finally:
            os._exit(0)
    tpool.execute(os.waitpid, pid, 0)
    assert tpool.execute(int, "5") == 5
    green.sleep(0)
    return "parent works"

parent = os.getpid()
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "place",
    [
        "print(in_child(os.fork))",
        "print(green.spawn(in_child, os.fork).wait())",
        "import asyncio; print(asyncio.run(green.run(in_child, os.fork)))",
        "print(green.spawn(lambda: [tpool.execute(int), tpool.execute(int), in_child(os.fork)][2]).wait())",
    ],
    ids=["script", "green thread", "asyncio.run", "after calls"],
)
def test_a_fork_with_green_threads_alive(place: str, loop: str) -> None:
    program = (
        FORKS.replace("LOOP", repr(loop))
        + textwrap.dedent(
            """
            waiting = green.spawn(forever)
            green.sleep(0)
            """
        )
        + place
        + textwrap.dedent(
            """
            assert not waiting.dead
            waiting.kill()
            """
        )
    )
    # Of forking with threads alive, since Python 3.12; and of a script's green threads that stand still meanwhile.
    options = ("-W", "ignore::DeprecationWarning", "-W", "ignore::RuntimeWarning")
    done = run_child(program, options=options)
    assert (done.stdout, done.stderr) == ("child works\nparent works\nended in parent\n", "")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_fork_in_one_thread_leaves_the_hubs_of_others_to_the_parent(loop: str) -> None:
    program = FORKS.replace("LOOP", repr(loop)) + textwrap.dedent(
        """
        forked = threading.Event()

        def other():
            hubs.use_hub(LOOP)
            green.spawn(forever)
            green.sleep(0)
            ready.set()
            tpool.execute(forked.wait, 20)
            green.sleep(0)
            print("the other thread goes on", flush=True)

        ready = threading.Event()
        thread = threading.Thread(target=other)
        thread.start()
        ready.wait(20)
        pid = os.fork()
        if pid == 0:
            assert tpool.execute(int, "1") == 1
            import gc
            gc.collect()
            sys.exit(0)
        os.waitpid(pid, 0)
        forked.set()
        thread.join(20)
        """
    ).replace("LOOP", repr(loop))
    done = run_child(program, options=("-W", "ignore::DeprecationWarning"))
    assert (done.stdout, done.stderr) == ("the other thread goes on\nended in parent\n", "")


def test_the_end_of_the_program_ends_green_threads() -> None:
    program = """
    from tpool_asyncio import green
    from tpool_asyncio.green import tpool

    def inside():
        try:
            green.sleep(60)
        finally:
            green.sleep(0)
            print(tpool.execute(str, "finally"))

    tpool.execute(int)  # CPython 3.12.0 and 3.12.1 start no thread after the end of the main thread
    green.spawn(inside)
    green.spawn_n(inside)
    green.spawn_after(60, print, "never")
    green.sleep(0)
    print("end of the script")
    """
    assert output_of(program) == "end of the script\nfinally\nfinally\n"


def test_the_end_of_the_program_gives_up_those_that_ignore_it() -> None:
    program = """
    from tpool_asyncio import green, hubs

    def ignores():
        while True:
            try:
                green.sleep(60)
            except BaseException:
                pass

    green.spawn(ignores)
    green.sleep(0)
    hubs.get_hub().grace = 0.05
    """
    done = run_child(program)
    assert done.returncode == 0
    assert "1 green thread(s) did not end when they were told to, and are given up: ignores" in done.stderr
    assert "Traceback" not in done.stderr


def test_sys_exit_in_a_green_thread_ends_the_program() -> None:
    program = """
    import sys
    from tpool_asyncio import green

    def other():
        try:
            green.sleep(60)
        finally:
            print("other ends")

    green.spawn(other)
    green.spawn(sys.exit, 3)
    green.sleep(60)
    """
    done = run_child(program)
    assert (done.returncode, done.stdout, done.stderr) == (3, "other ends\n", "")


def test_a_script_that_is_not_started_leaves_no_loop_behind() -> None:
    program = """
    from tpool_asyncio.green import tpool
    from tpool_asyncio import hubs
    print(tpool.execute(str, "works"), hubs.get_hub())
    """
    assert output_of(program) == "works <Hub of 'MainThread', not started, 0 green thread(s)>\n"


def interrupted(program: str, *, times: int = 1) -> "tuple[int, str, str]":
    """Run a program, send it Ctrl-C when it has said that it is ready, and return what became of it."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("EVENTLET")},
    )
    assert child.stdout is not None
    with child:
        for _ in range(times):
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=40)
    return child.returncode, out, err


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "wait", ["tpool.execute(time.sleep, 60)", "green.sleep(60)", "green.spawn(green.sleep, 60).wait()"]
)
@pytest.mark.parametrize("started", [True, False])
def test_ctrl_c_in_a_script_that_waits(wait: str, loop: str, started: bool) -> None:
    program = f"""
    import signal, threading, time
    from tpool_asyncio import green, hubs
    from tpool_asyncio.green import tpool
    hubs.use_hub({loop!r})
    if {started}:
        hubs.get_hub().loop

    def other():
        try:
            green.sleep(60)
        finally:
            print("other ends")

    if {started}:
        green.spawn(other)
    def other_thread():
        return green.spawn(green.sleep, 60)

    tpool.default_pool()._pool._core.exit_grace = 0
    threading.Timer(0.2, print, ("ready",), dict(flush=True)).start()
    try:
        {wait}
    except KeyboardInterrupt:
        print("interrupted")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    print(green.spawn(tpool.execute, str, "goes on").wait())
    """
    code, out, err = interrupted(program)
    assert (code, out) == (0, "interrupted\ngoes on\n" + ("other ends\n" if started else "")), err
    assert "Traceback" not in err


def test_a_second_ctrl_c_ends_what_never_gives_way() -> None:
    program = """
    import time
    from tpool_asyncio import green

    def hogs():
        print("ready", flush=True)
        end = time.monotonic() + 1
        while time.monotonic() < end:  # the first is noted
            pass
        print("ready", flush=True)
        while True:
            pass

    try:
        green.spawn(hogs).wait()
    except KeyboardInterrupt:
        print("interrupted")
    """
    code, out, _ = interrupted(program, times=2)
    assert (code, out) == (0, "interrupted\n")


def test_ctrl_c_under_asyncio_run_cancels_green_threads() -> None:
    program = """
    import asyncio
    from tpool_asyncio import green
    from tpool_asyncio.green import tpool

    def inside():
        print("ready", flush=True)
        try:
            green.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", tpool.execute(str, "and goes on"))
            raise

    try:
        asyncio.run(green.run(inside))
    except KeyboardInterrupt:
        print("interrupted")
    """
    code, out, err = interrupted(program)
    assert (code, out, err) == (0, "cancelled and goes on\ninterrupted\n", "")


def test_many_threads_with_hubs_leave_nothing_behind() -> None:
    program = """
    import gc, os, threading
    from tpool_asyncio import green
    from tpool_asyncio.green import tpool

    def work():
        def waits():
            try:
                green.sleep(60)
            finally:
                ended.append(tpool.execute(int))
        green.spawn(waits)
        green.sleep(0)

    def descriptors():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    ended = []
    tpool.set_num_threads(1)
    for count in range(60):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if count == 5:
            before = descriptors()
    print(len(ended), descriptors() == before)
    """
    assert output_of(program) == "60 True\n"


def test_greenlet_is_needed_for_the_green_spelling_only() -> None:
    program = """
    import sys
    import tpool_asyncio
    print("greenlet" in sys.modules)
    import tpool_asyncio.hubs
    print("greenlet" in sys.modules, "uvloop" in sys.modules, "anyio" in sys.modules)
    """
    assert output_of(program) == "False\nTrue False False\n"


@pytest.mark.parametrize(
    "wait", ["green.Event().wait()", "tpool.execute(time.sleep, 1)", "other.wait()", "green.sleep(60)"]
)
def test_the_end_of_a_program_that_leaves_while_it_waits(wait: str) -> None:
    program = f"""
    import time
    from tpool_asyncio import green
    from tpool_asyncio.green import tpool

    def leaves():
        raise SystemExit(7)

    def waits():
        try:
            green.sleep(60)
        finally:
            green.sleep(0.01)
            print("cleaned up")

    tpool.default_pool()._pool._core.exit_grace = 0
    other = green.spawn(waits)
    green.spawn_after(0.05, leaves)
    {wait}
    """
    done = run_child(program)
    assert (done.returncode, done.stdout) == (7, "cleaned up\n")
    assert "Traceback" not in done.stderr
    assert "could not be closed" not in done.stderr


@pytest.mark.parametrize(
    "body", ["green.sleep(60)", "green.spawn(green.sleep, 60).wait()", "asyncio.run(green.run(green.sleep, 60))"]
)
def test_a_daemon_thread_with_a_hub_does_not_disturb_the_exit(body: str) -> None:
    program = f"""
    import asyncio, threading, time
    from tpool_asyncio import green

    def main():
        {body}

    threading.Thread(target=main, daemon=True).start()
    time.sleep(0.1)
    """
    done = run_child(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
