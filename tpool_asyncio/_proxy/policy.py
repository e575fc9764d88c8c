"""What a family of proxies has in common: where its calls run, and what of their results is wrapped again."""

from collections.abc import Callable, Iterable, Iterator
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeAlias

from tpool_asyncio._pool.refusal import shown

if TYPE_CHECKING:
    from tpool_asyncio._pool.lane import Lane
    from tpool_asyncio._pool.thread_pool import ThreadPool
    from tpool_asyncio._proxy.object_proxy import ObjectProxy
    from tpool_asyncio._proxy.pin import Pin

__all__ = ["Names", "Policy", "Types", "check_names", "check_types"]

Types: TypeAlias = "type | UnionType | Iterable[type | UnionType]"
Names: TypeAlias = "str | Iterable[str]"


class Policy:
    """Shared by a proxy and all that it hands out. Nothing of it changes once it has been made."""

    __slots__ = (
        "_by_class",
        "batch",
        "children",
        "core",
        "execute",
        "items",
        "names",
        "pin",
        "root",
        "special",
        "types",
        "way",
    )

    execute: Callable[..., Any]
    """Makes a call: in the pool, in the pinned thread, or in place."""

    way: Any
    """What calls are made through, a pool or its options; iterations use it."""

    core: "ThreadPool | Lane"
    """Where its calls run."""

    pin: "Pin | None"

    special: frozenset[str]
    """The names of methods whose name makes a difference."""

    root: bool
    """Whether the object is the one that was pinned, so that to close it lets the thread go."""

    children: "Policy | None"
    """The policy of what is handed out; None for this one, lest it hold itself, and the pin."""

    def __init__(
        self,
        way: Any,
        core: "ThreadPool | Lane",
        *,
        types: tuple[type | UnionType, ...] = (),
        names: frozenset[str] = frozenset(),
        items: bool = False,
        batch: int | None = None,
        pin: "Pin | None" = None,
        root: bool = False,
    ) -> None:
        self.way = way
        self.core = core
        self.execute = way.execute
        self.types = types
        self.names = names
        self.items = items
        self.batch = batch
        self.pin = pin
        self.root = root
        self.special = names | {"close"} if root else names
        self._by_class = all(type(each) is type for each in types)  # not by each instance, as protocols may
        self.children = self._twin() if root else None

    def _twin(self) -> "Policy":
        return Policy(
            self.way,
            self.core,
            types=self.types,
            names=self.names,
            items=self.items,
            batch=self.batch,
            pin=self.pin,
        )

    def in_place(self, execute: Callable[..., Any]) -> "Policy":
        """Return the policy of a view whose calls do not go to the pool."""
        view = self._twin()
        view.execute = execute
        view.children = self.children or self
        return view

    def handed_out(self, value: Any, proxy: "ObjectProxy", by_name: bool = False) -> Any:
        """Return a value as this proxy hands it out. In any thread."""
        if value is proxy._obj:
            return proxy
        if by_name or (self.types and isinstance(value, self.types)):
            return proxy._tpool_child(value)
        if self.items and type(value) in (list, tuple):
            return type(value)([self.handed_out(item, proxy) for item in value])
        return value

    def items_handed_out(self, items: Iterator[Any], proxy: "ObjectProxy") -> Iterator[Any]:
        """Return items as this proxy hands them out. In the pool."""
        always_asked = {type(proxy._obj), *((list, tuple) if self.items else ())}
        plain_kind = None  # the type of the last one that was not wrapped, as most of them will be
        for item in items:
            kind = type(item)
            if kind is plain_kind:
                yield item
                continue
            handed_out = self.handed_out(item, proxy)
            if handed_out is item and self._by_class and kind not in always_asked:
                plain_kind = kind
            yield handed_out


def check_types(autowrap: Types) -> tuple[type | UnionType, ...]:
    """Return the types of a type or of any collection of types."""
    types = (autowrap,) if isinstance(autowrap, (type, UnionType)) else autowrap
    if isinstance(types, Iterable):
        types = tuple(types)
        if all(isinstance(each, (type, UnionType)) for each in types):
            return types
    raise TypeError(
        f"autowrap takes a type or a collection of types, not {shown(autowrap)}; names go into autowrap_names, and to"
        " have a function make the object, there is Proxy.create(function, ...)"
    )


def check_names(autowrap_names: Names) -> frozenset[str]:
    """Return the names of a name or of any collection of names."""
    if isinstance(autowrap_names, str):
        return check_names((autowrap_names,))
    if isinstance(autowrap_names, Iterable):
        names = frozenset(autowrap_names)
        if all(isinstance(each, str) for each in names):
            return names | {"__call__"} if "_call_" in names else names  # which is Eventlet's name for it
    raise TypeError(
        f"autowrap_names takes a collection of strings, not {shown(autowrap_names)}; types go into autowrap"
    )
