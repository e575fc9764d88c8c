"""An aiohttp server and an aiohttp client, both with blocking code, and 200 requests at once.

The server computes a slow hash and streams the lines of a blocking source; the client checks the answers in threads,
too. Both use the default pool, and the loop stays free for a handler that does not block.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterator

from aiohttp import ClientSession, TCPConnector, web

from tpool_asyncio import tpool

REQUESTS = 200


def slow_hash(text: str) -> str:
    """Blocks, without the interpreter, for some tenths of a millisecond."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"salt", 300).hex()


def lines() -> Iterator[bytes]:
    """Stands for a cursor, or a file."""
    for number in range(1_000):
        yield b"line %d\n" % number


async def get_hash(request: web.Request) -> web.Response:
    return web.Response(text=await tpool.execute(slow_hash, request.match_info["text"]))


async def get_lines(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    async with tpool.iterate(lines) as source:
        async for line in source:
            await response.write(line)
    return response


async def get_now(_: web.Request) -> web.Response:
    return web.Response(text="at once")


def is_right(text: str, answer: str) -> bool:
    return answer == slow_hash(text)


async def ask_for_hash(client: ClientSession, text: str) -> bool:
    async with client.get(f"/hash/{text}") as answer:
        return await tpool.execute(is_right, text, await answer.text())


async def ask(port: int) -> None:
    async with ClientSession(f"http://127.0.0.1:{port}", connector=TCPConnector(limit=0)) as client:
        begun = time.perf_counter()
        hashes = [asyncio.create_task(ask_for_hash(client, f"text{number}")) for number in range(REQUESTS)]
        async with client.get("/now") as answer:
            print(f"A handler that does not block answers {await answer.text()!r}.")
        right = sum([await task for task in hashes])
        seconds = time.perf_counter() - begun
        print(f"{REQUESTS} hashes in {seconds:.2f} s, by {tpool.statistics().threads} threads; {right} are right.")
        assert right == REQUESTS
        async with client.get("/lines") as answer:
            received = await answer.text()
        print(f"{len(received.splitlines())} lines were streamed.")
        assert received.encode() == b"".join(lines())


async def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/hash/{text}", get_hash), web.get("/lines", get_lines), web.get("/now", get_now)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=REQUESTS).start()
        await ask(runner.addresses[0][1])
    finally:
        await runner.cleanup()
    await tpool.killall()


if __name__ == "__main__":
    asyncio.run(main())
