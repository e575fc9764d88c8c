"""A FastAPI service whose blocking code runs in a pool of two threads, with 50 requests at once.

The endpoints and the dependency are plain functions, as in any FastAPI application. The lifespan is all that is added.
The service is served by uvicorn on a free port, asked by a client in the same loop, and shut down.
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from typing import Annotated

import httpx
import uvicorn
from fastapi import Depends, FastAPI

from tpool_asyncio import tpool
from tpool_asyncio.interop.starlette import lifespan

REQUESTS = 50

pool = tpool.Pool(2, name="service")
app = FastAPI(lifespan=lifespan(pool))


def database() -> Iterator[sqlite3.Connection]:
    """Open a connection for one request. Both halves run in threads."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        yield connection
    finally:
        connection.close()


Database = Annotated[sqlite3.Connection, Depends(database)]


@app.get("/square/{number}")
def square(number: int, connection: Database) -> int:
    time.sleep(0.005)
    (answer,) = connection.execute("select ? * ?", (number, number)).fetchone()
    return int(answer)


@app.get("/now")
async def now() -> str:
    return "at once"


async def ask(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        begun = time.perf_counter()
        squares = [asyncio.create_task(client.get(f"/square/{number}")) for number in range(REQUESTS)]
        while not pool.statistics().queued:
            await asyncio.sleep(0)
        answer = await client.get("/now")
        print(f"A handler that does not block answers {answer.json()!r}, while blocking ones wait for a thread.")
        answers = [(await task).json() for task in squares]
        seconds = time.perf_counter() - begun
    threads = pool.statistics().size
    print(f"{len(answers)} requests in {seconds:.2f} s, each with a database of its own, by {threads} threads")
    assert answers == [number * number for number in range(REQUESTS)]


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        await ask(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await serving
    await pool.killall()
    print(f"The service is down; {pool.statistics().threads} of its threads are left.")


if __name__ == "__main__":
    asyncio.run(main())
