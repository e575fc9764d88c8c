"""What the project has set itself, against what was measured."""

from dataclasses import dataclass, replace

from tpool_asyncio._bench.contestants import ASYNCIO_FLOOR, FLOOR, PEERS, TPOOL
from tpool_asyncio._bench.figures import Figures
from tpool_asyncio._bench.subject import CALLS, Subject
from tpool_asyncio._bench.workloads import AT_ONCE_20, AT_ONCE_1000, GATHERED_1000, ONE_BY_ONE, SLEEPING_100

__all__ = ["Verdict", "faster", "near", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, what was measured, and whether that is enough."""

    target: str
    measured: float | None
    """None if the contestant it speaks of was left out."""
    met: bool
    beside: str = ""
    """What else one should know of it, and what is not judged."""

    def __str__(self) -> str:
        if self.measured is None:
            return f"unknown  {self.target}: not measured"
        beside = f" ({self.beside})" if self.beside else ""
        return f"{'met' if self.met else 'missed':7}  {self.target}: measured {self.measured:.2f}{beside}"


def verdicts(figures: Figures) -> list[Verdict]:
    """Judge the figures by the targets."""
    judged = [
        faster(figures, AT_ONCE_1000.name, "to_thread", 15.0),
        faster(figures, AT_ONCE_1000.name, "to_thread", 15.0, cpu=True),
        faster(figures, AT_ONCE_1000.name, "anyio", 30.0),
        faster(figures, AT_ONCE_1000.name, "anyio", 30.0, cpu=True),
        # With asyncio.gather's own price on both sides, which brings any two of them nearer to each other.
        faster(figures, GATHERED_1000.name, "to_thread", 10.0),
        faster(figures, GATHERED_1000.name, "anyio", 20.0),
        faster(figures, AT_ONCE_20.name, "to_thread", 6.0),
        _alone(figures),
    ]
    judged += [faster(figures, ONE_BY_ONE.name, peer.name, 1.0) for peer in PEERS]
    judged.append(faster(figures, SLEEPING_100.name, "to_thread", 2.0))
    return judged


def _alone(figures: Figures) -> Verdict:
    """Judge one call alone by the floor of the machine, and say beside it how far it is from that of asyncio."""
    verdict = near(figures, ONE_BY_ONE.name, FLOOR.name, 1.05)
    of_asyncio = figures.ratio(ONE_BY_ONE.name, TPOOL.name, ASYNCIO_FLOOR.name)
    if of_asyncio is None:
        return verdict
    return replace(verdict, beside=f"{of_asyncio.wall_us:.2f} of the {ASYNCIO_FLOOR.title}")


def faster(
    figures: Figures,
    workload: str,
    peer: str,
    times: float,
    *,
    subject: Subject = CALLS,
    reference: str | None = None,
    cpu: bool = False,
) -> Verdict:
    """Judge whether the cost of a contestant goes into that of a peer as often as it should.

    The contestant is the subject's reference unless another is named.
    """
    reference = reference or subject.reference.name
    ratio = figures.ratio(workload, peer, reference)
    kind = "CPU time" if cpu else "wall time"
    title, peer_title = subject.workloads[workload].title, subject.contestants[peer].title
    target = f"{title}, {kind}: {peer_title} / {reference} >= {times:g}"
    if ratio is None:
        return Verdict(target, None, met=False)
    measured = ratio.cpu_us if cpu else ratio.wall_us
    return Verdict(target, measured, met=measured >= times)


def near(
    figures: Figures,
    workload: str,
    floor: str,
    times: float,
    *,
    subject: Subject = CALLS,
    reference: str | None = None,
) -> Verdict:
    """Judge whether a contestant, as in `faster`, costs at most so many times as much as a floor."""
    reference = reference or subject.reference.name
    ratio = figures.ratio(workload, reference, floor)
    title, floor_title = subject.workloads[workload].title, subject.contestants[floor].title
    target = f"{title}, wall time: {reference} / {floor_title} <= {times:g}"
    if ratio is None:
        return Verdict(target, None, met=False)
    return Verdict(target, ratio.wall_us, met=ratio.wall_us <= times)
