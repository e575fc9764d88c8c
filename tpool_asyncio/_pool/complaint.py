"""How the package says what it can tell no caller."""

import logging
from contextlib import suppress

from tpool_asyncio._pool.native import in_main_thread

__all__ = ["complain"]

_logger = logging.getLogger("tpool_asyncio")


def complain(message: str, *args: object, error: BaseException | None = None) -> None:
    """Log an error, or else the exception that is being handled. Any thread.

    It never raises, whatever handlers, filters and exceptions of the user do: a worker that died of it would leave its
    caller waiting for ever. In the main thread Ctrl-C, and what else signal handlers raise to end the program, passes.
    """
    try:
        with suppress(Exception):
            _logger.error(message, *args, exc_info=error or True)
    except BaseException:
        if in_main_thread():
            raise
