"""Kernels of transposed convolutions that enlarge an image by linear interpolation."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.core.errors import InitializationError, format_shape
from ansatz.core.initializer import Initializer, Spec, require_floating

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Bilinear(Initializer, name="bilinear"):
    """Interpolation weights for a transposed convolution that enlarges, the same for all channels.

    With f = ⌈k/2⌉ and c = (2f - 1 - f mod 2) / (2f), a kernel axis of size k gets
    `1 - |x/f - c|` at x = 0 … k - 1, and several axes the product (as Gluon and Caffe define it; J.
    Long, E. Shelhamer, T. Darrell, *Fully convolutional networks for semantic segmentation*, 2015).
    Enlarging s times takes k = 2s - s mod 2, stride s, and padding ⌈(s - 1) / 2⌉. Other sizes that
    are odd, with f even, give kernels that are not symmetric: k = 3 gives 0.25, 0.75, 0.75.

    Every pair of channels gets the same kernel, so all input channels are summed up. To enlarge
    each channel by itself, as one usually wants, give the layer as many groups as channels.

    Gluon takes f of the last axis for all; here each axis of a kernel that is not square has its
    own. Three dimensions (linear) and five (trilinear) work as well.

    Raises:
        InitializationError: when drawn, the parameter does not have three to five dimensions, or no
            real floating dtype.

    Example:
        >>> import ansatz as az
        >>> print(az.Parameter((1, 1, 4), init="bilinear").value)
        [[[0.25 0.75 0.75 0.25]]]
    """

    def bind(self, spec: Spec) -> Initializer:
        """Itself, if the parameter is the weight of a convolution."""
        require_floating(self, spec)
        if not 3 <= len(spec.shape) <= 5:
            raise InitializationError(
                f"{spec.name} has shape {format_shape(spec.shape)}, but {self!r} needs 3 to 5 "
                "dimensions, of which the first two are channels and the others the kernel"
            )
        return self

    def draw(self, rng: np.random.Generator, spec: Spec) -> NDArray[Any]:
        """The kernels of all pairs of channels."""
        kernel = reduce(np.multiply.outer, map(_interpolating, spec.shape[2:]))
        return np.broadcast_to(kernel.astype(spec.dtype), spec.shape)


def _interpolating(size: int) -> NDArray[np.float64]:
    factor = math.ceil(size / 2)
    if not factor:
        return np.zeros(0)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    return 1 - np.abs(np.arange(size) / factor - centre)
