"""The measurement of engines, with numbers too small to mean anything."""

import asyncio
import sys

import pytest

from tpool_asyncio._bench.engines import CROWDS, WAYS, measure, render

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="the processes would import this file again")
def test_measure() -> None:
    costs = asyncio.run(measure(1, 1))
    assert all(costs[way][crowd] > 0 for way in WAYS for crowd in CROWDS)
    lines = render(costs).splitlines()
    assert lines[0].split("  ")[0] == "us per call"
    assert [line.split()[0] for line in lines[2:]] == list(WAYS)
