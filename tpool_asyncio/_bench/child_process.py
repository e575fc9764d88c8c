"""The parent's handle on a process that measures one contestant."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tpool_asyncio
from tpool_asyncio._bench.figures import Sample
from tpool_asyncio._bench.workloads import Workload

__all__ = ["BenchError", "ChildProcess", "MissingError", "environment"]

PATIENCE = 120.0
"""Seconds after which a child that has not answered ends itself, so that a contestant that hangs stops nobody else."""


class BenchError(Exception):
    """A contestant cannot be measured. The message says which, and why."""


class MissingError(BenchError):
    """A contestant's package is not installed."""


def environment(root: Path | None = None) -> dict[str, str]:
    """Return the environment in which a child finds the package of this folder, or the very one that is running."""
    root = root or Path(tpool_asyncio.__file__).parent.parent
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{others}" if others else str(root)}


class ChildProcess:
    """A process that is kept alive between rounds, so that its threads are warm."""

    def __init__(
        self,
        name: str,
        loop: str,
        program: str = "tpool_asyncio._bench.child",
        arguments: Sequence[str] = (),
        patience: float | None = None,
        root: Path | None = None,
    ) -> None:
        self.name = name
        patience = PATIENCE if patience is None else patience
        self._process = subprocess.Popen(
            # Without -P the child would import what lies about in the folder where the user happens to be.
            [sys.executable, "-P", "-m", program, name, loop, str(patience), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(root),
        )
        try:
            greeting = self._listen()
            if "missing" in greeting:
                raise MissingError(greeting["missing"])
        except BaseException:
            self.close()
            raise

    def measure(self, workload: Workload, reps: int) -> Sample:
        """Have it do a workload ``reps`` times.

        Raises:
            BenchError: The process has ended or does not answer.
        """
        answer = self.ask(f"{workload.name} {reps}")
        return Sample(answer.pop("wall_us"), answer.pop("cpu_us"), answer)

    def ask(self, line: str) -> dict[str, Any]:
        """Say one line to it, and return what it answers.

        Raises:
            BenchError: The process has ended or does not answer.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and what it does not answer says so
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        return self._listen()

    def _listen(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise BenchError(f"the process that measures {self.name} ended with exit code {code}; see its own message")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """End the process; it has a few seconds to do so by itself."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
