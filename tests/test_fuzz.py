"""Whatever is passed in from outside: it is accepted and works, or is refused by an error that names the remedy.

``TPOOL_TESTS=long`` searches a hundred times as long.
"""

import asyncio
import decimal
import fractions
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tpool_asyncio
from tests.effort import LONG, few_examples
from tests.plain_job import PlainJob, end, submit
from tpool_asyncio import __version__, from_thread, green, hubs, tpool
from tpool_asyncio._bench.child_process import BenchError
from tpool_asyncio._cli import bench, demo, files
from tpool_asyncio._cli.main import main
from tpool_asyncio._pool import default
from tpool_asyncio._pool.size import check_size, parse_size
from tpool_asyncio._pool.thread_pool import ThreadPool
from tpool_asyncio.green import tpool as green_tpool

pytestmark = pytest.mark.timeout(3_600 if LONG else 60)


class Unspeakable:
    """Something that cannot even be shown."""

    def __repr__(self) -> str:
        raise ArithmeticError("not shown to anybody")


TOO_LONG = 10**5_000
"""A number that Python refuses to write as text."""

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 30),
    st.floats(),
    st.text(max_size=6),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.sampled_from([10**400, -(10**400), TOO_LONG, -TOO_LONG, math.inf, 1e308, [], (), {}, object, Unspeakable()]),
    st.sampled_from([decimal.Decimal(1), fractions.Fraction(1, 2), range(3), Context(), "abandon", "wait"]),
)

fuzz = few_examples(60)


def refused(error: Exception, names: set[str]) -> None:
    """Check that an error is about one of these options and says what would be right."""
    assert type(error) in (TypeError, ValueError), repr(error)
    assert any(name in str(error) for name in names), error
    assert re.search(r" must be |iterate takes an iterable", str(error)), error


# Sizes


@fuzz
@given(st.one_of(st.text(), st.from_regex(r"\s*[+-]?[0-9_.]{0,6}\s*"), st.text("0123456789 ", max_size=4)))
@example("9" * 5_000)
@example("٣")
@example("²")
@example("\x00")
def test_the_environment_variable(text: str) -> None:
    pool = default._make(text)
    wanted = re.fullmatch(r"\s*([0-9]{1,4000})\s*", text)
    if wanted is not None:
        assert pool.size == parse_size("X", text) == int(wanted[1])
        pool.set_size(1)
    else:
        job = PlainJob(int)
        for _ in range(2):
            with pytest.raises(
                ValueError, match=r"EVENTLET_THREADPOOL_SIZE must be a whole number.* correct or unset it"
            ):
                pool.submit(job)
        assert pool.size == default.DEFAULT_SIZE
        assert pool.statistics()[1:] == (0,) * 11
        pool.set_size(1)
    assert submit(pool, int).result() == 0
    end(pool)


@fuzz
@given(anything, st.sampled_from(["resize", "set_size"]))
def test_sizes(size: Any, how: str) -> None:
    pool = ThreadPool(2)
    try:
        getattr(pool, how)(size)
    except ValueError as error:
        refused(error, {"the number of threads"})
        assert not isinstance(size, int) or isinstance(size, bool) or size < 0
        assert pool.size == 2
        assert submit(pool, int).result() == 0
    else:
        assert pool.size == check_size(size) == size
        pool.resize(2)
    assert pool.statistics().queued == 0
    end(pool)


@fuzz
@given(anything)
def test_set_num_threads(size: Any) -> None:
    before = default.get_num_threads()
    try:
        tpool.set_num_threads(size)
    except ValueError as error:
        refused(error, {"the number of threads"})
        assert default.get_num_threads() == before
    else:
        assert default.get_num_threads() == size
        tpool.set_num_threads(before)


# Pools and options


@fuzz
@given(
    st.fixed_dictionaries(
        {}, optional={"size": anything, "name": anything, "idle_timeout": anything, "exit_grace": anything}
    )
)
def test_pools(options: dict[str, Any]) -> None:
    try:
        pool = tpool.Pool(**options)
    except Exception as error:
        refused(error, {"threads", *options})
        return
    assert pool.statistics().threads == 0
    assert pool.statistics().size == options.get("size", default.DEFAULT_SIZE)
    core = pool._core
    core.set_size(1)
    assert submit(core, int).result() == 0
    end(core)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


option_values = st.fixed_dictionaries(
    {},
    optional={
        "timeout": anything,
        "queue_timeout": anything,
        "on_cancel": anything,
        "limiter": anything,
        "context": anything,
        "name": anything,
    },
)


@fuzz
@given(options=option_values)
@example(options={"timeout": 10**400})
@example(options={"queue_timeout": math.inf})
@example(options={"timeout": math.nan})
@example(options={"timeout": -TOO_LONG})
def test_options(options: dict[str, Any], runner: asyncio.Runner) -> None:
    try:
        handle = tpool.options(**options)
    except Exception as error:
        refused(error, set(options))
        return

    async def call() -> Any:
        try:
            return await handle.execute(int, "3")
        except TimeoutError as error:
            return str(error)

    result = runner.run(call())
    assert result == 3 or "timeout of" in result


@pytest.mark.parametrize("name", ["timeout", "queue_timeout", "on_cancel", "limiter", "context", "name"])
@pytest.mark.parametrize("value", [Unspeakable(), -TOO_LONG], ids=["object", "number"])
def test_what_cannot_be_shown_is_refused_all_the_same(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"{name} must be .* an unprintable (Unspeakable|int)"):
        tpool.options(**{name: value})


UNSPEAKABLE: Any = Unspeakable()

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "bind": (lambda: tpool.current_token().bind(UNSPEAKABLE), "bind takes a synchronous function"),
    "from_thread.run": (
        lambda: tpool.execute(from_thread.run, UNSPEAKABLE),
        "the first argument of from_thread.run must be callable",
    ),
    "from_thread.run of a plain function": (
        lambda: tpool.execute(from_thread.run, lambda: UNSPEAKABLE),
        "use from_thread.run_sync for a plain function",
    ),
    "from_thread.iterate": (
        lambda: tpool.execute(from_thread.iterate, UNSPEAKABLE),
        "from_thread.iterate takes an async iterable",
    ),
    "iterate": (lambda: anext(tpool.iterate(lambda: UNSPEAKABLE)), "which cannot be iterated over"),
    "Proxy": (lambda: tpool.Proxy(functools.partial(add, UNSPEAKABLE)), "Proxy takes an object that blocks"),
    "autowrap": (lambda: tpool.Proxy([], UNSPEAKABLE), "autowrap takes a type or a collection of types"),
    "autowrap_names": (
        lambda: tpool.Proxy([], autowrap_names=[UNSPEAKABLE]),
        "autowrap_names takes a collection of strings",
    ),
    "pool": (lambda: tpool.Proxy([], pool=UNSPEAKABLE), "pool must be a tpool_asyncio.tpool.Pool"),
    "pool, green": (lambda: green_tpool.Proxy([], pool=UNSPEAKABLE), "pool must be a tpool_asyncio.green.tpool.Pool"),
    "create": (lambda: tpool.Proxy.create(UNSPEAKABLE), "create takes what makes the object"),
    "closing": (lambda: tpool.closing(UNSPEAKABLE).__aenter__(), "this needs a Proxy of tpool_asyncio.tpool"),
    "executor": (lambda: tpool.executor(UNSPEAKABLE), "pool must be a Pool"),
    "over": (lambda: tpool.Pool.over(UNSPEAKABLE), "takes an executor of concurrent.futures"),
    "over, name": (lambda: tpool.Pool.over(ThreadPoolExecutor, name=UNSPEAKABLE), "name must be a string"),
    "new_event_loop": (lambda: tpool_asyncio.new_event_loop(factory=UNSPEAKABLE), "factory must be a function"),
    "spawn": (lambda: green.spawn(UNSPEAKABLE), "a green thread runs a function"),
    "kill": (lambda: green.kill(UNSPEAKABLE), "kill ends what spawn returns"),
    "sleep": (lambda: green.run(green.sleep, UNSPEAKABLE), "a time must be a number of seconds"),
    "await_": (lambda: green.run(green.await_, UNSPEAKABLE), "await_ takes what can be awaited"),
    "with_timeout": (lambda: green.with_timeout(1, UNSPEAKABLE), "with_timeout takes a function to call"),
    "green.run": (lambda: green.run(UNSPEAKABLE), "run takes a synchronous function"),
    "async_": (lambda: green.async_(UNSPEAKABLE), "async_ takes a synchronous function"),
    "sync": (lambda: green.sync(UNSPEAKABLE), "sync takes a coroutine function"),
    "iter_": (lambda: green.run(list, green.iter_(UNSPEAKABLE)), "iter_ takes an async iterable"),
    "Semaphore": (lambda: green.Semaphore(UNSPEAKABLE), "must be a whole number"),
    "use_hub": (lambda: hubs.use_hub(UNSPEAKABLE), "use_hub takes"),
}


async def add(a: object, b: object) -> None:
    """Be a coroutine function, for a `functools.partial` whose ``repr`` is that of its argument."""


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_be_shown_is_refused_by_all(what: str) -> None:
    refuse, said = REFUSED[what]
    with pytest.raises(TypeError, match=said) as caught:
        refused = refuse()
        if inspect.isawaitable(refused):
            await refused
    assert re.search("an unprintable (Unspeakable|list|partial)", str(caught.value))


@fuzz
@given(timeout=anything)
@example(timeout=10**400)
def test_killall(timeout: Any, runner: asyncio.Runner) -> None:
    async def call() -> None:
        pool = tpool.Pool(1)
        await pool.execute(int)
        try:
            await pool.killall(timeout=timeout)
        except (TypeError, ValueError) as error:
            refused(error, {"timeout"})
            assert pool.statistics().threads == 1
            await pool.killall()

    runner.run(call())


@fuzz
@given(batch=anything, source=anything)
def test_iterate(batch: Any, source: Any, runner: asyncio.Runner) -> None:
    async def call() -> list[Any]:
        try:
            async with tpool.iterate(source, batch=batch) as items:
                return [item async for item in items]
        except (TypeError, ValueError) as error:
            refused(error, {"batch", "iterate takes"})
            return list(source) if hasattr(source, "__iter__") else []

    if source is object or isinstance(source, (Context, Unspeakable)):
        return  # what can be called, or iterated over, in ways of its own
    assert runner.run(call()) == (list(source) if hasattr(source, "__iter__") else [])


# The command line

words = st.one_of(
    st.sampled_from(
        ["demo", "bench", "--size", "--limit", "--json", "--rounds", "--loop", "--quick", "uvloop", "asyncio"]
    ),
    st.sampled_from(["--version", "--help", "-h", "--", "-", "--size=0", "--rounds=-1", "9" * 5_000, "1", "0", "-1"]),
    st.text(max_size=5),
)


@fuzz
@given(arguments=st.lists(words, max_size=5))
@example(arguments=["demo", "\x00"])
@example(arguments=["demo", ""])
@example(arguments=["demo", "\udcff"])
@example(arguments=["demo", "--size", "9" * 5_000])
@example(arguments=["bench", "--rounds", "1e3"])
def test_the_command_line(
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def measure(*args: Any, **kwargs: Any) -> Any:
        raise BenchError("nothing is measured here")

    monkeypatch.setattr(files, "standard_library", lambda: tmp_path)
    monkeypatch.setattr(demo, "read_once", lambda inventory: inventory.files.clear())
    monkeypatch.setattr(demo, "_contest", lambda *args, **kwargs: [])
    monkeypatch.setattr(demo, "same_digest", lambda outcomes: False)
    monkeypatch.setattr(demo, "as_json", lambda *args, **kwargs: {})
    monkeypatch.setattr(demo, "print_result", lambda *args: None)
    monkeypatch.setattr(bench, "measure", measure)
    before = tpool.statistics()
    try:
        code: object = main(arguments)
    except SystemExit as left:  # by argparse
        code = left.code
    said = capsys.readouterr()
    if code == 0:
        assert said.out.startswith(("usage:", f"tpool_asyncio {__version__}"))
    elif code == 1:
        assert "nothing is measured" in said.err or "same digests" in said.err
    else:
        assert code == 2
        assert said.err.startswith("usage:") or re.match(r"tpool_asyncio (demo|bench): .*; ", said.err), said.err
    assert "Traceback" not in said.err
    assert tpool.statistics() == before


def test_a_context_is_accepted_as_it_is(runner: asyncio.Runner) -> None:
    async def call() -> Any:
        return await tpool.options(context=copy_context(), name="n", timeout=20).execute(int, "3")

    assert runner.run(call()) == 3
