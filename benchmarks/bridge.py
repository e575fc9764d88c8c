"""What it costs synchronous code to await something, and which of the targets that meets.

``python benchmarks/bridge.py [--rounds N] [--quick] [--json PATH]``

Measured are ``green.run`` and ``green.await_``, SQLAlchemy's ``greenlet_spawn`` and ``await_only``, greenback's portal
and ``await_``, and a plain ``await``, for which no bridge is needed. Awaited are a coroutine that returns at once, a
future that is done and one turn of the loop, many times over in one run; then it is the run that is repeated, of a
function that awaits one coroutine which returns at once.
"""

from side_by_side import main

from tpool_asyncio._bench.bridge import BRIDGES, verdicts

if __name__ == "__main__":
    main("bridge", "Cost of an await in synchronous code.", BRIDGES, verdicts, rounds=40)
