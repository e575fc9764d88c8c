"""The async path in a process in which neither greenlet nor anyio can be imported."""

from textwrap import dedent

import pytest

from tests.child import output_of

WITHOUT = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
assert not set(MISSING) & set(sys.modules)
"""

EVERYTHING = """
import asyncio
import threading

from tpool_asyncio import from_thread, tpool


def numbers():
    yield from range(5)


class Thing:
    def __init__(self):
        self.inner = [3, 1, 2]

    def thread(self):
        return threading.get_ident()

    def __getitem__(self, index):
        return self.inner[index]


async def add(a, b):
    await asyncio.sleep(0)
    return a + b


async def agen():
    for item in "ab":
        yield item


async def main():
    assert await tpool.execute(divmod, 7, 2) == (3, 1)
    assert await tpool.options(timeout=20, queue_timeout=20, name="n", on_cancel="wait").execute(int, "3") == 3
    assert [item async for item in tpool.iterate(numbers)] == list(range(5))
    assert await tpool.execute(from_thread.run, add, 1, 2) == 3
    assert await tpool.execute(from_thread.run_sync, threading.get_ident) == threading.get_ident()
    assert await tpool.execute(lambda: list(from_thread.iterate(agen()))) == ["a", "b"]
    proxy = tpool.Proxy(Thing(), autowrap=list)
    assert await proxy.thread() != threading.get_ident()
    assert await proxy[0] == 3
    await proxy.inner.sort()
    assert [item async for item in proxy.inner] == [1, 2, 3]
    async with tpool.closing(tpool.Proxy.create(open, sys.executable, "rb", pin=True)) as file:
        assert len(await file.read(10)) == 10
    async with tpool.Pool(2, idle_timeout=1) as pool:
        queued = [pool.execute(int) for _ in range(10)]
        queued[-1].cancel()
        await asyncio.wait(queued)
        pool.resize(1)
        await pool.killall()
        assert pool.statistics().threads == 0
    await tpool.killall(timeout=20)
    assert tpool.statistics().threads == 0


asyncio.run(main())
print("works", sorted(set(MISSING) & set(sys.modules)))
"""


@pytest.mark.parametrize("missing", [("greenlet",), ("anyio",), ("greenlet", "anyio")], ids="+".join)
def test_the_async_path_needs_neither_greenlet_nor_anyio(missing: tuple[str, ...]) -> None:
    program = f"MISSING = {missing!r}\n" + WITHOUT + EVERYTHING
    assert output_of(program) == "works []\n"


def test_the_green_spelling_says_what_it_needs() -> None:
    program = """
    try:
        import tpool_asyncio.green
    except ModuleNotFoundError as error:
        print(error)
    """
    blocked = 'MISSING = ("greenlet",)\n' + WITHOUT
    assert output_of(blocked + dedent(program)) == "No module named 'greenlet'\n"


def test_green_threads_need_no_anyio() -> None:
    program = (
        'MISSING = ("anyio",)\n'
        + WITHOUT
        + "from tpool_asyncio import green\n"
        + "from tpool_asyncio.green import tpool\n"
        + "print(green.spawn(tpool.execute, int, '3').wait(), [*tpool.iterate(range, 3)], 'anyio' in sys.modules)\n"
    )
    assert output_of(program) == "3 [0, 1, 2] False\n"
