"""Values of which each coroutine has its own, like `threading.local` for threads.

.. code-block:: python

    here = corolocal.local()
    here.request = request         # seen in this green thread or task only
"""

from tpool_asyncio._green.corolocal import local

__all__ = ["local"]
