"""Modules and objects of the standard library behind a proxy: shelve, re, pathlib, tempfile, json and others."""

import asyncio
import dbm.dumb
import json
import logging
import os
import pathlib
import queue
import re
import shelve
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.gate import PATIENCE
from tpool_asyncio import green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

# shelve, whose database belongs to one thread if it is one of SQLite, as it is since Python 3.13


async def test_a_pinned_shelf(tmp_path: Path) -> None:
    path = str(tmp_path / "shelf")
    shelf = await tpool.Proxy.create(shelve.open, path, pin=True)
    await shelf.update({"a": [1, 2], "b": {"c": 3}})
    with pytest.raises(RuntimeError, match="proxy_call"):  # an assignment cannot wait for another thread
        shelf["d"] = 4
    await tpool.proxy_call(shelf, shelf._obj.__setitem__, "d", 4)
    assert await shelf["d"] == 4
    assert await tpool.proxy_call(shelf, len, shelf._obj) == 3
    await tpool.proxy_call(shelf, shelf._obj.__delitem__, "d")
    with pytest.raises(KeyError):
        await shelf["d"]
    assert sorted([key async for key in shelf]) == ["a", "b"]
    assert dict([item async for item in tpool.iterate(shelf.items)]) == {"a": [1, 2], "b": {"c": 3}}
    await shelf.close()
    assert tpool.statistics().pinned == 0


async def test_a_shelf_that_any_thread_may_use(tmp_path: Path) -> None:
    opens: Any = dbm.dumb.open
    async with tpool.Proxy.create(lambda: shelve.Shelf(opens(str(tmp_path / "shelf")))) as shelf:
        shelf["a"] = 1  # an assignment cannot be awaited, so it is made in place
        await tpool.proxy_call(shelf, shelf._obj.__setitem__, "b", 2)
        assert await shelf["a"] == 1
        assert "b" in shelf
        assert len(shelf) == 2
        del shelf["b"]
        assert [key async for key in shelf] == ["a"]
    with pytest.raises(ValueError, match="closed shelf"):
        await shelf["a"]


async def test_a_shelf_that_writes_back(tmp_path: Path) -> None:
    opens = partial(shelve.open, str(tmp_path / "shelf"), writeback=True)
    async with tpool.Proxy.create(opens, autowrap=dict, pin=True) as shelf:
        await tpool.proxy_call(shelf, shelf._obj.__setitem__, "settings", {})
        settings = await shelf["settings"]
        assert type(settings) is tpool.Proxy
        await settings.update(colour="red")
        await shelf.sync()
    await shelf.close()  # a second time, as shelve allows; by name, which lets the thread go
    assert tpool.statistics().pinned == 0


def legacy_shelf(path: str) -> list[object]:
    """What synchronous code does with a shelf: here, an assignment runs in the pool as well."""
    threads = set()

    class Shelf(shelve.DbfilenameShelf[Any]):
        def __setitem__(self, key: str, value: object) -> None:
            threads.add(threading.get_ident())
            super().__setitem__(key, value)

        def __delitem__(self, key: str) -> None:
            threads.add(threading.get_ident())
            super().__delitem__(key)

    shelf: Any = green_tpool.Proxy.create(Shelf, path, pin=True)
    try:
        shelf["a"] = [1, 2]
        shelf["b"] = 3
        del shelf["b"]
        assert threads
        assert threading.get_ident() not in threads
        return [shelf["a"], "b" in shelf, green_tpool.proxy_call(shelf, len, shelf._obj), [*iter(shelf)]]
    finally:
        shelf.close()


async def test_a_shelf_in_green_threads(tmp_path: Path) -> None:
    assert await green.run(legacy_shelf, str(tmp_path / "shelf")) == [[1, 2], False, 1, ["a"]]


def test_a_shelf_in_a_script(script: hubs.Hub, tmp_path: Path) -> None:
    assert legacy_shelf(str(tmp_path / "shelf")) == [[1, 2], False, 1, ["a"]]


# re, a module that computes


async def test_patterns_of_a_module() -> None:
    module = tpool.Proxy(re, autowrap=re.Pattern)
    pattern = await module.compile(r"(\d+)-(\d+)")
    assert type(pattern) is tpool.Proxy
    assert pattern.groups == 2
    assert repr(pattern) == repr(re.compile(r"(\d+)-(\d+)"))
    text = " ".join(f"{n}-{n * n}" for n in range(3_000))
    assert (await pattern.search(text)).groups() == ("0", "0")
    assert len(await pattern.findall(text)) == 3_000
    found = [match[2] async for match in tpool.iterate(pattern.finditer, text)]
    assert found == [str(n * n) for n in range(3_000)]
    assert await module.sub("a", "b", "banana", flags=module.IGNORECASE) == "bbnbnb"


async def test_the_error_of_a_module_can_be_caught() -> None:
    module = tpool.Proxy(re, autowrap=(re.Pattern,))
    with pytest.raises(module.error, match="unterminated"):
        await module.compile("(")
    with pytest.raises(re.error) as caught:
        await module.compile("[")
    assert caught.value.pos == 0


async def test_matches_are_wrapped_on_request() -> None:
    pattern = tpool.Proxy(re.compile(r"\w+"), autowrap=re.Match)
    match = await pattern.match("two words")
    assert type(match) is tpool.Proxy
    assert await match.group() == await match[0] == "two"
    assert await pattern.match("!") is None
    assert [await match.group() async for match in tpool.iterate(pattern.finditer, "two words")] == ["two", "words"]


def test_patterns_in_a_script(script: hubs.Hub) -> None:
    module = green_tpool.Proxy(re, autowrap=re.Pattern)
    pattern = module.compile("a(.)")
    assert type(pattern) is green_tpool.Proxy
    assert pattern.findall("abac") == ["b", "c"]
    with pytest.raises(module.error):
        module.compile("(")


# pathlib and tempfile


async def test_paths(tmp_path: Path) -> None:
    folder: Any = tpool.Proxy(tmp_path, autowrap=pathlib.PurePath)
    file: Any = await (folder / "file.txt")
    assert not await file.exists()
    assert await file.write_text("two\nlines\n", encoding="utf-8") == 10
    assert file.name == "file.txt"
    assert os.fspath(file) == str(tmp_path / "file.txt")
    assert file == tmp_path / "file.txt"
    assert await tpool.execute(os.path.basename, file) == "file.txt"
    assert await (await file.rename(tmp_path / "other.txt")).read_text(encoding="utf-8") == "two\nlines\n"
    assert [await path.is_file() async for path in tpool.iterate(folder.iterdir)] == [True]
    assert [path.name async for path in tpool.iterate(folder.rglob, "*.txt")] == ["other.txt"]
    async with tpool.Proxy.create(open, await (file.parent / "other.txt")) as opened:
        assert [line async for line in opened] == ["two\n", "lines\n"]
    with pytest.raises(FileNotFoundError):
        await file.unlink()
    assert type(file) is tpool.Proxy


async def test_temporary_files() -> None:
    async with tpool.Proxy.create(tempfile.TemporaryDirectory) as name:
        path = Path(name)
        async with tpool.Proxy.create(partial(tempfile.NamedTemporaryFile, "w+", dir=name)) as file:
            await file.writelines(f"{n}\n" for n in range(3_000))
            await file.seek(0)
            assert [int(line) async for line in file] == list(range(3_000))
            assert await file.tell() > 0
            assert Path(file.name).parent == path
        async with tpool.Proxy.create(tempfile.SpooledTemporaryFile, 10) as file:
            await file.write(b"x" * 100)
            await file.seek(98)
            assert await file.read() == b"xx"
    assert not path.exists()


async def test_entries_of_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    async with await tpool.Proxy(os, autowrap_names="scandir").scandir(tmp_path) as entries:
        assert sorted([entry.name async for entry in entries]) == ["a", "b", "c"]
    system = tpool.Proxy(os)
    assert sorted(await system.listdir(tmp_path)) == ["a", "b", "c"]
    assert system.sep == os.sep
    with pytest.raises(FileNotFoundError):
        await system.stat(tmp_path / "d")


async def test_a_file_is_updated_in_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\nthree\n")
    async with tpool.Proxy.create(open, path, "r+b") as file:
        assert await anext(aiter(file)) == b"one\n"
        await file.seek(4)  # what has been read ahead is forgotten
        await file.write(b"TWO")
        await file.seek(0)
        assert await file.readlines() == [b"one\n", b"TWO\n", b"three\n"]


# json, logging, queue


async def test_json() -> None:
    module = tpool.Proxy(json)
    assert await module.loads(await module.dumps({"a": [1, 2]}, indent=2)) == {"a": [1, 2]}
    with pytest.raises(module.JSONDecodeError) as caught:
        await module.loads("[1, 2 3]")
    assert caught.value.pos == 6


async def test_a_logger_that_writes_to_a_file(tmp_path: Path) -> None:
    threads = set()

    class Handler(logging.FileHandler):
        def emit(self, record: logging.LogRecord) -> None:
            threads.add(threading.get_ident())
            super().emit(record)

    handler = Handler(tmp_path / "log")
    handler.setFormatter(logging.Formatter("%(levelname)s %(funcName)s %(message)s"))
    logger = logging.Logger("test", logging.INFO)
    logger.addHandler(handler)
    log = tpool.Proxy(logger)
    try:
        await log.info("from %s", "a task", stacklevel=1)
        await log.debug("not at all")
        try:
            raise KeyError("key")
        except KeyError as error:
            await log.error("failed", exc_info=error)
        log.level = logging.ERROR
        assert logger.level == logging.ERROR
    finally:
        handler.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].startswith("INFO ")
    assert lines[0].endswith("from a task")
    assert lines[-1] == "KeyError: 'key'"
    assert threading.get_ident() not in threads


async def test_a_queue_between_the_loop_and_a_thread() -> None:
    requests, answers = tpool.Proxy(queue.Queue()), tpool.Proxy(queue.Queue())

    def serve() -> None:
        while (request := requests._obj.get(timeout=PATIENCE)) is not None:
            answers._obj.put(request * 2)

    thread = threading.Thread(target=serve)
    thread.start()
    waiting = answers.get(timeout=PATIENCE)
    await asyncio.sleep(0)
    assert not waiting.done()
    await requests.put(21)
    assert await waiting == 42
    with pytest.raises(queue.Empty):
        await answers.get_nowait()
    await requests.put(None)
    await tpool.Proxy(thread).join()
    assert not thread.is_alive()
