"""The package as it was at some revision, laid out so that a child process can import it.

What measures is the same for every revision: whatever a revision has in ``_bench`` is replaced by what is there now.
Only the package under test differs. No module of ``_bench`` imports the package before the contestant is opened, which
is why this works for revisions that have other insides, as long as they have the public functions that it opens.
"""

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import tpool_asyncio
from tpool_asyncio._bench.child_process import environment

__all__ = ["HERE", "RevisionError", "describe", "lay_out"]

HERE = None
"""Stands for the files as they are, committed or not."""

PACKAGE = Path(tpool_asyncio.__file__).parent
BENCH = "_bench"


class RevisionError(Exception):
    """A revision cannot be had. The message says why."""


def describe(revision: str | None, repository: Path = PACKAGE.parent) -> str:
    """Return the short hash and the subject of a revision, for people.

    Raises:
        RevisionError: There is no such revision.
    """
    if revision is not HERE:
        return _git(repository, "log", "-1", "--format=%h %s", "--end-of-options", revision, "--").decode().strip()
    return f"the files as they are, at {_git(repository, 'describe', '--always', '--dirty').decode().strip()}"


def lay_out(revision: str | None, folder: Path, repository: Path = PACKAGE.parent) -> None:
    """Put the package of a revision into a folder, with the measurements of now, and see that it can be imported.

    Raises:
        RevisionError: There is no such revision, or no package in it, or it cannot be imported.
    """
    package = folder / PACKAGE.name
    if revision is HERE:
        shutil.copytree(repository / PACKAGE.name, package, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        # As a zip file: to unpack tar files safely is not in every Python that is supported.
        packed = _git(repository, "archive", "--format=zip", revision, "--", PACKAGE.name)
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(folder)
    shutil.rmtree(package / BENCH, ignore_errors=True)
    shutil.copytree(PACKAGE / BENCH, package / BENCH, ignore=shutil.ignore_patterns("__pycache__"))
    found = _imported_from(folder)
    if not found.samefile(package):
        raise RevisionError(f"{PACKAGE.name} is imported from {found} and not from {package}")


def _imported_from(folder: Path) -> Path:
    program = f"import {PACKAGE.name}; print({PACKAGE.name}.__file__)"
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment(folder))
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise RevisionError(f"the package of this revision cannot be imported: {''.join(last)}")
    return Path(done.stdout.strip()).parent


def _git(repository: Path, *arguments: str) -> bytes:
    # A hook of git that runs this has the variables of its own repository set.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "-C", str(repository), *arguments], check=False, capture_output=True, env=env)
    except OSError as error:
        raise RevisionError(f"git does not run: {error}") from error
    if done.returncode:
        raise RevisionError(done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed")
    return done.stdout
