"""SQLAlchemy: its asyncio engines in plain synchronous ORM code in green threads, and the pool under its own bridge."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, create_engine, event, func, literal, select, text
from sqlalchemy.exc import IntegrityError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tests.gate import PATIENCE, Gate
from tpool_asyncio import green, tpool
from tpool_asyncio.green import tpool as green_tpool

IN_GREEN_THREAD = pytest.mark.combination(
    caller="green thread", library="SQLAlchemy asyncio engine, synchronous ORM code"
)


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")


@asynccontextmanager
async def async_engine(folder: Path, **options: Any) -> AsyncIterator[AsyncEngine]:
    """An engine on a new database, and at its end no thread is left."""
    before = set(threading.enumerate())
    url = f"sqlite+aiosqlite:///{folder / 'test.db'}"
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, **options)
    try:
        await green.run(Base.metadata.create_all, engine.sync_engine)
        yield engine
    finally:
        await engine.dispose()
        deadline = time.monotonic() + PATIENCE
        while set(threading.enumerate()) - before - {thread for thread in threading.enumerate() if is_worker(thread)}:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)


def is_worker(thread: threading.Thread) -> bool:
    return thread.name.startswith("tpool-")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    async with async_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
def sync_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'test.db'}")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def work(engine: Engine, name: str, orders: int = 2) -> int:
    """Plain synchronous code of the ORM."""
    with Session(engine) as session, session.begin():
        session.add(Customer(name=name, orders=[Order() for _ in range(orders)]))
    with Session(engine) as session:
        customer = session.scalars(select(Customer).where(Customer.name == name)).one()
        count = len(customer.orders)  # loaded now, which asyncio code of SQLAlchemy cannot do
        assert customer.orders[0].customer is customer
        return count


def names(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return sorted(session.scalars(select(Customer.name)))


# Synchronous ORM code in green threads, on an asyncio engine


@IN_GREEN_THREAD
async def test_orm_code(engine: AsyncEngine) -> None:
    assert await green.run(work, engine.sync_engine, "spam") == 2

    def more() -> None:
        with Session(engine.sync_engine) as session:
            session.add(Customer(name="spam"))
            with pytest.raises(IntegrityError):
                session.commit()
            session.rollback()
            session.add(Customer(name="eggs"))
            with session.begin_nested() as savepoint:
                session.add(Customer(name="gone"))
                session.flush()
                savepoint.rollback()
            session.commit()
            streamed = session.scalars(select(Customer.name).execution_options(yield_per=1))
            assert sorted(streamed) == ["eggs", "spam"]

    await green.run(more)
    assert await green.run(names, engine.sync_engine) == ["eggs", "spam"]


@IN_GREEN_THREAD
async def test_many_green_threads_and_few_connections(tmp_path: Path) -> None:
    """Who has no connection waits for one, in `AsyncAdaptedQueue`; the loop and the others go on."""
    async with async_engine(tmp_path, pool_size=2, max_overflow=0) as engine:
        connections = 0

        @event.listens_for(engine.sync_engine, "connect")
        def count(*_: object) -> None:
            nonlocal connections
            connections += 1
            assert green_tpool.execute(len, "abc") == 3  # wherever SQLAlchemy calls back

        def body(number: int) -> int:
            with Session(engine.sync_engine) as session:
                session.execute(text("SELECT 1"))
                assert green_tpool.execute(abs, -number) == number  # both in one transaction
                green.sleep(0)
                return int(session.scalars(select(literal(number))).one())

        threads = [green.spawn(body, number) for number in range(20)]
        assert await asyncio.gather(*threads) == list(range(20))
        assert connections <= 2
        for number in range(5):
            work_done = green.spawn(work, engine.sync_engine, f"customer {number}")
            assert await work_done == 2


async def test_no_connection_within_the_time(tmp_path: Path) -> None:
    async with async_engine(tmp_path, pool_size=1, max_overflow=0, pool_timeout=0.01) as engine:
        has_one, may_end = green.Event(), green.Event()

        def holds() -> None:
            with engine.sync_engine.connect():
                has_one.send()
                may_end.wait()

        def wants() -> None:
            has_one.wait()
            with pytest.raises(PoolTimeoutError):
                engine.sync_engine.connect()
            engine.sync_engine.pool._timeout = 30  # type: ignore[attr-defined]
            with pytest.raises(green.Timeout), green.Timeout(0.001):
                engine.sync_engine.connect()
            may_end.send()
            with engine.sync_engine.connect() as connection:  # none is lost
                assert connection.scalar(text("SELECT 1")) == 1

        await asyncio.gather(green.spawn(holds), green.spawn(wants))


ENDS: dict[str, Callable[[green.GreenThread[Any]], object]] = {
    "kill": lambda thread: thread.kill(),
    "cancel": lambda thread: thread.task and thread.task.cancel(),
    "timeout": lambda thread: thread.kill(green.Timeout(None)),
}


@IN_GREEN_THREAD
@pytest.mark.parametrize("how", ENDS)
async def test_ended_in_a_statement(how: str, tmp_path: Path) -> None:
    """The transaction is rolled back, and the connection is given up; the next one gets another."""
    async with async_engine(tmp_path, pool_size=1, max_overflow=0) as engine:
        gate = Gate()
        event.listen(engine.sync_engine, "connect", lambda raw, _: raw.create_function("block", 0, lambda: gate(1)))
        await engine.dispose()  # of connections made before
        raised: list[BaseException] = []

        def body() -> None:
            with Session(engine.sync_engine) as session, session.begin():
                session.add(Customer(name="never"))
                session.flush()
                try:
                    # Not a SELECT: sqlite3 would keep the transaction for the rows that nobody has fetched.
                    session.execute(text("INSERT INTO customers (name) VALUES (block())"))
                except BaseException as error:
                    raised.append(error)
                    raise

        thread = green.spawn(body)
        await tpool.execute(gate.wait_begun)
        ENDS[how](thread)
        asyncio.get_running_loop().call_later(0.001, gate.open)
        expected = {"kill": green.GreenletExit, "cancel": asyncio.CancelledError, "timeout": green.Timeout}[how]
        with pytest.raises(expected) as caught:
            await thread
        assert raised == [caught.value]
        assert await green.run(names, engine.sync_engine) == []
        assert await green.run(work, engine.sync_engine, "next") == 2


async def test_a_time_limit_around_a_session(engine: AsyncEngine) -> None:
    def body() -> str:
        with Session(engine.sync_engine) as session:
            session.add(Customer(name="never"))
            session.flush()
            with green.Timeout(0.001, False):
                green.sleep(60)
            try:
                with green.Timeout(0.001):
                    green_tpool.options(timeout=60).execute(Gate().wait_begun, 0)
                    green.await_(asyncio.sleep(60))
            except green.Timeout:
                session.rollback()
            session.add(Customer(name="kept"))
            session.commit()
        return "done"

    assert await green.run(body) == "done"
    assert await green.run(names, engine.sync_engine) == ["kept"]


async def test_async_sessions_in_green_threads(engine: AsyncEngine) -> None:
    """What is async of SQLAlchemy goes by the bridge, as everything async does."""

    def body() -> list[str]:
        with green.with_(AsyncSession(engine)) as session:
            session.add(Customer(name="spam"))
            green.await_(session.commit())
            rows = [customer.name for customer in green.iter_(green.await_(session.stream_scalars(select(Customer))))]
            assert green.await_(session.run_sync(lambda sync: sync.scalar(select(func.count(Customer.id))))) == 1
        with green.with_(engine.begin()) as connection:
            assert green.await_(connection.run_sync(lambda sync: green_tpool.execute(len, "abc"))) == 3
        green.await_(engine.dispose())
        assert names(engine.sync_engine) == ["spam"]  # with another connection
        engine.sync_engine.dispose()
        return rows

    assert await green.run(body) == ["spam"]


# The pool in code that SQLAlchemy runs


@pytest.mark.combination(caller="AsyncSession.run_sync", library="tpool_asyncio.green.tpool")
async def test_in_run_sync(engine: AsyncEngine) -> None:
    def body(session: Session) -> int:
        customer = Customer(name=green_tpool.execute(str.upper, "spam"), orders=[Order()])
        session.add(customer)
        session.flush()
        thread: Any = green_tpool.Proxy(threading.current_thread())
        assert thread.is_alive()
        assert list(green_tpool.iterate(range(3))) == [0, 1, 2]
        session.expire(customer)
        return len(green.await_(green.run(lambda: customer.orders)))  # in a green thread inside, on the same session

    async with AsyncSession(engine) as session, session.begin():
        assert await session.run_sync(body) == 1
    assert await green.run(names, engine.sync_engine) == ["SPAM"]


# Scripts


@pytest.mark.usefixtures("script")
@pytest.mark.combination(
    caller="script, through a green thread", library="SQLAlchemy asyncio engine, synchronous ORM code"
)
def test_in_a_script(tmp_path: Path) -> None:
    """A script waits in no greenlet, which SQLAlchemy insists on; a green thread is the remedy."""

    async def body() -> None:
        async with async_engine(tmp_path) as engine:
            results.append(await green.run(work, engine.sync_engine, "spam"))

    results: list[int] = []
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    with pytest.raises(MissingGreenlet):
        work(engine.sync_engine, "spam")
    green.await_(body())
    assert results == [2]
    threads = [green.spawn(work, engine.sync_engine, name) for name in ("eggs", "ham")]
    assert [thread.wait() for thread in threads] == [2, 2]
    green.await_(engine.dispose())


# SQLAlchemy's own blocking engines, in the pool


@pytest.mark.combination(caller="async code", library="SQLAlchemy engine in tpool.execute")
async def test_a_blocking_engine_in_calls(sync_engine: Engine) -> None:
    results = await asyncio.gather(*(tpool.execute(work, sync_engine, f"customer {number}") for number in range(5)))
    assert results == [2] * 5
    assert await green.run(green_tpool.execute, work, sync_engine, "green") == 2
    assert len(await tpool.execute(names, sync_engine)) == 6


@pytest.mark.combination(caller="green thread", library="SQLAlchemy session behind tpool.Proxy")
async def test_a_blocking_session_behind_a_proxy(sync_engine: Engine) -> None:
    await tpool.execute(work, sync_engine, "spam")

    def body() -> None:
        make = sessionmaker(sync_engine)
        session: Any = green_tpool.Proxy(make(), pin=True, autowrap_names=("execute", "scalars"))
        with green_tpool.closing(session):
            session.add(Customer(name="eggs"))
            session.commit()
            assert sorted(session.scalars(select(Customer.name))) == ["eggs", "spam"]
            assert session.scalars(select(Customer.name).order_by(Customer.name)).first() == "eggs"
            assert session.get(Customer, 1).name == "spam"

    await green.run(body)
