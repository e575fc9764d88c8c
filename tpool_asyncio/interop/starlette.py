"""Blocking endpoints of Starlette and FastAPI in a pool of this package.

.. code-block:: python

    from fastapi import FastAPI
    from tpool_asyncio.interop.starlette import lifespan

    app = FastAPI(lifespan=lifespan())

Whatever these frameworks run in a thread goes through ``anyio.to_thread.run_sync``: endpoints and dependencies that are
plain functions, both ends of dependencies with ``yield``, background tasks, files that are sent or uploaded, blocking
generators of streaming responses. So does other code that uses anyio.
"""

from tpool_asyncio.interop._anyio_threads import install, lifespan, uninstall, using

__all__ = ["install", "lifespan", "uninstall", "using"]
