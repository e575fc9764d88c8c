"""``python -m tpool_asyncio``, as a user has it: in a process of its own."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import tpool_asyncio
from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._cli import contest, demo, main
from tpool_asyncio._cli.contest import WAYS, Outcome
from tpool_asyncio._cli.errors import CommandError
from tpool_asyncio._cli.files import Inventory, find_files, read_once, standard_library
from tpool_asyncio._cli.heartbeat import Heartbeat
from tpool_asyncio._cli.work import Database, Record, hash_file

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from tpool_asyncio._cli.main import main; sys.exit(main())"


def cli(*arguments: str, python: Sequence[str] = ("-m", "tpool_asyncio")) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=200, env=environment())


def interrupt(program: str, *arguments: str) -> tuple[int, str]:
    """Run a program until it says that it has begun, interrupt it as Ctrl-C does, and return how it ended."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "begun\n"
            os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the children, too
            return process.wait(30), process.stderr.read()
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with 250 small files, which is more than two batches, an empty one and a large one."""
    root = tmp_path / "files"
    (root / "inner").mkdir(parents=True)
    for number in range(250):
        (root / "inner" / f"{number}.txt").write_text(f"file {number}\n" * number)
    (root / "large").write_bytes(b"\0" * 600_000)
    return root


class TestDemo:
    def test_json(self, folder: Path) -> None:
        done = cli("demo", str(folder), "--json", "--size", "5")
        assert (done.returncode, done.stderr) == (0, "")
        answer = json.loads(done.stdout)
        assert (answer["files"], answer["skipped"], answer["size"]) == (251, 0, 5)
        assert answer["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert answer["same_digest"] is True
        ways = answer["contestants"]
        assert [way["name"] for way in ways] == ["on the loop", "asyncio.to_thread", "tpool"]
        assert len({way["digest"] for way in ways}) == 1
        assert [way["files"] for way in ways] == [251] * 3
        assert ways[0]["threads"] == 0
        assert all(1 <= way["threads"] <= 5 for way in ways[1:])
        assert all(way["files_per_second"] > 0 and way["worst_stall_ms"] >= 0 for way in ways)

    def test_piped_output_is_plain(self, folder: Path) -> None:
        pytest.importorskip("rich")
        done = cli("demo", str(folder))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.isascii()
        assert "\x1b" not in done.stdout
        assert "251 files" in done.stdout
        assert "file cache" in done.stdout
        rows = [line.split() for line in done.stdout.splitlines()[-3:]]
        assert len({row[-1] for row in rows}) == 1

    def test_limit_takes_the_first_by_path(self, folder: Path) -> None:
        answers = [json.loads(cli("demo", str(folder), "--json", "--limit", "3").stdout) for _ in range(2)]
        assert answers[0]["files"] == 3
        assert answers[0]["contestants"][0]["digest"] == answers[1]["contestants"][2]["digest"]

    @pytest.mark.parametrize("json_wanted", [False, True])
    def test_different_digests_are_an_error(
        self,
        folder: Path,
        json_wanted: bool,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        pytest.importorskip("rich")
        outcomes = [Outcome(way.name, 1.0, 0.0, 1, 251, way.name) for way in WAYS]
        monkeypatch.setattr(demo, "_contest", lambda inventory, *, size, shown: outcomes)
        assert main.main(["demo", str(folder), *(["--json"] if json_wanted else [])]) == 1
        captured = capsys.readouterr()
        assert "not found the same digests" in captured.err
        if json_wanted:
            assert json.loads(captured.out)["same_digest"] is False

    def test_file_that_vanishes(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def read_and_remove(inventory: Inventory) -> None:
            read_once(inventory)
            (folder / "large").unlink()

        monkeypatch.setattr(demo, "read_once", read_and_remove)
        with pytest.raises(CommandError, match=r"can no longer be read.*large") as caught:
            demo.demo(str(folder), size=2, limit=None, json_wanted=True)
        assert caught.value.code == 1

    def test_without_rich(self, folder: Path) -> None:
        done = cli("demo", str(folder), python=("-c", WITHOUT_RICH))
        assert (done.returncode, done.stdout) == (2, "")
        assert "pip install 'tpool-asyncio[cli]'" in done.stderr
        done = cli("demo", str(folder), "--json", python=("-c", WITHOUT_RICH))
        assert done.returncode == 0
        assert json.loads(done.stdout)["same_digest"] is True

    @pytest.mark.skipif(sys.platform == "win32", reason="a console event reaches the whole group of processes there")
    @pytest.mark.parametrize("way", range(len(WAYS)), ids=[way.name for way in WAYS])
    def test_ctrl_c(self, tmp_path: Path, way: int) -> None:
        # Hashing this hole takes minutes, and the line tells that it has begun.
        with open(tmp_path / "hole", "wb") as file:
            file.truncate(1 << 38)
        program = (
            "import sys, tpool_asyncio._cli.demo as demo, tpool_asyncio._cli.contest as contest;"
            "hash_file = contest.hash_file;"
            "contest.hash_file = lambda *a: (print('begun', flush=True), hash_file(*a))[1];"
            f"demo.read_once = id; demo.WAYS = demo.WAYS[{way}:];"
            "from tpool_asyncio._cli.main import main; sys.exit(main())"
        )
        assert interrupt(program, "demo", str(tmp_path), "--json") == (130, "tpool_asyncio demo: interrupted\n")


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "message"),
        [("missing", "does not exist"), ("file", "is not a folder"), ("empty", "there is no file")],
    )
    def test_wrong_folder(self, tmp_path: Path, name: str, message: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "empty").mkdir()
        done = cli("demo", str(tmp_path / name), "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "; name " in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_links_are_not_followed(self, folder: Path) -> None:
        before = find_files(str(folder)).files
        try:
            (folder / "inner" / "loop").symlink_to(folder)
            (folder / "again").symlink_to(folder / "large")
        except OSError:
            pytest.skip("this system makes no symbolic links")
        assert find_files(str(folder)).files == before

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
    def test_what_would_block_is_left_out(self, folder: Path) -> None:
        before = find_files(str(folder)).files
        os.mkfifo(folder / "fifo")
        assert find_files(str(folder)).files == before

    def test_unreadable_files_are_counted(self, folder: Path) -> None:
        inventory = Inventory(str(folder), ["gone", "large"], 0)
        read_once(inventory)
        assert (inventory.files, inventory.skipped, inventory.size) == (["large"], 1, 600_000)
        with pytest.raises(CommandError, match="can be read; name a folder"):
            read_once(Inventory(str(folder), ["gone"], 0))

    def test_standard_library(self) -> None:
        inventory = find_files(None, limit=100_000)
        assert inventory.folder == str(standard_library())
        assert os.path.join("asyncio", "__init__.py") in inventory.files
        assert not any("site-packages" in name or "__pycache__" in name for name in inventory.files)

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / os.fsdecode(b"\xff")).write_text("x")
        assert cli("demo", str(tmp_path), "--json").returncode == 0


class TestWork:
    def test_hash_file(self, folder: Path) -> None:
        record = hash_file(str(folder), "large")
        assert record == Record(b"large", 600_000, hashlib.sha256(b"\0" * 600_000).hexdigest())

    def test_hash_file_stops(self, folder: Path) -> None:
        assert hash_file(str(folder), "large", lambda: True).size == 0

    def test_combined_digest_does_not_depend_on_the_order(self, tmp_path: Path) -> None:
        records = [Record(b"a", 1, "x"), Record(b"\xff", 2, "y")]
        found = []
        for number, order in enumerate((records, records[::-1])):
            with contextlib.closing(Database(str(tmp_path / f"{number}"))) as database:
                database.file(order)
                found.append(database.combined())
        assert found[0] == found[1]
        assert found[0][0] == 2

    @pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
    async def test_ways_do_the_same(self, folder: Path, tmp_path: Path, way: contest.Way) -> None:
        inventory = find_files(str(folder))
        seen: list[int] = []
        outcome = await contest.run(way, inventory, str(tmp_path), size=3, on_progress=seen.append)
        assert outcome.files == seen[-1] == 251
        with contextlib.closing(Database(str(tmp_path / "expected"))) as database:
            database.file([hash_file(str(folder), name) for name in inventory.files])
            assert database.combined() == (251, outcome.digest)

    async def test_heartbeat_notes_a_stall(self) -> None:
        async with Heartbeat(0.001, lambda: None) as heartbeat:
            await asyncio.sleep(0.01)
            time.sleep(0.05)
        assert heartbeat.worst >= 0.04


class TestArguments:
    def test_version(self) -> None:
        done = cli("--version")
        assert (done.returncode, done.stdout) == (0, f"tpool_asyncio {tpool_asyncio.__version__}\n")

    def test_no_command_is_help(self) -> None:
        done = cli()
        assert (done.returncode, done.stdout) == (2, "")
        assert "demo" in done.stderr
        assert "bench" in done.stderr

    @pytest.mark.parametrize("command", ["demo", "bench"])
    def test_help(self, command: str) -> None:
        done = cli(command, "--help")
        assert done.returncode == 0
        assert "--json" in done.stdout

    @pytest.mark.parametrize(
        "arguments", [["demo", "--size", "0"], ["demo", "--limit", "x"], ["bench", "--rounds", "-1"]]
    )
    def test_wrong_number(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main.main(arguments)
        assert caught.value.code == 2
        assert "is no whole number of 1 or more" in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe looks different there")
    def test_reader_that_has_enough(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tpool_asyncio", "demo", str(folder), "--json"]
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            command, check=False, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=200, env=environment()
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (1, "")


class TestBench:
    def test_json(self) -> None:
        done = cli("bench", "--quick", "--rounds", "1", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        answer = json.loads(done.stdout)
        assert answer["rounds"] == 1
        for workload in answer["workloads"].values():
            assert workload["contestants"]["tpool"]["wall_us"] > 0
            assert workload["contestants"]["tpool"]["wall_ratio_to_tpool"] == 1

    def test_plain(self) -> None:
        done = cli("bench", "--quick", "--rounds", "1", python=("-c", WITHOUT_RICH))
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert "tpool / floor of asyncio" in done.stdout

    @pytest.mark.skipif(sys.platform == "win32", reason="a console event reaches the whole group of processes there")
    def test_ctrl_c(self) -> None:
        program = (
            "import sys, tpool_asyncio._cli.bench as bench; measure = bench.measure;"
            "tell = lambda done: done == 1 and print('begun', flush=True);"
            "bench.measure = lambda total, **options: measure(1000, **{**options, 'on_round': tell});"
            "from tpool_asyncio._cli.main import main; sys.exit(main())"
        )
        assert interrupt(program, "bench", "--quick") == (130, "tpool_asyncio bench: interrupted\n")

    def test_uvloop_missing(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        assert main.main(["bench", "--loop", "uvloop"]) == 2
        assert "pip install uvloop" in capsys.readouterr().err
