"""SQLite from many tasks: a blocking driver behind a small async class.

A connection of `sqlite3` belongs to the thread that opened it. A pool of size 1 has one thread, so the connection is
opened, used and closed there, and its calls come one after the other: that is all the locking the writer needs.
Readers open a connection of their own for each call, in the default pool, and run side by side.
"""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from tpool_asyncio import tpool

CLERKS = 8
DEPOSITS = 25


class Bank:
    """Accounts in a database file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = tpool.Pool(1, name="bank-writer")
        self._connection: sqlite3.Connection

    async def __aenter__(self) -> Self:
        self._connection = await self._writer.execute(self._open)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._writer.execute(self._connection.close)
        await self._writer.killall()

    async def deposit(self, owner: str, amount: int) -> int:
        """Add to an account and return what is in it now."""
        return await self._writer.execute(self._deposit, owner, amount)

    async def balances(self) -> dict[str, int]:
        """Return what is in each account."""
        return await tpool.execute(self._balances)

    # In a thread of a pool

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE account (owner TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))"
        )
        return connection

    def _deposit(self, owner: str, amount: int) -> int:
        with self._connection:  # one transaction
            (balance,) = self._connection.execute(
                "INSERT INTO account VALUES (?, ?)"
                " ON CONFLICT (owner) DO UPDATE SET balance = balance + excluded.balance RETURNING balance",
                (owner, amount),
            ).fetchone()
            return int(balance)

    def _balances(self) -> dict[str, int]:
        with closing(sqlite3.connect(self._path)) as connection:
            return dict(connection.execute("SELECT owner, balance FROM account ORDER BY owner"))


async def clerk(bank: Bank, owner: str) -> None:
    for _ in range(DEPOSITS):
        await bank.deposit(owner, 1)
        await bank.deposit("the vault", 1)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Bank(Path(folder, "bank.db")) as bank:
            async with asyncio.TaskGroup() as group:
                for number in range(CLERKS):
                    group.create_task(clerk(bank, f"customer {number}"))

            balances = await bank.balances()
            for owner, balance in balances.items():
                print(f"{owner:<12} {balance:>4}")
            assert balances["the vault"] == CLERKS * DEPOSITS, "a deposit was lost"
            assert len(balances) == CLERKS + 1

            try:
                await bank.deposit("customer 9", -5)
            except sqlite3.IntegrityError as error:  # the driver's own exception, as if there were no thread
                print(f"Refused: {error}")
            else:
                raise AssertionError("a negative balance was accepted")


if __name__ == "__main__":
    asyncio.run(main())
