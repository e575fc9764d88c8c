"""The account of all calls: what was asked for, what has run, and what has come back.

A call is told by the batch that it belongs to and its number in it. Its function notes that it has run and returns
both. So a call that is lost, run twice or answered with the outcome of another one is found out when its batch is
closed.
"""

import itertools
import threading
from collections import Counter

__all__ = ["Batch", "Ledger", "WrongError"]


class WrongError(Exception):
    """Something has happened that must not happen."""


class Ledger:
    """What all batches together have come to. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.totals: Counter[str] = Counter()
        self.wrong: list[str] = []

    def batch(self, size: int) -> "Batch":
        """Return the account of so many calls that are about to be made."""
        return Batch(self, next(self._numbers), size)

    def add(self, kind: str, number: int = 1) -> None:
        with self._lock:
            self.totals[kind] += number

    def blame(self, what: str) -> None:
        """Note something wrong where nobody would hear of an error."""
        self.wrong.append(what)


class Batch:
    """Some calls that one thread makes."""

    def __init__(self, ledger: Ledger, key: int, size: int) -> None:
        self._ledger = ledger
        self._key = key
        self._ran = bytearray(size)
        self._state = bytearray(size)  # 1 for answered, 2 for given up
        self._thread = threading.get_ident()

    def work(self, number: int) -> tuple[int, int]:
        """Be the function of a call. In the pool."""
        self._ran[number] += 1
        return self._key, number

    def answered(self, number: int, value: tuple[int, int]) -> None:
        """Note what has come back to who made the call."""
        if threading.get_ident() != self._thread:
            raise WrongError(f"call {number} of batch {self._key} was answered in another thread")
        if value != (self._key, number):
            raise WrongError(f"call {number} of batch {self._key} got {value}")
        if self._state[number]:
            raise WrongError(f"call {number} of batch {self._key} was answered twice")
        self._state[number] = 1

    def given_up(self, number: int) -> None:
        """Note that nobody waits for a call any more. It may have run or not, or run yet."""
        self._state[number] = 2

    def close(self) -> None:
        """Find out whether all is as it should be."""
        answered = given_up = 0
        for number, (ran, state) in enumerate(zip(self._ran, self._state, strict=True)):
            if ran > 1:
                raise WrongError(f"call {number} of batch {self._key} has run {ran} times")
            if state == 0:
                raise WrongError(f"call {number} of batch {self._key} has got no answer")
            if state == 1 and ran == 0:
                raise WrongError(f"call {number} of batch {self._key} was answered before it has run")
            answered += state == 1
            given_up += state == 2
        self._ledger.add("answered", answered)
        self._ledger.add("given up", given_up)
