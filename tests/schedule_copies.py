"""Copies of the package's modules whose threads are those of a `tests.schedules.Scheduler`.

The modules that users import stay as they are. A copy is compiled from the same source, with these differences:

- what it imports of threads (`native`, `_thread`), `collections.deque` and `logging` comes from this module;
- its imports of other modules of the package are the copies of those;
- an attribute that is read without a lock (`SHARED`) is a point before each access, and so is, on demand, each line;
- ``x.a += 1`` on such an attribute is two accesses, as it is in truth;
- what the theory says to be written under the lock of the pool (`GUARDED`) is an error without it.

`Copy` can also change the source before, to break it on purpose.
"""

import ast
import builtins
import collections
import importlib.util
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from tests.schedules import Scheduler, Thing, VirtualThread

__all__ = ["Case", "Copy", "Mutation"]

MODULES = (
    "_pool.size",
    "_pool.refusal",
    "_pool.job",
    "_pool.neighbours",
    "_pool.statistics",
    "_pool.worker",
    "_pool.still_running",
    "_pool.asking",
    "_pool.chore",
    "_pool.crew",
    "_pool.lane",
    "_pool.thread_pool",
    "_loop.gate",
    "_loop.mailbox",
    "_loop.loop_job",
)

SHARED = {
    "claim": True,
    "dismissing": False,
    "dozing": False,
    "excused": False,
    "lost": False,
    "parked": False,
    "refusal": False,
    "retired": False,
    "size": False,
    "submit": False,
    "workers": True,
    "_dropped": False,
    "_farewells": False,
}
"""Attributes that some thread reads without a lock; and whether what is read may be changed in place."""

GUARDED = {"dismissing", "excused", "parked", "refusal", "retired", "size", "submit", "_dropped", "_farewells"}
"""Attributes that are only written under the lock of the pool, once their object is made."""

_BEFORE_SHARED = {"__init__", "_start_afresh", "after_fork_in_child"}
"""Functions that write when nobody else is there."""

Case = Callable[["Copy", Scheduler], Callable[[], object]]
"""Sets a small program up on a copy, and returns what is to be checked when nobody can go on."""

Mutation = tuple[str, str, str]
"""A module, a piece of its source, and what is to stand there instead."""

_now: Scheduler | None = None


def now() -> Scheduler:
    """The scheduler of the run that is under way."""
    assert _now is not None
    return _now


# What the copies get in the place of the real things


class Lock:
    """`_thread.lock`."""

    def __init__(self) -> None:
        self._thing = Thing()
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        scheduler = now()
        scheduler.point(self._thing, "acquire")
        if self._held:
            if not blocking or not scheduler.wait(lambda: not self._held, timed=timeout >= 0):
                return False
            scheduler.note(self._thing, "acquire, having waited")
        self._held = True
        return True

    def release(self) -> None:
        now().point(self._thing, "release")
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False

    def locked(self) -> bool:
        now().point(self._thing, "locked?", writes=False)
        return self._held


class ReentrantLock:
    """`_thread.RLock`."""

    def __init__(self) -> None:
        self._thing = Thing()
        self.owner: VirtualThread | None = None
        self._count = 0

    def __enter__(self) -> None:
        scheduler = now()
        me = scheduler.current
        if me is not None and self.owner is not me:
            scheduler.point(self._thing, "enter the lock")
            if self.owner is not None:
                scheduler.wait(lambda: self.owner is None)
                scheduler.note(self._thing, "enter the lock, having waited")
            self.owner = me
        self._count += 1

    def __exit__(self, *failure: object) -> None:
        if self._count == 1:
            now().point(self._thing, "leave the lock")
        self._count -= 1
        if not self._count:
            self.owner = None


class Deque(collections.deque[Any]):
    """`collections.deque`."""

    def __init__(self, *arguments: Any) -> None:
        self._thing = Thing()
        super().__init__(*arguments)

    def append(self, item: Any) -> None:
        now().point(self._thing, "append")
        super().append(item)

    def popleft(self) -> Any:
        now().point(self._thing, "popleft")
        return super().popleft()

    def pop(self) -> Any:  # type: ignore[override]
        now().point(self._thing, "pop")
        return super().pop()

    def extendleft(self, items: Iterable[Any]) -> None:
        now().point(self._thing, "extendleft")
        super().extendleft(items)

    def clear(self) -> None:
        now().point(self._thing, "clear")
        super().clear()

    def copy(self) -> Any:
        now().point(self._thing, "copy", writes=False)
        return list(super().__iter__())

    def __iter__(self) -> Any:
        raise AssertionError("to look through a deque is no atomic operation; look through a copy of it")

    def __len__(self) -> int:
        now().point(self._thing, "len", writes=False)
        return super().__len__()

    def empty(self) -> bool:
        """Tell whether there is nothing, without a point, for conditions to wait for."""
        return not super().__len__()

    def __getitem__(self, index: Any) -> Any:
        now().point(self._thing, "look", writes=False)
        return super().__getitem__(index)


class IdleDict(dict[Any, Any]):
    """The dict of those who are idle."""

    def __init__(self) -> None:
        self._thing = Thing()

    def __setitem__(self, key: Any, value: Any) -> None:
        now().point(self._thing, "enter idle")
        super().__setitem__(key, value)

    def pop(self, *arguments: Any) -> Any:
        now().point(self._thing, "step out of idle")
        return super().pop(*arguments)

    def popitem(self) -> Any:
        now().point(self._thing, "take out of idle")
        return super().popitem()

    def __len__(self) -> int:
        now().point(self._thing, "anybody idle?", writes=False)
        return super().__len__()


class Thread:
    """`threading.Thread`."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self.name = name
        self.ident = None
        self._target = target
        self._thread: VirtualThread | None = None

    def start(self) -> None:
        scheduler = now()
        scheduler.point(None, f"start {self.name}")
        if scheduler.failed_starts:
            scheduler.failed_starts -= 1
            raise RuntimeError("can't start new thread")
        self._thread = scheduler.start(self.name, self._target, daemon=True)

    def is_alive(self) -> bool:
        return self._thread is not None and not self._thread.ended


class Local:
    """`threading.local`."""

    def __getattribute__(self, name: str) -> Any:
        try:
            return _locals(self)[name]
        except KeyError:
            return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        _locals(self)[name] = value


def _locals(of: Local) -> dict[str, Any]:
    scheduler = now()
    per_thread = scheduler.outside if scheduler.current is None else scheduler.current.locals
    return per_thread.setdefault(id(of), {})


class _Logger:
    """A logger for which each message is an error of the run."""

    def exception(self, message: str, *arguments: object, exc_info: object = None) -> None:
        if not now().over:
            now().errors.append(AssertionError(f"logged: {message % arguments}"))

    error = exception


def _module(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(contents)
    return module


_STAND_INS = {
    "_thread": _module("_thread", TIMEOUT_MAX=1e9),
    "tpool_asyncio._pool.native": _module(
        "native",
        allocate_lock=Lock,
        RLock=ReentrantLock,
        LockType=Lock,
        local=Local,
        in_main_thread=lambda: False,
        new_thread=Thread,
        current_thread=lambda: now().current,
    ),
    "warnings": _module("warnings", warn=lambda *_, **__: None),
    "collections": _module("collections", deque=Deque),
    "logging": _module("logging", getLogger=lambda name: _Logger()),
    "tpool_asyncio._pool.lifetime": _module("lifetime", register=lambda pool: None),
    "tpool_asyncio._pool.neighbours": _module("neighbours", greet=lambda worker: None),
}


# Accesses to attributes, in the copies


def _read(holder: Any, name: str) -> Any:
    scheduler = now()
    scheduler.point(scheduler.thing(holder, name), name, writes=SHARED[name])
    return holder


def _write(holder: Any, name: str) -> Any:
    scheduler = now()
    scheduler.point(scheduler.thing(holder, name), f"set {name}")
    return holder


def _write_guarded(holder: Any, name: str) -> Any:
    scheduler = now()
    pool = holder
    while not hasattr(pool, "lock"):
        pool = pool.crew if hasattr(pool, "crew") else pool.pool
    assert scheduler.current is None or pool.lock.owner is scheduler.current, f"{name} is written without the lock"
    return _write(holder, name)


def _line(number: int) -> None:
    now().point(None, f"line {number}")


class _Instrument(ast.NodeTransformer):
    def __init__(self, *, every_line: bool) -> None:
        self._every_line = every_line
        self._functions: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr in SHARED and self._functions and not isinstance(node.ctx, ast.Del):
            gate = "_read"
            if isinstance(node.ctx, ast.Store):
                exempt = node.attr not in GUARDED or self._functions[-1] in _BEFORE_SHARED
                gate = "_write" if exempt else "_write_guarded"
            name = ast.Name(gate, ast.Load())
            node.value = ast.Call(name, [node.value, ast.Constant(node.attr)], [])
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        target = node.target
        if not isinstance(target, ast.Attribute) or target.attr not in SHARED:
            return self.generic_visit(node)
        read = ast.Attribute(target.value, target.attr, ast.Load())
        in_two_steps = ast.Assign([target], ast.BinOp(read, node.op, node.value))
        return self.generic_visit(ast.copy_location(in_two_steps, node))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if isinstance(node.target, ast.Attribute) and node.target.attr == "idle":
            node.value = ast.Call(ast.Name("_IdleDict", ast.Load()), [], [])
        return self.generic_visit(node)

    def visit(self, node: ast.AST) -> Any:
        visited = super().visit(node)
        if self._every_line and self._functions and isinstance(node, ast.stmt) and isinstance(visited, ast.stmt):
            line = ast.Call(ast.Name("_line", ast.Load()), [ast.Constant(node.lineno)], [])
            return [ast.Expr(line), visited]
        return visited


def _changed(source: str, old: str, new: str) -> str:
    """Return the source with a block changed that must be there once, however deep it is indented."""
    if "\n" not in old and source.count(old) == 1:
        return source.replace(old, new)
    for depth in range(0, 24, 4):
        block = "\n" + indent(dedent(old).strip("\n"), " " * depth)
        if source.count(block) == 1:
            return source.replace(block, "\n" + indent(dedent(new).strip("\n"), " " * depth))
    raise AssertionError(f"this is not there once: {old}")


class Copy:
    """Private copies of the modules of floors 1 and 2 that work across threads."""

    def __init__(self, mutations: Sequence[Mutation] = (), *, every_line: bool = False) -> None:
        self.modules: dict[str, types.ModuleType] = {}
        self._every_line = every_line
        left = list(mutations)
        for short in MODULES:
            name = f"tpool_asyncio.{short}"
            if name in _STAND_INS:
                self.modules[name] = _STAND_INS[name]
                continue
            mine = [mutation for mutation in left if mutation[0] == short]
            left = [mutation for mutation in left if mutation[0] != short]
            self.modules[name] = self._load(name, mine)
        assert not left, f"there are no such modules: {left}"

    def __getitem__(self, short: str) -> Any:
        return self.modules[f"tpool_asyncio.{short}"]

    def case(self, case: Case) -> Any:
        """Return a case of these copies as `tests.schedules.explore` takes it."""

        def set_up(scheduler: Scheduler) -> Callable[[], object]:
            global _now
            _now = scheduler
            return case(self, scheduler)

        return set_up

    def _load(self, name: str, mutations: Sequence[Mutation]) -> types.ModuleType:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        for _, old, new in mutations:
            source = _changed(source, old, new)
        tree = _Instrument(every_line=self._every_line).visit(ast.parse(source))
        module = types.ModuleType(name)
        vars(module).update(
            __builtins__={**vars(builtins), "__import__": self._import},
            __file__=spec.origin,
            _read=_read,
            _write=_write,
            _write_guarded=_write_guarded,
            _line=_line,
            _IdleDict=IdleDict,
        )
        exec(compile(ast.fix_missing_locations(tree), f"<copy of {name}>", "exec"), vars(module))
        return module

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:  # noqa: A002
        if name in self.modules:
            return self.modules[name]
        if name in _STAND_INS:
            return _STAND_INS[name]
        if name == "tpool_asyncio._pool" and tuple(fromlist) == ("lifetime",):
            return _module(name, lifetime=_STAND_INS["tpool_asyncio._pool.lifetime"])
        return builtins.__import__(name, globals, locals, fromlist, level)
