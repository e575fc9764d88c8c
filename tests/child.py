"""Programs in child processes, for what would end or fork the process of the tests."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path


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


def run_as_reader(script: Path, folder: Path, *options: str) -> str:
    """Run a program of the documentation in a folder, as a reader would; it must end well. Return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, script],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},  # not to be measured
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("Traceback", "Exception", "Warning"):
        assert word not in done.stderr, done.stderr
    return done.stdout
