"""A FastAPI service with every kind of blocking code that the framework sends to threads, and a real server for it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from tests.gate import PATIENCE, Gate
from tpool_asyncio import from_thread, tpool
from tpool_asyncio._bench.web_server import listening
from tpool_asyncio.interop.starlette import lifespan

BLOCKING = 0.0005
"""Seconds that the blocking code sleeps at the least."""


async def square(number: int) -> int:
    """Go to a thread again, from a thread that waits for it."""
    return await run_in_threadpool(lambda: number * number)


class Service:
    """The application, with what tests look at."""

    def __init__(self, pool: tpool.Pool, folder: Path, connections: int) -> None:
        self.entered = 0
        self.left = 0
        self.in_background = list[int]()
        self.gate = Gate()
        self._scarce = threading.Semaphore(1)
        self._connections = connections
        self._met = 0
        self._folder = folder
        (folder / "file").write_bytes(bytes(range(256)) * 1_000)
        self.app = FastAPI(lifespan=lifespan(pool))
        self._add_blocking()
        self._add_files()
        self._add_async()

    def _add_blocking(self) -> None:
        counted = threading.Lock()

        def dependency(number: int) -> Iterator[int]:
            time.sleep(BLOCKING)
            with counted:
                self.entered += 1
            yield number + 1
            time.sleep(BLOCKING)
            with counted:
                self.left += 1

        def scarce(number: int) -> Iterator[int]:
            """Give a resource of which there is but one; who waits for it holds a thread."""
            assert self._scarce.acquire(timeout=PATIENCE)
            yield number
            self._scarce.release()

        @self.app.get("/blocking/{number}")
        def blocking(number: int) -> int:
            time.sleep(BLOCKING)
            return number * number

        @self.app.get("/dependency/{number}")
        def with_dependency(number: int, value: int = Depends(dependency)) -> list[int]:
            time.sleep(BLOCKING)
            return [number, value]

        @self.app.get("/scarce/{number}")
        async def with_scarce(number: int, value: int = Depends(scarce)) -> list[int]:
            return [number, value]

        @self.app.get("/background/{number}")
        def background(number: int, tasks: BackgroundTasks) -> int:
            tasks.add_task(self.in_background.append, number)
            return number

        @self.app.get("/nested/{number}")
        def nested(number: int) -> int:
            return from_thread.run(square, number)

        @self.app.get("/gate/{number}")
        def gate(number: int) -> int:
            self.gate()
            return number

    def _add_files(self) -> None:
        @self.app.get("/file")
        def file() -> FileResponse:
            return FileResponse(self._folder / "file")

        @self.app.get("/stream/{number}")
        def stream(number: int) -> StreamingResponse:
            return StreamingResponse(f"{number}:{line}\n" for line in range(3))

        @self.app.post("/upload/{number}")
        def upload(number: int, file: UploadFile) -> list[int]:
            return [number, sum(file.file.read())]

    def _add_async(self) -> None:
        everybody = asyncio.Event()

        @self.app.get("/now/{number}")
        async def now(number: int) -> int:
            return number

        @self.app.get("/meet")
        async def meet() -> int:
            """Answer when as many requests as there are connections are here at once."""
            self._met += 1
            if self._met == self._connections:
                everybody.set()
            async with asyncio.timeout(PATIENCE):
                await everybody.wait()
            return self._met


@contextmanager
def serving(app: Any, loop: str) -> Iterator[int]:
    """Serve an application with uvicorn, in a thread with a loop of this kind, and say at which port."""
    import uvloop

    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", backlog=512))

    def run(listener: socket.socket) -> None:
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(server.serve([listener]))

    with listening() as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.001)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
    assert not thread.is_alive()
