"""From a thread of the pool back to the loop that made the call.

.. code-block:: python

    def import_rows(path):                         # runs in a thread: await tpool.execute(import_rows, path)
        for row in read_rows(path):
            from_thread.check_cancelled()          # stop when nobody waits any more
            from_thread.run(queue.put, row)        # await queue.put(row), in the loop
"""

from tpool_asyncio._loop.feed import iterate
from tpool_asyncio._loop.from_thread import check_cancelled, run, run_sync

__all__ = ["check_cancelled", "iterate", "run", "run_sync"]
