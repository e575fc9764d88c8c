"""The arguments, and every way in which a command can end."""

import argparse
import os
import sys
from collections.abc import Sequence

from tpool_asyncio import __version__
from tpool_asyncio._cli.errors import CommandError

__all__ = ["main"]

INTERRUPTED = 130
"""What a shell reports for a command that ended by Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a wrong result, 2 for wrong use, 130 after Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        # Each command imports only what it needs; --version needs none of it.
        if arguments.command == "demo":
            from tpool_asyncio._cli.demo import demo

            code = demo(arguments.folder, size=arguments.size, limit=arguments.limit, json_wanted=arguments.json)
        else:
            from tpool_asyncio._cli.bench import bench

            code = bench(
                rounds=arguments.rounds, loop=arguments.loop, quick=arguments.quick, json_wanted=arguments.json
            )
        sys.stdout.flush()
    except CommandError as error:
        print(f"tpool_asyncio {arguments.command}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print(f"tpool_asyncio {arguments.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough. What is still buffered must go somewhere at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tpool_asyncio",
        description="Blocking calls in a pool of native threads, for asyncio: see what it does on this machine.",
    )
    parser.add_argument("--version", action="version", version=f"tpool_asyncio {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")

    demo_parser = commands.add_parser(
        "demo",
        help="hash a folder into a database on the loop, with asyncio.to_thread, and with tpool",
        description=(
            "Hash every file of a folder (SHA-256) and file the digests in an SQLite database, which are all blocking"
            " calls, three times over: on the event loop itself, with asyncio.to_thread, and with tpool. All three do"
            " the same work in the same 100 tasks, and must find the same digests. All files are read once beforehand,"
            " so that each finds them in the file cache. A heartbeat on the loop measures how long it stood still."
        ),
        epilog="Exit codes: 0, 1 if the digests differ, 2 for wrong use, 130 after Ctrl-C.",
    )
    demo_parser.add_argument(
        "folder",
        nargs="?",
        metavar="FOLDER",
        help="what to hash, with all folders in it; symbolic links are not followed"
        " (default: the standard library of this Python, without installed packages and compiled files)",
    )
    demo_parser.add_argument("--size", type=_count, default=20, metavar="N", help="threads of each pool (default: 20)")
    demo_parser.add_argument("--limit", type=_count, metavar="N", help="take only the first N files, sorted by path")
    demo_parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    bench_parser = commands.add_parser(
        "bench",
        help="measure the cost per call beside the other packages that are installed",
        description=(
            "Measure what a call costs on this machine with tpool, asyncio.to_thread, loop.run_in_executor, anyio and"
            " asgiref, as far as they are installed, and how near that is to the least possible. Each is measured in"
            " a process of its own, in rounds that take turns."
        ),
    )
    bench_parser.add_argument(
        "--rounds", type=_count, metavar="N", help="samples of each contestant (default: 10, or 3 with --quick)"
    )
    bench_parser.add_argument(
        "--loop", choices=("asyncio", "uvloop"), default="asyncio", help="the event loop to run on (default: asyncio)"
    )
    bench_parser.add_argument("--quick", action="store_true", help="a rough answer in a few seconds")
    bench_parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return number
