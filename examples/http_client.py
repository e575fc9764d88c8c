"""Many requests at once with the blocking client of the standard library, while the loop stays responsive.

The server is a plain one on the loopback interface, so this runs without a network. Each answer takes a tenth of a
second, which the calls spend waiting side by side.
"""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tpool_asyncio import tpool

REQUESTS = 60
DELAY = 0.1  # seconds


def fetch(port: int, path: str) -> Any:
    """Get one page and decode it. Blocks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"{path}: {response.status} {response.reason}")
        return json.loads(body)
    finally:
        connection.close()


async def longest_pause(stop: asyncio.Event) -> float:
    """Return the most seconds for which the loop kept a coroutine waiting."""
    longest = 0.0
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - before)
        await asyncio.sleep(0.005)
    return longest


async def main(port: int) -> None:
    stop = asyncio.Event()
    watch = asyncio.create_task(longest_pause(stop))
    begun = time.perf_counter()
    pages = await asyncio.gather(*(tpool.execute(fetch, port, f"/page/{number}") for number in range(REQUESTS)))
    seconds = time.perf_counter() - begun
    stop.set()

    threads = tpool.statistics().threads
    print(f"{REQUESTS} pages of {DELAY} s each in {seconds:.2f} s, by {threads} threads")
    pause = await watch
    print(f"The loop never kept anybody waiting for more than {pause * 1000:.1f} ms.")
    assert [page["path"] for page in pages] == [f"/page/{number}" for number in range(REQUESTS)]
    assert threads > 1, "the requests did not run side by side"

    try:
        await tpool.execute(fetch, port, "/missing")
    except http.client.HTTPException as error:
        print(f"Refused: {error}")
    else:
        raise AssertionError("a page that does not exist was found")


class Handler(BaseHTTPRequestHandler):
    """Answers slowly."""

    def do_GET(self) -> None:
        time.sleep(DELAY)
        if not self.path.startswith("/page/"):
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return
        body = json.dumps({"path": self.path}).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = REQUESTS


@contextmanager
def serving() -> Iterator[int]:
    """Run the server in a thread and say at which port."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with serving() as port:
        asyncio.run(main(port))
