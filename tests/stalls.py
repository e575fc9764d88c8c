"""A pytest plugin that holds threads up at random, wherever a function of this package or a test is called or returns.

A test that relies on who is first fails so within minutes, and otherwise on the busiest day of the year:
``pytest -p tests.stalls``. How often is said by ``STALLS`` in the environment, as a share of the calls and returns in
this package; in the tests, where there are fewer, it is ten times that. Each test is held up for `_MOST` seconds in
all threads together, so that those that make very many calls end, too.

``STALLS_AT`` names functions, with commas in between, whose calls and returns are held up each time; ``STALLS=0`` has
nothing else held up.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import tpool_asyncio

_PACKAGE = str(Path(tpool_asyncio.__file__).parent)
_TESTS = str(Path(__file__).parent)
_SHARE = float(os.environ.get("STALLS", "0.003"))
_AT = frozenset(filter(None, os.environ.get("STALLS_AT", "").split(",")))
_SECONDS = (0.001, 0.005, 0.02, 0.05)
_MOST = 3.0

_sleep = time.sleep  # which tests may replace

_held_up = 0.0  # seconds of this test

_dice = random.Random()  # of its own, as hypothesis minds who throws those of the module


def _hold_up(frame: FrameType, event: str, arg: object) -> None:
    global _held_up  # what threads add at the same time may be lost
    if event in ("call", "return") and _held_up < _MOST:
        code = frame.f_code
        path = code.co_filename
        share = _SHARE if path.startswith(_PACKAGE) else 10 * _SHARE if path.startswith(_TESTS) else 0
        named = code.co_name in _AT and path.startswith(_PACKAGE)
        if named or _dice.random() < share:
            seconds = _SECONDS[-1] if named else _dice.choice(_SECONDS)
            _held_up += seconds
            _sleep(seconds)


threading.setprofile(_hold_up)  # for all threads that are started from now on


@pytest.fixture(autouse=True)
def stalls() -> Iterator[None]:
    """Hold up the main thread, too, in tests that have no profiler of their own."""
    global _held_up
    _held_up = 0.0
    sys.setprofile(_hold_up)
    yield
    sys.setprofile(None)
