"""Values on their way from a file into a parameter: converted, compared, checked and placed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.checkpoint.dtypes import dtype_called
from ansatz.core.declared import Declared

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """Which conversions and values the caller allows.

    Attributes:
        cast: the dtype that may be converted to, true for any, false for none.
        finite: whether NaN and infinity are refused.
    """

    cast: Any
    finite: bool

    @classmethod
    def of(cls, cast: bool | DTypeLike, *, finite: bool) -> Policy:
        """The policy of the arguments of `load`."""
        if isinstance(cast, bool):
            return cls(cast, finite)
        return cls(dtype_called(cast), finite)

    def objection(self, stored: Any, wanted: Any) -> str:
        """Why a conversion is not done, with the next step; empty if it is."""
        if _kind(stored) > _kind(wanted):
            return "this conversion would lose values and is never done"
        if (stored, wanted) in _COUNTERS:
            return ""
        if self.cast is False:
            return "pass cast=True to convert"
        if self.cast is not True and self.cast != wanted:
            return f"cast={str(self.cast)!r} allows conversion to that dtype only"
        return ""

    def refused_values(self, value: Any) -> str:
        """What is wrong with the values, or an empty string."""
        found = not_finite(value) if self.finite else ""
        return f"{found}, which finite=True refuses" if found else ""


# Counters of PyTorch (`num_batches_tracked`) have 64 bits, which JAX narrows to 32. Nothing is
# lost: `lost_by_conversion` refuses those that do not fit.
_COUNTERS = {
    (np.dtype(np.int64), np.dtype(np.int32)),
    (np.dtype(np.uint64), np.dtype(np.uint32)),
}


def not_finite(value: Any) -> str:
    """How many values are NaN or infinite, in words; empty if none is."""
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return ""
    host = np.asarray(value)
    if _is_finite(host):
        return ""
    with np.errstate(invalid="ignore"):  # Widening a signalling NaN is no reason to warn.
        finite = int(np.count_nonzero(np.isfinite(host)))
        nans = int(np.count_nonzero(host != host))
    return f"{nans} NaN and {host.size - finite - nans} infinite among {host.size} values"


# Of floating numbers of 16 bits, the bits of infinity; NaN is above, and the sign is the top bit.
# NumPy widens them one by one to look at them, which would take longer than to read their file.
_INFINITY = {np.dtype(np.float16): 0x7C00, np.dtype(jnp.bfloat16): 0x7F80}
_BLOCK = 1 << 17  # Elements, so that what is made of them stays in the cache.


def _is_finite(host: NDArray[Any]) -> bool:
    infinity = _INFINITY.get(host.dtype)
    if infinity is None:
        return bool(np.isfinite(host).all())
    bits = host.reshape(-1).view(np.uint16)
    return all(
        int((bits[start : start + _BLOCK] & 0x7FFF).max()) < infinity
        for start in range(0, bits.size, _BLOCK)
    )


def _kind(dtype: Any) -> int:
    """Each kind can be converted to itself and to those with a higher number."""
    for rank, kind in enumerate((jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)):
        if jnp.issubdtype(dtype, kind):
            return rank
    return 0


def converted(value: Any, dtype: Any, *, transposed: bool) -> Any:
    """`value` with the given dtype, transposed if asked for, in C order on the host.

    A JAX array that needs no change is returned as it is.
    """
    if isinstance(value, jax.Array):
        value = value.T if transposed else value
        if value.dtype != dtype or value.weak_type:
            value = jax.lax.convert_element_type(value, dtype)
        return value
    value = value.T if transposed else value
    if value.dtype != dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            value = value.astype(dtype)
    return np.asarray(value, order="C")


def lost_by_conversion(before: Any, after: Any) -> str:
    """What a conversion within a kind destroyed, or an empty string."""
    if before.dtype == after.dtype:
        return ""
    old, new = np.asarray(before), np.asarray(after)
    if jnp.issubdtype(new.dtype, jnp.inexact):
        lost = int(np.count_nonzero(np.isfinite(old))) - int(np.count_nonzero(np.isfinite(new)))
    else:
        lost = _count_outside(old, new.dtype)
    if lost <= 0:
        return ""
    return f"{lost} of {old.size} values are too large for {new.dtype} (from {old.dtype})"


def _count_outside(integers: NDArray[Any], dtype: np.dtype[Any]) -> int:
    if np.bool_ in (integers.dtype, dtype):
        return 0
    limits = np.iinfo(dtype)
    outside = (integers < limits.min) | (integers > limits.max)
    return int(np.count_nonzero(outside))


def largest_difference(one: Any, other: Any) -> float | None:
    """The largest absolute difference, or `None` if all values are equal (NaN equals NaN)."""
    a, b = np.asarray(one), np.asarray(other)
    if a.tobytes() == b.tobytes():
        return None
    different = ~((a == b) | ((a != a) & (b != b)))
    if not different.any():
        return None
    wide = np.complex128 if jnp.issubdtype(a.dtype, jnp.complexfloating) else np.float64
    gaps = np.abs(a[different].astype(wide) - b[different].astype(wide))
    return float(np.max(np.where(np.isnan(gaps), np.inf, gaps)))


def place(values: Sequence[Any], cells: Sequence[Declared]) -> list[Any]:
    """Device arrays for these parameters, changing none of them.

    A value goes where the present one was put on purpose; others go to the default device.
    """
    shardings = [_chosen_sharding(cell) for cell in cells]
    # In one call, which costs far less than one for each of a thousand parameters.
    unbound = [i for i, sharding in enumerate(shardings) if sharding is None]
    hosted = [i for i in unbound if not isinstance(values[i], jax.Array)]
    placed = dict(zip(hosted, jax.device_put([values[i] for i in hosted]), strict=True))
    for i, sharding in enumerate(shardings):
        if sharding is not None:
            placed[i] = jax.device_put(values[i], sharding)
    return [placed.get(i, value) for i, value in enumerate(values)]


def _chosen_sharding(cell: Declared) -> jax.sharding.Sharding | None:
    present = cell.materialize() if cell.has_value else None
    if isinstance(present, jax.Array) and present.committed:
        return present.sharding
    return None
