"""Live views: edit a value in place although JAX arrays cannot be written."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ansatz.core.errors import DTypeError
from ansatz.core.operators import ArrayOperators


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
        if jnp.result_type(new, held.dtype) != held.dtype:
            raise DTypeError(
                f"{self.holder.describe()} has dtype {held.dtype}, but the value to write has "
                f"dtype {jnp.result_type(new)}; nothing was changed. Cast it first: "
                f"value.astype('{held.dtype}')."
            )
        self.holder.value = held.at[index].set(new)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.holder.value, name)

    def __eq__(self, other: object) -> Any:
        return self.holder.value == (other.value if isinstance(other, ArrayOperators) else other)

    def __ne__(self, other: object) -> Any:
        return self.holder.value != (other.value if isinstance(other, ArrayOperators) else other)

    def __repr__(self) -> str:
        return repr(self.holder.value)
