"""Which sizes and times a pool accepts."""

import math
import operator
from typing import SupportsIndex

__all__ = ["check_batch", "check_seconds", "check_size", "parse_size"]


def check_size(size: SupportsIndex) -> int:
    """Return the number of threads as an int; a `ValueError` says what would be right."""
    try:
        number = operator.index(size)
    except TypeError:
        number = -1
    if isinstance(size, bool) or number < 0:
        raise ValueError(
            f"the number of threads must be a whole number, 1 or more"
            f" (or 0 to run calls in the calling thread), not {size!r}"
        )
    return number


def parse_size(variable: str, text: str) -> int:
    """Return the number of threads that an environment variable asks for; a `ValueError` names the variable."""
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ValueError(
            f"the environment variable {variable} must be a whole number, 1 or more (or 0 to run calls in the"
            f" calling thread), not {text!r}; correct or unset it, or call set_num_threads() first"
        )
    return int(text)


def check_batch(batch: SupportsIndex | None) -> int | None:
    """Return the number of items that may be read at once as an int; a `ValueError` says what would be right."""
    if batch is None:
        return None
    try:
        number = operator.index(batch)
    except TypeError:
        number = 0
    if isinstance(batch, bool) or number < 1:
        raise ValueError(f"batch must be a whole number of items, 1 or more, or None for no limit, not {batch!r}")
    return number


def check_seconds(name: str, seconds: float | None) -> float | None:
    """Return a time limit as it is; a `ValueError` or `TypeError` says what would be right."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, or None for no limit, not {seconds!r}")
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{name} must be 0 seconds or more, or None for no limit, not {seconds!r}")
    return seconds
