"""Exit and fork, in child processes."""

import os
import subprocess
import sys

import pytest

from tests.child import output_of, run_child

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def test_exit_without_a_call_and_after_one() -> None:
    assert output_of("import tpool_asyncio") == ""
    program = """
    import asyncio
    from tpool_asyncio import tpool
    async def main():
        print(await tpool.execute(int, 7))
    asyncio.run(main())
    """
    assert output_of(program) == "7\n"


def test_calls_that_run_or_wait_at_exit_are_finished() -> None:
    program = """
    import asyncio, sys, time
    from tpool_asyncio import tpool
    async def main():
        pool = tpool.Pool(1)
        for number in range(3):
            pool.execute(lambda n: (time.sleep(0.05), print(n, flush=True)), number)
    asyncio.run(main())
    """
    assert output_of(program) == "0\n1\n2\n"


def test_what_still_runs_after_the_grace_time_is_named_once_and_exit_goes_on() -> None:
    program = """
    import asyncio, threading
    from tpool_asyncio import tpool
    def hopeless():
        threading.Event().wait()
    async def main():
        first, second = tpool.Pool(1, name="first", exit_grace=0.1), tpool.Pool(1, name="second", exit_grace=0)
        first.execute(hopeless)
        second.options(name="also hopeless").execute(hopeless)
        while first.statistics().busy + second.statistics().busy < 2:
            await asyncio.sleep(0)
    asyncio.run(main())
    """
    done = run_child(program)
    assert done.returncode == 0
    assert done.stderr.count("RuntimeWarning") == 1
    assert "2 call(s) still ran when their grace time at exit was over" in done.stderr
    assert "__main__.hopeless in thread first-1" in done.stderr
    assert "also hopeless in thread second-1" in done.stderr
    assert "await killall(), or make them in a Pool(exit_grace=...)" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
def test_ctrl_c_ends_the_grace_time() -> None:
    program = """
    import asyncio, os, signal, threading, time
    from tpool_asyncio import tpool
    main_thread_ended = threading.Event()
    def hopeless():
        main_thread_ended.wait()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait()
    async def main():
        pool, other = tpool.Pool(1, exit_grace=None), tpool.Pool(1, name="other", exit_grace=None)
        pool.execute(hopeless)
        other.execute(threading.Event().wait)
        while not (pool.statistics().busy and other.statistics().busy):
            await asyncio.sleep(0)
    asyncio.run(main())
    main_thread_ended.set()
    """
    done = run_child(program)
    assert done.returncode == 0
    assert "__main__.hopeless in thread tpool-1" in done.stderr
    assert "in thread other-1" in done.stderr  # which is not waited for either
    assert "KeyboardInterrupt" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "words"), [("SystemExit(3)", ""), ("ValueError('of the handler')", "of the handler")]
)
def test_what_a_signal_handler_raises_ends_the_grace_time_of_all_pools(raised: str, words: str) -> None:
    program = f"""
    import asyncio, os, signal, threading
    from tpool_asyncio import tpool
    from tpool_asyncio._pool import lifetime
    from tpool_asyncio._pool.native import allocate_lock
    class Bell:
        def __init__(self):
            self.lock = allocate_lock()
            self.release, self.locked = self.lock.release, self.lock.locked
        def acquire(self, *limit):
            if limit == (True, -1):
                os.kill(os.getpid(), signal.SIGTERM)
            return self.lock.acquire(*limit)
    def handler(*_):
        raise {raised}
    async def main():
        first, second = tpool.Pool(1, name="first", exit_grace=None), tpool.Pool(1, name="second", exit_grace=1000)
        first.execute(threading.Event().wait)
        second.execute(threading.Event().wait)
        while first.statistics().busy + second.statistics().busy < 2:
            await asyncio.sleep(0)
    asyncio.run(main())
    signal.signal(signal.SIGTERM, handler)
    lifetime.allocate_lock = Bell
    """
    done = run_child(program)
    assert "2 call(s) still ran when their grace time at exit was over" in done.stderr
    assert "SystemExit" not in done.stderr
    assert words in done.stderr


def test_no_grace_limit_waits_for_the_call() -> None:
    program = """
    import asyncio, time
    from tpool_asyncio import tpool
    async def main():
        pool = tpool.Pool(1, exit_grace=None)
        pool.execute(lambda: (time.sleep(0.3), print("finished", flush=True)))
    asyncio.run(main())
    """
    assert output_of(program) == "finished\n"


def test_calls_after_exit_has_begun_are_refused() -> None:
    program = """
    import asyncio, atexit
    def late():
        async def main():
            try:
                tpool.execute(int)
            except RuntimeError as error:
                print(error)
        asyncio.run(main())
    atexit.register(late)
    from tpool_asyncio import tpool
    async def main():
        await tpool.execute(int)
    asyncio.run(main())
    """
    assert output_of(program).startswith("the interpreter is exiting, so no further calls are taken; make the call ")


def test_a_non_daemon_thread_uses_the_pool_after_the_main_thread_has_ended() -> None:
    program = """
    import asyncio, threading, time
    from tpool_asyncio import tpool
    async def main():
        for _ in range(3):
            await tpool.execute(time.sleep, 0.02)
        print("done", flush=True)
    tpool.setup()  # Python 3.12.0 and 3.12.1 start no threads any more once the main thread has ended
    threading.Thread(target=lambda: asyncio.run(main())).start()
    """
    assert output_of(program) == "done\n"


def test_sys_exit_in_a_call_reaches_the_caller() -> None:
    program = """
    import asyncio, sys
    from tpool_asyncio import tpool
    async def main():
        await tpool.execute(sys.exit, 3)
    asyncio.run(main())
    """
    done = run_child(program)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
def test_ctrl_c_ends_a_program_that_waits() -> None:
    program = """
    import asyncio, os, signal, threading
    from tpool_asyncio import tpool
    opened = threading.Event()
    def job():
        os.kill(os.getpid(), signal.SIGINT)
        opened.wait()
    async def main():
        try:
            await tpool.execute(job)
        finally:
            opened.set()
    asyncio.run(main())
    """
    done = run_child(program)
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode != 0


@needs_fork
def test_fork_after_use_works_on_both_sides() -> None:
    program = """
    import asyncio, os
    from tpool_asyncio import tpool
    async def main(who):
        values = await asyncio.gather(*(tpool.execute(pow, 2, n) for n in range(4)))
        print(who, values, flush=True)
    asyncio.run(main("before"))
    child = os.fork()
    if child == 0:
        assert tpool.statistics()[1:] == (0,) * 11, tpool.statistics()
        asyncio.run(main("child"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(main("parent"))
    assert tpool.statistics().completed == 8
    """
    values = "[1, 2, 4, 8]"
    options = ("-W", "ignore::DeprecationWarning")
    assert output_of(program, options=options).splitlines() == [
        f"before {values}",
        f"child {values}",
        f"parent {values}",
    ]


@needs_fork
def test_fork_with_calls_running_and_queued_leaves_them_to_the_parent() -> None:
    program = """
    import asyncio, os, threading
    from tpool_asyncio import tpool
    opened = threading.Event()
    async def main():
        pool = tpool.Pool(1)
        running = pool.execute(opened.wait)
        queued = [pool.execute(print, n, flush=True) for n in range(3)]
        while not pool.statistics().busy:
            await asyncio.sleep(0)
        child = os.fork()
        if child == 0:
            assert pool.statistics()[1:] == (0,) * 11, pool.statistics()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        opened.set()
        await asyncio.gather(running, *queued)
        await pool.killall()
    asyncio.run(main())
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")) == "0\n1\n2\n"


@needs_fork
def test_fork_while_another_thread_has_the_lock_and_a_destructor_wants_it() -> None:
    program = """
    import os, signal
    os.register_at_fork(after_in_child=lambda: signal.alarm(20))
    import asyncio, threading
    from tpool_asyncio import tpool
    parent = os.getpid()
    opened, held, let_go = threading.Event(), threading.Event(), threading.Event()
    class Asks:
        def __del__(self):
            counts = pool.statistics().queued, other.statistics().queued
            if os.getpid() != parent:
                print("asked", counts, flush=True)
    def hold():
        with pool._core.lock, other._core.lock:
            held.set()
            let_go.wait()
    pool, other = tpool.Pool(1), tpool.Pool(1)
    async def main():
        calls = [each.execute(opened.wait) for each in (pool, other)]
        while not (pool.statistics().busy and other.statistics().busy):
            await asyncio.sleep(0)
        for each in (pool, other):
            each.execute(id, Asks())  # held by nothing but the queue
        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        child = os.fork()
        if child == 0:
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        let_go.set()
        holder.join()
        opened.set()
        await asyncio.gather(*calls)
        print("child", status, flush=True)
        await pool.killall()
        await other.killall()
        os._exit(0)
    asyncio.run(main())
    """
    lines = output_of(program, options=("-W", "ignore::DeprecationWarning")).splitlines()
    assert lines == ["asked (0, 0)", "asked (0, 0)", "child 0"]


@needs_fork
def test_fork_with_a_detached_crew_runs_nothing_twice() -> None:
    program = """
    import asyncio, os, threading
    from tpool_asyncio import tpool
    detached = threading.Event()
    def job():
        detached.wait()
        child = os.fork()
        if child:  # else this worker goes on in the child, and finds what is queued there
            os.waitpid(child, 0)
    async def main():
        pool = tpool.Pool(1)
        running = pool.execute(job)
        queued = pool.execute(print, "once", flush=True)
        try:
            await pool.killall(0)
        except tpool.StillRunningError:
            detached.set()
        await asyncio.gather(running, queued)
    asyncio.run(main())
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")) == "once\n"


def test_an_endless_grace_time_is_no_error() -> None:
    program = """
    import asyncio, math, time
    from tpool_asyncio import tpool
    async def main():
        tpool.Pool(1, exit_grace=math.inf).execute(lambda: (time.sleep(0.1), print("finished", flush=True)))
    asyncio.run(main())
    """
    assert output_of(program) == "finished\n"


@needs_fork
def test_fork_inside_a_call() -> None:
    program = """
    import asyncio, os
    from tpool_asyncio import tpool
    def job():
        child = os.fork()
        if child == 0:
            loop.call_soon_threadsafe = lambda *_: print("the loop of the parent is woken", flush=True)
            async def main():
                print("child", await tpool.execute(int, 1), flush=True)
            asyncio.run(main())
            return None  # must not reach the loop of the parent
        assert os.waitpid(child, 0)[1] == 0
        return "parent"
    async def main():
        global loop
        loop = asyncio.get_running_loop()
        print(await tpool.execute(job), await tpool.execute(int, 2))
    asyncio.run(main())
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")) == "child 1\nparent 2\n"


@needs_fork
def test_a_forked_child_exits_by_itself_while_the_parent_is_busy() -> None:
    program = """
    import asyncio, os, sys, threading
    from tpool_asyncio import tpool
    opened = threading.Event()
    async def main():
        call = tpool.execute(opened.wait)
        while not tpool.statistics().busy:
            await asyncio.sleep(0)
        return call
    asyncio.run(main())
    child = os.fork()
    if child == 0:
        sys.exit(0)  # runs the exit hook: nothing of the parent's is waited for
    assert os.waitpid(child, 0)[1] == 0
    opened.set()
    print("end")
    """
    assert output_of(program, options=("-W", "ignore::DeprecationWarning")) == "end\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@needs_fork
def test_multiprocessing(method: str, tmp_path: os.PathLike[str]) -> None:
    script = os.path.join(tmp_path, "program.py")
    with open(script, "w") as file:
        file.write(
            "import asyncio, multiprocessing\n"
            "from tpool_asyncio import tpool\n"
            "async def main(n):\n"
            "    return await tpool.execute(pow, 2, n)\n"
            "def job(n):\n"
            "    return asyncio.run(main(n))\n"
            "if __name__ == '__main__':\n"
            "    assert job(3) == 8\n"
            f"    with multiprocessing.get_context({method!r}).Pool(2) as processes:\n"
            "        print(processes.map(job, range(5)))\n"
        )
    program = f"import runpy; runpy.run_path({script!r}, run_name='__main__')"
    if method != "fork":
        # The other methods import the main module, which has to be a file.
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=40, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 2, 4, 8, 16]\n", "")
    else:
        assert output_of(program, options=("-W", "ignore::DeprecationWarning")) == "[1, 2, 4, 8, 16]\n"


def test_a_call_at_import_time_whose_function_imports_the_same_module(tmp_path: os.PathLike[str]) -> None:
    with open(os.path.join(tmp_path, "calls_at_import.py"), "w") as file:
        file.write(
            "import asyncio\n"
            "from tpool_asyncio import tpool\n"
            "def job():\n"
            "    import calls_at_import\n"
            "    return calls_at_import.__name__\n"
            "async def main():\n"
            "    return await tpool.execute(job)\n"
        )
    program = "import asyncio, calls_at_import; print(asyncio.run(calls_at_import.main()))"
    assert output_of(program, env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}) == "calls_at_import\n"
