"""The way from Eventlet to async code, as `examples/eventlet_to_async.py` goes it: each stage does the same work."""

import json
from pathlib import Path

import pytest

from tests.child import output_of

EXAMPLE = Path(__file__).parent.parent / "examples" / "eventlet_to_async.py"
GREENTHREAD = "greenthread of Eventlet (asyncio hub)"

HOST = "tpool_asyncio.interop._eventlet_host"

# By the stage: who calls, what is called, and which libraries the process has had to import.
STAGES = [
    ("greenthread of Eventlet", "eventlet.tpool", {"eventlet"}),
    (GREENTHREAD, "tpool_asyncio.green.tpool", {"eventlet", HOST}),
    (GREENTHREAD, "eventlet.tpool, installed", {"eventlet", HOST}),
    (GREENTHREAD, "tpool_asyncio.green.await_", {"eventlet", HOST}),
    (
        "async code on Eventlet's asyncio hub",
        "tpool_asyncio.tpool",
        {"eventlet", HOST},
    ),
    ("async code", "tpool_asyncio.tpool", set()),
]


@pytest.mark.parametrize(
    ("stage", "imported"),
    [
        pytest.param(
            stage, imported, marks=pytest.mark.combination(caller=caller, library=library), id=f"stage-{stage}"
        )
        for stage, (caller, library, imported) in enumerate(STAGES)
    ],
)
def test_stage(stage: int, imported: set[str]) -> None:
    program = f"""
        import runpy, sys
        sys.argv = ["eventlet_to_async.py", "{stage}"]
        runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
        print(*{{"eventlet", "greenlet", {HOST!r}}} & set(sys.modules))
    """
    result, modules = output_of(program, env={"EVENTLET_HUB": "asyncio"}).splitlines()
    receipts = json.loads(result)
    assert receipts["receipts"] == {"apples": 165, "pears": 220, "plums": 275}
    assert receipts["took turns"]
    assert receipts["threads"] > 1
    assert set(modules.split()) - {"greenlet"} == imported
    assert ("greenlet" in modules.split()) == bool(imported)


def test_there_is_a_test_for_each_stage() -> None:
    assert EXAMPLE.read_text("utf-8").count("\ndef stage_") == len(STAGES)
