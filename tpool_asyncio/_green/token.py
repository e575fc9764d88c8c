"""What another thread needs to get back to the loop of a green thread or a script."""

from tpool_asyncio._green.hosts import current_host
from tpool_asyncio._green.waiting import script_hub
from tpool_asyncio._loop.token import Token, find_token

__all__ = ["current_token"]


def current_token() -> Token:
    """Return what another thread needs to get back to the loop, see `Token`.

    In a green thread it is a token of the loop that runs; in a script, of the loop of its hub, which takes what is
    asked of it while the script waits; inside a call, of that call; and in a thread that has a token already, that one.

    Raises:
        asyncio.CancelledError: This is inside a call of a script that has stopped waiting for it.

    May be called from any thread.

    .. versionadded:: 0.1.0
    """
    token = find_token()
    if token is not None:
        return token
    host = current_host()
    return Token(script_hub().loop if host is None else host.get_loop())
