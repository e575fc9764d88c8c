"""The measurement of services: each is asked what it should be, too seldom to mean anything."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("aiohttp")

from tests.gate import PATIENCE
from tests.test_bench import BENCHMARKS
from tpool_asyncio._bench import web, web_load
from tpool_asyncio._bench.child_process import BenchError, environment
from tpool_asyncio._bench.web_watch import Watch, quantile

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server for one connection, which says this to every request; at which port."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(10_000):
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2", "the answer to request 1 is b'2'"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\n1", "the answer to request 1 is b'HTTP/1.1 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", None),
    ],
)
def test_a_wrong_answer_is_no_figure(answer: bytes, message: str | None) -> None:
    with answering(answer) as port:
        making = web_load._make_raw(web_load.Load(port, 0, 1), 1, 1)
        if message is None:
            assert asyncio.run(making)["wall_us"] > 0
        else:
            with pytest.raises(ValueError, match=message):
                asyncio.run(making)


def test_a_watch_finds_wrong_answers() -> None:
    wrong = pytest.raises(ValueError, match="the answer to request 2 is b'1'")
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1") as port, wrong, Watch(port, 3) as watch:
        watch.wait()


def test_quantile() -> None:
    values = [float(number) for number in range(100)]
    assert (quantile(values, 0), quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)) == (0, 50, 99, 99)
    assert quantile([3.0], 0.5) == 3.0


def test_script(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    script = [sys.executable, "-W", "error", str(BENCHMARKS / "web.py"), "--json", str(path)]
    options = ["--rounds", "1", "--scale", "0.003", "--connections", "3", "--threads", "2"]
    done = subprocess.run(
        [*script, *options], capture_output=True, text=True, timeout=60, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(path.read_text())
    assert list(results) == list(web.TABLES)
    for name, table in web.TABLES.items():
        assert results[name]["missing"] == {}
        names = [server.name for server in table.servers]
        assert sorted(results[name]["alone_seconds"]) == sorted(names)
        assert list(results[name]["workloads"]) == [workload.name for workload in web.WORKLOADS]
        for workload in results[name]["workloads"].values():
            taken = workload["contestants"]
            assert sorted(taken) == sorted(names)
            assert all(len(each["samples"]) == 1 and each["wall_us"] > 0 for each in taken.values())
            assert all(each["loaded_p99_ms"] > 0 for each in taken.values())
        for server in table.servers:
            assert done.stdout.count(server.title) >= 1 + len(web.WORKLOADS)


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('no fastapi here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BenchError, match=r"interop\.starlette itself cannot be measured: no fastapi here"):
        web.measure(web.TABLES["fastapi"], 1, connections=1, threads=1, scale=0.001)
    script = [sys.executable, str(BENCHMARKS / "web.py"), "--json", str(tmp_path / "web.json"), "--only", "fastapi"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "left out. interop.starlette itself cannot be measured: no fastapi here" in done.stdout
