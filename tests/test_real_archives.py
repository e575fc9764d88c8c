"""Archives and compressed files behind a proxy: zipfile, tarfile, gzip, and csv on top of them."""

import csv
import gzip
import io
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from tpool_asyncio import from_thread, green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

LINES = [f"line {number}\n".encode() for number in range(5_000)]
"""Enough for several batches."""

CONTENT = b"".join(LINES)


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "lines.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lines.txt", CONTENT)
        archive.writestr("folder/empty.txt", b"")
    return path


@pytest.fixture
def tarred(tmp_path: Path) -> Path:
    path = tmp_path / "lines.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (("lines.txt", CONTENT), ("folder/empty.txt", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


# zipfile


async def test_members_of_a_zip_are_read(zipped: Path) -> None:
    async with tpool.Proxy.create(zipfile.ZipFile, zipped, autowrap=zipfile.ZipExtFile) as archive:
        assert await archive.namelist() == ["lines.txt", "folder/empty.txt"]
        assert await archive.testzip() is None
        assert (await archive.getinfo("lines.txt")).file_size == len(CONTENT)
        async with await archive.open("lines.txt") as member:
            assert type(member) is tpool.Proxy
            assert await member.readline() == LINES[0]
            assert [line async for line in member] == LINES[1:]
        assert member.closed
    assert archive.fp is None
    assert isinstance(archive, zipfile.ZipFile)


async def test_members_of_a_zip_are_written(tmp_path: Path) -> None:
    path = tmp_path / "new.zip"
    make = partial(zipfile.ZipFile, path, "w", compression=zipfile.ZIP_DEFLATED)
    async with tpool.Proxy.create(make, autowrap_names="open") as archive:  # what it opens has a private type
        async with await archive.open("lines.txt", "w") as member:
            assert type(member) is tpool.Proxy
            for line in LINES[:100]:
                await member.write(line)
        await archive.writestr("other.txt", "other")
        with pytest.raises(ValueError, match="requires mode"):
            await archive.open("lines.txt", "q")
    with zipfile.ZipFile(path) as plain:
        assert plain.read("lines.txt") == b"".join(LINES[:100])
        assert plain.read("other.txt") == b"other"


async def test_a_member_of_a_zip_by_iterate(zipped: Path) -> None:
    def lines(name: str) -> Iterator[str]:
        with zipfile.ZipFile(zipped) as archive, archive.open(name) as member:
            yield from io.TextIOWrapper(member, encoding="utf-8")

    assert [line.encode() async for line in tpool.iterate(lines, "lines.txt")] == LINES
    with pytest.raises(KeyError, match=r"nothing\.txt"):
        await anext(tpool.iterate(lines, "nothing.txt"))


async def test_what_is_no_zip(tarred: Path) -> None:
    with pytest.raises(zipfile.BadZipFile):
        async with tpool.Proxy.create(zipfile.ZipFile, tarred):
            raise AssertionError("it was opened")
    with pytest.raises(FileNotFoundError):
        await tpool.Proxy.create(zipfile.ZipFile, tarred.with_suffix(".nothing"))


async def test_a_damaged_member_raises_when_its_end_is_read(zipped: Path) -> None:
    content = bytearray(zipped.read_bytes())
    at = content.index(b"PK\x01\x02") + 16  # the checksum of the first member, in the directory at the end
    content[at] ^= 0xFF
    zipped.write_bytes(content)
    async with (
        tpool.Proxy.create(zipfile.ZipFile, zipped, autowrap=zipfile.ZipExtFile) as archive,
        await archive.open("lines.txt") as member,
    ):
        with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
            assert not [line async for line in member]


# tarfile


async def test_members_of_a_tar_are_read(tarred: Path) -> None:
    async with tpool.Proxy.create(tarfile.open, tarred, autowrap=tarfile.ExFileObject) as archive:
        members = [member async for member in archive]  # a TarFile can be iterated over, and is no iterator itself
        assert [member.name for member in members] == ["lines.txt", "folder/empty.txt"]
        async with await archive.extractfile(members[0]) as member:
            assert type(member) is tpool.Proxy
            assert await member.read(4) == b"line"
            await member.seek(0)
            assert [line async for line in member] == LINES
            await member.seek(0)  # what has been read ahead is forgotten
            async for line in member:
                assert line == LINES[0]
                break
            await member.seek(len(LINES[0]))
            assert await anext(aiter(member)) == LINES[1]
        with pytest.raises(KeyError, match="nothing"):
            await archive.extractfile("nothing")


async def test_a_tar_is_written_from_an_async_source(tmp_path: Path) -> None:
    path = tmp_path / "new.tar.xz"

    async def download() -> AsyncIterator[bytes]:
        for line in LINES:
            yield line

    class Source:
        """What comes from the loop, with the one method that `TarFile.addfile` needs."""

        def __init__(self, chunks: Iterator[bytes]) -> None:
            self._chunks = chunks
            self._left = b""

        def read(self, size: int) -> bytes:
            while len(self._left) < size:
                self._left += next(self._chunks)
            data, self._left = self._left[:size], self._left[size:]
            return data

    async with tpool.Proxy.create(tarfile.open, path, "w:xz") as archive:
        member = tarfile.TarInfo("lines.txt")
        member.size = len(CONTENT)
        await archive.addfile(member, Source(from_thread.iterate(download())))
    with tarfile.open(path) as plain:
        extracted = plain.extractfile("lines.txt")
        assert extracted is not None
        assert extracted.read() == CONTENT


async def test_a_tar_that_is_a_stream(tarred: Path) -> None:
    """Members of a stream must be read in their order, by one thread at a time."""
    content = {}
    async with tpool.Proxy.create(tarfile.open, tarred, "r|gz", autowrap=tarfile.ExFileObject, batch=1) as archive:
        async for member in archive:
            async with await archive.extractfile(member) as file:
                content[member.name] = await file.read()
    assert content == {"lines.txt": CONTENT, "folder/empty.txt": b""}


async def test_what_is_no_tar(zipped: Path) -> None:
    with pytest.raises(tarfile.ReadError):
        await tpool.Proxy.create(tarfile.open, zipped)


# gzip and csv


async def test_rows_of_a_compressed_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    fields = ["number", "text"]

    def write() -> None:
        with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fields)
            writer.writeheader()
            writer.writerows({"number": n, "text": f"a, {n}\nb"} for n in range(2_000))

    closed: list[int] = []

    def rows() -> Iterator[dict[str, str]]:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            try:
                yield from csv.DictReader(file)
            finally:
                closed.append(threading.get_ident())

    await tpool.execute(write)
    assert [(row["number"], row["text"]) async for row in tpool.iterate(rows)] == [
        (str(n), f"a, {n}\nb") for n in range(2_000)
    ]
    async with tpool.iterate(rows, batch=10) as some:
        async for row in some:
            if row["number"] == "5":
                break
    assert len(closed) == 2
    assert threading.get_ident() not in closed


async def test_a_csv_reader_by_proxy_and_by_iterate(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("".join(f'{n},"x {n}"\n' for n in range(1_000)), encoding="utf-8")
    expected = [[str(n), f"x {n}"] for n in range(1_000)]
    async with tpool.Proxy.create(partial(open, path, encoding="utf-8", newline="")) as file:
        assert [row async for row in tpool.iterate(csv.reader, file._obj)] == expected
        await file.seek(0)
        reader = tpool.Proxy(csv.reader(file._obj))
        assert await anext(reader) == expected[0]
        assert reader.line_num == 1
        assert [row async for row in reader] == expected[1:]


async def test_an_error_of_csv_comes_at_its_row(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"1,2\n3,4\n{'x' * (csv.field_size_limit() + 1)}\n", encoding="utf-8")
    seen = []
    async with tpool.Proxy.create(partial(open, path, encoding="utf-8", newline="")) as file:
        with pytest.raises(csv.Error, match="field larger than field limit"):
            async for row in tpool.iterate(csv.reader, file._obj):
                seen.append(row)
    assert seen == [["1", "2"], ["3", "4"]]


async def test_a_gzip_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(CONTENT)[:-20])
    read = 0
    async with tpool.Proxy.create(gzip.open, path) as file:
        with pytest.raises(EOFError):
            async for line in file:
                assert line == LINES[read]
                read += 1
    assert read > 0


async def test_an_async_source_is_compressed_in_a_worker(tmp_path: Path) -> None:
    path = tmp_path / "lines.gz"

    async def source() -> AsyncIterator[bytes]:
        for line in LINES:
            yield line

    async with tpool.Proxy.create(gzip.open, path, "wb") as file:
        await file.writelines(from_thread.iterate(source()))
    assert gzip.decompress(path.read_bytes()) == CONTENT


# The green spelling


def legacy(zipped: Path, tarred: Path) -> list[bytes]:
    """What synchronous code does with archives."""
    got = []
    with green_tpool.Proxy(zipfile, autowrap=(zipfile.ZipFile, zipfile.ZipExtFile)).ZipFile(zipped) as archive:
        assert type(archive) is green_tpool.Proxy
        with archive.open("lines.txt") as member:
            got.append(b"".join(member))
    with green_tpool.Proxy.create(tarfile.open, tarred, autowrap=tarfile.ExFileObject) as archive:
        names = [member.name for member in archive]
        assert names == archive.getnames()
        with archive.extractfile(names[0]) as member:
            got.append(b"".join(member))
    return got


async def test_synchronous_code_in_green_threads(zipped: Path, tarred: Path) -> None:
    assert await green.run(legacy, zipped, tarred) == [CONTENT, CONTENT]


def test_synchronous_code_in_a_script(script: hubs.Hub, zipped: Path, tarred: Path) -> None:
    assert legacy(zipped, tarred) == [CONTENT, CONTENT]
