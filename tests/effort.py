"""How long the tests may search that can search for ever: in CI for seconds, by hand for as long as it is worth.

``TPOOL_TESTS=long`` in the environment makes them search long.
"""

import os

from hypothesis import HealthCheck, settings

__all__ = ["LONG", "few_examples"]

LONG = os.environ.get("TPOOL_TESTS") == "long"


def few_examples(number: int, *, steps: int = 30) -> settings:
    """Return how hypothesis searches: the same examples each time, or a hundred times as many others by hand."""
    return settings(
        max_examples=number * 100 if LONG else number,
        stateful_step_count=steps * 2 if LONG else steps,
        derandomize=not LONG,
        database=None,
        deadline=None,  # timing decides nothing
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
