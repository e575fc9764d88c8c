"""The special methods of a proxy, which the interpreter looks up in its class.

There are three kinds, and the table of them is in ``docs/proxy.md``:

- **in place**: what is called often, or by the interpreter itself, and hardly ever blocks (`ObjectProxy`);
- **in the pool**: what may give any result, and hence something to await;
- **at once**: what the interpreter wants the result of there and then, or whose result is dropped by the statement it
  stands for. That runs in the pool where synchronous code can wait, and in place where only async code can.
"""

import copy
import math
import operator
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from tpool_asyncio._proxy.method import Run, short_name
from tpool_asyncio._proxy.object_proxy import ObjectProxy, bare

__all__ = ["DataModel"]


class DataModel(ObjectProxy):
    """What a proxy passes on to its object beyond attributes."""

    __slots__ = ()

    def _tpool_now(self, fn: Any, *args: Any) -> Any:
        """Make a call on the object whose result is wanted at once."""
        raise NotImplementedError

    def _tpool_pooled(self, fn: Callable[..., Any], *args: Any, by_name: bool = False) -> Any:
        """Make a call on the object that can be awaited, if it has to be."""
        return self._tpool.execute(Run((self, fn, by_name, short_name(fn))), self._obj, *args)

    def _tpool_binary(self, operation: Callable[..., Any], other: Any, *rest: Any) -> Any:
        return self._tpool_pooled(operation, bare(other), *rest)

    def _tpool_reflected(self, operation: Callable[..., Any], other: Any, *rest: Any) -> Any:
        return self._tpool_pooled(partial(_reflected, operation), other, *rest)

    def _tpool_update(self, operation: Callable[..., Any], other: Any) -> Any:
        return self._tpool_now(Run((self, operation, False, short_name(operation))), bare(other))

    # In the pool

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._tpool_method(self._obj, "__call__")(*args, **kwargs)

    def __getitem__(self, key: Any, /) -> Any:
        return self._tpool_pooled(operator.getitem, key)

    def __reversed__(self) -> Any:
        return self._tpool_pooled(reversed)

    def __copy__(self) -> Any:
        return self._tpool_pooled(copy.copy, by_name=True)

    def __deepcopy__(self, memo: dict[int, Any], /) -> Any:
        return self._tpool_pooled(copy.deepcopy, by_name=True)

    def __add__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.add, other)

    def __radd__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.add, other)

    def __sub__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.sub, other)

    def __rsub__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.sub, other)

    def __mul__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.mul, other)

    def __rmul__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.mul, other)

    def __matmul__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.matmul, other)

    def __rmatmul__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.matmul, other)

    def __truediv__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.truediv, other)

    def __rtruediv__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.truediv, other)

    def __floordiv__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.floordiv, other)

    def __rfloordiv__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.floordiv, other)

    def __mod__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.mod, other)

    def __rmod__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.mod, other)

    def __divmod__(self, other: Any, /) -> Any:
        return self._tpool_binary(divmod, other)

    def __rdivmod__(self, other: Any, /) -> Any:
        return self._tpool_reflected(divmod, other)

    def __pow__(self, other: Any, modulo: Any = None, /) -> Any:
        return self._tpool_binary(pow, other, *_given(modulo))

    def __rpow__(self, other: Any, modulo: Any = None, /) -> Any:
        return self._tpool_reflected(pow, other, *_given(modulo))

    def __lshift__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.lshift, other)

    def __rlshift__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.lshift, other)

    def __rshift__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.rshift, other)

    def __rrshift__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.rshift, other)

    def __and__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.and_, other)

    def __rand__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.and_, other)

    def __or__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.or_, other)

    def __ror__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.or_, other)

    def __xor__(self, other: Any, /) -> Any:
        return self._tpool_binary(operator.xor, other)

    def __rxor__(self, other: Any, /) -> Any:
        return self._tpool_reflected(operator.xor, other)

    def __neg__(self) -> Any:
        return self._tpool_pooled(operator.neg)

    def __pos__(self) -> Any:
        return self._tpool_pooled(operator.pos)

    def __abs__(self) -> Any:
        return self._tpool_pooled(abs)

    def __invert__(self) -> Any:
        return self._tpool_pooled(operator.invert)

    def __round__(self, digits: Any = None, /) -> Any:
        return self._tpool_pooled(round, *_given(digits))

    def __trunc__(self) -> Any:
        return self._tpool_pooled(math.trunc)

    def __floor__(self) -> Any:
        return self._tpool_pooled(math.floor)

    def __ceil__(self) -> Any:
        return self._tpool_pooled(math.ceil)

    # At once

    def __setitem__(self, key: Any, value: Any, /) -> None:
        self._tpool_now(operator.setitem, key, value)

    def __delitem__(self, key: Any, /) -> None:
        self._tpool_now(operator.delitem, key)

    def __contains__(self, item: Any, /) -> bool:
        return bool(self._tpool_now(operator.contains, bare(item)))

    def __int__(self) -> int:
        return self._tpool_now(int)  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return self._tpool_now(float)  # type: ignore[no-any-return]

    def __fspath__(self) -> Any:
        return self._tpool_now(os.fspath)

    def __complex__(self) -> complex:
        return self._tpool_now(complex)  # type: ignore[no-any-return]

    def __index__(self) -> int:
        return self._tpool_now(operator.index)  # type: ignore[no-any-return]

    def __bytes__(self) -> bytes:
        return self._tpool_now(bytes)  # type: ignore[no-any-return]

    def __iadd__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.iadd, other)

    def __isub__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.isub, other)

    def __imul__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.imul, other)

    def __imatmul__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.imatmul, other)

    def __itruediv__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.itruediv, other)

    def __ifloordiv__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.ifloordiv, other)

    def __imod__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.imod, other)

    def __ipow__(self, other: Any, /) -> Any:  # type: ignore[misc]
        return self._tpool_update(operator.ipow, other)

    def __ilshift__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.ilshift, other)

    def __irshift__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.irshift, other)

    def __iand__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.iand, other)

    def __ior__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.ior, other)

    def __ixor__(self, other: Any, /) -> Any:
        return self._tpool_update(operator.ixor, other)


def _given(argument: Any) -> tuple[Any, ...]:
    return () if argument is None else (bare(argument),)


def _reflected(operation: Callable[..., Any], obj: Any, other: Any, *rest: Any) -> Any:
    return operation(other, obj, *rest)
