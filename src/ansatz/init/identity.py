"""Weights with which a dense layer or a convolution hands on what it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.core.errors import InitializationError, format_shape
from ansatz.core.initializer import Initializer, Spec
from ansatz.init.arguments import count, finite
from ansatz.init.constants import in_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Identity(Initializer, name="identity eye"):
    """`gain` on the main diagonal of a matrix, zero elsewhere.

    A matrix that is not square hands on as many features as fit. PyTorch calls this `eye_`.

    Args:
        gain: the value on the diagonal.

    Raises:
        InitializationError: the gain is not a finite number. When drawn: the parameter does not
            have two dimensions, or its dtype cannot hold the gain.

    Example:
        >>> import ansatz as az
        >>> print(az.Parameter((2, 3), init="identity").value)
        [[1. 0. 0.]
         [0. 1. 0.]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = finite("Identity", "gain", gain)

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """The matrix."""
        if len(spec.shape) != 2:
            raise InitializationError(
                f"{spec.name} has shape {format_shape(spec.shape)}, but {self!r} needs 2 "
                "dimensions; for a convolution choose init.Dirac()"
            )
        matrix = np.zeros(spec.shape, spec.dtype)
        np.fill_diagonal(matrix, in_dtype(self, self.gain, spec))
        return matrix


class Dirac(Initializer, name="dirac"):
    """The kernel of a convolution that hands on its input channels, as many as fit.

    One at `[j, j, centre]` with the centre `size // 2` of each kernel axis, zero elsewhere; with
    groups, in each of them. So the convolution is the identity if its padding is "same" (and its
    kernel odd), also for a transposed one, whose weight is `(in, out / groups, *kernel)`.

    Args:
        groups: the groups of the convolution: the first axis is split into so many.

    Raises:
        InitializationError: `groups` is not a positive integer. When drawn: the parameter does not
            have three to five dimensions, or its first axis cannot be split into the groups.

    Example:
        >>> import ansatz as az
        >>> from ansatz import init
        >>> print(az.Parameter((2, 1, 3), init=init.Dirac(groups=2)).value)
        [[[0. 1. 0.]]
        <BLANKLINE>
         [[0. 1. 0.]]]
    """

    def __init__(self, groups: int = 1) -> None:
        self.groups = count("Dirac", "groups", groups)

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """The kernels of all pairs of channels."""
        shape = format_shape(spec.shape)
        if not 3 <= len(spec.shape) <= 5:
            hint = "; for a matrix choose init.Identity()" if len(spec.shape) == 2 else ""
            raise InitializationError(
                f"{spec.name} has shape {shape}, but {self!r} needs 3 to 5 dimensions, of which "
                f"the first two are channels and the others the kernel{hint}"
            )
        first, second, *kernel = spec.shape
        if first % self.groups:
            raise InitializationError(
                f"{spec.name} has shape {shape}, whose first axis cannot be split into the groups "
                f"of {self!r}; give the groups that its layer has"
            )
        weight = np.zeros(spec.shape, spec.dtype)
        if 0 in spec.shape:
            return weight
        centre = [size // 2 for size in kernel]
        group_size = first // self.groups
        for start in range(0, first, group_size):
            for j in range(min(group_size, second)):
                weight[(start + j, j, *centre)] = 1
        return weight
