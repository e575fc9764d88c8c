"""Serves one contestant: ``python -m tpool_asyncio._bench.web_server NAME LOOP PATIENCE THREADS``.

It says ``{"ready": true}`` or ``{"missing": "why"}`` in one line of JSON, and then answers each line ``port`` with
``{"port": ...}`` and each line ``cpu`` with ``{"cpu_us": ...}``, what all its threads have used so far. It serves until
its standard input ends. In between, the lines are waited for in a thread, which costs nothing.

All services have the same two resources: ``/now/N``, whose handler does not block, and ``/work/MICROSECONDS/N``, whose
blocking code runs in a thread. Both answer with N.
"""

import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tpool_asyncio._bench.answers import say
from tpool_asyncio._bench.child import loop_factory

__all__ = ["BACKLOG", "SERVERS", "listening", "main", "opened", "work"]

BACKLOG = 1024
"""How many connections may wait to be accepted."""

Submit = Callable[..., Any]
"""What takes a blocking function and its arguments, and returns something to await."""


def listening() -> socket.socket:
    """Return a socket that listens at a free port.

    It names its protocol, so that asyncio knows that of its connections and switches off Nagle's algorithm. Otherwise
    an answer that is written in two parts takes 40 ms, and it is that which is measured.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    return listener


def work(microseconds: int, number: int) -> int:
    """Be the blocking code."""
    if microseconds:
        time.sleep(microseconds / 1e6)
    return number


def opened(name: str, threads: int) -> AbstractAsyncContextManager[Submit]:
    """Open the way to make calls from aiohttp's handlers that has this name."""
    if name == "tpool":
        return _pool(threads)
    return _executor(threads, in_context=name == "to_thread")


@asynccontextmanager
async def _pool(threads: int) -> AsyncIterator[Submit]:
    from tpool_asyncio.tpool import Pool

    async with Pool(threads) as pool:
        yield pool.execute


@asynccontextmanager
async def _executor(threads: int, *, in_context: bool) -> AsyncIterator[Submit]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(threads) as executor:
        loop.set_default_executor(executor)
        yield asyncio.to_thread if in_context else lambda fn, *args: loop.run_in_executor(None, fn, *args)


@asynccontextmanager
async def _fastapi(listener: socket.socket, threads: int, pooled: bool) -> AsyncIterator[None]:
    import anyio.to_thread
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    from tpool_asyncio.interop.starlette import using
    from tpool_asyncio.tpool import Pool

    app = FastAPI()

    @app.get("/now/{number}")
    async def now(number: int) -> PlainTextResponse:
        return PlainTextResponse(str(number))

    @app.get("/work/{microseconds}/{number}")
    def blocking(microseconds: int, number: int) -> PlainTextResponse:
        return PlainTextResponse(str(work(microseconds, number)))

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, backlog=BACKLOG))
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = True
            await serving

    anyio.to_thread.current_default_thread_limiter().total_tokens = threads
    if pooled:
        async with Pool(threads) as pool, using(pool), running():
            yield
    else:
        async with running():
            yield


@asynccontextmanager
async def _aiohttp(listener: socket.socket, threads: int, way: str) -> AsyncIterator[None]:
    from aiohttp import web

    async with opened(way, threads) as submit:

        async def now(request: web.Request) -> web.Response:
            return web.Response(text=str(int(request.match_info["number"])))

        async def blocking(request: web.Request) -> web.Response:
            asked = request.match_info
            return web.Response(text=str(await submit(work, int(asked["microseconds"]), int(asked["number"]))))

        app = web.Application()
        app.add_routes([web.get("/now/{number}", now), web.get("/work/{microseconds}/{number}", blocking)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            yield
        finally:
            await runner.cleanup()


SERVERS: dict[str, Callable[[socket.socket, int], AbstractAsyncContextManager[None]]] = {
    "fastapi-tpool": lambda listener, threads: _fastapi(listener, threads, pooled=True),
    "fastapi-anyio": lambda listener, threads: _fastapi(listener, threads, pooled=False),
    "aiohttp-tpool": lambda listener, threads: _aiohttp(listener, threads, "tpool"),
    "aiohttp-to_thread": lambda listener, threads: _aiohttp(listener, threads, "to_thread"),
    "aiohttp-run_in_executor": lambda listener, threads: _aiohttp(listener, threads, "run_in_executor"),
}
"""By the name of the contestant: what serves on a socket, with so many threads, as long as it is open."""


def main(name: str, loop: str, _patience: str, threads: str) -> None:
    """Serve one contestant on a new loop of this kind, ``asyncio`` or ``uvloop``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children itself
    try:
        with asyncio.Runner(debug=False, loop_factory=loop_factory(loop)) as runner:
            runner.run(_serve(name, int(threads)))
    except ImportError as error:
        say({"missing": str(error)})


async def _serve(name: str, threads: int) -> None:
    with listening() as listener:
        async with SERVERS[name](listener, threads):
            say({"ready": True})
            over = asyncio.Event()
            loop = asyncio.get_running_loop()
            answering = threading.Thread(target=_answer, args=(listener.getsockname()[1], loop, over))
            answering.start()
            await over.wait()
            answering.join()


def _answer(port: int, loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    for line in sys.stdin:
        say({"port": port} if line.strip() == "port" else {"cpu_us": time.process_time_ns() / 1000})
    loop.call_soon_threadsafe(over.set)


if __name__ == "__main__":
    main(*sys.argv[1:])
