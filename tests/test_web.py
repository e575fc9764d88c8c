"""A FastAPI service on real sockets, its blocking code in a pool of two threads, and 200 connections at once."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytest.importorskip("python_multipart")

from tests.gate import PATIENCE
from tests.web_service import Service, serving
from tpool_asyncio import tpool

CONNECTIONS = 200


def kind_of_loop() -> str:
    return "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    limit = aiohttp.ClientTimeout(PATIENCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector, timeout=limit) as client:
        yield client


@pytest.fixture
def two() -> Iterator[tpool.Pool]:
    """A pool that a loop in another thread uses."""
    pool = tpool.Pool(2, name="web")
    yield pool
    asyncio.run(pool.killall())


async def get(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def read(client: aiohttp.ClientSession, path: str) -> bytes:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def upload(client: aiohttp.ClientSession, number: int) -> Any:
    size = 1_100_000 if number % 10 == 0 else 1_000  # the greater ones go through a file
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(b"\1" * size), filename="name")
    async with client.post(f"/upload/{number}", data=form) as answer:
        return await answer.json() == [number, size]


async def use(client: aiohttp.ClientSession, number: int) -> bool:
    """Make one request of some kind; return whether the answer was right."""
    match number % 9:
        case 0:
            return bool(await get(client, f"/blocking/{number}") == number * number)
        case 1:
            return bool(await get(client, f"/dependency/{number}") == [number, number + 1])
        case 2:
            return bool(await get(client, f"/scarce/{number}") == [number, number])
        case 3:
            return bool(await get(client, f"/background/{number}") == number)
        case 4:
            return bool(await get(client, f"/nested/{number}") == number * number)
        case 5:
            return await read(client, "/file") == bytes(range(256)) * 1_000
        case 6:
            return await read(client, f"/stream/{number}") == b"".join(b"%d:%d\n" % (number, n) for n in range(3))
        case 7:
            return bool(await upload(client, number))
        case _:
            return bool(await get(client, f"/now/{number}") == number)


@pytest.mark.combination(caller="FastAPI service under uvicorn", library="tpool_asyncio.interop.starlette")
async def test_200_connections_and_every_kind_of_blocking_code(two: tpool.Pool, tmp_path: Path) -> None:
    service = Service(two, tmp_path, CONNECTIONS)
    with serving(service.app, kind_of_loop()) as port:
        async with connected(port) as client:
            met = await asyncio.gather(*(get(client, "/meet") for _ in range(CONNECTIONS)))
            assert met == [CONNECTIONS] * CONNECTIONS
            right = await asyncio.gather(*(use(client, number) for number in range(CONNECTIONS)))
    assert [number for number in range(CONNECTIONS) if not right[number]] == []
    assert service.entered == service.left == len(range(1, CONNECTIONS, 9))
    assert sorted(service.in_background) == list(range(3, CONNECTIONS, 9))


@pytest.mark.combination(caller="FastAPI service under uvicorn", library="tpool_asyncio.interop.starlette")
async def test_blocked_endpoints_block_nobody_else(two: tpool.Pool, tmp_path: Path) -> None:
    service = Service(two, tmp_path, CONNECTIONS)
    with serving(service.app, kind_of_loop()) as port:
        async with connected(port) as client:
            blocked = [asyncio.create_task(get(client, f"/gate/{number}")) for number in range(CONNECTIONS)]
            await asyncio.to_thread(service.gate.wait_begun, 2)
            for number in range(10):
                assert await get(client, f"/now/{number}") == number
            assert (service.gate.calls, any(task.done() for task in blocked)) == (2, False)
            service.gate.open()
            assert await asyncio.gather(*blocked) == list(range(CONNECTIONS))


async def test_clients_that_go_away_leave_nothing(two: tpool.Pool, tmp_path: Path) -> None:
    service = Service(two, tmp_path, CONNECTIONS)
    with serving(service.app, kind_of_loop()) as port:
        async with connected(port) as client:
            blocked = [asyncio.create_task(get(client, f"/gate/{number}")) for number in range(20)]
            await asyncio.to_thread(service.gate.wait_begun, 2)
            while two.statistics().queued < 18:  # all have arrived: a client that still connects might leave its socket
                await asyncio.sleep(0.001)
            for task in blocked:
                task.cancel()
            await asyncio.wait(blocked)
            service.gate.open()
            assert await get(client, "/blocking/3") == 9
    assert (two.statistics().busy, two.statistics().queued) == (0, 0)
