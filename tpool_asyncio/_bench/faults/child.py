"""Runs cases in this process: ``python -m tpool_asyncio._bench.faults CONTESTANT LOOP CASE...``.

It prints one line of JSON for each case, with the verdict. What is logged, warned of or raised in threads while a case
runs is part of the verdict, since users would see it.
"""

import asyncio
import gc
import json
import logging
import os
import sys
import threading
import traceback
import warnings
from importlib import import_module
from typing import Any

from tpool_asyncio._bench.faults.case import CASES, GROUPS, PROGRAMS, Case
from tpool_asyncio._bench.faults.verdicts import Verdict, Wrong
from tpool_asyncio._bench.faults.ways import WAYS, Way

__all__ = ["judge", "load_cases", "main"]

_MODULES = (
    *("outcomes", "waiters", "points", "loops", "pools", "reentry"),
    *("processes", "forks", "exits", "signals", "imports", "memory"),
)


def load_cases() -> dict[str, Case]:
    """Import the modules with the cases, and return all of them."""
    for module in _MODULES:
        import_module(f"tpool_asyncio._bench.faults.{module}")
    return {name: each for group in GROUPS for name, each in CASES.items() if each.group == group}


class _Listener(logging.Handler):
    """Hears what is logged."""

    def __init__(self, noise: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.noise = noise

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        message = record.getMessage().partition("\n")[0]
        self.noise.append(f"logs: {message}" + (f" ({type(error).__name__}: {_text(error)})" if error else ""))


def _text(error: BaseException) -> str:
    try:
        return str(error).partition("\n")[0]
    except Exception:
        return "?"


def _listen(noise: list[str]) -> logging.Handler:
    listener = _Listener(noise)
    logging.getLogger().addHandler(listener)

    def heard(args: Any) -> None:
        noise.append(f"an error nobody catches: {type(args.exc_value).__name__}: {_text(args.exc_value)}")

    sys.unraisablehook = heard
    threading.excepthook = heard
    return listener


def _verdict(case: Case, way: Way) -> tuple[str, str]:
    if missing := case.needs - way.has:
        return "n/a", f"has no {', '.join(sorted(missing))}"
    listener = _listen(way.noise)
    try:
        case.body(way)
        gc.collect()
        if way.noise and not way.may_be_noisy:
            raise Wrong(way.noise[0])
        if wrong := way.counters_wrong():
            raise Wrong(wrong)
    except Verdict as verdict:
        return verdict.word, str(verdict)
    except BaseException as error:
        if os.environ.get("TPOOL_FAULTS_DEBUG"):
            traceback.print_exc()
        return "wrong", f"{type(error).__name__}: {_text(error)}"
    finally:
        logging.getLogger().removeHandler(listener)
    return "ok", ""


def judge(case: Case, name: str, loop: str, *, quick: bool = False) -> tuple[str, str]:
    """Run a case in this process; return the verdict and what there is to say about it."""
    if loop not in WAYS[name].loops:
        return "n/a", f"does not run on {loop}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks with threads alive; and Eventlet advises against itself
        try:
            way = WAYS[name](loop, quick=quick)
        except ImportError as error:
            return "n/a", f"is not installed ({error})"
        try:
            return _verdict(case, way)
        finally:
            sys.unraisablehook, threading.excepthook = sys.__unraisablehook__, threading.__excepthook__


def main(arguments: list[str]) -> None:
    """Be the program; what still runs at its end is given up."""
    quick = "--quick" in arguments
    cases = load_cases()
    if arguments[0] == "--program":
        _, program, name, loop = arguments
        PROGRAMS[program](WAYS[name](loop))
        return
    name, loop, *names = [argument for argument in arguments if argument != "--quick"]
    for case in names:
        verdict, detail = judge(cases[case], name, loop, quick=quick)
        print(json.dumps({"case": case, "verdict": verdict, "detail": detail}), flush=True)
        asyncio.set_event_loop(None)
    sys.stderr.flush()
    os._exit(0)
