"""What tests make proxies of: objects that tell in which thread they are used."""

import threading
from collections.abc import Iterator
from typing import Any, Self


class Row:
    """One of many small things that a `Cursor` gives."""

    def __init__(self, number: int) -> None:
        self.number = number

    def thread(self) -> int:
        return threading.get_ident()


class Cursor:
    """What a `Connection` gives; its own iterator, and a context manager."""

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.left = [Row(1), Row(2), Row(3)]
        self.threads: list[int] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Row:
        self.threads.append(threading.get_ident())
        if not self.left:
            raise StopIteration
        return self.left.pop(0)

    def __enter__(self) -> Self:
        self.threads.append(threading.get_ident())
        return self

    def __exit__(self, *failure: object) -> None:
        self.threads.append(threading.get_ident())

    def thread(self) -> int:
        return threading.get_ident()

    def execute(self, *statement: Any) -> Self:
        """Return the object itself, as the cursors of many libraries do."""
        return self

    def fetchone(self) -> Row | None:
        return self.left.pop(0) if self.left else None

    def fetchall(self) -> list[Row]:
        rows, self.left = self.left, []
        return rows


class Connection:
    """What users make a proxy of."""

    limit = 100

    def __init__(self, name: str = "connection") -> None:
        self.name = name
        self.current = Cursor(self)
        self.closed = 0

    @property
    def itself(self) -> Self:
        return self

    def thread(self) -> int:
        """Return the thread of this call."""
        return threading.get_ident()

    def cursor(self) -> Cursor:
        return Cursor(self)

    def rows(self, count: int) -> Iterator[Row]:
        for number in range(count):
            yield Row(number)

    def pair(self) -> tuple[Cursor, str, list[Cursor]]:
        return Cursor(self), "text", [Cursor(self)]

    def nothing(self) -> None:
        return None

    def fails(self, error: BaseException) -> None:
        raise error

    def keywords(self, /, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs

    def __call__(self, *args: Any) -> Cursor:
        return Cursor(self)

    def __getitem__(self, key: Any) -> Cursor:
        return Cursor(self)

    def __enter__(self) -> Cursor:
        return Cursor(self)

    def __exit__(self, *failure: object) -> None:
        pass

    async def waits(self) -> int:
        return threading.get_ident()

    async def gives(self) -> Any:
        yield threading.get_ident()

    def close(self) -> None:
        self.closed += 1
