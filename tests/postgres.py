"""A PostgreSQL server of the tests' own: in a temporary folder, without a network, gone with the tests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NoServerError", "serving"]

# The shell ends the server when its own input ends, and that is also when the tests do, however they end.
_UNTIL_INPUT_ENDS = '"$@" & exec 2>&-; read -r _; kill -QUIT $!; wait'

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "40",
    "log_min_messages": "log",  # not what the tests provoke, so that the pipe cannot be full
}


class NoServerError(Exception):
    """There is no PostgreSQL on this machine, or it cannot be started by this user."""


@contextmanager
def serving() -> Iterator[str]:
    """Make a cluster and run a server on it; return how to connect to it. A few seconds.

    Raises:
        NoServerError: It says why.
    """
    programs = _programs()
    user = _user()
    with tempfile.TemporaryDirectory(prefix="pg-") as name:  # short, as it becomes the name of a socket
        folder = Path(name)
        data = folder / "data"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
        if user is not None:
            shutil.chown(folder, user)
        options = ["--username=tester", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        made = subprocess.run(
            [programs / "initdb", f"--pgdata={data}", *options],
            user=user,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise NoServerError(f"initdb failed: {made.stderr}")
        settings = [f"--{key}={value}" for key, value in _SETTINGS.items()]
        with subprocess.Popen(
            ["sh", "-c", _UNTIL_INPUT_ENDS, "sh", programs / "postgres", "-D", data, "-k", folder, *settings],
            user=user,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdin is not None
            assert server.stderr is not None
            log = []
            for line in server.stderr:
                log.append(line)
                if "ready to accept connections" in line:
                    break
            else:
                server.stdin.close()
                raise NoServerError(f"postgres did not start: {''.join(log)}")
            try:
                yield f"host={folder} user=tester dbname=postgres"
            finally:
                server.stdin.close()
                server.wait()


def _programs() -> Path:
    """Return the folder of the server's programs, which Debian does not put on the path."""
    folders = [Path(found).parent] if (found := shutil.which("initdb")) else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))[::-1]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoServerError("no PostgreSQL server is installed; on Debian: apt install postgresql")


def _user() -> str | None:
    """Return as whom the server is to run, None for this user. It refuses to run as root."""
    if os.geteuid() != 0:
        return None
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return name
    raise NoServerError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
