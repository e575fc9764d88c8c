"""Makes requests: ``python -m tpool_asyncio._bench.web_load NAME LOOP PATIENCE THREADS``.

It says ``{"ready": true}`` or ``{"missing": "why"}`` in one line of JSON, and then answers each line
``PORT MICROSECONDS CONNECTIONS REQUESTS`` with ``{"wall_us": ..., "cpu_us": ...}``, both per request, the second of
this process. All connections are open before the clock starts, and each makes its next request when it has its answer.
Every answer is checked; one that is wrong ends the process.

``raw`` speaks just enough HTTP to be much faster than any server here. The others are clients of aiohttp, which check
each answer in a thread, in the way of their name.
"""

import asyncio
import itertools
import signal
import sys
from collections.abc import Iterator

from tpool_asyncio._bench.answers import Clock, say, watch_over
from tpool_asyncio._bench.child import loop_factory
from tpool_asyncio._bench.web_server import opened

__all__ = ["CLIENTS", "Load", "check", "main"]

CLIENTS = ("raw", "tpool", "to_thread", "run_in_executor")


class Load:
    """What is asked of a server, request by request."""

    def __init__(self, port: int, microseconds: int, requests: int) -> None:
        self.port = port
        self.microseconds = microseconds
        self.numbers: Iterator[int] = iter(range(1, requests + 1))

    def path(self, number: int) -> str:
        return f"/work/{self.microseconds}/{number}"


def check(body: bytes, number: int) -> None:
    """Raise an error unless this is the answer to the request of this number."""
    if body != b"%d" % number:
        raise ValueError(f"the answer to request {number} is {body[:100]!r}")


class _Connection(asyncio.Protocol):
    """One connection, which makes requests as long as there are any."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._number = 0
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def next(self) -> None:
        """Make the next request."""
        assert self._transport is not None
        self._number = next(self._load.numbers, 0)
        if self._number:
            path = self._load.path(self._number)
            self._transport.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        elif not self.done.done():
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(maxsplit=1)[0])
        if len(body) < length:
            return
        self._received = b""
        try:
            if not head.startswith(b"HTTP/1.1 200"):
                raise ValueError(f"the answer to request {self._number} is {head[:100]!r}")
            check(body, self._number)
        except ValueError as error:
            self.done.set_exception(error)
        else:
            self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server has closed a connection"))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def _make_raw(load: Load, connections: int, requests: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    ready: list[_Connection] = []
    try:
        for _ in range(connections):
            _, opened_one = await loop.create_connection(lambda: _Connection(load), "127.0.0.1", load.port)
            ready.append(opened_one)
        clock = Clock()
        for connection in ready:
            connection.next()
        await asyncio.gather(*(connection.done for connection in ready))
        return clock.per_call(requests)
    finally:
        for connection in ready:
            connection.close()
        await asyncio.sleep(0)  # in which they are closed


async def _make_with_aiohttp(name: str, threads: int, load: Load, connections: int, requests: int) -> dict[str, float]:
    from aiohttp import ClientSession, TCPConnector

    async def connection(numbers: Iterator[int]) -> None:
        for number in numbers:
            async with session.get(load.path(number)) as answer:
                answer.raise_for_status()
                await submit(check, await answer.read(), number)

    url = f"http://127.0.0.1:{load.port}"
    async with opened(name, threads) as submit, ClientSession(url, connector=TCPConnector(limit=0)) as session:
        # The first requests open the connections and start the threads.
        await asyncio.gather(*(connection(itertools.repeat(0, 1)) for _ in range(connections)))
        clock = Clock()
        await asyncio.gather(*(connection(load.numbers) for _ in range(connections)))
        return clock.per_call(requests)


def main(name: str, loop: str, patience: str, threads: str) -> None:
    """Make the requests on new loops of this kind, ``asyncio`` or ``uvloop``, as one of `CLIENTS`.

    An answer that takes longer than ``patience`` seconds ends the process, with the stacks of all threads.
    """
    watch = watch_over(float(patience))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children itself
    try:
        if name != "raw":
            import aiohttp  # noqa: F401
        factory = loop_factory(loop)
        say({"ready": True})
        for line in sys.stdin:
            watch()
            port, microseconds, connections, requests = map(int, line.split())
            load = Load(port, microseconds, requests)
            with asyncio.Runner(debug=False, loop_factory=factory) as runner:
                if name == "raw":
                    taken = runner.run(_make_raw(load, connections, requests))
                else:
                    taken = runner.run(_make_with_aiohttp(name, int(threads), load, connections, requests))
            say(taken)
    except ImportError as error:
        say({"missing": str(error)})


if __name__ == "__main__":
    main(*sys.argv[1:])
