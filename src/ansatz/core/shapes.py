"""Shapes with unknown dimensions, and dtypes as they are declared."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import DTypeError, ShapeError, format_value

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Shape = tuple[int | None, ...]


def merge_shapes(a: Sequence[int | None], b: Sequence[int | None]) -> Shape | None:
    """The shape that fits both, or `None` if there is none."""
    if len(a) != len(b):
        return None
    merged = []
    for size, other in zip(a, b, strict=True):
        if size is not None and other is not None and size != other:
            return None
        merged.append(other if size is None else size)
    return tuple(merged)


def as_shape(shape: int | Sequence[int | None] | None) -> Shape:
    """A shape as users write it, checked: a number stands for one dimension.

    Raises:
        TypeError: it is none, but values, say, or a name.
        ShapeError: a size is negative.
    """
    given: Any = shape
    sizes: Iterable[Any] = (given,) if isinstance(given, int | np.integer) else given
    try:
        checked = tuple(None if size is None else operator.index(size) for size in sizes)
    except TypeError:
        raise TypeError(f"a shape is wanted, such as (256, None), {_instead_of(given)}") from None
    if any(size is not None and size < 0 for size in checked):
        raise ShapeError(
            f"a shape cannot hold a negative size, got {checked}; None stands for a dimension "
            "that is not known yet"
        )
    return checked


def _instead_of(given: Any) -> str:
    """What to write instead of something that was given for a shape."""
    if given is None:
        return "got None, which stands for one dimension"
    if isinstance(given, str):
        return f"got {given!r}; a name comes from the attribute: self.weight = az.Parameter(shape)"
    return f"got {format_value(given)}; values are given as an array: np.asarray(values)"


def strong(array: jax.Array) -> jax.Array:
    """Without the weak type of Python numbers, which would make a compiled function trace anew."""
    return jax.lax.convert_element_type(array, array.dtype) if array.weak_type else array


def as_dtype(dtype: DTypeLike) -> Any:
    """A dtype as users write it, checked.

    Raises:
        DTypeError: it has 64 bits, and JAX would narrow it in silence.
    """
    wanted = jnp.dtype(dtype)
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise DTypeError(
            f"dtype {wanted} needs 64-bit mode, which is off; call "
            "jax.config.update('jax_enable_x64', True) before anything else, or use a narrower one"
        )
    return wanted


def suggest_infer_shape(name: str, shape: Shape) -> str:
    """The `infer_shape` that a user would write for a parameter of this name and shape."""
    sizes = ", ".join("x.shape[-1]" if size is None else str(size) for size in shape)
    comma = "," if len(shape) == 1 else ""
    return f"    def infer_shape(self, x):\n        self.{name}.shape = ({sizes}{comma})"
