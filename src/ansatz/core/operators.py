"""Arithmetic for things that hold an array: parameters, states, and views of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np


def _unwrap(other: Any) -> Any:
    return other.value if isinstance(other, ArrayOperators) else other


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], jax.Array]:
    def method(self: Any, other: Any) -> jax.Array:
        result: jax.Array = function(self.value, _unwrap(other))
        return result

    return method


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], jax.Array]:
    def method(self: Any, other: Any) -> jax.Array:
        result: jax.Array = function(_unwrap(other), self.value)
        return result

    return method


def _in_place(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        self.value = function(self.value, _unwrap(other))
        return self

    return method


class ArrayOperators:
    """Operators that act on `self.value`; the in-place ones assign to it.

    `==` is not among them: a parameter is equal to itself only, so that it can be a key.
    """

    __slots__ = ()

    # NumPy arrays on the left leave the operation to us instead of looping over elements.
    __array_ufunc__ = None

    value: Any

    __add__ = _binary(operator.add)
    __radd__ = _reflected(operator.add)
    __iadd__ = _in_place(operator.add)
    __sub__ = _binary(operator.sub)
    __rsub__ = _reflected(operator.sub)
    __isub__ = _in_place(operator.sub)
    __mul__ = _binary(operator.mul)
    __rmul__ = _reflected(operator.mul)
    __imul__ = _in_place(operator.mul)
    __truediv__ = _binary(operator.truediv)
    __rtruediv__ = _reflected(operator.truediv)
    __itruediv__ = _in_place(operator.truediv)
    __floordiv__ = _binary(operator.floordiv)
    __rfloordiv__ = _reflected(operator.floordiv)
    __ifloordiv__ = _in_place(operator.floordiv)
    __mod__ = _binary(operator.mod)
    __rmod__ = _reflected(operator.mod)
    __imod__ = _in_place(operator.mod)
    __pow__ = _binary(operator.pow)
    __rpow__ = _reflected(operator.pow)
    __ipow__ = _in_place(operator.pow)
    __matmul__ = _binary(operator.matmul)
    __rmatmul__ = _reflected(operator.matmul)
    __imatmul__ = _in_place(operator.matmul)
    __lt__ = _binary(operator.lt)
    __le__ = _binary(operator.le)
    __gt__ = _binary(operator.gt)
    __ge__ = _binary(operator.ge)

    def __neg__(self) -> jax.Array:
        result: jax.Array = -self.value
        return result

    def __pos__(self) -> jax.Array:
        result: jax.Array = +self.value
        return result

    def __abs__(self) -> jax.Array:
        result: jax.Array = abs(self.value)
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.value, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __getitem__(self, index: Any) -> jax.Array:
        part: jax.Array = self.value[index]
        return part

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[jax.Array]:
        # Without it, Python counts upwards until an IndexError, which JAX arrays never raise.
        return iter(self.value)
