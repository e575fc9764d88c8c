"""Synchronous ORM code in green threads: on an asyncio engine, and beside a blocking driver that goes to the pool.

`Shop` stands for legacy code. It knows nothing of asyncio: sessions, transactions, lazy loading. Its engine is one of
SQLAlchemy's asyncio engines, so that where it waits for the database, only its green thread does. The price list comes
from a driver that blocks, which is what the pool is for. Each order runs both in one transaction.
"""

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine, ForeignKey, func, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tpool_asyncio import green
from tpool_asyncio.green import tpool

CUSTOMERS = 20
CONNECTIONS = 5


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")
    thing: Mapped[str]
    price: Mapped[int]


class PriceList:
    """A driver that blocks, in a database of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("CREATE TABLE prices (thing TEXT PRIMARY KEY, price INTEGER)")
            connection.executemany("INSERT INTO prices VALUES (?, ?)", [("spam", 3), ("eggs", 2)])
        connection.close()

    def price(self, thing: str) -> int:
        time.sleep(0.02)  # it is slow, and blocks its thread
        connection = sqlite3.connect(self._path)
        row = connection.execute("SELECT price FROM prices WHERE thing = ?", (thing,)).fetchone()
        connection.close()
        if row is None:
            raise KeyError(thing)
        return int(row[0])


class Shop:
    """Synchronous code of the ORM."""

    def __init__(self, engine: Engine, prices: PriceList) -> None:
        self._engine = engine
        self._prices: PriceList = tpool.Proxy(prices)  # type: ignore[assignment]  # the one line that has changed
        Base.metadata.create_all(engine)

    def order(self, name: str, *things: str) -> int:
        """Order things for a new customer, or nothing at all; return what they cost."""
        with Session(self._engine) as session, session.begin():
            customer = Customer(name=name)
            session.add(customer)
            for thing in things:
                customer.orders.append(Order(thing=thing, price=self._prices.price(thing)))
        return self.total(name)

    def total(self, name: str) -> int:
        with Session(self._engine) as session:
            customer = session.scalars(select(Customer).where(Customer.name == name)).one()
            return sum(order.price for order in customer.orders)  # which are loaded now

    def customers(self) -> int:
        with Session(self._engine) as session:
            return session.scalar(select(func.count(Customer.id))) or 0

    def order_within(self, seconds: float, name: str, thing: str) -> int | None:
        try:
            with green.Timeout(seconds):
                return self.order(name, thing)
        except green.Timeout:
            return None


async def main(folder: Path) -> None:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{folder / 'shop.db'}",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=CONNECTIONS,
        max_overflow=0,
    )
    shop = await green.run(Shop, engine.sync_engine, PriceList(folder / "prices.db"))

    # Each in a green thread of its own, and the loop goes on meanwhile.
    names = [f"customer {number}" for number in range(CUSTOMERS)]
    begun = time.perf_counter()
    totals = await asyncio.gather(*(green.spawn(shop.order, name, "spam", "eggs") for name in names))
    took = time.perf_counter() - begun
    assert totals == [5] * CUSTOMERS
    print(f"{CUSTOMERS} green threads shared {CONNECTIONS} connections, and took {took:.2f} s")

    try:
        await green.run(shop.order, "somebody", "spam", "parrot")
    except KeyError as error:
        print(f"There is no {error}, and the order was rolled back.")
    assert await green.run(shop.order_within, 0.005, "somebody in a hurry", "spam") is None
    print("A time limit struck in the middle of a transaction, which was rolled back as well.")
    assert await green.run(shop.customers) == CUSTOMERS

    await engine.dispose()
    await green.run(tpool.killall)  # waits for the price that nobody wanted any more: its thread still reads the file


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
