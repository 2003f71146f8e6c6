"""Matrices whose rows or columns are orthogonal, with the same bits on every machine.

LAPACK's QR would be the obvious tool, but its last bits depend on the processor and on the number
of threads. Here every product of matrices is one of integers that float64 holds without rounding,
so the order in which a library adds them up does not matter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.core import sampling
from ansatz.core.errors import InitializationError, format_shape
from ansatz.core.initializer import Initializer, Spec, require_floating
from ansatz.core.random import BLOCK
from ansatz.init.arguments import finite
from ansatz.init.constants import in_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

# Part of the definition of the draws, like all numbers below: never change them.
_REFLECTIONS_AT_ONCE = 32
_ONE = 2.0**32
"""The unit of the fixed-point numbers in which the orthogonal matrix is held."""
_COARSE = 2.0**14
"""How many steps the coefficients of the reflections have between two of those numbers."""


class Orthogonal(Initializer, name="orthogonal"):
    """A random matrix whose rows, or columns if there are more rows, are orthogonal.

    The parameter is seen as a matrix of `shape[0]` rows, with all other axes flattened. Its smaller
    side is orthonormal, times `gain`: `W Wᵀ = gain²·I`, or `Wᵀ W = gain²·I` for a tall one. It is
    drawn uniformly (from the Haar measure; square ones have determinants of either sign): a
    product of Householder reflections of normal vectors, after G. W. Stewart, *The efficient
    generation of random orthogonal matrices* (SIAM J. Numer. Anal. 17, 1980). Its use for deep
    networks is due to Saxe, McClelland and Ganguli, *Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks* (2013).

    As in PyTorch the gain is 1 unless given (`calculate_gain` recommends others). Gluon's `scale`
    is 1.414 by default; Gluon takes a factor of the singular value decomposition of a uniform
    matrix, or of a normal one, which is what is drawn here.

    The rows are orthogonal to 1e-8 before they are rounded to the dtype of the parameter.

    Args:
        gain: the factor.

    Raises:
        InitializationError: the gain is not a finite number. When drawn: the parameter has fewer
            than two dimensions, or no real floating dtype that can hold the gain.

    Example:
        >>> import numpy as np
        >>> from ansatz import init, nn
        >>> weight = nn.Dense(2, in_units=3, weight_init=init.Orthogonal()).weight.value
        >>> bool(np.allclose(weight @ weight.T, np.eye(2), atol=1e-6))
        True
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = finite("Orthogonal", "gain", gain)

    def bind(self, spec: Spec) -> Initializer:
        """Itself, if the parameter is a matrix of real numbers."""
        require_floating(self, spec)
        if len(spec.shape) < 2:
            raise InitializationError(
                f"{spec.name} has shape {format_shape(spec.shape)}, but {self!r} needs at least 2 "
                "dimensions, of which the first are the rows; choose init.Zeros() or init.Normal() "
                "for a vector"
            )
        in_dtype(self, self.gain, spec)
        return self

    def draw(self, rng: np.random.Generator, spec: Spec) -> Any:
        """The matrix, in the shape of the parameter."""
        rows, columns = spec.shape[0], math.prod(spec.shape[1:])
        matrix = _orthonormal(rng, max(rows, columns), min(rows, columns))
        matrix *= self.gain
        return (matrix if rows >= columns else matrix.T).astype(spec.dtype).reshape(spec.shape)


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> Matrix:
    """`columns` orthonormal columns, as the product of one reflection per column.

    The reflection I - 2 v vᵀ / vᵀv is orthogonal whatever v is, so v may be rounded to integers.
    """
    vectors = _reflecting(rng, rows, columns)
    signs = -np.copysign(1.0, vectors.diagonal())
    q = np.zeros((rows, columns))
    np.fill_diagonal(q, _ONE)
    for start in reversed(range(0, columns, _REFLECTIONS_AT_ONCE)):
        # Reflections from here on leave the rows and columns before as they are.
        _reflect(q[start:, start:], vectors[start : start + _REFLECTIONS_AT_ONCE, start:])
    q *= signs / _ONE
    return q


def _reflecting(rng: np.random.Generator, rows: int, columns: int) -> Matrix:
    """Row k holds the vector whose reflection maps a normal vector x onto the k-th axis.

    It is x with its norm added to element k; both in integers, and zero before element k. The
    integers are so small that neither sums of squares nor products with `_ONE` leave the 53 bits
    of float64: 2·√rows·2¹²·2³² is 2⁵² for 16,384 rows, and taller matrices get smaller integers.
    """
    normal = np.empty(columns * rows, np.float32)
    for start in range(0, normal.size, BLOCK):
        sampling.fill_normal(rng, normal[start : start + BLOCK])
    half_the_bits_of_rows = ((rows - 1).bit_length() + 1) // 2
    bits = min(12, 19 - half_the_bits_of_rows)
    vectors = normal.reshape(columns, rows).astype(np.float64)
    vectors *= 2.0**bits
    np.rint(vectors, out=vectors)
    for k, vector in enumerate(vectors):
        vector[:k] = 0
        norm = np.rint(np.sqrt(np.square(vector).sum()))
        vector[k] += np.copysign(max(norm, 1.0), vector[k])
    return vectors


def _reflect(q: Matrix, vectors: Matrix) -> None:
    """Apply the reflections of the rows of `vectors` to `q` in place, the last one first.

    The product of reflections is I - Vᵀ T V (Bischof and Van Loan, *The WY representation for
    products of Householder matrices*, 1987), where the triangular system that defines T is solved
    by substitution: element by element, in an order of its own, unlike the products of matrices.
    """
    among = vectors @ vectors.T
    y = vectors @ q
    for j in reversed(range(len(vectors))):
        y[j] /= among[j, j] / 2
        y[:j] -= among[:j, j, None] * y[j]
    y *= _COARSE
    np.rint(y, out=y)
    change = vectors.T @ y
    change /= _COARSE
    q -= change
    np.rint(q, out=q)
