"""The figures of `stall`, for people and for programs, and the target."""

from statistics import median

from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.stall import CHUNKS, CONTESTANTS, IDLE, PLAIN, STALL, TASKS, WITHOUT_COLLECTOR
from tpool_asyncio._bench.table import columns, heading
from tpool_asyncio._bench.targets import Verdict

__all__ = ["ALLOWED_MS", "render", "series", "verdicts"]

ALLOWED_MS = 5.0
"""How much longer than when it is idle the loop may be held up."""

_KEYS = ("worst_ms", "p99_ms", "own_work_ms", "collector_ms")
_HEADERS = ("worst ms", "p99 ms", "own work ms", "collector ms")


def beyond_idle(figures: Figures, workload: str, contestant: str) -> float | None:
    """Return how much longer the worst stall is than that of the idle loop: the median of these within each round."""
    its, idle = (figures.told(workload, name, "worst_ms") for name in (contestant, IDLE.name))
    if not its or not idle:
        return None
    return median(worst - other for worst, other in zip(its, idle, strict=True))


def render(figures: Figures) -> str:
    """Return the tables."""
    explained = (
        "A stall is how late a heartbeat of 1 ms comes. Own work is the processor time of the loop's thread from one\n"
        "beat to the next, collector one run of the garbage collector, each the longest of a round. All are medians\n"
        'over the rounds; "beyond idle" is the median of the differences within each round.'
    )
    parts = [f"{heading(figures, STALL)}\n{explained}"]
    for workload in map(STALL.workloads.__getitem__, figures.samples):
        lines = []
        taking_part = set(figures.contestants(workload.name))
        for contestant in CONTESTANTS.values():
            if contestant.name not in taking_part:
                continue
            numbers = [f"{median(figures.told(workload.name, contestant.name, key)):.1f}" for key in _KEYS]
            beyond = beyond_idle(figures, workload.name, contestant.name)
            cost = figures.median(workload.name, contestant.name).wall_us
            cells = [
                *numbers,
                "-" if beyond is None or contestant is IDLE else f"{beyond:+.1f}",
                "-" if contestant is IDLE else f"{cost:.2f}",
            ]
            lines.append([contestant.title, *cells])
        parts.append(columns([workload.title, *_HEADERS, "beyond idle", "us per call"], lines))
    for name, reason in figures.missing.items():
        parts.append(f"{CONTESTANTS[name].title} is left out: {reason}; pip install 'tpool-asyncio[bench]'")
    return "\n\n".join(parts)


def series(figures: Figures) -> list[dict[str, object]]:
    """Return the heartbeats of one round for each contestant and way: the round whose worst is in the middle."""
    found: list[dict[str, object]] = []
    for workload in figures.samples:
        for name in figures.contestants(workload):
            taken = sorted(figures.samples[workload][name], key=lambda sample: float(sample.more["worst_ms"]))
            middle = taken[len(taken) // 2].more
            found.append(
                {"contestant": name, "way": workload, "t_ms": middle["t_ms"], "stall_ms": middle["stall_ms"]}
                | {key: median(figures.told(workload, name, key)) for key in _KEYS}
                | {"beyond_idle_ms": beyond_idle(figures, workload, name)}
            )
    return found


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the target, and say beside it what part of it is not the pool's."""
    judged = []
    for workload in (TASKS, CHUNKS):
        calls = max(figures.told(workload.name, STALL.reference.name, "calls"), default=workload.reps)
        target = f"{calls:,} calls {workload.title}: worst stall, ms beyond idle <= {ALLOWED_MS:g}"
        measured = beyond_idle(figures, workload.name, STALL.reference.name)
        others = ((WITHOUT_COLLECTOR, "with the garbage collector off"), (PLAIN, "for plain futures, without any pool"))
        known = [(beyond_idle(figures, workload.name, other.name), words) for other, words in others]
        beside = ", ".join(f"{beyond:.2f} {words}" for beyond, words in known if beyond is not None)
        judged.append(Verdict(target, measured, measured is not None and measured <= ALLOWED_MS, beside))
    return judged
