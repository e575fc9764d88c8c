"""Programs in child processes, for what would end or fork the process of the tests."""

import os
import subprocess
import sys
import textwrap


def run_child(
    program: str, *, env: dict[str, str] | None = None, options: tuple[str, ...] = (), timeout: float = 40.0
) -> "subprocess.CompletedProcess[str]":
    """Run a program with the interpreter of the tests and return what became of it; fail if it hangs."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("EVENTLET")}
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        env=environment | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output_of(program: str, *, env: dict[str, str] | None = None, options: tuple[str, ...] = ()) -> str:
    """Run a program that must succeed without a word on stderr; return what it printed."""
    done = run_child(program, env=env, options=("-W", "error", *options))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
