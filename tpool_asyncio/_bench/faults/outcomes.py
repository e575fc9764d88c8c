"""Outcomes of every kind: what a function may raise, and what may go wrong on the way back."""

import asyncio
import builtins
import gc
import sys
import traceback
from typing import Any, NoReturn

from tpool_asyncio._bench.faults.case import case
from tpool_asyncio._bench.faults.verdicts import Hangs, Wrong, check
from tpool_asyncio._bench.faults.ways import Way

__all__: list[str] = []


def _raise(error: BaseException) -> NoReturn:
    try:
        raise error
    finally:
        del error


async def _raised(way: Way, error: BaseException) -> BaseException | None:
    try:
        await way.within(way.call(_raise, error), f"the caller of a function that raises {type(error).__name__}")
    except Hangs:
        raise
    except BaseException as caught:
        return caught
    return None


def _make(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, BaseExceptionGroup):
        return kind("group", [ValueError("one"), OSError("two")])
    if issubclass(kind, UnicodeDecodeError):
        return kind("ascii", b"\xff", 0, 1, "no reason")
    if issubclass(kind, UnicodeEncodeError):
        return kind("ascii", "\xff", 0, 1, "no reason")
    if issubclass(kind, UnicodeTranslateError):
        return kind("\xff", 0, 1, "no reason")
    return kind("as raised")


def _is_in_chain(error: BaseException, of: BaseException | None) -> bool:
    while of is not None:
        if of is error:
            return True
        of = of.__cause__ or of.__context__
    return False


@case("outcomes")
def every_exception(way: Way) -> None:
    """Every built-in exception reaches the caller.

    The caller gets the very object, or an error that has it as its cause or context; calls go on working after each.
    """
    kinds = [each for each in vars(builtins).values() if isinstance(each, type) and issubclass(each, BaseException)]
    kinds += [asyncio.CancelledError, asyncio.InvalidStateError, asyncio.IncompleteReadError]

    async def main() -> None:
        wrong = []
        for kind in kinds:
            error = kind(b"", 1) if kind is asyncio.IncompleteReadError else _make(kind)
            caught: BaseException | None = None
            try:
                # Not in a coroutine below this one: Python would close that if a GeneratorExit comes out of a future.
                await way.within(way.call(_raise, error), kind.__name__)
            except Hangs:
                wrong.append(f"{kind.__name__} never arrives")
                break
            except BaseException as raised:
                caught = raised
            if not _is_in_chain(error, caught):
                wrong.append(f"{kind.__name__} arrives as {type(caught).__name__}")
        check(not wrong, ", ".join(wrong))
        check(await way.within(way.call(len, "abc"), "a call after these") == 3, "a call after these")

    way.run(main)


class _AwkwardError(Exception):
    """Cannot be made a string, pickled, compared or hashed."""

    def __str__(self) -> str:
        raise LookupError("no string")

    __repr__ = __str__

    def __reduce__(self) -> NoReturn:
        raise LookupError("no pickle")

    def __eq__(self, other: object) -> bool:
        raise LookupError("no comparison")

    __hash__ = None  # type: ignore[assignment]


class _UnmakeableError(Exception):
    def __init__(self) -> None:
        raise LookupError("never made")


def _raise_unmakeable() -> None:
    raise _UnmakeableError


class _Slotted(BaseException):
    """Takes no attributes and no notes, and bears no new traceback."""

    __slots__ = ()

    def with_traceback(self, _: object) -> NoReturn:
        raise LookupError("no traceback")


@case("outcomes")
def awkward_exceptions(way: Way) -> None:
    """Exceptions whose own methods fail reach the caller.

    Exceptions with a failing __str__, __repr__, __reduce__, __eq__ or with_traceback arrive as the same object; of one
    whose __init__ fails, the error of __init__ arrives.
    """

    async def main() -> None:
        for error in (_AwkwardError(), _Slotted()):
            caught = await _raised(way, error)
            check(caught is error, f"{type(error).__name__} arrives as {type(caught).__name__}")
        arrives: BaseException | None = None
        try:
            await way.within(way.call(_raise_unmakeable), "the caller of what raises an error that cannot be made")
        except LookupError as error:
            arrives = error
        check(arrives is not None and arrives.args == ("never made",), f"{arrives!r} in place of the error of __init__")
        del arrives
        check(await way.within(way.call(len, "abc"), "a call after these") == 3, "a call after these")

    way.run(main)


def _recurse(depth: int = 0) -> int:
    return _recurse(depth + 1) + 1


@case("outcomes")
def groups_and_limits(way: Way) -> None:
    """Exception groups, RecursionError and MemoryError reach the caller.

    A group arrives as the same object, nested as it was; so does an error of real recursion, or of memory that is not
    there, with a traceback that names the function.
    """

    async def main() -> None:
        group = BaseExceptionGroup("outer", [ExceptionGroup("inner", [ValueError(1)]), GeneratorExit()])
        check(await _raised(way, group) is group, "the group is another one")
        for kind, fn, args in ((RecursionError, _recurse, ()), (MemoryError, bytearray, (sys.maxsize,))):
            error: Any = None
            try:
                await way.within(way.call(fn, *args), kind.__name__)
            except kind as caught:
                error = caught
            check(error is not None, f"no {kind.__name__}")
            if fn is _recurse:
                names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
                check("_recurse" in names, "the traceback does not name the function")
            del error
        check(await way.within(way.call(len, "abc"), "a call after these") == 3, "a call after these")

    way.run(main)


@case("outcomes", "tasks")
def errors_in_delivery(way: Way) -> None:
    """Errors raised while an outcome is delivered harm no other call.

    Callbacks of every second future raise, values have destructors that raise, and the loop's exception handler raises
    too; all calls get their own values.
    """

    class Value:
        def __init__(self, number: int) -> None:
            self.number = number

        def __del__(self) -> None:
            raise LookupError("out of a destructor")

    def misbehave(*_: object) -> NoReturn:
        raise LookupError("out of a callback")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(misbehave)
        calls = [way.start(Value, number) for number in range(40)]
        for call in calls[::2]:
            call.add_done_callback(misbehave)
        values = await way.within(asyncio.gather(*calls), "all values")
        wrong = [number for number, value in enumerate(values) if value.number != number]
        check(not wrong, f"wrong values: {wrong}")
        del values, calls
        gc.collect()
        check(await way.within(way.call(len, "abc"), "a call after these") == 3, "a call after these")

    way.run(main)
    way.noise.clear()  # that is what these are for


@case("outcomes", "tasks")
def nobody_waits(way: Way) -> None:
    """Calls for which nobody waits any more run to their end, and take nobody with them.

    40 calls are made whose futures are dropped at once, half of them fail; then a call is awaited. It gets its value,
    and an error that is reported names its function or its exception.
    """
    ran: list[int] = []

    def job(number: int) -> int:
        ran.append(number)
        if number % 2:
            raise LookupError(number)
        return number

    async def main() -> None:
        for number in range(40):
            way.start(job, number)
        await asyncio.sleep(0.05)
        check(await way.within(way.call(len, "abc"), "a call after these") == 3, "a call after these")
        while len(ran) < 40:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    way.run(main)
    gc.collect()
    for line in way.noise:
        if "LookupError" not in line:
            raise Wrong(line)
    way.noise.clear()
