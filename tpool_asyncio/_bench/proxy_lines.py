"""Reading a file of text line by line.

``python -m tpool_asyncio._bench.proxy_lines NAME asyncio PATIENCE FOLDER`` measures one contestant as `child` does.

The clock runs from before the file is opened until it is closed. The lengths of the lines are added up, and the sum
must be right; no line is kept. The floor is a plain loop that does the same.
"""

import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tpool_asyncio._bench.answers import Clock
from tpool_asyncio._bench.contestants import THREADS
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.proxy_material import LINE_BYTES, check, text_path
from tpool_asyncio._bench.self_timed import Measure, SelfTimed, on_a_loop, serve
from tpool_asyncio._bench.subject import Subject
from tpool_asyncio._bench.targets import Verdict, faster
from tpool_asyncio._bench.workloads import Workload, nothing

__all__ = ["LINES", "READ", "subject", "verdicts"]

READ = Workload("lines", "lines", 1, nothing, (), reps=125_000, quick_reps=1_000)

Lines = Callable[[Path], AbstractAsyncContextManager[AsyncIterable[str]]]
"""Opens a file whose lines can be read."""


async def _read(lines: Lines, folder: str, _: Workload, reps: int) -> dict[str, float]:
    path = text_path(Path(folder), reps)
    clock = Clock()
    size = 0
    async with lines(path) as file:
        async for line in file:
            size += len(line)
    taken = clock.per_call(reps)
    check(size, reps * LINE_BYTES)
    return taken


@contextmanager
def _async(opener: Callable[[], Lines], folder: str) -> Iterator[Measure]:
    with on_a_loop(partial(_read, opener(), folder)) as measure:
        yield measure


def _iterate() -> Lines:
    from tpool_asyncio import tpool

    tpool.set_num_threads(THREADS)
    return lambda path: tpool.iterate(open, path, encoding="utf-8")


def _proxy() -> Lines:
    from tpool_asyncio import tpool

    tpool.set_num_threads(THREADS)

    @asynccontextmanager
    async def lines(path: Path) -> AsyncIterator[Any]:
        async with tpool.Proxy.create(partial(open, path, encoding="utf-8")) as file:
            yield file

    return lines


def _aiofiles() -> Lines:
    return partial(import_module("aiofiles").open, encoding="utf-8")


@contextmanager
def _plain(folder: str) -> Iterator[Measure]:
    def measure(_: Workload, reps: int) -> dict[str, float]:
        path = text_path(Path(folder), reps)
        clock = Clock()
        size = 0
        with open(path, encoding="utf-8") as file:
            for line in file:
                size += len(line)
        taken = clock.per_call(reps)
        check(size, reps * LINE_BYTES)
        return taken

    yield measure


TPOOL = SelfTimed("tpool", "async for over tpool.iterate(open, path)", partial(_async, _iterate))
PROXY = SelfTimed("proxy", "async for over a proxied file", partial(_async, _proxy))
AIOFILES = SelfTimed("aiofiles", "aiofiles, async for", partial(_async, _aiofiles))
FLOOR = SelfTimed("open", "plain open, for", _plain)

CONTESTANTS = {contestant.name: contestant for contestant in (TPOOL, PROXY, AIOFILES, FLOOR)}

LINES = Subject(
    "Cost per line", "tpool_asyncio._bench.proxy_lines", TPOOL, CONTESTANTS, {READ.name: READ}, threads=None
)


def subject(lines: int) -> Subject:
    """Return the subject for a file of this many lines."""
    title = f"{lines:,} lines, {lines * LINE_BYTES / 1e6:,g} MB"
    read = replace(READ, title=title, reps=lines, quick_reps=min(READ.quick_reps, lines))
    return replace(LINES, workloads={read.name: read})


def verdicts(figures: Figures, subject: Subject) -> list[Verdict]:
    """Judge the figures by the targets."""
    return [
        faster(figures, READ.name, AIOFILES.name, 10.0, subject=subject, reference=way.name) for way in (TPOOL, PROXY)
    ]


if __name__ == "__main__":
    serve(CONTESTANTS, LINES.workloads, *sys.argv[1:])
