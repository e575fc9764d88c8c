"""Watches how long a service takes to answer requests that do not block, whatever else it does."""

import http.client
import threading
import time
from types import TracebackType
from typing import Self

from tpool_asyncio._bench.web_load import check

__all__ = ["PAUSE", "Watch", "quantile"]

PAUSE = 0.005
"""Seconds between an answer and the next request."""


class Watch:
    """Makes one request after another, in a thread, as long as it is open; then `seconds` has what each took.

    With a number, it makes that many, and `wait` waits for them.
    """

    def __init__(self, port: int, number: int | None = None) -> None:
        self._number = number
        self.seconds: list[float] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def once(self, number: int) -> None:
        """Make one request."""
        begun = time.perf_counter()
        self._connection.request("GET", f"/now/{number}")
        body = self._connection.getresponse().read()
        self.seconds.append(time.perf_counter() - begun)
        check(body, number)

    def _run(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                self.once(number)
                if self._over.wait(PAUSE) or number == self._number:
                    return
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Wait until all requests have been made."""
        self._thread.join()

    def __enter__(self) -> Self:
        self._connection.connect()
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._connection.close()
        error, self._error = self._error, None
        if error is not None and exc is None:
            raise error


def quantile(values: list[float], share: float) -> float:
    """Return the value below which this share of them is, from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
