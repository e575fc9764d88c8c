"""Eventlet: its greenthreads wait for the pool and for async code, and our pool takes the place of `eventlet.tpool`.

.. code-block:: python

    from tpool_asyncio.interop import eventlet as interop

    interop.install()             # from now on, eventlet.tpool.execute and eventlet.tpool.Proxy are ours

Greenthreads need nothing of this: on Eventlet's asyncio hub they wait for the pool and for async code as soon as they
use `tpool_asyncio.green`.
"""

from tpool_asyncio.interop._eventlet_tpool import install, uninstall

__all__ = ["install", "uninstall"]
