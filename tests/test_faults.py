"""The fault suite, for the ways of this package: each comes out clean. Storms are smaller than in the benchmark."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tpool_asyncio._bench.faults import memory
from tpool_asyncio._bench.faults.case import Case
from tpool_asyncio._bench.faults.child import judge, load_cases
from tpool_asyncio._bench.faults.report import as_json, as_markdown, elsewhere, render
from tpool_asyncio._bench.faults.runner import Cell, run_here
from tpool_asyncio._bench.faults.verdicts import Hangs, Wrong
from tpool_asyncio._bench.faults.ways import OURS, WAYS, Way

CASES = load_cases()
TOGETHER = [name for name, case in CASES.items() if not case.alone]
ALONE = [name for name, case in CASES.items() if case.alone]

ONCE = {"multiprocessing_of_all_kinds", "sys_exit_in_a_call", "sigterm", "subinterpreter", "call_at_import"}
"""Cases in which nothing depends on the kind of loop, and little on the spelling; the benchmark runs all of them."""


def applies(name: str, way: str) -> bool:
    return CASES[name].needs <= WAYS[way].has


@pytest.mark.parametrize(("way", "loop"), [(way, loop) for way in OURS for loop in WAYS[way].loops])
def test_ours_comes_out_clean(way: str, loop: str) -> None:
    once = (way, loop) == ("tpool", "asyncio")
    batches = [[name] for name in ALONE if applies(name, way) and (once or name not in ONCE)]
    batches.insert(0, [name for name in TOGETHER if applies(name, way)])
    with ThreadPoolExecutor(4) as executor:
        results = executor.map(lambda batch: run_here(batch, way, loop, quick=True, patience=25, limit=50), batches)
    bad = {name: str(cell) for cells in results for name, cell in cells.items() if cell.verdict not in ("ok", "n/a")}
    assert not bad


def made_up(body: object) -> Case:
    return Case("made_up", "outcomes", frozenset(), False, body)  # type: ignore[arg-type]


def test_a_case_that_goes_wrong_is_said_to() -> None:
    def wrong(way: object) -> None:
        raise Wrong("something else")

    def hangs(way: object) -> None:
        raise Hangs("it")

    def fails(way: object) -> None:
        raise LookupError("in the case")

    assert judge(made_up(wrong), "tpool", "asyncio") == ("wrong", "something else")
    assert judge(made_up(hangs), "tpool", "asyncio") == ("hangs", "it")
    assert judge(made_up(fails), "tpool", "asyncio") == ("wrong", "LookupError: in the case")


def test_what_is_logged_is_wrong() -> None:
    import logging

    def logs(way: object) -> None:
        logging.getLogger("some").error("what is this")

    assert judge(made_up(logs), "tpool", "asyncio") == ("wrong", "logs: what is this")


def test_counters_that_do_not_add_up_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WAYS["tpool"], "counters_wrong", lambda self: "they do not add up")
    assert judge(made_up(lambda way: None), "tpool", "asyncio") == ("wrong", "they do not add up")


def test_a_killall_that_comes_back_too_soon_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[Any] = []

    async def no_killall(self: Way, timeout: float | None = None) -> None:
        ways.append(self)

    monkeypatch.setattr(WAYS["tpool"], "killall", no_killall)
    verdict, detail = "ok", ""
    while verdict == "ok":  # if the machine is slow, the third call ends before anybody looks
        verdict, detail = judge(CASES["killall_in_calls"], "tpool", "asyncio")
    for way in set(ways):
        asyncio.run(way.pool.killall())
    assert verdict == "wrong"
    assert detail in ("killall has not waited for the third call", "killall came back before the third call had ended")


def test_an_error_that_is_swallowed_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    call = WAYS["tpool"].call
    ways: list[Any] = []

    async def swallow(self: Way, fn: Callable[..., Any], /, *args: Any) -> Any:
        ways.append(self)
        try:
            return await call(self, fn, *args)
        except LookupError:
            return None

    monkeypatch.setattr(WAYS["tpool"], "call", swallow)
    verdict, detail = judge(CASES["awkward_exceptions"], "tpool", "asyncio")
    asyncio.run(ways[0].pool.killall())
    assert verdict == "wrong"
    assert "the error of __init__" in detail


def test_memory_that_grows_again_and_again_is_wrong() -> None:
    kept: list[list[object]] = []
    with pytest.raises(Wrong, match="blocks of memory more after 100 calls"):
        for _ in memory._looks(100, 400, "calls"):
            kept += [[object() for _ in range(5)] for _ in range(100)]
    assert len(kept) == 300
    late: list[list[object]] = []
    for _ in memory._looks(100, 400, "calls"):
        late = late or [[] for _ in range(1_000)]  # once, as with a module that is imported late


def test_a_way_that_does_not_run_on_a_loop_is_no_matter() -> None:
    assert judge(made_up(lambda way: None), "script", "uvloop")[0] == "n/a"


def test_every_case_says_what_it_demands() -> None:
    for case in CASES.values():
        assert case.title
        assert case.criterion or ":" in case.title, case.name


def test_tables() -> None:
    cases = [CASES["storm"], CASES["ctrl_c"]]
    results = {
        ("storm", "tpool"): Cell("ok", "", 1.0),
        ("storm", "anyio"): Cell("wrong", "logs: <this> and *that*", 1.0),
        ("ctrl_c", "tpool"): Cell("ok", "", 1.0),
        ("ctrl_c", "anyio"): Cell("n/a", "", 1.0),
    }
    text = render(cases, ["tpool", "anyio"], results)
    assert "storm, anyio.to_thread: wrong: logs: <this> and *that*" in text
    page = as_markdown(cases, ["tpool", "anyio"], results, "asyncio")
    assert "| ok | **wrong** (1) |" in page
    assert r"\<this\> and \*that\*" in page
    assert "| ok | n/a |" in page


def test_what_came_of_other_runs() -> None:
    cases = [CASES["storm"], CASES["ctrl_c"]]
    first = {("storm", "tpool"): Cell("hangs", "the <last> call", 1.0), ("ctrl_c", "tpool"): Cell("ok", "", 1.0)}
    run = as_json(cases, ["tpool"], first, "asyncio", 30.0)
    again = as_json(cases[:1], ["tpool"], {("storm", "tpool"): Cell("ok", "", 1.0)}, "asyncio")
    other = as_json(cases[1:], ["tpool", "green"], {("ctrl_c", each): Cell("n/a", "", 1) for each in OURS}, "uvloop")
    assert run["patience"] == 30.0
    assert "| asyncio | `tpool.execute` | 1 | 0 | storm: hangs, the \\<last\\> call |" in elsewhere([run, other])
    assert "| asyncio | `tpool.execute` | 2 | 0 | nothing |" in elsewhere([run, again, other])
    assert "uvloop" not in elsewhere([run, other])


def test_the_script(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "benchmarks" / "faults.py"
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    page.write_text(
        "# Head\n\n<!-- made by benchmarks/faults.py --markdown; what is below is written over -->\n\nold\n"
    )
    figures.write_text(json.dumps(as_json([], [], {}, "asyncio")))
    command = [
        sys.executable,
        str(script),
        "--beside",
        str(figures),
        "--patience",
        "25",
        "--only",
        "nested_at_size_1",
        "--quick",
        "--contestant",
        "tpool",
    ]
    done = subprocess.run(
        [*command, "--json", str(figures), "--markdown", str(page)], capture_output=True, text=True, check=True
    )
    assert "nested_at_size_1  ok" in done.stdout
    cell = json.loads(figures.read_text())["cases"]["nested_at_size_1"]["results"]["tpool"]
    assert cell["verdict"] == "ok"
    text = page.read_text()
    assert text.startswith("# Head\n")
    assert "old" not in text
    assert "| asyncio | `tpool.execute` | 1 | 0 | nothing |" in text
    assert "given 25 seconds" in text
    assert "| A call inside a call, in a pool of one thread | ok |" in text
