"""Connections to a SQLite database, through each package that lets async code use one.

A package is imported when one asks for its way to connect, and not before. What connects takes the path of the database
and is an async context manager, which closes the connection at the end.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.contestants import THREADS

__all__ = ["Connect", "aiosqlite", "bare", "pinned", "proxied"]

Connect = Callable[[str], AbstractAsyncContextManager[Any]]


def proxied() -> Connect:
    """Proxies whose calls run on whatever thread of the pool is free.

    A connection is not to be used by several tasks at once: the `sqlite3` of CPython 3.12 and 3.13 crashes if several
    threads do so.
    """
    from tpool_asyncio import tpool

    tpool.set_num_threads(THREADS)

    @asynccontextmanager
    async def connect(path: str) -> AsyncIterator[Any]:
        connection = sqlite3.connect(path, check_same_thread=False)
        db: Any = tpool.Proxy(connection, autowrap=sqlite3.Cursor)
        try:
            yield db
        finally:
            await db.close()

    return connect


def pinned() -> Connect:
    """Proxies that have a thread each, on which the connection is made, too."""
    from tpool_asyncio import tpool

    tpool.set_num_threads(THREADS)

    @asynccontextmanager
    async def connect(path: str) -> AsyncIterator[Any]:
        db: Any = await tpool.Proxy.create(sqlite3.connect, path, pin=True, autowrap=sqlite3.Cursor)
        try:
            yield db
        finally:
            await db.close()

    return connect


def bare() -> Connect:
    """Connections without a proxy, which may be used from all threads."""

    @asynccontextmanager
    async def connect(path: str) -> AsyncIterator[Any]:
        with closing(sqlite3.connect(path, check_same_thread=False)) as db:
            yield db

    return connect


def aiosqlite() -> Connect:
    """Connections of aiosqlite, each of which has a thread."""
    connect: Connect = import_module("aiosqlite").connect
    return connect
