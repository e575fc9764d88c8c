"""Services whose blocking code runs in threads, under many connections at once.

Each contestant is a server in a process of its own; the requests come from another process, and this one watches how
long a handler takes that does not block. `rounds` lets the contestants take turns in the same way, but knows nothing of
a third process and of a figure beside that of the workload, so the turns are taken here.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tpool_asyncio._bench.child_process import BenchError, ChildProcess, MissingError
from tpool_asyncio._bench.figures import Figures, Sample
from tpool_asyncio._bench.table import columns, costs_as_json, machine
from tpool_asyncio._bench.web_watch import Watch, quantile

__all__ = ["TABLES", "WORKLOADS", "Server", "Table", "WebFigures", "WebWorkload", "as_json", "measure", "render"]


@dataclass(frozen=True, slots=True)
class WebWorkload:
    """What each request asks for."""

    name: str
    title: str
    microseconds: int
    """How long its blocking code sleeps."""
    requests: int
    """How many there are in one sample."""


WORKLOADS = (
    WebWorkload("nothing", "blocking code that does next to nothing", 0, 3_000),
    WebWorkload("1ms", "blocking code that takes 1 ms", 1_000, 3_000),
    WebWorkload("50ms", "blocking code that takes 50 ms", 50_000, 800),
)


@dataclass(frozen=True, slots=True)
class Server:
    """One contestant."""

    name: str
    """The word for it in `web_server` and in JSON."""
    title: str
    client: str
    """Who makes the requests, see `web_load`."""


@dataclass(frozen=True, slots=True)
class Table:
    """Those that are held against each other; the first one is the reference."""

    name: str
    title: str
    servers: Sequence[Server]


FASTAPI = Table(
    "fastapi",
    "FastAPI under uvicorn, endpoints that are plain functions",
    (
        Server("fastapi-tpool", "interop.starlette", "raw"),
        Server("fastapi-anyio", "Starlette's own threads", "raw"),
    ),
)
AIOHTTP = Table(
    "aiohttp",
    "aiohttp, with a client of aiohttp that checks each answer in a thread, too",
    (
        Server("aiohttp-tpool", "tpool.execute", "tpool"),
        Server("aiohttp-to_thread", "asyncio.to_thread", "to_thread"),
        Server("aiohttp-run_in_executor", "loop.run_in_executor", "run_in_executor"),
    ),
)
TABLES = {table.name: table for table in (FASTAPI, AIOHTTP)}


@dataclass(slots=True)
class WebFigures:
    """What was measured for one table."""

    table: Table
    connections: int
    threads: int
    taken: Figures
    """Wall time per request, and processor time of the server per request."""
    alone: dict[str, list[float]] = field(default_factory=dict)
    """By contestant, the seconds that requests took which do not block, when there were no others."""
    loaded: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """The same by workload and contestant, while all connections were busy."""
    client_share: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By workload and contestant, the part of one processor that the client used, in each round."""


@dataclass(frozen=True, slots=True)
class _Running:
    server: Server
    process: ChildProcess
    client: ChildProcess
    port: int


def measure(
    table: Table,
    rounds: int,
    *,
    connections: int = 200,
    threads: int = 40,
    loop: str = "asyncio",
    scale: float = 1.0,
    on_round: Callable[[int], object] = lambda _: None,
) -> WebFigures:
    """Measure all contestants of a table whose packages are installed.

    Args:
        table: Who takes part.
        rounds: How many samples to take of each contestant in each workload, 1 or more.
        connections: How many connections are open at once.
        threads: How many threads each contestant has.
        loop: The kind of loop that servers and clients run on, ``asyncio`` or ``uvloop``.
        scale: By how much to multiply the number of requests.
        on_round: Called with the number of rounds done, at the start and after each.

    Raises:
        BenchError: A process ended or hung, or the reference of the table cannot be measured.
        ValueError: An answer of a server is wrong.
    """
    figures = WebFigures(table, connections, threads, Figures(loop, rounds))
    with ExitStack() as stack:
        running = list[_Running]()
        for server in table.servers:
            try:
                running.append(_start(stack, server, loop, threads))
            except MissingError as error:
                if server is table.servers[0]:
                    raise BenchError(f"{server.title} itself cannot be measured: {error}") from error
                figures.taken.missing[server.name] = str(error)
        on_round(0)
        for each in running:  # starts the threads
            _ask(each, WORKLOADS[1], connections, max(1, round(connections * scale)))
        for number in range(rounds):
            turn = number % len(running)
            for each in running[turn:] + running[:turn]:
                figures.alone.setdefault(each.server.name, []).extend(_alone(each, max(3, round(100 * scale))))
            for workload in WORKLOADS:
                for each in running[turn:] + running[:turn]:
                    _sample(figures, each, workload, max(1, round(workload.requests * scale)))
            on_round(number + 1)
    return figures


def _start(stack: ExitStack, server: Server, loop: str, threads: int) -> _Running:
    program = "tpool_asyncio._bench.web_server"
    process = stack.enter_context(ChildProcess(server.name, loop, program, (str(threads),)))
    program = "tpool_asyncio._bench.web_load"
    client = stack.enter_context(ChildProcess(server.client, loop, program, (str(threads),)))
    return _Running(server, process, client, process.ask("port")["port"])


def _ask(each: _Running, workload: WebWorkload, connections: int, requests: int) -> Sample:
    answer = each.client.ask(f"{each.port} {workload.microseconds} {connections} {requests}")
    return Sample(answer["wall_us"], answer["cpu_us"])


def _alone(each: _Running, number: int) -> list[float]:
    with Watch(each.port, number) as watch:
        watch.wait()
    return watch.seconds


def _sample(figures: WebFigures, each: _Running, workload: WebWorkload, requests: int) -> None:
    name = each.server.name
    before = each.process.ask("cpu")["cpu_us"]
    with Watch(each.port) as watch:
        client = _ask(each, workload, figures.connections, requests)
    used = (each.process.ask("cpu")["cpu_us"] - before) / requests
    figures.taken.add(workload.name, name, Sample(client.wall_us, used))
    figures.loaded.setdefault((workload.name, name), []).extend(watch.seconds)
    figures.client_share.setdefault((workload.name, name), []).append(client.cpu_us / client.wall_us)


def render(figures: WebFigures) -> str:
    """Return the tables, with what is left out and why."""
    table, taken, about = figures.table, figures.taken, machine()
    reference = table.servers[0]
    heading = (
        f"{table.title}: {figures.connections} connections, {figures.threads} threads, on {about['python']},"
        f" {about['system']}, {about['processors']} processors, loop {taken.loop}.\n"
        f"Medians of {taken.rounds} interleaved rounds. x is how often the time of {reference.title} goes into it, as"
        " the median of that\nratio within each round. p50 and p99 are what a handler took that does not block, in ms."
    )
    parts = [heading]
    rows = [
        [server.title, *_latencies(figures.alone[server.name])] for server in table.servers if _is_in(figures, server)
    ]
    parts.append(columns(["no other requests", "p50", "p99"], rows))
    for workload in WORKLOADS:
        rows = []
        for server in table.servers:
            if not _is_in(figures, server):
                continue
            median = taken.median(workload.name, server.name)
            ratio = taken.ratio(workload.name, server.name, reference.name)
            assert ratio is not None
            key = workload.name, server.name
            shares = figures.client_share[key]
            rows.append(
                [
                    server.title,
                    f"{1e6 / median.wall_us:.0f}",
                    f"{ratio.wall_us:.2f}",
                    f"{median.cpu_us:.0f}",
                    f"{ratio.cpu_us:.2f}",
                    *_latencies(figures.loaded[key]),
                    f"{100 * quantile(shares, 0.5):.0f}%",
                ]
            )
        headers = [workload.title, "requests/s", "wall x", "server CPU us", "CPU x", "p50", "p99", "client busy"]
        parts.append(columns(headers, rows))
    titles = {server.name: server.title for server in table.servers}
    parts += [f"{titles[name]} is left out: {reason}" for name, reason in taken.missing.items()]
    return "\n\n".join(parts)


def _is_in(figures: WebFigures, server: Server) -> bool:
    return server.name not in figures.taken.missing


def _latencies(seconds: list[float]) -> list[str]:
    return [f"{1000 * quantile(seconds, share):.2f}" for share in (0.5, 0.99)]


def as_json(figures: WebFigures) -> dict[str, object]:
    """Return the same as something to write as JSON, with every sample."""
    taken = figures.taken
    return {
        "machine": machine(),
        "loop": taken.loop,
        "rounds": taken.rounds,
        "connections": figures.connections,
        "threads": figures.threads,
        "missing": taken.missing,
        "alone_seconds": figures.alone,
        "workloads": {workload.name: _workload_as_json(figures, workload) for workload in WORKLOADS},
    }


def _workload_as_json(figures: WebFigures, workload: WebWorkload) -> dict[str, object]:
    table = figures.table
    titles = {server.name: server.title for server in table.servers if _is_in(figures, server)}
    servers = costs_as_json(figures.taken, workload.name, titles, table.servers[0].name)
    for name, found in servers.items():
        key = workload.name, name
        found["client_share"] = figures.client_share[key]
        found["loaded_seconds"] = figures.loaded[key]
        found["loaded_p99_ms"] = 1000 * quantile(figures.loaded[key], 0.99)
    return {"title": f"{table.title}, {workload.title}", "contestants": servers}
