"""Norms over the last axes: layer norm and RMS norm."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.core.shapes import merge_shapes
from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_width
from ansatz.nn.standardize import affine, scaled_to_unit, standardized

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Sizes = int | Sequence[int | None] | None
"""The sizes of the last axes; one number or `None` stands for the last axis alone."""


class LastAxesNorm(Module):
    """The base of norms over the last axes: which they are, and how long.

    Args:
        normalized_shape: the sizes of the last axes; `None` stands for one that the first input
            tells.
        eps: what keeps the divisor from zero.
        use_weight: whether there is a scale, starting at one.
        use_bias: whether there is a shift, starting at zero.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of weight and bias.
    """

    bias: Parameter | None = None

    def __init__(
        self,
        normalized_shape: Sizes,
        *,
        eps: float | None,
        use_weight: bool,
        use_bias: bool,
        params: Params,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        sizes = (
            tuple(normalized_shape)
            if isinstance(normalized_shape, Sequence) and not isinstance(normalized_shape, str)
            else (normalized_shape,)
        )
        if not sizes:
            raise ValueError(
                f"normalized_shape of {type(self).__name__} names at least one axis, got ()"
            )
        self.declared_shape = tuple(checked_width("normalized_shape", size) for size in sizes)
        self.eps = None if eps is None else float(eps)
        self.weight = Parameter(self.declared_shape, "ones", dtype=dtype) if use_weight else None
        self.bias = Parameter(self.declared_shape, "zeros", dtype=dtype) if use_bias else None
        share(self, params)

    @property
    def normalized_shape(self) -> tuple[int | None, ...]:
        """The sizes of the axes that are normalised, with `None` for what is not known."""
        if self.weight is not None:
            return self.weight.shape
        return self.declared_shape if self.bias is None else self.bias.shape

    def infer_shape(self, x: Any) -> None:
        """Take the sizes of the last axes from `x`."""
        shape = x.shape[-len(self.declared_shape) :]
        for cell in (self.weight, self.bias):
            if cell is not None:
                cell.shape = shape
        if merge_shapes(self.declared_shape, shape) is None:
            raise ShapeError(
                f"it normalises axes of sizes {format_shape(self.declared_shape)}, but the last "
                f"axes of the input have sizes {format_shape(shape)}"
            )

    def extra_repr(self) -> str:
        """The arguments that matter."""
        return f"{format_shape(self.normalized_shape)}, eps={self.eps}"


class LayerNorm(LastAxesNorm):
    """Normalises each example over its last axes.

    `y = (x - mean) / √(var + eps) · weight + bias`, with the mean and the biased variance over the
    last axes of `x`. Training and evaluation do the same.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization", equation 3.

    Args:
        normalized_shape: the sizes of the last axes that are normalised together, one number for
            the last axis alone; `None` stands for a size that the first input tells.
        eps: what is added to the variance.
        use_weight: whether there is a scale, starting at one.
        use_bias: whether there is a shift, starting at zero.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of weight and bias.

    Attributes:
        weight: shape `normalized_shape`, or `None`.
        bias: shape `normalized_shape`, or `None`.

    Raises:
        ShapeError: when called, if the last axes of the input have other sizes.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> norm = nn.LayerNorm()
        >>> print(norm(jnp.array([[1.0, 2.0, 3.0]])).round(4))
        [[-1.2247  0.      1.2247]]
        >>> norm.weight.shape
        (3,)
    """

    eps: float

    def __init__(
        self,
        normalized_shape: Sizes = None,
        *,
        eps: float = 1e-5,
        use_weight: bool = True,
        use_bias: bool = True,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            normalized_shape,
            eps=eps,
            use_weight=use_weight,
            use_bias=use_bias,
            params=params,
            dtype=dtype,
        )

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`, of shape `(..., *normalized_shape)`."""
        weight = None if self.weight is None else self.weight.value
        bias = None if self.bias is None else self.bias.value
        return _layer_norm(x, weight, bias, len(self.declared_shape), self.eps)


class RMSNorm(LastAxesNorm):
    """Divides each example by the root of the mean square over its last axes.

    `y = x / √(mean(x²) + eps) · weight`: layer norm without a mean and without a shift. Training
    and evaluation do the same.

    Source: Zhang & Sennrich 2019, "Root mean square layer normalization", equation 4.

    Args:
        normalized_shape: the sizes of the last axes that are normalised together, one number for
            the last axis alone; `None` stands for a size that the first input tells.
        eps: what is added to the mean square. Without one it is the machine epsilon of the dtype
            that is computed in, 1.2e-7 for float32 and all narrower ones, as in PyTorch; published
            language models mostly give 1e-5 or 1e-6.
        use_weight: whether there is a scale, starting at one.
        params: `other.collect_params()` of a layer whose parameter this one shall hold.
        dtype: the dtype of the weight.

    Attributes:
        weight: shape `normalized_shape`, or `None`.

    Raises:
        ShapeError: when called, if the last axes of the input have other sizes.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.RMSNorm()(jnp.array([[1.0, 7.0, 1.0, 7.0]])).round(1))
        [[0.2 1.4 0.2 1.4]]
    """

    def __init__(
        self,
        normalized_shape: Sizes = None,
        *,
        eps: float | None = None,
        use_weight: bool = True,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            normalized_shape,
            eps=eps,
            use_weight=use_weight,
            use_bias=False,
            params=params,
            dtype=dtype,
        )

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`, of shape `(..., *normalized_shape)`."""
        weight = None if self.weight is None else self.weight.value
        return _rms_norm(x, weight, len(self.declared_shape), self.eps)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _layer_norm(
    x: jax.Array, weight: jax.Array | None, bias: jax.Array | None, axes: int, eps: float
) -> jax.Array:
    z, _, _ = standardized(at_least_float32(x), tuple(range(-axes, 0)), eps)
    return affine(z, weight, bias).astype(floating_dtype_of(x))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _rms_norm(x: jax.Array, weight: jax.Array | None, axes: int, eps: float | None) -> jax.Array:
    wide = at_least_float32(x)
    eps = float(np.finfo(wide.dtype).eps) if eps is None else eps
    z = scaled_to_unit(wide, tuple(range(-axes, 0)), eps)
    return affine(z, weight, None).astype(floating_dtype_of(x))
