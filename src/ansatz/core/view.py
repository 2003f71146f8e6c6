"""Live views: edit a value in place although JAX arrays cannot be written."""

from __future__ import annotations

from typing import Any, cast

import jax
import numpy as np

from ansatz.core.errors import DTypeError, format_value
from ansatz.core.foreign import to_numpy
from ansatz.core.operators import ArrayOperators
from ansatz.core.spelling import no_attribute


def check_index(holder: Any, shape: tuple[int, ...], index: Any) -> None:
    """Refuse an index outside of the array, which JAX would drop or clamp in silence.

    Raises:
        IndexError: it is; indices that are traced cannot be checked.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, jax.core.Tracer) for part in parts):
        return
    checked = tuple(np.asarray(part) if isinstance(part, jax.Array) else part for part in parts)
    try:
        np.broadcast_to(np.empty((), bool), shape)[checked]
    except IndexError as error:
        raise IndexError(
            f"{holder.describe()} has shape {shape}: {error}; nothing was changed"
        ) from None


def as_array(holder: Any, new: Any, dtype: Any) -> Any:
    """What is to be written into `holder`, as an array of JAX or NumPy.

    Raises:
        TypeError: it is no array of numbers, nor can one be made of it.
        DTypeError: a whole number is too large.
    """
    if isinstance(new, jax.Array | np.ndarray | np.generic):
        return new
    try:
        array = to_numpy(new)
    except ValueError as error:  # Rows of several lengths.
        raise TypeError(
            f"the value of {holder.describe()} is an array of numbers, which cannot be made of "
            f"{format_value(new)}: {error}; nothing was changed"
        ) from None
    if array.dtype.kind not in "biufcV":
        raise TypeError(
            f"the value of {holder.describe()} is an array of numbers, got {format_value(new)}; "
            "nothing was changed"
        )
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        return array
    found = array.astype(dtype)  # Python numbers have no dtype of their own.
    if found.dtype.kind in "iu" and (found != array).any():
        raise DTypeError(
            f"{holder.describe()} has dtype {dtype}, which cannot hold {format_value(new)}; "
            "nothing was changed"
        )
    return found


class DataView(ArrayOperators):
    """What `parameter.data` gives: reads are arrays, writes go to the parameter.

    Example:
        >>> import ansatz as az
        >>> p = az.Parameter((2, 2), init="zeros")
        >>> p.data[:] += 1
        >>> p.data[0, 0] = 42
        >>> p.data *= abs(p.data) >= 1
        >>> print(p.value)
        [[42.  1.]
         [ 1.  1.]]
    """

    __slots__ = ("holder",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, holder: Any) -> None:
        self.holder = holder

    @property
    def value(self) -> Any:
        """The current value as an array, which does not change afterwards."""
        return self.holder.value

    @value.setter
    def value(self, new: Any) -> None:
        self.holder.value = new

    def __setitem__(self, index: Any, new: Any) -> None:
        if isinstance(new, ArrayOperators):
            new = new.value
        held = self.holder.value
        new = as_array(self.holder, new, held.dtype)
        if new.dtype != held.dtype and not np.can_cast(new.dtype, held.dtype, "safe"):
            raise DTypeError(
                f"{self.holder.describe()} has dtype {held.dtype}, but the value to write has "
                f"dtype {new.dtype}; nothing was changed. Cast it first: "
                f"value.astype('{held.dtype}')."
            )
        check_index(self.holder, held.shape, index)
        self.holder.value = held.at[index].set(new)

    def __getitem__(self, index: Any) -> Any:
        held = self.holder.value
        check_index(self.holder, held.shape, index)
        return held[index]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Only an error, for `p.data()` of Gluon, that says what to write."""
        raise TypeError(
            f"data of {self.holder.describe()} is an attribute, not a method: p.data is a view "
            "that can be edited, p.value the array; both without parentheses, like p.grad"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        held = self.holder.value
        try:
            return getattr(held, name)
        except AttributeError:
            raise no_attribute(self, name, dir(held)) from None

    def __eq__(self, other: object) -> Any:
        return self.holder.value == (other.value if isinstance(other, ArrayOperators) else other)

    def __ne__(self, other: object) -> Any:
        return self.holder.value != (other.value if isinstance(other, ArrayOperators) else other)

    def __repr__(self) -> str:
        return repr(self.holder.value)


class Viewed(ArrayOperators):
    """What holds an array and can be read and edited in place, through `data` or by index."""

    __slots__ = ()

    @property
    def T(self) -> jax.Array:
        """The transposed value."""
        return cast("jax.Array", self.value.T)

    @property
    def data(self) -> DataView:
        """A live view of the value that can be edited in place: `p.data[0, 0] = 42`."""
        return DataView(self)

    @data.setter
    def data(self, new: Any) -> None:
        if not (isinstance(new, DataView) and new.holder is self):
            self.value = new

    def __getitem__(self, index: Any) -> jax.Array:
        return cast("jax.Array", DataView(self)[index])

    def __setitem__(self, index: Any, new: Any) -> None:
        DataView(self)[index] = new
