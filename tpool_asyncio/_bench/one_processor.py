"""Keeps a process, and those it starts, to one processor.

Whether a woken thread runs on the processor of the one that woke it or on another one can make tens of microseconds,
and the system decides it anew from one moment to the next. With one processor there is nothing to decide: what a call
costs is then less than it may be elsewhere, but small differences between two calls can be seen.
"""

import os
import sys

__all__ = ["keep_to_one_processor"]


def keep_to_one_processor() -> bool:
    """Keep this thread to one processor, and so all threads and processes that it starts; return whether that works.

    It has to be called before there are other threads. Only Linux can do it.
    """
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        return True
    else:
        return False
