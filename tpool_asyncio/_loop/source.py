"""Where the items of an iteration come from: opened, read and closed in the pool.

All of it happens in the trips of a stream, and after the last one in its closing; see `tpool_asyncio._loop.stream`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tpool_asyncio._pool.job import call_name
from tpool_asyncio._pool.refusal import close_unused, shown

__all__ = ["Source"]


class Source:
    """An iterable, or a function that returns one."""

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        function: Callable[[], Any] | None = None,
        *,
        wrap: Callable[[Iterator[Any]], Iterator[Any]] | None = None,
        keep: Any = None,
    ) -> None:
        self._iterable = iterable
        self._function = function  # what it returns is closed whatever the end
        self._wrap = wrap  # what the items go through
        self._keep = keep  # is never closed, although it may be its own iterator, or what the function returns
        self._iterator: Iterator[Any] | None = None
        self._owned: Any = None
        self._reader: Iterator[Any] | None = None

    def is_open(self) -> bool:
        """Return whether there is anything to be closed. Any thread."""
        return self._iterator is not None

    def reader(self) -> Iterator[Any]:
        """Return what gives the items; open the source if that has not been done."""
        if self._reader is None:
            iterable = self._iterable
            if self._function is not None:
                iterable = self._call()
            assert iterable is not None
            try:
                self._iterator = iter(iterable)
            except BaseException:
                owned, self._owned = self._owned, None
                _close(owned)
                raise
            self._reader = self._iterator if self._wrap is None else self._wrap(self._iterator)
        return self._reader

    def _call(self) -> Any:
        assert self._function is not None
        made = self._function()
        if not isinstance(made, Iterable):
            close_unused(made)
            raise TypeError(f"{call_name(self._function)} returned {shown(made)}, which cannot be iterated over")
        if made is not self._keep:
            self._owned = made
        return made

    def close(self, *, early: bool) -> None:
        """Close the source, and let go of it. An iterator is closed only if it has not been read to its end."""
        iterator, owned, keep = self._iterator, self._owned, self._keep
        self.let_go()
        try:
            if early and iterator is not keep:
                _close(iterator)
        finally:
            if owned is not iterator or not early:
                _close(owned)

    def let_go(self) -> None:
        """Drop everything, and close nothing."""
        self._iterable = self._function = self._wrap = self._keep = None
        self._iterator = self._owned = self._reader = None


def _close(thing: Any) -> None:
    close = getattr(thing, "close", None)
    if close is not None:
        close()
