"""The dtypes that NumPy itself does not have, by name, and what a format without them may hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import CheckpointError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# Neither is annotated.
_iinfo: Any = jnp.iinfo
_finfo: Any = jnp.finfo

EXTENSIONS: dict[str, np.dtype[Any]] = {
    np.dtype(dtype).name: np.dtype(dtype)
    for dtype in (
        jnp.bfloat16,
        jnp.float8_e3m4,
        jnp.float8_e4m3,
        jnp.float8_e4m3b11fnuz,
        jnp.float8_e4m3fn,
        jnp.float8_e4m3fnuz,
        jnp.float8_e5m2,
        jnp.float8_e5m2fnuz,
        jnp.float8_e8m0fnu,
        jnp.int4,
        jnp.uint4,
    )
}
"""Names and dtypes of JAX that NumPy's own files know as opaque bytes."""

NUMPY: dict[str, np.dtype[Any]] = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
"""Names and dtypes of numbers that NumPy has."""


def dtype_called(dtype: DTypeLike, *, floating: bool = False) -> np.dtype[Any]:
    """The dtype that an option `cast` asks for.

    Args:
        dtype: a dtype or its name.
        floating: true to refuse what is no dtype of floating numbers.

    Raises:
        CheckpointError: there is none of this name, or it is of another kind; all are listed.

    Example:
        >>> from ansatz.checkpoint.dtypes import dtype_called
        >>> dtype_called("bfloat16")
        dtype(bfloat16)
    """
    known = NUMPY | EXTENSIONS
    if floating:
        known = {name: each for name, each in known.items() if jnp.issubdtype(each, jnp.floating)}
    try:
        found = np.dtype(jnp.dtype(dtype))
    except TypeError:
        found = None
    if found is not None and found in known.values():
        return found
    given = repr(dtype) if found is None else f"'{found}'"
    hint = did_you_mean(dtype, known) if isinstance(dtype, str) else ""
    kind = "of floating numbers " if floating else ""
    raise CheckpointError(
        f"cast={given} is no dtype {kind}that is known{hint}; it "
        f"is one of {', '.join(sorted(known, key=_by_kind))}"
    )


def _by_kind(name: str) -> tuple[str, int, str]:
    digits = re.search(r"\d+", name)
    return (name[: digits.start()] if digits else name, int(digits[0]) if digits else 0, name)


def exact_stand_in(dtype: np.dtype[Any], held: frozenset[np.dtype[Any]]) -> np.dtype[Any] | None:
    """The smallest dtype among `held` in which every value of `dtype` stays what it is.

    Example:
        >>> import numpy as np
        >>> from ansatz.checkpoint.dtypes import EXTENSIONS, exact_stand_in
        >>> exact_stand_in(EXTENSIONS["bfloat16"], frozenset({np.dtype("f2"), np.dtype("f4")}))
        dtype('float32')
    """
    candidates = sorted(held - {dtype}, key=lambda other: (other.itemsize, other.name))
    return next((other for other in candidates if _holds(other, dtype)), None)


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    if jnp.issubdtype(wide, jnp.bool_) or jnp.issubdtype(narrow, jnp.bool_):
        return False
    if jnp.issubdtype(narrow, jnp.complexfloating):
        return jnp.issubdtype(wide, jnp.complexfloating) and wide.itemsize > narrow.itemsize
    if jnp.issubdtype(wide, jnp.complexfloating):
        return False
    if jnp.issubdtype(narrow, jnp.integer):
        if not jnp.issubdtype(wide, jnp.integer):
            return False
        old, new = _iinfo(narrow), _iinfo(wide)
        return bool(new.min <= old.min and new.max >= old.max)
    if not jnp.issubdtype(wide, jnp.floating):
        return False
    old_float, new_float = _finfo(narrow), _finfo(wide)
    return bool(
        new_float.nmant >= old_float.nmant
        and new_float.maxexp >= old_float.maxexp
        # The smallest number that either has, subnormal ones included.
        and new_float.minexp - new_float.nmant <= old_float.minexp - old_float.nmant
    )
