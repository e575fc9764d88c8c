"""Which sizes and times a pool accepts."""

import math
import operator
import sys
from typing import SupportsIndex

from tpool_asyncio._pool.refusal import shown

__all__ = ["check_batch", "check_seconds", "check_size", "parse_size"]

_MOST_DIGITS = 100
"""Of a number in the environment: no machine has so many threads, and Python reads no number of any length."""


def check_size(size: SupportsIndex) -> int:
    """Return the number of threads as an int; a `ValueError` says what would be right."""
    try:
        number = operator.index(size)
    except TypeError:
        number = -1
    if isinstance(size, bool) or number < 0:
        raise ValueError(
            f"the number of threads must be a whole number, 1 or more"
            f" (or 0 to run calls in the calling thread), not {shown(size)}"
        )
    return number


def parse_size(variable: str, text: str) -> int:
    """Return the number of threads that an environment variable asks for; a `ValueError` names the variable."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise ValueError(
            f"the environment variable {variable} must be a whole number, 1 or more (or 0 to run calls in the"
            f" calling thread), not {text!r}; correct or unset it, or call set_num_threads() first"
        )
    return int(digits)


def check_batch(batch: SupportsIndex | None) -> int | None:
    """Return the number of items that may be read at once as an int; a `ValueError` says what would be right."""
    if batch is None:
        return None
    try:
        number = operator.index(batch)
    except TypeError:
        number = 0
    if isinstance(batch, bool) or number < 1:
        raise ValueError(f"batch must be a whole number of items, 1 or more, or None for no limit, not {shown(batch)}")
    return number


def check_seconds(name: str, seconds: float | None) -> float | None:
    """Return a time limit that clocks can count with; a `ValueError` or `TypeError` says what would be right."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, or None for no limit, not {shown(seconds)}")
    if seconds != seconds or seconds < 0:  # NaN is not itself; math.isnan chokes on a large int
        raise ValueError(f"{name} must be 0 seconds or more, or None for no limit, not {shown(seconds)}")
    return math.inf if seconds > sys.float_info.max else seconds
