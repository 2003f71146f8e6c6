"""Arrays of other libraries, which are not imported for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_numpy(value: Any) -> NDArray[Any]:
    """An array of anything that NumPy, or else DLPack, can read: numbers, lists, tensors.

    NumPy alone cannot read the bfloat16 of PyTorch, nor a tensor that gradients are taken for.

    Raises:
        Exception: whatever NumPy says of what neither can read.
    """
    try:
        return np.asarray(value)
    except Exception:
        if hasattr(value, "detach"):
            value = value.detach()
        for read in (np.asarray, _through_dlpack):
            with contextlib.suppress(Exception):
                return read(value)
        raise


def _through_dlpack(value: Any) -> NDArray[Any]:
    # A copy, because the other library may go on writing into its own.
    return np.array(jnp.from_dlpack(value))
