"""The frames of all threads, asked for while the garbage collector would strike."""

import gc
import os
import sys
import threading
from types import FrameType

import pytest

from tests.child import output_of
from tpool_asyncio._pool import frames

STRUCK = """
import faulthandler, gc, sys, threading
from tpool_asyncio._pool.frames import current_frames

faulthandler.dump_traceback_later(20, exit=True)

class Node:
    pass

def leave_garbage():
    node = Node()
    node.itself, node.local = node, threading.local()
    node.local.value = 1

gc.set_threshold(100_000)
for beyond in range(1, 12):  # one of these has the collector come when half of the frames are there
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(10)]
    for thread in threads:
        thread.start()
    gc.collect()
    leave_garbage()
    gc.set_threshold(gc.get_count()[0] + beyond)
    found = current_frames()
    gc.set_threshold(100_000)
    assert all(thread.ident in found for thread in threads)
    stop.set()
    for thread in threads:
        thread.join()
    assert gc.isenabled()
print("done")
"""


def test_the_collector_may_come_at_any_moment() -> None:
    assert output_of(STRUCK) == "done\n"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the collector was on each time that frames were asked for, on a Python that can stop."""
    seen: list[bool] = []

    def asked() -> dict[int, FrameType]:
        seen.append(gc.isenabled())
        if len(seen) == 1:
            frames.current_frames()  # as a destructor might
        if len(seen) == 3:
            raise KeyboardInterrupt  # as a signal handler might
        return {}

    monkeypatch.setattr(frames, "_CAN_STOP", True)
    monkeypatch.setattr(sys, "_current_frames", asked)
    return seen


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_off_meanwhile(seen: list[bool], on: bool) -> None:
    if not on:
        gc.disable()
    try:
        frames.current_frames()
        assert gc.isenabled() is on
        with pytest.raises(KeyboardInterrupt):
            frames.current_frames()
        assert gc.isenabled() is on
    finally:
        gc.enable()
    assert seen == [False] * 3


def test_a_python_that_cannot_stop_is_left_alone(seen: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_CAN_STOP", False)
    frames.current_frames()
    assert seen == [True] * 2


FORKED = """
import gc, os, sys, threading
from tpool_asyncio import tpool
from tpool_asyncio._pool import frames

asked, forked = threading.Event(), threading.Event()
current_frames = sys._current_frames

def slowly():
    asked.set()
    assert forked.wait(20)
    return current_frames()

frames._CAN_STOP = True
sys._current_frames = slowly
asking = threading.Thread(target=frames.current_frames)
asking.start()
assert asked.wait(20)
assert not gc.isenabled()
child = os.fork()
sys._current_frames = current_frames
if child == 0:
    assert gc.isenabled()
    assert list(frames.current_frames()) == [threading.get_ident()]
    assert gc.isenabled()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
forked.set()
asking.join()
assert gc.isenabled()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_in_the_middle() -> None:
    assert output_of(FORKED, options=("-W", "ignore:This process:DeprecationWarning")) == "done\n"


def test_where_this_thread_is() -> None:
    frame = frames.current_frames()[threading.get_ident()]
    assert frame.f_code is frames.current_frames.__code__
