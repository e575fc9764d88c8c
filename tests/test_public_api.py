"""What is public is listed, documented and light."""

import importlib
import inspect
import re
from types import ModuleType

import pytest

import tpool_asyncio
from tests.child import output_of

MODULES = [
    "tpool_asyncio",
    "tpool_asyncio.tpool",
    "tpool_asyncio.from_thread",
    "tpool_asyncio.hubs",
    "tpool_asyncio.green",
    "tpool_asyncio.green.tpool",
    "tpool_asyncio.green.corolocal",
    "tpool_asyncio.interop.eventlet",
    "tpool_asyncio.interop.starlette",
]


OTHERS = {"_queue", "queue", "greenlet"}
"""Modules of the exceptions that are public here too."""


def public_things() -> list[tuple[str, object]]:
    things: list[tuple[str, object]] = []
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, (ModuleType, str)) or getattr(thing, "__module__", "").partition(".")[0] in OTHERS:
                continue
            things.append((f"{module_name}.{name}", thing))
            if inspect.isclass(thing):
                things += [
                    (f"{module_name}.{name}.{key}", value)
                    for key, value in vars(thing).items()
                    if not key.startswith("_") and inspect.isfunction(value)
                ]
    return things


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    there = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not (isinstance(value, ModuleType) and name != "tpool_asyncio")
    }
    if name == "tpool_asyncio.green":
        there |= {key for key in vars(module) if f"{name}.{key}" in MODULES}
    if name == "tpool_asyncio":
        there = {key for key in there if f"tpool_asyncio.{key}" in MODULES} | {"__version__", "new_event_loop"}
        there -= {"green", "hubs"}  # which need greenlet, and are there once somebody has imported them
    internal = {"handle_on", "shared_pool"}  # where the functions of the default pool come from
    assert there - internal == set(module.__all__)
    assert list(module.__all__) == sorted(module.__all__)


@pytest.mark.parametrize(("name", "thing"), public_things(), ids=lambda value: value if isinstance(value, str) else "")
def test_everything_public_says_what_a_reader_must_know(name: str, thing: object) -> None:
    text = inspect.getdoc(thing)
    assert text
    assert ".. versionadded:: " in text
    if inspect.isroutine(thing):
        parameters = [key for key in inspect.signature(thing).parameters if key not in {"self", "args", "kwargs"}]
        assert not parameters or name.endswith(("Options.execute", "Options.iterate")) or "Args:" in text
        assert re.search(PLACES, text), "which threads?"


PLACES = re.compile(
    "in any thread|from any thread|in a thread of|in the thread (of|that)|in the hub's thread"
    "|in (a|one|the) green thread|Pool.(execute|iterate). holds"
)


def test_exceptions_are_named_where_they_are_imported_from() -> None:
    for name, thing in public_things():
        if inspect.isclass(thing) and issubclass(thing, BaseException):
            module = importlib.import_module(thing.__module__)
            assert thing.__module__ in MODULES
            assert getattr(module, thing.__qualname__) is thing, name


def test_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", tpool_asyncio.__version__)


def test_import_starts_no_thread_and_loads_neither_greenlet_nor_anyio() -> None:
    program = """
    import sys, threading
    import tpool_asyncio
    print(threading.active_count(), sorted({"greenlet", "anyio", "uvloop", "rich"} & set(sys.modules)))
    """
    assert output_of(program) == "1 []\n"


def test_the_async_path_works_where_neither_is_installed() -> None:
    program = """
    import sys
    sys.modules["greenlet"] = sys.modules["anyio"] = None
    import asyncio
    from tpool_asyncio import from_thread, tpool
    async def main():
        print(await tpool.options(timeout=20).execute(from_thread.run, asyncio.sleep, 0, "value"))
        await tpool.killall()
    asyncio.run(main())
    """
    assert output_of(program) == "value\n"
