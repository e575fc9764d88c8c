"""Does one kind in this process: ``python -m tpool_asyncio._bench.memory KIND LOOP NUMBER``.

It prints one line of JSON, with what was seen and what has grown.
"""

import asyncio
import json
import sys
import threading
import time
from importlib import import_module
from typing import Any

from tpool_asyncio import tpool
from tpool_asyncio._bench.memory.growth import grown, growth, repeat
from tpool_asyncio._bench.memory.kinds import load_kinds

__all__ = ["main"]

SIZE = 4
"""Of the default pool."""


def main(name: str, loop: str, number: str) -> None:
    """Be the program."""
    new_loop: Any = import_module(loop).new_event_loop
    asyncio.Runner(loop_factory=new_loop).close()  # libuv keeps two file descriptors for good
    tpool.set_num_threads(SIZE)
    most = threading.active_count() + SIZE
    begun = time.monotonic()
    with load_kinds()[name].begin(new_loop) as body:
        looks = repeat(body, int(number), most)
    answer = {
        "looks": [each.as_dict() for each in looks],
        "growth": growth(looks),
        "grown": grown(looks, most),
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
