"""How much memory this process has in use."""

import os
import sys

__all__ = ["peak_bytes", "resident_bytes"]


def resident_bytes() -> int | None:
    """Return the memory this process has in use, or at most had where only that is known; None where neither is."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int | None:
    """Return the most memory this process ever had in use, None where that is not known."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
