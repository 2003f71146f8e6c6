"""Sparse matrices: in each column the same share of zeros."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.core import sampling
from ansatz.core.errors import InitializationError, format_shape
from ansatz.core.initializer import Initializer, Spec, require_floating
from ansatz.init.arguments import not_negative
from ansatz.init.distributions import Normal

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sparse(Initializer, name="sparse"):
    """N(0, std²) with exactly ⌈sparsity · rows⌉ zeros in every column, at random places.

    The columns belong to the inputs: each of them feeds equally many outputs. After J. Martens,
    *Deep learning via Hessian-free optimization* (2010). The count has no rounding error: 0.07 of
    100 rows are 7, where the product of floats, which PyTorch rounds up, gives 8.

    Args:
        sparsity: the share of zeros, from 0 to 1.
        std: the standard deviation of the others, at least zero.

    Raises:
        InitializationError: an argument is out of range. When drawn: the parameter does not have
            two dimensions, or no real floating dtype.

    Example:
        >>> import ansatz as az
        >>> from ansatz import init
        >>> weight = az.Parameter((10, 3), init=init.Sparse(0.25)).value
        >>> print((weight == 0).sum(axis=0))
        [3 3 3]
    """

    def __init__(self, sparsity: float, std: float = 0.01) -> None:
        self.sparsity = not_negative("Sparse", "sparsity", sparsity)
        if self.sparsity > 1:
            raise InitializationError(
                f"sparsity of Sparse is a share, from 0 to 1; got {sparsity!r}"
            )
        self.std = not_negative("Sparse", "std", std)

    def bind(self, spec: Spec) -> Initializer:
        """Itself, if the parameter is a matrix that can hold the values."""
        require_floating(self, spec)
        if len(spec.shape) != 2:
            raise InitializationError(
                f"{spec.name} has shape {format_shape(spec.shape)}, but {self!r} needs 2 "
                "dimensions, (out, in); choose init.Normal() for other shapes"
            )
        Normal(self.std).bind(spec)
        return self

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """The matrix."""
        rows, columns = spec.shape
        weight = np.empty(rows * columns, spec.dtype)
        sampling.fill_normal(rng, weight, 0.0, self.std)
        # As it is written in decimals, not as the nearest binary number.
        zeros = math.ceil(Fraction(repr(self.sparsity)) * rows)
        if zeros:
            order = rng.bit_generator.random_raw(rows * columns).reshape(columns, rows)
            chosen = np.argpartition(order, zeros - 1, axis=1)[:, :zeros]
            np.put_along_axis(weight.reshape(rows, columns).T, chosen, 0, axis=1)
        return weight.reshape(rows, columns)
