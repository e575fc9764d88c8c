"""Our pool in the place of `eventlet.tpool`."""

from types import ModuleType
from typing import Any

from tpool_asyncio.green import tpool

__all__ = ["install", "uninstall"]

_OURS = {
    name: getattr(tpool, name) for name in ("Proxy", "execute", "killall", "proxy_call", "set_num_threads", "setup")
}
_theirs: dict[str, Any] = {}
"""What `install` has put aside; empty when it has not been called."""


def install() -> None:
    """Have `eventlet.tpool` use the pool of this package: ``execute``, ``Proxy``, ``killall`` and all its functions.

    The attributes of the module are replaced, so it holds for all code that says ``tpool.execute``, whenever that was
    imported. A name that has been imported by itself before, as in ``from eventlet.tpool import execute``, stays what
    it was. Threads that Eventlet's own pool has started end what they run; they are idle from then on, and end with the
    process. The size of the pool is ours, too: set it after this.

    A second time does nothing.

    May be called in any thread, before or after ``eventlet.monkey_patch()``.

    .. versionadded:: 0.1.0
    """
    module = _tpool()
    if not _theirs:
        _theirs.update({name: getattr(module, name) for name in _OURS})
    for name, ours in _OURS.items():
        setattr(module, name, ours)


def uninstall() -> None:
    """Have `eventlet.tpool` use its own pool again, as before `install`. Without that, this does nothing.

    Calls that have been made go on, and their greenthreads get the outcomes. Our threads stay; `tpool.killall` of
    `tpool_asyncio.green` ends them.

    May be called in any thread.

    .. versionadded:: 0.1.0
    """
    module = _tpool()
    while _theirs:
        setattr(module, *_theirs.popitem())


def _tpool() -> ModuleType:
    import eventlet.tpool  # type: ignore[import-untyped]

    module: ModuleType = eventlet.tpool
    return module
