"""The executor of a Dask client whose cluster goes away at the wrong moment. The client does what the test says."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

import pytest

from tests.gate import PATIENCE
from tests.test_tokens import loop_in_thread
from tpool_asyncio.interop._dask import Cluster


class Remote:
    """Stands for a future of Dask."""

    status = "error"


class Loop:
    """Stands for the loop of a client, as Tornado wraps it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add_callback(self, callback: Callable[..., Any], *args: Any) -> None:
        def start() -> None:
            result = callback(*args)
            if asyncio.iscoroutine(result):
                tasks.add(task := self._loop.create_task(result))
                task.add_done_callback(tasks.discard)

        self._loop.call_soon_threadsafe(start)


tasks = set[asyncio.Task[Any]]()


class Client:
    """Stands for a client: `gather` does what the test says."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = Loop(loop)
        self.states = ["running"]
        self.outcome: Callable[[], Any] = int
        self.cancelled = threading.Event()

    @property
    def status(self) -> str:
        """What is left of ``states``, one by one; the last one stays."""
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Remote:
        return Remote()

    async def gather(self, remote: Remote, *, asynchronous: bool) -> Any:
        outcome = self.outcome()
        return await outcome if asyncio.iscoroutine(outcome) else outcome

    async def cancel(self, remotes: list[Remote], *, asynchronous: bool) -> None:
        self.cancelled.set()


class ClientExecutor:
    """Stands for what ``client.get_executor`` returns."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._shutdown = False
        self._futures = set[Remote]()
        self._kwargs = dict[str, Any]()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    async def nobody_watches(cluster: Cluster) -> None:
        pass

    monkeypatch.setattr(Cluster, "_watch_workers", nobody_watches)
    with loop_in_thread() as loop:
        yield Client(loop)


def test_the_client_is_closed_while_a_call_is_submitted(client: Client) -> None:
    # (1) The client is there. (2) It is closed, and its loop comes to no further call. (3) The call must fail.
    client.states = ["running", "closed"]
    client.outcome = lambda: asyncio.sleep(PATIENCE)
    future = Cluster(ClientExecutor(client)).submit(int)
    with pytest.raises(BrokenExecutor, match="the Dask client was closed"):
        future.result(PATIENCE)


@pytest.mark.parametrize("error", [asyncio.CancelledError("the loop ends"), GeneratorExit("the loop ends")])
def test_whatever_ends_the_fetching_is_the_outcome(client: Client, error: BaseException) -> None:
    def ends() -> None:
        raise error

    client.outcome = ends
    assert Cluster(ClientExecutor(client)).submit(int).exception(PATIENCE) is error


def test_an_outcome_that_comes_after_the_call_was_failed_is_dropped(client: Client) -> None:
    # (1) The outcome is on its way. (2) There has been no worker for too long, and all calls are failed. (3) Their
    # outcomes must change nothing; nor must it to fail them again.
    fetching, let_go, fetched = threading.Event(), threading.Event(), threading.Event()

    async def late() -> int:
        fetching.set()
        while not let_go.is_set():
            await asyncio.sleep(0.001)
        client.loop._loop.call_soon(fetched.set)
        return 3

    client.outcome = late
    cluster = Cluster(ClientExecutor(client))
    future = cluster.submit(int)
    assert fetching.wait(PATIENCE)
    cluster._fail_all("no worker")
    cluster._fail(future, "no worker, said once more")
    let_go.set()
    assert fetched.wait(PATIENCE)
    with pytest.raises(BrokenExecutor, match=r"^no worker;"):
        future.result(PATIENCE)
    assert client.cancelled.wait(PATIENCE)
