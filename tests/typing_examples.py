"""What a type checker must infer of the public signatures; checked by mypy, never run."""

import asyncio
from typing import assert_type

from tpool_asyncio import from_thread, tpool


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


def inside_a_worker() -> None:
    assert_type(from_thread.run(coroutine, 3), str)
    assert_type(from_thread.run_sync(blocking, "path"), bytes)
    from_thread.run(coroutine, "3")  # type: ignore[arg-type]
    from_thread.run(blocking, "path")  # type: ignore[arg-type]
