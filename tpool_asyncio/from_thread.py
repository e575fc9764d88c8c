"""From a thread of the pool back to the loop that made the call, and from other threads with a `Token`.

.. code-block:: python

    def import_rows(path):                         # runs in a thread: await tpool.execute(import_rows, path)
        for row in read_rows(path):
            from_thread.check_cancelled()          # stop when nobody waits any more
            from_thread.run(queue.put, row)        # await queue.put(row), in the loop

A thread that is not of a pool is given a token, in the loop or inside a call:

.. code-block:: python

    token = tpool.current_token()
    threading.Thread(target=token.bind(import_rows), args=(path,)).start()
"""

from tpool_asyncio._loop.feed import iterate
from tpool_asyncio._loop.from_thread import check_cancelled, run, run_sync
from tpool_asyncio._loop.token import Token, current_token

__all__ = ["Token", "check_cancelled", "current_token", "iterate", "run", "run_sync"]
