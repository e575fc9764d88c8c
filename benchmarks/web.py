"""Services whose blocking code runs in threads, with 200 connections at once.

- fastapi: FastAPI under uvicorn, whose endpoints are plain functions, with ``tpool_asyncio.interop.starlette`` and with
  Starlette's own threads.
- aiohttp: a server and a client of aiohttp, both with blocking code, through ``tpool.execute``, ``asyncio.to_thread``
  and ``loop.run_in_executor``.

All have as many threads, serve on real sockets, and are alive at the same time, each in a process of its own; only one
works at a time. The requests come from another process, which checks every answer. Meanwhile a handler that does not
block is asked again and again: how long that takes, alone and under load, is in the tables, too.
"""

import argparse
from pathlib import Path
from typing import Any

from results import add_json_option, write
from side_by_side import show_round

from tpool_asyncio._bench.child_process import BenchError, MissingError
from tpool_asyncio._bench.web import TABLES, as_json, measure, render


def main() -> None:
    parser = argparse.ArgumentParser(description="Requests per second of services with blocking code, and latencies.")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="these tables and no others")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="samples of each contestant (default: 5)")
    parser.add_argument("--connections", type=int, default=200, metavar="N", help="at once (default: 200)")
    parser.add_argument("--threads", type=int, default=40, metavar="N", help="of each contestant (default: 40)")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio", help="kind of loop")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="make X times as many requests")
    add_json_option(parser, "web")
    arguments = parser.parse_args()
    rounds = max(1, arguments.rounds)

    results: dict[str, Any] = {}
    for name in TABLES:
        if name in arguments.only:
            try:
                figures = measure(
                    TABLES[name],
                    rounds,
                    connections=max(1, arguments.connections),
                    threads=max(1, arguments.threads),
                    loop=arguments.loop,
                    scale=arguments.scale,
                    on_round=lambda done: show_round(done, rounds),
                )
            except BenchError as error:
                if not isinstance(error.__cause__, MissingError):
                    raise
                print(f"{TABLES[name].title}: left out. {error}; pip install 'tpool-asyncio[bench]'\n", flush=True)
                continue
            print(f"{render(figures)}\n", flush=True)
            results[name] = as_json(figures)
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
