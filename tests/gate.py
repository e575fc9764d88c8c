"""Blocking functions that tests start, watch and let go, so that no test has to wait for time to pass."""

import threading

PATIENCE = 20.0
"""Seconds after which a test that waits is taken to hang."""


class Gate:
    """A function that blocks its thread until it is opened, and that tells when it has begun."""

    def __init__(self) -> None:
        self._begun = threading.Semaphore(0)
        self._open = threading.Event()
        self.calls = 0

    def __call__(self, value: object = None) -> object:
        """Block until the gate is opened; return the argument."""
        self.calls += 1
        self._begun.release()
        assert self._open.wait(PATIENCE), "the gate was never opened"
        return value

    def wait_begun(self, times: int = 1) -> None:
        """Wait, blocking, until the function has begun once more, or so many times more."""
        for _ in range(times):
            assert self._begun.acquire(timeout=PATIENCE), "the call never began"

    def open(self) -> None:
        """Let all calls of the function end, now and later."""
        self._open.set()
