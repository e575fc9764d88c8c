"""The soak: that it finds nothing in a short time, and that it would find what is wrong."""

import asyncio
import os
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest

from tpool_asyncio._bench.soak.ledger import Ledger, WrongError
from tpool_asyncio._bench.soak.watched_loop import watched

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

ROOT = Path(__file__).parent.parent


def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--minutes", "0.04", "--calls", "50000"]
    # Coverage is not measured there: its locks may be held when the soak forks.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [*script, "--json", str(tmp_path / "soak.json")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "every call is accounted for" in result.stdout


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_a_delivery_in_the_wrong_thread_is_found(name: str) -> None:
    ledger = Ledger()
    values = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        right, wrong = loop.create_future(), loop.create_future()
        for future, settle in (
            (right, lambda: loop.call_soon_threadsafe(right.set_result, 1)),
            (wrong, lambda: wrong.set_result(2)),
        ):
            waiting = loop.create_task(asyncio.wait_for(future, 10))
            await asyncio.sleep(0)
            thread = threading.Thread(target=settle, name="stranger")
            thread.start()
            thread.join()
            values.append((await waiting, len(ledger.wrong)))

    new_loop = watched(import_module(name).new_event_loop, ledger)
    for _ in range(2):
        # In debug mode the loop itself would refuse it.
        with asyncio.Runner(loop_factory=new_loop, debug=False) as runner:
            runner.run(main())
    assert values == [(1, 0), (2, 1), (1, 1), (2, 2)]
    assert all("by the thread stranger" in what for what in ledger.wrong)


class TestLedger:
    def test_all_is_well(self) -> None:
        ledger = Ledger()
        batch = ledger.batch(3)
        for number in range(2):
            batch.answered(number, batch.work(number))
        batch.given_up(2)
        batch.close()
        assert ledger.totals == {"answered": 2, "given up": 1}

    def test_a_call_without_an_answer(self) -> None:
        batch = Ledger().batch(1)
        batch.work(0)
        with pytest.raises(WrongError, match="no answer"):
            batch.close()

    def test_a_call_that_has_run_twice(self) -> None:
        batch = Ledger().batch(1)
        batch.work(0)
        batch.answered(0, batch.work(0))
        with pytest.raises(WrongError, match="2 times"):
            batch.close()

    def test_the_answer_to_another_call(self) -> None:
        ledger = Ledger()
        batch, other = ledger.batch(2), ledger.batch(2)
        with pytest.raises(WrongError, match="call 0 of batch 1 got"):
            batch.answered(0, batch.work(1))
        with pytest.raises(WrongError, match="call 0 of batch 1 got"):
            batch.answered(0, other.work(0))

    def test_two_answers(self) -> None:
        batch = Ledger().batch(1)
        value = batch.work(0)
        batch.answered(0, value)
        with pytest.raises(WrongError, match="answered twice"):
            batch.answered(0, value)

    def test_an_answer_out_of_the_air(self) -> None:
        batch = Ledger().batch(1)
        batch.answered(0, (1, 0))
        with pytest.raises(WrongError, match="before it has run"):
            batch.close()
