"""What may come of a case: nothing to complain about, or one of these, raised by the program of the case."""

import os

__all__ = ["PATIENCE", "PATIENCE_VARIABLE", "Differs", "Hangs", "NotApplicable", "Verdict", "Wrong", "check"]

PATIENCE_VARIABLE = "TPOOL_FAULTS_PATIENCE"
"""What tells processes about it."""

PATIENCE = float(os.environ.get(PATIENCE_VARIABLE, "5"))
"""Seconds after which something that should come at once is said to hang. On a machine that is busy it takes more."""


class Verdict(Exception):  # noqa: N818 - it need not be an error
    """The verdict on a case, with what there is to say about it."""

    word = "ok"


class Wrong(Verdict):
    """Something else came out than the criterion demands."""

    word = "wrong"


class Hangs(Verdict):
    """Something never came."""

    word = "hangs"


class Differs(Verdict):
    """The package promises something else here, and keeps it."""

    word = "differs"


class NotApplicable(Verdict):
    """The package has nothing of the kind."""

    word = "n/a"


def check(holds: object, otherwise: str) -> None:
    """Raise `Wrong` unless this holds."""
    if not holds:
        raise Wrong(otherwise)
