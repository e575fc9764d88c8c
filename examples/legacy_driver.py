"""Synchronous code over a blocking driver, unchanged but for one line, in green threads.

This is how OpenStack's code has it: the handle of a library of C that blocks is wrapped in `tpool.Proxy` where it is
made, with the types that it hands out in `autowrap`, and nothing else knows of threads. `driver` stands for such a
library, `Inventory` for the code around it, written long before there was any `await`.
"""

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tpool_asyncio import green
from tpool_asyncio.green import tpool

DELAY = 0.05  # seconds
WORKERS = 10


# The driver: it blocks, and has never heard of green threads.


class Domain:
    """A virtual machine."""

    def __init__(self, database: Path, name: str) -> None:
        self._database = database
        self.name = name

    def info(self) -> dict[str, int]:
        time.sleep(DELAY)  # asks the hypervisor
        return {"memory": 512 * len(self.name), "cpus": 1 + len(self.name) % 4}

    def destroy(self) -> None:
        if self.name == "gateway":
            raise PermissionError(f"{self.name} is protected")
        connection = sqlite3.connect(self._database)
        with connection:
            connection.execute("DELETE FROM domain WHERE name = ?", (self.name,))
        connection.close()


class Driver:
    """A connection to the host."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def create(self, name: str) -> Domain:
        time.sleep(DELAY)
        connection = sqlite3.connect(self.database)
        with connection:
            connection.execute("INSERT INTO domain VALUES (?)", (name,))
        connection.close()
        return Domain(self.database, name)

    def domains(self) -> Iterator[Domain]:
        connection = sqlite3.connect(self.database)
        names = [name for (name,) in connection.execute("SELECT name FROM domain ORDER BY name")]
        connection.close()
        return iter([Domain(self.database, name) for name in names])


def connect(database: Path) -> Driver:
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE domain (name TEXT PRIMARY KEY)")
    connection.close()
    return Driver(database)


# The legacy code: the first line of its constructor is all that knows of the pool.


class Inventory:
    """What a service knows of its host."""

    def __init__(self, database: Path) -> None:
        # before: self.driver = connect(database)
        self.driver: Any = tpool.Proxy(connect(database), autowrap=(Domain,))

    def build(self, name: str) -> int:
        domain = self.driver.create(name)  # a proxy as well, since a Domain is wrapped
        return int(domain.info()["memory"])

    def names(self) -> list[str]:
        return [domain.name for domain in tpool.iterate(self.driver.domains)]

    def remove(self, name: str) -> str:
        for domain in tpool.iterate(self.driver.domains):
            if domain.name == name:
                try:
                    domain.destroy()
                except PermissionError as error:  # raised in another thread, caught as ever
                    return str(error)
                return f"{name} is gone"
        return f"{name} is not there"


def main(database: Path) -> None:
    inventory = Inventory(database)
    assert isinstance(inventory.driver, Driver)
    assert isinstance(inventory.driver, tpool.Proxy)

    begun = time.perf_counter()
    pool = green.GreenPool(WORKERS)
    memory = sum(pool.imap(inventory.build, ["gateway", *(f"machine {number}" for number in range(WORKERS - 1))]))
    seconds = time.perf_counter() - begun
    print(f"{WORKERS} machines with {memory} MB, each {2 * DELAY} s of waiting, built in {seconds:.2f} s")

    assert len(inventory.names()) == WORKERS
    for name in ("machine 3", "machine 3", "gateway"):
        print(inventory.remove(name))
    names = inventory.names()
    assert "machine 3" not in names
    assert "gateway" in names

    # What is known not to block need not go to the pool.
    with tpool.nonblocking(inventory.driver) as quick:
        print("left:", ", ".join(domain.name for domain in quick.domains()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder, "host.db"))
