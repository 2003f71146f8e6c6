"""Normalisation: layers that give activations mean 0 and variance 1, then scale and shift them.

Statistics are computed in float32 at least; the output has the dtype of the input.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core import deferral, frame
from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter, State
from ansatz.core.shapes import merge_shapes
from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_width, size_along

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class BatchNorm(Module):
    """Normalises each channel over the batch and all other axes.

    In training, `y = (x - mean) / √(var + eps) · weight + bias` with the mean and the (biased)
    variance of the batch, and the running statistics move towards those of the batch:

        running = (1 - momentum) · running + momentum · batch

    where the batch variance is the unbiased one. That is PyTorch's convention for `momentum` and
    variance; Gluon and Keras call `1 - momentum` the momentum and use the biased variance. In
    evaluation (`net.eval()`) the running statistics normalise and nothing moves.

    The names are PyTorch's, so its state dicts fit.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.

    Args:
        channels: the number of channels; without one, the first input tells it.
        axis: where the channels are: -1 for channels-last, 1 for channels-first.
        eps: what is added to the variance.
        momentum: the weight of the new batch, from 0 to 1; `None` for the average of all batches.
        use_weight: whether there is a scale, starting at one.
        use_bias: whether there is a shift, starting at zero.
        params: `other.collect_params()` of a layer whose parameters this one shall hold; the
            running statistics stay its own.
        dtype: the dtype of weight and bias; the running statistics are float32.

    Attributes:
        weight: shape `(channels,)`, or `None`.
        bias: shape `(channels,)`, or `None`.
        running_mean: a state of shape `(channels,)`.
        running_var: a state of shape `(channels,)`.
        num_batches_tracked: a state, how many batches were seen.

    Raises:
        ShapeError: when called, if the number of channels differs, or if training sees fewer than
            two values per channel, which have no variance.
        TraceError: when called in training under plain `jax.jit`, which would lose the statistics.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> norm = nn.BatchNorm()
        >>> y = norm(jnp.array([[1.0, 2.0], [3.0, 6.0]]))
        >>> print(norm.running_mean.value, norm.running_var.value)
        [0.2 0.4] [1.1 1.7]
    """

    def __init__(
        self,
        channels: int | None = None,
        *,
        axis: int = -1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        use_weight: bool = True,
        use_bias: bool = True,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(
                "momentum of BatchNorm is the weight of the new batch, a number from 0 to 1 or "
                f"None; got {momentum!r}"
            )
        shape = (checked_width("channels", channels),)
        self.axis = axis
        self.eps = float(eps)
        self.momentum = None if momentum is None else float(momentum)
        self.weight = Parameter(shape, "ones", dtype=dtype) if use_weight else None
        self.bias = Parameter(shape, "zeros", dtype=dtype) if use_bias else None
        self.running_mean = State(shape=shape, init="zeros")
        self.running_var = State(shape=shape, init="ones")
        self.num_batches_tracked = State(shape=(), dtype="int32", init="zeros", optional=True)
        share(self, params)

    @property
    def channels(self) -> int | None:
        """The number of channels; `None` while it is not known."""
        return self.running_mean.shape[0]

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        shape = (size_along(x, self.axis),)
        for cell in (self.weight, self.bias, self.running_mean, self.running_var):
            if cell is not None:
                cell.shape = shape

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        weight, bias = _value(self.weight), _value(self.bias)
        mean, var = self.running_mean.value, self.running_var.value
        if not self.training:
            return _normalize_by(x, weight, bias, mean, var, self.axis, self.eps)
        # A run that only looks for shapes may do so with a batch of one.
        if x.size < 2 * x.shape[self.axis] and not deferral.is_under_way():
            raise ShapeError(
                f"in training BatchNorm needs at least two values for each channel, but the input "
                f"has shape {format_shape(x.shape)} with channels along axis {self.axis}; use a "
                "larger batch, or net.eval()"
            )
        count = self.num_batches_tracked.value
        y, updated = _normalize_batch(
            x, weight, bias, mean, var, count, self.axis, self.eps, self.momentum
        )
        cells = (self.running_mean, self.running_var, self.num_batches_tracked)
        # The statistics fit by construction, so they need none of the checks of an assignment.
        frame.commit(dict(zip(cells, updated, strict=True)))
        return y

    def extra_repr(self) -> str:
        """The arguments that matter."""
        return f"{self.channels}, axis={self.axis}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(Module):
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

    def __init__(
        self,
        normalized_shape: int | Sequence[int | None] | None = None,
        *,
        eps: float = 1e-5,
        use_weight: bool = True,
        use_bias: bool = True,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        sizes = (
            tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else normalized_shape
        )
        if not isinstance(sizes, tuple):
            sizes = (sizes,)
        if not sizes:
            raise ValueError("normalized_shape of LayerNorm names at least one axis, got ()")
        self.declared_shape = tuple(checked_width("normalized_shape", size) for size in sizes)
        self.eps = float(eps)
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
        if self.weight is None and self.bias is None:
            self._check(shape)
            return
        for cell in (self.weight, self.bias):
            if cell is not None:
                cell.shape = shape

    def _check(self, shape: tuple[int, ...]) -> None:
        if merge_shapes(self.declared_shape, shape) is None:
            raise ShapeError(
                f"it normalises axes of sizes {format_shape(self.declared_shape)}, but the last "
                f"axes of the input have sizes {format_shape(shape)}"
            )

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`."""
        axes = len(self.declared_shape)
        return _normalize_last(x, _value(self.weight), _value(self.bias), axes, self.eps)

    def extra_repr(self) -> str:
        """The arguments that matter."""
        return f"{format_shape(self.normalized_shape)}, eps={self.eps}"


def _value(parameter: Parameter | None) -> Any:
    return None if parameter is None else parameter.value


def _normalized(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    eps: float,
) -> jax.Array:
    """All arguments broadcast against `x`, which is in float32 at least."""
    scale = jax.lax.rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    y = (x - mean) * scale
    return y if bias is None else y + bias


def _along(vector: jax.Array | None, x: jax.Array, axis: int) -> Any:
    """`vector` with the number of dimensions of `x`, running along `axis`."""
    if vector is None:
        return None
    shape = [1] * x.ndim
    shape[axis] = vector.size
    return vector.reshape(shape)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _normalize_by(
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    mean: jax.Array,
    var: jax.Array,
    axis: int,
    eps: float,
) -> jax.Array:
    wide = at_least_float32(x)
    mean, var, weight, bias = (_along(v, x, axis) for v in (mean, var, weight, bias))
    return _normalized(wide, mean, var, weight, bias, eps).astype(floating_dtype_of(x))


@functools.partial(jax.jit, static_argnums=(6, 7, 8))
def _normalize_batch(
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    running_mean: jax.Array,
    running_var: jax.Array,
    count: jax.Array,
    axis: int,
    eps: float,
    momentum: float | None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    wide = at_least_float32(x)
    axis %= x.ndim
    others = tuple(other for other in range(x.ndim) if other != axis)
    mean = jnp.mean(wide, others, keepdims=True)
    var = jnp.mean(jnp.square(wide - mean), others, keepdims=True)
    y = _normalized(wide, mean, var, _along(weight, x, axis), _along(bias, x, axis), eps)
    values = math.prod(x.shape[other] for other in others)
    unbiased = var * (values / max(values - 1, 1))
    count = count + 1
    share_of_batch = 1 / count.astype(jnp.float32) if momentum is None else momentum
    moved = [
        running + share_of_batch * (jax.lax.stop_gradient(batch).reshape(-1) - running)
        for running, batch in ((running_mean, mean), (running_var, unbiased))
    ]
    new_mean, new_var = (value.astype(running_mean.dtype) for value in moved)
    return y.astype(floating_dtype_of(x)), (new_mean, new_var, count)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _normalize_last(
    x: jax.Array, weight: jax.Array | None, bias: jax.Array | None, axes: int, eps: float
) -> jax.Array:
    wide = at_least_float32(x)
    last = tuple(range(-axes, 0))
    mean = jnp.mean(wide, last, keepdims=True)
    var = jnp.mean(jnp.square(wide - mean), last, keepdims=True)
    return _normalized(wide, mean, var, weight, bias, eps).astype(floating_dtype_of(x))
