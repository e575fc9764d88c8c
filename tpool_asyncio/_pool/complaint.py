"""How the package says what it can tell no caller."""

import logging
from contextlib import suppress

__all__ = ["complain"]

_logger = logging.getLogger("tpool_asyncio")


def complain(message: str, *args: object, error: BaseException | None = None) -> None:
    """Log an error, or else the exception that is being handled. Any thread.

    It never raises, whatever handlers, filters and exceptions of the user do: a worker that died of it would leave its
    caller waiting for ever.
    """
    with suppress(BaseException):
        _logger.error(message, *args, exc_info=error or True)
