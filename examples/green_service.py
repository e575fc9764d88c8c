"""An asyncio service whose handlers are synchronous code that waits.

`Shop` stands for legacy code: plain methods, an SQLite connection, a time limit of Eventlet's kind. The service around
it is async. Each request runs its handler in a green thread of its own task, so that where the handler waits, only
that request does. The requests come over the loopback interface, one line of JSON each.
"""

import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from tpool_asyncio import green
from tpool_asyncio.green import tpool

CUSTOMERS = 10
ORDERS = 5


class Shop:
    """Synchronous code. What blocks goes to the pool, all else is as it was."""

    def __init__(self, path: Path) -> None:
        self._database = tpool.Pool(1, name="shop")  # a connection of sqlite3 wants to stay in one thread
        self._connection = self._database.execute(self._open, path)

    def order(self, customer: str, amount: int) -> int:
        """Take an order and return what the customer has ordered so far."""
        if amount <= 0:
            raise ValueError(f"nobody orders {amount}")
        return self._database.execute(self._insert, customer, amount)

    def report(self, patience: float) -> str:
        """Make the report that takes too long, and do without it."""
        try:
            with green.Timeout(patience):
                tpool.execute(time.sleep, 0.5)  # the slow part
        except green.Timeout:
            return "no report today"
        return "the full report"

    def close(self) -> None:
        self._database.execute(self._connection.close)
        self._database.killall()

    # In the thread of the pool

    def _open(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE orders (customer TEXT NOT NULL, amount INTEGER NOT NULL)")
        return connection

    def _insert(self, customer: str, amount: int) -> int:
        with self._connection as connection:
            connection.execute("INSERT INTO orders VALUES (?, ?)", (customer, amount))
            (total,) = connection.execute("SELECT sum(amount) FROM orders WHERE customer = ?", (customer,)).fetchone()
            return int(total)


class Service:
    """Async code around it."""

    def __init__(self, shop: Shop) -> None:
        # The bridge, once for each handler: what was a function is a coroutine function now.
        self._handlers: dict[str, Any] = {
            "order": green.async_(shop.order),
            "report": green.async_(shop.report),
        }

    async def answer(self, line: bytes) -> dict[str, Any]:
        request = json.loads(line)
        try:
            return {"result": await self._handlers[request["do"]](*request["with"])}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()


class Client:
    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, handler: str, *args: object) -> Any:
        self._writer.write(json.dumps({"do": handler, "with": args}).encode() + b"\n")
        return json.loads(await self._reader.readline())


async def buy(port: int, customer: str) -> int:
    async with Client(port) as client:
        for amount in range(1, ORDERS + 1):
            answer = await client.ask("order", customer, amount)
        return int(answer["result"])


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = await green.run(Shop, Path(folder, "shop.db"))  # it waits, so it has to run in a green thread too
        server = await asyncio.start_server(Service(shop).serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async with Client(port) as impatient:
            # While the report takes its time, the others are served.
            report = asyncio.create_task(impatient.ask("report", 0.2))
            totals = await asyncio.gather(*(buy(port, f"customer {number}") for number in range(CUSTOMERS)))
            print(f"{CUSTOMERS} customers ordered {totals[0]} each, {sum(totals)} in all")
            assert totals == [sum(range(1, ORDERS + 1))] * CUSTOMERS
            assert await report == {"result": "no report today"}
            print("The report took too long, and nobody else waited for it.")

            refused = await impatient.ask("order", "customer 0", -1)
            print(f"Refused: {refused['error']}")
            assert "result" not in refused

        server.close()
        await server.wait_closed()
        await green.run(shop.close)


if __name__ == "__main__":
    asyncio.run(main())
