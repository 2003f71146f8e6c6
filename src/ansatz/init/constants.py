"""Initialisers that draw nothing: zeros, ones, and given values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.core.errors import InitializationError, format_shape
from ansatz.core.initializer import Initializer, Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Zeros(Initializer, name="zeros zero"):
    """All elements 0.

    Example:
        >>> import ansatz as az
        >>> print(az.Parameter((2,), init="zeros").value)
        [0. 0.]
    """

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Write one block in place."""
        out.fill(0)


class Ones(Initializer, name="ones one"):
    """All elements 1.

    Example:
        >>> import ansatz as az
        >>> print(az.Parameter((2,), init="ones").value)
        [1. 1.]
    """

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Write one block in place."""
        out.fill(1)


class Constant(Initializer, name="constant"):
    """A given value, broadcast to the shape of the parameter.

    Args:
        value: a number, or an array, list or tuple that broadcasts to the shape. Infinities are
            allowed.

    Raises:
        InitializationError: the value holds NaN or no numbers. When drawn: it does not broadcast to
            the shape, or the dtype of the parameter cannot hold it.

    Example:
        >>> import ansatz as az
        >>> from ansatz import init
        >>> print(az.Parameter((2, 3), init=init.Constant([1, 2, 3])).value)
        [[1. 2. 3.]
         [1. 2. 3.]]
    """

    def __init__(self, value: Any) -> None:
        # Copied, so that later changes of the caller's array are not seen.
        array = np.array(value)
        try:
            undefined = bool((array != array).any())
        except TypeError:
            undefined = True
        if undefined or array.dtype.kind in "OSU":
            raise InitializationError(
                f"value of Constant must be a number or an array of numbers, without NaN; "
                f"got {value!r}"
            )
        self.value = array.item() if array.ndim == 0 and array.dtype.kind in "biufc" else array

    def bind(self, spec: Spec) -> Initializer:
        """What writes the value, in the dtype of the parameter."""
        converted = in_dtype(self, self.value, spec)
        try:
            np.broadcast_to(converted, spec.shape)
        except ValueError:
            raise InitializationError(
                f"{spec.name} has shape {format_shape(spec.shape)}, to which the value of {self!r}"
                f", of shape {format_shape(converted.shape)}, does not broadcast"
            ) from None
        return _Filled(converted) if converted.ndim == 0 else _Broadcast(converted)


def in_dtype(initializer: Initializer, given: Any, spec: Spec) -> NDArray[Any]:
    """A value that an initialiser was built with, in the dtype of the parameter.

    Raises:
        InitializationError: the dtype cannot hold it.
    """
    value = np.asarray(given)
    fits = value.dtype.kind != "c" or spec.dtype.kind == "c"
    if fits:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = value.astype(spec.dtype)
            if spec.dtype.kind in "biu":
                fits = bool((converted == value).all())
            else:
                fits = bool((np.isfinite(converted) == np.isfinite(value)).all())
    if not fits:
        raise InitializationError(
            f"{spec.name} has dtype {spec.dtype}, which cannot hold the value of {initializer!r}"
        )
    return converted


class _Filled(Initializer):
    """One number in the parameter's own dtype."""

    def __init__(self, value: NDArray[Any]) -> None:
        self.value = value

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        out[...] = self.value


class _Broadcast(Initializer):
    """An array in the parameter's own dtype."""

    def __init__(self, value: NDArray[Any]) -> None:
        self.value = value

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        return np.broadcast_to(self.value, spec.shape)
