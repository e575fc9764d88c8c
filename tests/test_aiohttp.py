"""An aiohttp server and an aiohttp client, both with blocking code in pools of two threads, 200 requests at once."""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from tests.gate import PATIENCE, Gate
from tpool_asyncio import from_thread, tpool

REQUESTS = 200


class Service:
    """Handlers whose blocking code runs in a pool."""

    def __init__(self, pool: tpool.Pool, folder: Path) -> None:
        self.pool = pool
        self.gate = Gate()
        self._folder = folder
        self._met = 0
        self._everybody = asyncio.Event()
        self.app = web.Application()
        self.app.add_routes(
            [
                web.get("/digest/{text}", self.digest),
                web.get("/lines/{number}", self.lines),
                web.get("/nested/{number}", self.nested),
                web.get("/now/{number}", self.now),
                web.get("/gate/{number}", self.blocked),
                web.get("/meet", self.meet),
                web.post("/upload/{name}", self.upload),
            ]
        )

    async def digest(self, request: web.Request) -> web.Response:
        def work(text: str) -> str:
            time.sleep(0.0005)
            return hashlib.sha256(text.encode()).hexdigest()

        return web.Response(text=await self.pool.execute(work, request.match_info["text"]))

    async def lines(self, request: web.Request) -> web.StreamResponse:
        def read(number: int) -> Iterator[str]:
            for line in range(3):
                yield f"{number}:{line}\n"

        response = web.StreamResponse()
        await response.prepare(request)
        async with self.pool.iterate(read, int(request.match_info["number"])) as lines:
            async for line in lines:
                await response.write(line.encode())
        return response

    async def nested(self, request: web.Request) -> web.Response:
        async def again(number: int) -> int:
            return await self.pool.execute(pow, number, 2)

        number = int(request.match_info["number"])
        return web.json_response(await self.pool.execute(from_thread.run, again, number))

    async def now(self, request: web.Request) -> web.Response:
        return web.json_response(int(request.match_info["number"]))

    async def blocked(self, request: web.Request) -> web.Response:
        return web.json_response(await self.pool.execute(self.gate, int(request.match_info["number"])))

    async def meet(self, request: web.Request) -> web.Response:
        """Answer when as many requests as there should be are here at once."""
        self._met += 1
        if self._met == REQUESTS:
            self._everybody.set()
        async with asyncio.timeout(PATIENCE):
            await self._everybody.wait()
        return web.json_response(self._met)

    async def upload(self, request: web.Request) -> web.Response:
        path = self._folder / request.match_info["name"]
        file = await self.pool.execute(open, path, "wb")
        try:
            async for chunk in request.content.iter_chunked(10_000):
                await self.pool.execute(file.write, chunk)
        finally:
            await self.pool.execute(file.close)
        return web.json_response((await self.pool.execute(path.stat)).st_size)


@asynccontextmanager
async def pair(pool: tpool.Pool, folder: Path) -> AsyncIterator[tuple[Service, ClientSession]]:
    service = Service(pool, folder)
    runner = web.AppRunner(service.app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
        await site.start()
        connector, limit = TCPConnector(limit=0), ClientTimeout(PATIENCE)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(url, connector=connector, timeout=limit) as client:
            yield service, client
    finally:
        await runner.cleanup()


async def get(client: ClientSession, pool: tpool.Pool, path: str) -> Any:
    """Return what the server answers, decoded in a thread."""
    async with client.get(path) as answer:
        assert answer.status == 200
        return await pool.execute(json.loads, await answer.read())


async def use(client: ClientSession, pool: tpool.Pool, number: int) -> bool:
    """Make one request of some kind; return whether the answer was right."""
    match number % 5:
        case 0:
            async with client.get(f"/digest/{number}") as answer:
                expected = await pool.execute(hashlib.sha256, str(number).encode())
                return await answer.text() == expected.hexdigest()
        case 1:
            async with client.get(f"/lines/{number}") as answer:
                return await answer.text() == "".join(f"{number}:{line}\n" for line in range(3))
        case 2:
            return bool(await get(client, pool, f"/nested/{number}") == number * number)
        case 3:
            async with client.post(f"/upload/{number}", data=b"x" * 25_000) as answer:
                return bool(await answer.json() == 25_000)
        case _:
            return bool(await get(client, pool, f"/now/{number}") == number)


@pytest.mark.combination(caller="aiohttp server and client", library="tpool_asyncio.tpool")
async def test_200_requests_at_once(pool: tpool.Pool, tmp_path: Path) -> None:
    async with tpool.Pool(2, name="client") as own, pair(pool, tmp_path) as (_, client):
        met = await asyncio.gather(*(get(client, own, "/meet") for _ in range(REQUESTS)))
        assert met == [REQUESTS] * REQUESTS
        right = await asyncio.gather(*(use(client, own, number) for number in range(REQUESTS)))
    assert [number for number in range(REQUESTS) if not right[number]] == []


@pytest.mark.combination(caller="aiohttp server and client", library="tpool_asyncio.tpool")
async def test_both_in_one_pool(pool: tpool.Pool, tmp_path: Path) -> None:
    async with pair(pool, tmp_path) as (_, client):
        assert all(await asyncio.gather(*(use(client, pool, number) for number in range(50))))


async def test_blocked_handlers_block_nobody_else(pool: tpool.Pool, tmp_path: Path) -> None:
    async with tpool.Pool(1, name="client") as own, pair(pool, tmp_path) as (service, client):
        blocked = [asyncio.create_task(get(client, own, f"/gate/{number}")) for number in range(REQUESTS)]
        await asyncio.to_thread(service.gate.wait_begun, 2)
        for number in range(10):
            assert await get(client, own, f"/now/{number}") == number
        assert (service.gate.calls, any(task.done() for task in blocked)) == (2, False)
        service.gate.open()
        assert await asyncio.gather(*blocked) == list(range(REQUESTS))


@pytest.mark.combination(caller="aiohttp, server and client in two loops", library="tpool_asyncio.tpool")
async def test_a_client_in_a_loop_of_its_own(pool: tpool.Pool, tmp_path: Path) -> None:
    """The default pool serves the loops of both threads."""
    failures = list[object]()

    async def client_side(port: int) -> None:
        async with ClientSession(f"http://127.0.0.1:{port}", timeout=ClientTimeout(PATIENCE)) as client:
            right = await asyncio.gather(*(use(client, tpool.default_pool(), number) for number in range(50)))
            failures.extend(number for number in range(50) if not right[number])

    async with pair(tpool.default_pool(), tmp_path) as (_, client):
        port = client._base_url.port if client._base_url else 0
        thread = threading.Thread(target=lambda: asyncio.run(client_side(port or 0)))
        thread.start()
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()
    assert failures == []
