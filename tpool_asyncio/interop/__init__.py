"""Other libraries that this package works with, one module for each.

Nothing in the package imports them, but two places know some of them by name: threads that start greet libraries that
are there already (`tpool_asyncio._pool.neighbours`), and synchronous code that has to wait in a greenlet of somebody
else's looks for who that is (`tpool_asyncio._green.hosts`).
"""
