"""What a type checker must infer of the public signatures; checked by mypy, never run."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import assert_type

import tpool_asyncio
from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool


def blocking(path: str, *, size: int = 0) -> bytes:
    return path.encode() * size


async def coroutine(number: int) -> str:
    return str(number)


async def calls(pool: tpool.Pool) -> None:
    assert_type(tpool.execute(blocking, "path", size=3), asyncio.Future[bytes])
    assert_type(await tpool.execute(blocking, "path"), bytes)
    assert_type(await pool.execute(len, "abc"), int)
    assert_type(await tpool.options(timeout=1).execute(blocking, "path"), bytes)
    assert_type(await asyncio.gather(tpool.execute(int), tpool.execute(str)), tuple[int, str])
    assert_type(tpool.statistics().queued, int)
    assert_type(tpool.default_pool(), tpool.Pool)
    async with tpool.Pool(3) as own:
        assert_type(own, tpool.Pool)
    tpool.execute(blocking, 3)  # type: ignore[arg-type]
    tpool.execute(blocking, "path", length=3)  # type: ignore[call-arg]
    tpool.options(timeuot=3)  # type: ignore[call-arg]
    tpool.options(on_cancel="ignore")  # type: ignore[arg-type]


async def proxies(path: str) -> None:
    assert_type(tpool.Proxy.create(open, path, pin=True), tpool.Proxy)
    assert_type(green_tpool.Proxy.create(open, path), green_tpool.Proxy)
    async with tpool.closing(tpool.Proxy.create(open, path)) as file:
        assert_type(file, tpool.Proxy)
    tpool.Proxy.create(open, path, encoding="utf-8")  # type: ignore[arg-type]
    tpool.Proxy(path, on_cancel="ignore")  # type: ignore[arg-type]


def executors(pool: tpool.Pool, green_pool: green_tpool.Pool) -> None:
    with tpool.executor(pool) as executor:
        assert_type(executor.submit(blocking, "path", size=3), Future[bytes])
        assert_type(executor.submit(len, "abc").result(), int)
        executor.submit(blocking, 3)  # type: ignore[arg-type]
    assert_type(tpool.executor(green_pool), tpool.Executor)
    assert_type(green_tpool.executor(pool), green_tpool.Executor)
    tpool.executor(3)  # type: ignore[arg-type]
    assert_type(tpool_asyncio.new_event_loop(), asyncio.AbstractEventLoop)
    assert_type(tpool_asyncio.new_event_loop(asyncio.SelectorEventLoop), asyncio.AbstractEventLoop)


def inside_a_worker() -> None:
    assert_type(from_thread.run(coroutine, 3), str)
    assert_type(from_thread.run_sync(blocking, "path"), bytes)
    from_thread.run(coroutine, "3")  # type: ignore[arg-type]
    from_thread.run(blocking, "path")  # type: ignore[arg-type]


def green_code(
    pool: green_tpool.Pool, items: AsyncIterator[int], manager: AbstractAsyncContextManager[str, bool | None]
) -> int:
    assert_type(green_tpool.execute(blocking, "path", size=3), bytes)
    assert_type(pool.options(timeout=1).execute(blocking, "path"), bytes)
    assert_type(green.await_(coroutine(3)), str)
    assert_type(green.sync(coroutine)(3), str)
    assert_type(green.spawn(blocking, "path"), green.GreenThread[bytes])
    assert_type(green.spawn_after(1, blocking, "path").wait(), bytes)
    assert_type(list(green.iter_(items)), list[int])
    assert_type(green.with_timeout(1, blocking, "path"), bytes)
    assert_type(green.with_timeout(1, blocking, "path", timeout_value=None), bytes | None)
    assert_type(list(green.GreenPool(3).imap(blocking, ["path"])), list[bytes])
    assert_type(green.Queue[int](3).get(), int)
    assert_type(hubs.get_hub().loop, asyncio.AbstractEventLoop)
    with green.with_(manager) as value:
        assert_type(value, str)
    green_tpool.execute(blocking, 3)  # type: ignore[arg-type]
    green.spawn(blocking, "path", length=3)  # type: ignore[call-arg]
    green.with_timeout(1, blocking, 3)  # type: ignore[call-overload]
    with green.Timeout(1):
        return 3  # and a type checker sees that it always returns


def generates(number: int) -> Iterator[str]:
    yield str(number)


async def around_green_code() -> None:
    assert_type(await green.run(blocking, "path"), bytes)
    assert_type(await green.async_(blocking)("path"), bytes)
    assert_type(await green.spawn(blocking, "path"), bytes)
    assert_type([item async for item in green.aiter(generates, 3)], list[str])
    await green.run(blocking, 3)  # type: ignore[arg-type]
    green.aiter(generates, "3")  # type: ignore[arg-type]
