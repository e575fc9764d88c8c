"""Other libraries that this package works with, one module for each.

Nothing in the package imports them, but three places know some of them by name: threads of a pool look for libraries
that are there (`tpool_asyncio._pool.neighbours`), calls that are waited for although they have been cancelled look for
anyio (`tpool_asyncio._loop.option_call`), and synchronous code that has to wait in a greenlet of somebody else's looks
for who that is (`tpool_asyncio._green.hosts`).
"""

__all__: list[str] = []
