"""Mutation testing: break a module in one place at a time, and see whether its tests find that.

    .venv/bin/python .ci/mutants.py tpool_asyncio/_loop/gate.py tests/test_loops.py tests/test_tokens.py

Every mutant that survives is printed, and at the end how many there were. The project is copied first, and the tests
run on the copy; a test that takes longer than 10 seconds has found the mutant. What `schedule_mutants.py` lists is
left out, since that fails on any change of the piece of source it looks for.
"""

import ast
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

SWAPPED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is"}
SWAPPED |= {"in": "not in", "not in": "in"}
SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is"}
SIGNS |= {ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in"}
DECLARED = {"__all__", "__slots__", "_logger", "T", "_asking"}
Change: TypeAlias = tuple[ast.stmt | ast.expr, str]
"""What stands in the source, and what is to stand there instead."""

MESSAGES = {"RuntimeError", "TypeError", "TypeVar"}


def negated(test: ast.expr) -> Iterator[Change]:
    """A condition the other way round, unless `changed` makes the same of it."""
    other = isinstance(test, ast.Compare) and len(test.ops) == 1 and SWAPPED[SIGNS[type(test.ops[0])]]
    plain = isinstance(test, ast.Constant) or (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))
    if not plain and other not in {*SIGNS.values()} - {"<", "<=", ">", ">="}:
        yield test, f"(not ({ast.unparse(test)}))"


def changed(node: ast.AST) -> Iterator[Change]:
    """What may stand in the place of this node, or of a part of it."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for index in range(len(ops)):
                signs = [SIGNS[type(op)] for op in ops]
                signs[index] = SWAPPED[signs[index]]
                rest = (f"{sign} {ast.unparse(other)}" for sign, other in zip(signs, others, strict=True))
                yield node, f"{ast.unparse(left)} {' '.join(rest)}"
        case ast.BoolOp(op=op, values=values):
            word = " and " if isinstance(op, ast.And) else " or "
            for dropped in values:
                yield node, f"({word.join(f'({ast.unparse(value)})' for value in values if value is not dropped)})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            yield node, "0"
        case ast.Constant(value=bool(value)):
            yield node, str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield node, repr(value + 1)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult(), right=right):
            if not isinstance(left, ast.Constant | ast.JoinedStr):
                sign = "-" if isinstance(node.op, ast.Add) else "+"
                yield node, f"({ast.unparse(left)} {sign} {ast.unparse(right)})"
        case ast.With(items=[*_, ast.withitem(optional_vars=None)]):
            yield node, "if True:"
        case ast.Return(value=None) | ast.Raise():
            yield node, "pass"
        case ast.Return(value=value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield node, "return None"
        case ast.Break():
            yield node, "continue"
        case ast.Continue():
            yield from ((node, "pass"), (node, "break"))
        case ast.Expr(value=value) if not isinstance(value, ast.Constant | ast.Yield):
            yield node, "pass"
        case ast.AugAssign(target=target, op=op, value=value):
            yield node, "pass"
            yield node, f"{ast.unparse(target)} {'-' if isinstance(op, ast.Add) else '+'}= {ast.unparse(value)}"
        case ast.Assign() | ast.AnnAssign(value=ast.expr()) | ast.Delete():
            yield node, "pass"
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield from negated(test)
        case ast.comprehension(ifs=tests):
            for test in tests:
                yield from negated(test)


def passed_over(node: ast.AST) -> bool:
    """Return whether nothing is changed here: declarations, messages, and what is there for the type checker."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.If(test=test):
            return any(name in ast.unparse(test) for name in ("TYPE_CHECKING", "_is_gil_enabled"))
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in DECLARED
        case ast.Call(func=ast.Name(id=name)) | ast.Raise(exc=ast.Call(func=ast.Name(id=name))):
            return name in MESSAGES and isinstance(node, ast.Call)
    return False


def walk(node: ast.AST) -> Iterator[Change]:
    if passed_over(node):
        return
    yield from changed(node)
    if isinstance(node, ast.UnaryOp | ast.Raise | ast.Delete) and not isinstance(getattr(node, "op", None), ast.Not):
        return
    endless = isinstance(node, ast.While) and isinstance(node.test, ast.Constant)
    for name, field in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list", "test" if endless else ""):
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST):
                    yield from walk(child)


def mutants(source: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield for each mutant the line, what stood there, what stands there now, and the whole source."""
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    seen = {ast.dump(ast.parse(source))}
    for node, text in walk(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        if isinstance(node, ast.With):
            end = starts[node.body[0].lineno - 1] - 1
        mutant = (b"".join(lines)[:begin] + text.encode() + b"".join(lines)[end:]).decode()
        if (dump := ast.dump(ast.parse(mutant))) not in seen:
            seen.add(dump)
            yield node.lineno, source.encode()[begin:end].decode().split("\n")[0], text, mutant


def survives(copy: Path, tests: list[str]) -> bool:
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "--timeout=10", "-p", "no:cacheprovider", *tests]
    running = subprocess.Popen(
        [*command, "-k", "not broken_on_purpose"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return running.wait(300) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def main(module: str, *tests: str) -> None:
    source = Path(module).read_text()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".git", ".venv", ".nox", "__pycache__"))
        if not survives(copy, [*tests]):
            raise SystemExit("the tests fail although nothing is broken")
        found = survived = 0
        for line, before, after, mutant in mutants(source):
            (copy / module).write_text(mutant)
            if survives(copy, [*tests]):
                survived += 1
                sys.stdout.write(f"{module}:{line}: {before.strip()}  ->  {after.strip()}\n")
                sys.stdout.flush()
            else:
                found += 1
    sys.stdout.write(f"{found + survived} mutants, {survived} survived\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
