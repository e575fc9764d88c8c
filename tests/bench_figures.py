"""Figures such as `benchmarks/all.py` writes, made up."""

from typing import Any

__all__ = ["figures_on", "table"]

TITLES = {
    "tpool": "tpool.execute",
    "to_thread": "asyncio.to_thread",
    "green": "green.tpool.execute",
    "eventlet": "eventlet.tpool.execute",
}


def table(workloads: dict[str, str], costs: dict[str, float]) -> dict[str, Any]:
    """Return figures in the form in which `as_json` has them."""
    return {
        "workloads": {
            name: {
                "title": title,
                "contestants": {
                    who: {"title": TITLES.get(who, who), "wall_us": cost, "cpu_us": cost * 0.8}
                    for who, cost in costs.items()
                },
            }
            for name, title in workloads.items()
        }
    }


def figures_on(python: str, faster: float = 1.0) -> dict[str, Any]:
    calls = {"one_by_one": "one after another", "at_once_20": "20 at once", "at_once_1000": "1,000 at once"}
    costs = {name: cost / faster for name, cost in (("tpool", 2.0), ("to_thread", 31.0), ("anyio", 70.0))}
    green = {"crowd": "1,000 green threads", "alone": "one green thread alone"}
    crowds = {"in_flight": [10, 1_000, 1_000_000], "threads": [1, 8, 64], "loops": [1, 16]}
    rows = [
        {"contestant": name, crowd: size, "us_per_call": cost + size / 1e6, "cpu_us_per_call": cost}
        for name, cost in costs.items()
        for crowd, sizes in crowds.items()
        for size in sizes
    ]
    beats = range(5_000)
    series = [
        {
            "contestant": name,
            "way": way,
            "worst_ms": stall,
            "t_ms": [*beats],
            "stall_ms": [stall if t == 777 else 0.1 for t in beats],
        }
        for name, stall in (("idle", 0.3), ("tpool", 3.0), ("to_thread", 110.0))
        for way in ("tasks", "chunks")
    ]
    parts: dict[str, Any] = {
        "calls": table(calls, costs),
        "green_calls": table(green, {"green": 3.0, "eventlet": 15.0, "gevent": 33.0}),
        "scale": {"benchmark": "scale", "rows": rows},
        "stall": {"benchmark": "stall", "series": series, **table({"tasks": "in 1,000 tasks"}, costs)},
    }
    waits = [{"contestant": "tpool", "pattern": "light", "p99_us": 118.2 / faster}]
    parts["fairness"] = {"rows": waits, "workloads": {"light": {"title": "long calls sleep"}}}
    machine = {"python": python, "processors": 2, "processor": "Some Processor", "system": "Linux", "release": "6.1"}
    return {
        "benchmark": "all",
        "date": "2030-01-02T03:04:05+00:00",
        "revision": "abc",
        "machine": machine,
        "packages": {"anyio": "4.9"},
        "targets": [],
        "loop": "asyncio",
        "parts": {name: {"figures": figures} for name, figures in parts.items()},
    }
