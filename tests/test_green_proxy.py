"""Proxies in synchronous code: in scripts, in green threads, and in other threads."""

import asyncio
import contextvars
import functools
import gc
import json
import rlcompleter
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import anyio
import pytest

from tests.gate import PATIENCE, Gate
from tests.proxied import Connection, Cursor, Row
from tests.test_hubs import in_thread
from tpool_asyncio import green, hubs
from tpool_asyncio import tpool as async_tpool
from tpool_asyncio.green import tpool

Proxy = tpool.Proxy

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


def here() -> int:
    return threading.get_ident()


Everywhere = Callable[[Callable[[], Any]], Any]

PLACES: dict[str, Everywhere] = {
    "script": lambda function: function(),
    "green thread of a script": lambda function: green.spawn(function).wait(),
    "green thread of a loop": lambda function: in_thread(lambda: asyncio.run(green.run(function))),
    "script in another thread": in_thread,
}


@pytest.fixture(params=PLACES)
def everywhere(request: pytest.FixtureRequest) -> Iterator[Everywhere]:
    """Run a function where synchronous code may be."""
    yield PLACES[request.param]
    hub = hubs.get_hub()
    left = hub.green_threads
    hub.close()
    assert not left


@pytest.fixture
def pool() -> Iterator[tpool.Pool]:
    """A pool of one thread."""
    with tpool.Pool(1, name="test") as pool:
        yield pool
    hubs.get_hub().close()


def until(condition: Callable[[], object]) -> None:
    with green.Timeout(PATIENCE):
        while not condition():
            green.sleep(0.001)


# Where calls run, and what is wrapped


def test_methods_run_in_the_pool_and_attributes_in_place(everywhere: Everywhere) -> None:
    def use() -> None:
        connection = Connection()
        proxy = Proxy(connection)
        assert proxy.thread() != here()
        assert Proxy(threading).get_ident() != here()
        words = {word: word for word in ("self", "fn", "proxy", "nonblocking", "timeout", "args", "kwargs", "name")}
        assert proxy.keywords(1, **words) == ((1,), words)
        proxy.name = "another"
        assert connection.name == proxy.name == "another"
        del proxy.name
        with pytest.raises(AttributeError, match="'Connection' object has no attribute 'name'"):
            proxy.name  # noqa: B018
        error = KeyError("as it is")
        with pytest.raises(KeyError) as caught:
            proxy.fails(error)
        assert caught.value is error
        module = Proxy(json)
        with pytest.raises(module.JSONDecodeError):
            module.loads("nonsense")
        kind = Proxy(Connection, Connection)
        assert type(kind("made")) is Proxy
        assert Proxy(functools.partial(int, base=2))("101") == 5

    everywhere(use)


def test_only_the_calling_green_thread_waits(script: hubs.Hub) -> None:
    gate = Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate))
    waiting = green.spawn(proxy.wait, "value")
    until(lambda: gate.calls)  # while this one goes on
    gate.open()
    assert waiting.wait() == "value"


def test_async_methods_are_handed_on(script: hubs.Hub) -> None:
    assert green.await_(Proxy(Connection()).waits()) == here()


@pytest.mark.parametrize(
    "autowrap", [Cursor, (Cursor,), [Row, Cursor], {Cursor}, Cursor | Row], ids=lambda autowrap: type(autowrap).__name__
)
def test_results_are_wrapped_by_any_collection_of_types(autowrap: Any, script: hubs.Hub) -> None:
    for proxy in (Proxy(Connection(), autowrap), Proxy(Connection(), autowrap=autowrap)):
        assert type(proxy.cursor()) is Proxy
        assert type(proxy.cursor()._obj) is Cursor
        assert type(proxy.thread()) is int
    assert type(Proxy(Connection()).cursor()) is Cursor


def test_by_type_at_every_level(everywhere: Everywhere) -> None:
    def use() -> None:
        proxy: Any = Proxy(Connection(), (Cursor, Row, Connection))
        assert type(proxy.current.connection) is Proxy
        assert type(proxy()) is Proxy
        assert type(proxy["key"]) is Proxy
        assert type(proxy.cursor().fetchone()) is Proxy
        with proxy as cursor, cursor as itself:
            assert type(cursor) is Proxy
            assert itself is cursor
            rows = list(cursor)
        assert [type(row) for row in rows] == [Proxy] * 3
        assert [row.number for row in rows] == [1, 2, 3]
        assert here() not in {row.thread() for row in rows} | set(cursor.threads)

    everywhere(use)


def test_by_name_and_in_lists(script: hubs.Hub) -> None:
    proxy = Proxy(Connection(), autowrap_names=("cursor", "name", "_call_"))
    assert type(proxy.cursor()) is type(proxy.name) is type(proxy()) is Proxy
    assert type(proxy.current) is Cursor
    items = Proxy(Connection(), Cursor, autowrap_items=True)
    pair = items.pair()
    assert [type(item) for item in pair] == [Proxy, str, list]
    assert type(pair[2][0]) is Proxy


def test_nothing_is_wrapped_twice_and_none_never(script: hubs.Hub) -> None:
    inner = Proxy(Cursor(Connection()))
    proxy = Proxy(types.SimpleNamespace(give=lambda: inner, cursor=inner, nothing=lambda: None, none=None), object)
    assert proxy.give() is proxy.cursor is inner
    assert proxy.nothing() is proxy.none is None
    assert inner.execute("a statement") is inner
    connection = Proxy(Connection())
    assert connection.itself is connection


def test_it_passes_for_its_object() -> None:
    proxy = Proxy(Connection())
    assert isinstance(proxy, Proxy)
    assert isinstance(proxy, Connection)
    assert not isinstance(proxy, async_tpool.Proxy)
    assert dir(proxy) == dir(proxy._obj)
    name = rlcompleter.Completer({"proxy": proxy}).complete("proxy.curs", 0)
    assert name is not None
    assert name.rstrip("()") == "proxy.cursor"
    assert proxy.thread.__name__ == "thread"


class Logged(Proxy):
    """Notes what is asked of its object, and keeps a label for what it wraps."""

    log: ClassVar[list[str]] = []
    label = "none"

    def __init__(self, obj: Any, label: str) -> None:
        super().__init__(obj, (Cursor, Row))
        self.label = label
        self.log.clear()

    def __getattr__(self, name: str) -> Any:
        self.log.append(name)
        return super().__getattr__(name)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        self.log.append("()")
        return super().__call__(*args, **kwargs)


def test_a_subclass_keeps_itself_and_its_attributes(everywhere: Everywhere) -> None:
    def use() -> None:
        connection = Connection()
        proxy: Any = Logged(connection, "a label")
        rows = [*proxy.cursor(), proxy().fetchone()]
        assert [type(row) for row in rows] == [Logged] * 4
        assert {row.label for row in rows} == {"a label"}
        assert proxy.log == ["cursor", "()", "fetchone"]
        assert not hasattr(connection, "label")

    everywhere(use)


def test_nonblocking_calls_run_in_place(everywhere: Everywhere) -> None:
    def use() -> None:
        proxy: Any = Proxy(Connection(), Cursor)
        with tpool.nonblocking(proxy) as quick:
            assert quick.thread() == here()
            assert proxy.thread() != here()
            assert quick.keywords(nonblocking=1) == ((), {"nonblocking": 1})
            assert quick.cursor().thread() != here()  # its calls block again
            with pytest.raises(KeyError):
                quick.fails(KeyError("in place"))
        cursor: Any = Proxy(Cursor(Connection()))
        with tpool.nonblocking(cursor) as quick, quick:
            pass
        assert cursor.threads == [here()] * 2

    everywhere(use)


def test_proxy_call(everywhere: Everywhere) -> None:
    def use() -> None:
        connection = Connection()
        assert type(tpool.proxy_call(Cursor, connection.cursor)) is Proxy
        assert type(tpool.proxy_call((), connection.cursor)) is Cursor
        assert tpool.proxy_call((), here) != here()
        assert tpool.proxy_call((), here, nonblocking=True) == here()
        assert tpool.proxy_call((), dict, autowrap=1, fn=2) == {"autowrap": 1, "fn": 2}
        proxy = Logged(connection, "a label")
        child = tpool.proxy_call(proxy, getattr, proxy._obj, "current")
        assert type(child) is Logged
        assert child.label == "a label"

    everywhere(use)


# Objects that are made in the pool


def test_create_makes_the_object_at_once_in_the_pool(everywhere: Everywhere) -> None:
    def use() -> None:
        threads: list[int] = []

        def factory(name: str) -> Connection:
            threads.append(here())
            return Connection(name)

        proxy = Proxy.create(factory, "a name", autowrap=Cursor)
        assert proxy.name == "a name"
        assert threads != [here()]
        assert type(proxy.cursor()) is Proxy
        error = KeyError("as it is")
        with pytest.raises(KeyError) as caught:
            Proxy.create(Connection().fails, error)
        assert caught.value is error
        with pytest.raises(TypeError, match="not None; what was to make it"):
            Proxy.create(lambda: None)
        with pytest.raises(TypeError, match="create takes what makes the object"):
            Proxy.create(3)  # type: ignore[arg-type]

    everywhere(use)


# Options and bad input


def test_options_hold_for_each_call(pool: tpool.Pool) -> None:
    gate = Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate), timeout=0.01, pool=pool)
    while not gate.calls:  # a thread may be slow to start
        with pytest.raises(TimeoutError, match="Gate took longer than its timeout"):
            proxy.wait()
    with pytest.raises(TimeoutError, match="waited longer than its queue_timeout"):
        Proxy(Connection(), queue_timeout=0.01, pool=pool).thread()
    with pytest.raises(TimeoutError, match=r"proxied.Connection took longer than its timeout"):
        Proxy.create(Connection, timeout=0.01, pool=pool)
    with pytest.raises(tpool.StillRunningError) as caught:
        pool.killall(timeout=0)
    assert [call.name for call in caught.value.calls] == ["tests.gate.Gate"]
    gate.open()


def test_a_context_a_name_and_a_limiter(pool: tpool.Pool) -> None:
    context = contextvars.copy_context()
    context.run(VAR.set, "from outside")
    assert Proxy(VAR, context=context).get() == "from outside"
    limiter = anyio.CapacityLimiter(1)
    gate = Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate), limiter=limiter, name="a name", pool=pool)
    waiting = green.spawn(proxy.wait)
    until(lambda: gate.calls)
    assert limiter.borrowed_tokens == 1
    with pytest.raises(tpool.StillRunningError) as caught:
        pool.killall(timeout=0)
    assert [call.name for call in caught.value.calls] == ["a name"]
    gate.open()
    waiting.wait()


async def coroutine() -> None:
    pass


def test_objects_that_need_no_proxy() -> None:
    with pytest.raises(TypeError, match="not None; what was to make it"):
        Proxy(None)
    with pytest.raises(TypeError, match="which can be awaited as it is"):
        Proxy(coroutine)
    with pytest.raises(TypeError, match="which can be awaited as it is"):
        Proxy(coroutine())
    gc.collect()  # which would complain of a coroutine that was never awaited
    connection = Connection()
    assert Proxy(Proxy(connection))._obj is connection
    assert Proxy(async_tpool.Proxy(connection))._obj is connection


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"autowrap": 3}, TypeError, "autowrap takes a type or a collection of types, not 3"),
        ({"autowrap_names": 3}, TypeError, "autowrap_names takes a collection of strings"),
        ({"batch": 0}, ValueError, "batch"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds"),
        ({"on_cancel": "ignore"}, ValueError, "on_cancel"),
        ({"pool": 3}, TypeError, r"pool must be a tpool_asyncio.green.tpool.Pool, not 3"),
        ({"pool": async_tpool.default_pool()}, TypeError, r"pool must be a tpool_asyncio.green.tpool.Pool"),
    ],
)
def test_wrong_arguments_are_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], message: str, script: hubs.Hub
) -> None:
    with pytest.raises(error, match=message):
        Proxy(Connection(), pin=True, **arguments)
    with pytest.raises(error, match=message):
        Proxy.create(Connection, pin=True, **arguments)
    assert tpool.statistics().pinned == 0  # no thread has been taken


def test_proxies_of_the_other_spelling_are_refused(script: hubs.Hub) -> None:
    ours, theirs = Proxy(Connection()), async_tpool.Proxy(Connection())
    with pytest.raises(TypeError, match=r"needs a Proxy of tpool_asyncio.green.tpool, not Proxy <"):
        tpool.nonblocking(theirs)
    with pytest.raises(TypeError, match=r"needs a Proxy of tpool_asyncio.green.tpool"):
        tpool.proxy_call(theirs, here)
    with pytest.raises(TypeError, match=r"needs a Proxy of tpool_asyncio.tpool"):
        async_tpool.nonblocking(ours)
    with pytest.raises(TypeError, match=r"needs a Proxy of tpool_asyncio.tpool"):
        async_tpool.proxy_call(ours, here)


async def test_in_plain_async_code_a_call_is_an_error() -> None:
    proxy: Any = Proxy([1])
    with pytest.raises(RuntimeError, match="synchronous code cannot wait here"):
        proxy.pop()
    with pytest.raises(RuntimeError, match="synchronous code cannot wait here"):
        proxy[0]
    with pytest.raises(RuntimeError, match="synchronous code cannot wait here"):
        list(proxy)
    with pytest.raises(RuntimeError, match="synchronous code cannot wait here"):
        Proxy.create(list)
    with pytest.raises(TypeError):
        await proxy
    assert len(proxy) == 1  # in place
    assert await green.run(proxy.pop) == 1


def test_a_subclass_that_does_not_call_the_constructor() -> None:
    class Careless(Proxy):
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match=r"Careless has no object; a subclass has to call super"):
        Careless().name  # noqa: B018


def test_an_object_whose_getattr_loops(script: hubs.Hub) -> None:
    class Looping:
        def __getattr__(self, name: str) -> Any:
            return getattr(self, name + "_")

        def __call__(self) -> str:
            return "called"

    proxy = Proxy(Looping())
    with pytest.raises(RecursionError):
        proxy.anything  # noqa: B018
    assert proxy() == "called"


# Interrupts


class Managed:
    """A context manager whose end can be seen."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.left: list[object] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, *failure: object) -> None:
        self.gate()
        self.left.append(failure[0])


def test_a_timeout_abandons_a_call_that_runs_and_drops_one_that_is_queued(pool: tpool.Pool) -> None:
    gate, never = Gate(), Gate()
    proxy = Proxy(types.SimpleNamespace(wait=gate, never=never), pool=pool)

    def use() -> None:
        while not gate.calls:  # a thread may be slow to start
            with pytest.raises(green.Timeout), green.Timeout(0.01):
                proxy.wait()
        dropped = pool.statistics().cancelled
        with pytest.raises(green.Timeout), green.Timeout(0.01):
            proxy.never()
        assert pool.statistics().cancelled == dropped + 1

    green.spawn(use).wait()
    assert pool.statistics().abandoned == 1
    gate.open()
    pool.killall()
    assert never.calls == 0


def test_a_killed_green_thread_leaves_its_call(pool: tpool.Pool) -> None:
    gate = Gate()
    waiting = green.spawn(Proxy(types.SimpleNamespace(wait=gate), pool=pool).wait)
    until(lambda: gate.calls)
    waiting.kill()
    assert pool.statistics().abandoned == 1
    gate.open()


def test_the_end_of_with_gets_the_interrupt(pool: tpool.Pool) -> None:
    managed = Managed(gate := Gate())
    gate.open()

    inside: list[bool] = []

    def use() -> None:
        with Proxy(managed, pool=pool):
            inside.append(True)
            green.sleep(PATIENCE)

    green_thread = green.spawn(use)
    until(lambda: inside)
    green_thread.kill()
    until(lambda: managed.left)
    assert managed.left == [green.GreenletExit]


@pytest.mark.parametrize("queued", [True, False])
def test_the_end_of_with_runs_although_interrupted_itself(pool: tpool.Pool, queued: bool) -> None:
    managed = Managed(gate := Gate())
    proxy = Proxy(managed, pool=pool)
    blocked = Gate()
    blocker: list[Any] = []

    def use() -> None:
        with proxy:
            if queued:
                blocker.append(green.spawn(pool.execute, blocked))
                until(lambda: blocked.calls)

    green_thread = green.spawn(use)
    until(lambda: (blocked.calls and pool.statistics().queued) if queued else gate.calls)
    green_thread.kill()
    assert managed.left == []
    gate.open()
    blocked.open()
    until(lambda: managed.left)
    for other in blocker:
        other.wait()
    pool.killall()
    assert managed.left == [None]  # once
    assert gate.calls == 1


def test_a_queue_timeout_does_not_spare_the_end_of_with(pool: tpool.Pool) -> None:
    managed = Managed(gate := Gate())
    gate.open()
    blocked = Gate()
    blocker: list[Any] = []
    while not blocker:  # a thread may be slow to start, and nothing be entered
        with pytest.raises(TimeoutError), Proxy(managed, queue_timeout=0.01, pool=pool):
            blocker.append(green.spawn(pool.execute, blocked))
            until(lambda: blocked.calls)
    blocked.open()
    until(lambda: managed.left)
    blocker[0].wait()
    assert managed.left == [None]


# What is let go of


def test_objects_arguments_and_results_are_let_go_of(everywhere: Everywhere) -> None:
    class Big:
        def same(self, other: object) -> object:
            return other

    def use() -> None:
        argument = Big()
        proxy = Proxy(Big(), Big)
        result: Any = proxy.same(argument)
        references: list[weakref.ref[Any]] = [weakref.ref(thing) for thing in (proxy, proxy._obj, argument, result)]
        del argument, result
        green.sleep(0)
        assert references[2]() is references[3]() is None
        del proxy
        assert [reference() for reference in references] == [None] * 4

    everywhere(use)
