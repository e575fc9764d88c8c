"""An executor that does nothing by itself, so that a test can put every step where it wants it."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from tests.gate import PATIENCE


class HandExecutor(Executor):
    """Keeps what it is given, until the test starts and finishes it by hand."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], Any], Future[Any]]] = []
        self.arrived = threading.Semaphore(0)
        self.submitting = threading.Event()  # set when `submit` has been entered
        self.open = threading.Event()  # `submit` waits for it
        self.open.set()
        self.error: BaseException | None = None  # what `submit` raises
        self.was_shut_down = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.submitting.set()
        assert self.open.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        future: Future[Any] = Future()
        self.calls.append((fn, future))
        self.arrived.release()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.was_shut_down = True

    def next(self) -> tuple[Callable[[], Any], "Future[Any]"]:
        """Wait for the next call, and return it with its future."""
        assert self.arrived.acquire(timeout=PATIENCE)
        return self.calls.pop(0)

    def start(self) -> tuple[Callable[[], Any], "Future[Any]"]:
        fn, future = self.next()
        assert future.set_running_or_notify_cancel()
        return fn, future

    def run(self) -> None:
        """Run the next call in this thread."""
        fn, future = self.start()
        try:
            future.set_result(fn())
        except BaseException as error:
            future.set_exception(error)


class SilentExecutor(HandExecutor):
    """One that does not tell when it starts a call."""

    tells_no_start = True


class InPlaceExecutor(Executor):
    """One that has the outcome before `submit` returns."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future
