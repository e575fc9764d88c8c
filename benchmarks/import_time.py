"""What ``import tpool_asyncio`` costs beyond ``import asyncio``, and what it leaves alone.

``python benchmarks/import_time.py [--rounds N] [--json PATH]``

Each import happens in a fresh interpreter, the two in turn, and is timed from inside. The compiled files are in a
folder of their own that a first round fills, so that neither has to compile anything.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from results import add_json_option, write

from tpool_asyncio._bench.child_process import environment
from tpool_asyncio._bench.targets import Verdict

TARGET_MS = 5.0
NOT_LOADED = ("greenlet", "anyio")

PROGRAM = """
import sys, time
started = time.perf_counter()
import {module}
taken = time.perf_counter() - started
import json, os, threading
try:
    threads = len(os.listdir("/proc/self/task"))
except OSError:
    threads = threading.active_count()
print(json.dumps({{"ms": taken * 1e3, "threads": threads, "modules": sorted(sys.modules)}}))
"""


def import_once(module: str, compiled: str) -> dict[str, Any]:
    """Import a module in a fresh interpreter and return what that did."""
    env = {**environment(), "PYTHONPYCACHEPREFIX": compiled}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-P", "-c", PROGRAM.format(module=module)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=env).stdout
    answer: dict[str, Any] = json.loads(output)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description="Import time of tpool_asyncio beyond that of asyncio.")
    parser.add_argument("--rounds", type=int, default=25, metavar="N", help="imports of each (default: 25)")
    add_json_option(parser, "import_time")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as compiled:
        package = import_once("tpool_asyncio", compiled)
        import_once("asyncio", compiled)
        pairs = []
        for _ in range(max(1, arguments.rounds)):
            with_package = import_once("tpool_asyncio", compiled)["ms"]
            pairs.append((with_package, import_once("asyncio", compiled)["ms"]))
    difference = median(package_ms - asyncio_ms for package_ms, asyncio_ms in pairs)
    loaded = [name for name in NOT_LOADED if name in package["modules"]]

    print(f"import asyncio:        {median(pair[1] for pair in pairs):6.1f} ms")
    print(f"import tpool_asyncio:  {median(pair[0] for pair in pairs):6.1f} ms, asyncio included")
    verdict = "met" if difference <= TARGET_MS else "missed"
    print(f"median difference:     {difference:6.1f} ms (target: at most {TARGET_MS:g} ms: {verdict})")
    print(f"threads after import:  {package['threads']} (target: 1: {'met' if package['threads'] == 1 else 'missed'})")
    print(f"{' and '.join(NOT_LOADED)} not loaded: {'missed, ' + ', '.join(loaded) + ' is' if loaded else 'met'}")
    judged = [
        Verdict(f"ms beyond import asyncio <= {TARGET_MS:g}", difference, met=difference <= TARGET_MS),
        Verdict("threads after import <= 1", package["threads"], met=package["threads"] == 1),
        Verdict(f"of {' and '.join(NOT_LOADED)} loaded <= 0", len(loaded), met=not loaded),
    ]
    results = {
        "difference_ms": difference,
        "threads": package["threads"],
        "loaded": loaded,
        "pairs_ms": pairs,
        "targets": [asdict(verdict) for verdict in judged],
    }
    write(Path(arguments.json), results)


if __name__ == "__main__":
    main()
