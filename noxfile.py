"""The tests on every supported Python that this machine has: ``nox``.

What follows ``--`` goes to pytest: ``nox -s tests-3.12 -- -x``.
"""

import subprocess
import sys

import nox

PYTHONS = ["3.11", "3.12", "3.13"]

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True


def runs(version: str) -> bool:
    """Tell whether this Python is on the path, and not just a launcher of pyenv that would not start one."""
    try:
        return subprocess.run([f"python{version}", "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


FOUND = [version for version in PYTHONS if runs(version)]
for version in PYTHONS:
    if version not in FOUND:
        sys.stderr.write(f"skipped: Python {version} is not on the path\n")


@nox.session(python=FOUND)
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install("--editable", ".[bench,cli,interop,plots,test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def debug(session: nox.Session) -> None:
    """Run the tests with the debug modes of Python and asyncio, on the Python that runs nox."""
    session.install("--editable", ".[bench,cli,interop,plots,test]")
    session.run("python", "-m", "pytest", *session.posargs, env={"PYTHONDEVMODE": "1"})
