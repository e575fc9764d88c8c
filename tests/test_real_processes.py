"""Child processes of `subprocess.Popen` behind a proxy: lines as they come, waiting, time limits, signals."""

import asyncio
import io
import signal
import subprocess
import sys
import textwrap
from functools import partial
from typing import Any

import pytest

from tests.gate import PATIENCE
from tpool_asyncio import green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

ECHO = """
    # One line out for each line in, and not before.
    print("ready", flush=True)
    while (line := input()) != "end":
        print("got " + line, flush=True)
    print("ended", file=sys.stderr)
    sys.exit(3)
"""

SILENT = """
    print("ready", flush=True)
    input()
"""


def command(program: str) -> "partial[subprocess.Popen[str]]":
    """What starts a program with pipes, as text."""
    return partial(
        subprocess.Popen,
        [sys.executable, "-c", "import sys\n" + textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def started(program: str) -> Any:
    return tpool.Proxy.create(command(program), autowrap=io.IOBase)


async def converse(process: Any, lines: Any) -> None:
    """Answer each line of the child, which sends the next one only then: a line that is kept back is the end of it."""
    number = 0
    async with asyncio.timeout(PATIENCE):
        async for line in lines:
            assert line == ("ready\n" if number == 0 else f"got {number}\n")
            number += 1
            await process.stdin.write(f"{number}\n" if number < 50 else "end\n")
    assert number == 50
    assert await process.wait() == process.returncode == 3
    assert await process.stderr.read() == "ended\n"


async def test_lines_are_delivered_at_once() -> None:
    async with started(ECHO) as process:
        assert isinstance(process.stdout, io.TextIOWrapper)
        await converse(process, process.stdout)


async def test_lines_are_delivered_at_once_by_iterate() -> None:
    async with started(ECHO) as process, tpool.iterate(process._obj.stdout) as lines:
        await converse(process, lines)


async def test_the_loop_goes_on_while_a_child_is_waited_for() -> None:
    async with started(SILENT) as process:
        assert await process.stdout.readline() == "ready\n"
        waiting = process.wait()
        reading = process.stdout.read()
        assert await process.poll() is None
        await process.stdin.write("\n")  # without which neither can end
        assert (await waiting, await reading) == (0, "")


async def test_the_context_closes_the_pipes_and_waits() -> None:
    async with started(ECHO) as process:
        await process.stdin.write("end\n")
        assert await process.stderr.read() == "ended\n"
        pipes = (process.stdin, process.stdout, process.stderr)
    assert process.returncode == 3
    assert all(pipe.closed for pipe in pipes)


async def test_communicate_takes_its_own_keywords() -> None:
    async with started("print(sys.stdin.read().upper(), end='')") as process:
        assert await process.communicate(input="some text", timeout=PATIENCE) == ("SOME TEXT", "")
    async with started(SILENT) as process:
        with pytest.raises(subprocess.TimeoutExpired):  # of the method itself
            await process.wait(timeout=0.01)
        assert await process.communicate("\n") == ("ready\n", "")
        assert process.returncode == 0


async def test_a_time_limit_of_the_proxy_leaves_the_child_alone() -> None:
    async with tpool.Proxy.create(command(SILENT), autowrap=io.IOBase, timeout=PATIENCE) as process:
        limited = tpool.Proxy(process, timeout=0.01)
        with pytest.raises(TimeoutError, match="wait"):
            await limited.wait()
        assert await process.poll() is None
        await process.stdin.write("\n")
        assert await process.wait() == 0


async def test_a_child_is_terminated_while_others_wait_for_it() -> None:
    async with started(SILENT) as process:
        assert await process.stdout.readline() == "ready\n"
        waiting = asyncio.gather(process.wait(), process.stdout.read(), process.stderr.read())
        await process.terminate()
        code, out, _ = await waiting
        assert out == ""
        assert code == (1 if sys.platform == "win32" else -signal.SIGTERM)


async def test_several_children_at_once(pool: tpool.Pool) -> None:
    processes = [tpool.Proxy.create(command(ECHO), autowrap=io.IOBase, pool=pool) for _ in range(4)]
    for process in processes:
        await process
        assert await process.stdout.readline() == "ready\n"
    for number, process in enumerate(processes):
        await process.stdin.write(f"{number}\nend\n")
    assert await asyncio.gather(*(process.communicate() for process in processes)) == [
        (f"got {number}\n", "ended\n") for number in range(4)
    ]


async def test_a_program_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        async with tpool.Proxy.create(subprocess.Popen, ["no-such-program"]):
            raise AssertionError("it was started")


async def test_the_module_behind_a_proxy() -> None:
    module = tpool.Proxy(subprocess)
    done = await module.run([sys.executable, "-c", "print(input())"], input="x", capture_output=True, text=True)
    assert done.stdout == "x\n"
    with pytest.raises(module.CalledProcessError) as caught:
        await module.check_output([sys.executable, "-c", "raise SystemExit(5)"])
    assert caught.value.returncode == 5


# The green spelling


def legacy() -> list[str]:
    """What synchronous code does with a child."""
    got = []
    with green_tpool.Proxy(command(ECHO)(), autowrap=io.IOBase) as process:
        for line in process.stdout:
            got.append(line)
            process.stdin.write("x\n" if len(got) < 3 else "end\n")
        assert process.wait() == 3
        got.append(process.stderr.read())
    return got


EXPECTED = ["ready\n", "got x\n", "got x\n", "ended\n"]


async def test_synchronous_code_in_green_threads() -> None:
    assert await green.run(legacy) == EXPECTED


def test_synchronous_code_in_a_script(script: hubs.Hub) -> None:
    threads = [green.spawn(legacy) for _ in range(3)]
    assert [thread.wait() for thread in threads] == [EXPECTED] * 3
