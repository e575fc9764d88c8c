"""A pytest plugin that holds threads up at random, wherever this package calls a function: ``pytest -p tests.stalls``.

A test that relies on who is first fails so within minutes, and otherwise on the busiest day of the year. How often is
said by ``STALLS`` in the environment, as a share of calls and returns.
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
_SHARE = float(os.environ.get("STALLS", "0.003"))
_SECONDS = (0.001, 0.005, 0.02, 0.05)

_sleep = time.sleep  # which tests may replace


def _hold_up(frame: FrameType, event: str, arg: object) -> None:
    if event in ("call", "return") and frame.f_code.co_filename.startswith(_PACKAGE) and random.random() < _SHARE:
        _sleep(random.choice(_SECONDS))


threading.setprofile(_hold_up)  # for all threads that are started from now on


@pytest.fixture(autouse=True)
def stalls() -> Iterator[None]:
    """Hold up the main thread, too, in tests that have no profiler of their own."""
    sys.setprofile(_hold_up)
    yield
    sys.setprofile(None)
