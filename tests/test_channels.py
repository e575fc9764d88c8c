"""Queues of culsans and aiologic between the worlds, as docs/howto-threads.md says they are to be used."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tpool_asyncio import from_thread, green, tpool
from tpool_asyncio.green import tpool as green_tpool

if TYPE_CHECKING:
    from collections.abc import Callable

aiologic = pytest.importorskip("aiologic")
culsans = pytest.importorskip("culsans")

ITEMS = 20


class Channel:
    """A queue with room for two, by the methods that each world is to use."""

    def __init__(self, library: str) -> None:
        self.async_put: Callable[[Any], Any]
        self.async_get: Callable[[], Any]
        self.put: Callable[[Any], Any]
        self.get: Callable[[], Any]
        if library == "culsans":
            queue = culsans.Queue(2)
            self.async_put, self.async_get = queue.async_q.put, queue.async_q.get
            self.put, self.get = queue.sync_q.put, queue.sync_q.get
        else:
            queue = aiologic.Queue(2)
            self.async_put, self.async_get = queue.async_put, queue.async_get
            self.put, self.get = queue.green_put, queue.green_get


libraries = [
    pytest.param(library, marks=pytest.mark.combination(caller="async code, green thread and worker", library=library))
    for library in ("culsans", "aiologic")
]


@pytest.mark.parametrize("library", libraries)
async def test_from_each_world_to_each(library: str, pool: tpool.Pool) -> None:
    async def async_put(channel: Channel) -> None:
        for item in range(ITEMS):
            await channel.async_put(item)

    async def async_get(channel: Channel) -> list[int]:
        return [await channel.async_get() for _ in range(ITEMS)]

    def put(channel: Channel) -> None:
        for item in range(ITEMS):
            channel.put(item)

    def get(channel: Channel) -> list[int]:
        return [channel.get() for _ in range(ITEMS)]

    def green_put(channel: Channel) -> None:
        for item in range(ITEMS):
            green.await_(channel.async_put(item))

    def green_get(channel: Channel) -> list[int]:
        return [green.await_(channel.async_get()) for _ in range(ITEMS)]

    def parked_get(channel: Channel) -> list[int]:
        return [from_thread.run(channel.async_get) for _ in range(ITEMS)]

    puts: list[Callable[[Channel], Any]] = [
        async_put,
        lambda channel: pool.execute(put, channel),
        lambda channel: green.run(green_put, channel),
    ]
    gets: list[Callable[[Channel], Any]] = [
        async_get,
        lambda channel: pool.execute(get, channel),
        lambda channel: pool.execute(parked_get, channel),
        lambda channel: green.run(green_get, channel),
    ]
    for send in puts:
        for receive in gets:
            channel = Channel(library)
            _, items = await asyncio.wait_for(asyncio.gather(send(channel), receive(channel)), 20)
            assert items == list(range(ITEMS))


@pytest.mark.parametrize("library", ["culsans", "aiologic"])
@pytest.mark.usefixtures("script")
def test_from_a_worker_to_a_script(library: str) -> None:
    channel = Channel(library)
    put: Any = channel.put
    sender = green.spawn(green_tpool.execute, put, "item")
    assert green.await_(channel.async_get()) == "item"
    sender.wait()
