"""What a blocking call costs synchronous code in green threads and scripts, and which of the targets that meets.

``python benchmarks/green_calls.py [--rounds N] [--loop asyncio|uvloop] [--quick] [--json PATH]``

Measured are ``tpool_asyncio.green.tpool``, ``eventlet.tpool`` and ``gevent.threadpool``, and beside them two ways of
async code. All have 20 threads and call a function that does nothing, one call after another: in 1,000 green threads at
the same time, in one alone, and in a script that has none. Green threads are started before the clock is.
"""

from side_by_side import main

from tpool_asyncio._bench.green_calls import GREEN_CALLS, verdicts

if __name__ == "__main__":
    main("green_calls", "Cost per blocking call of synchronous code.", GREEN_CALLS, verdicts, rounds=15, loops=True)
