"""Norms of single examples that look at channels: instance norm and group norm."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import jax

from ansatz.core import deferral
from ansatz.core.errors import ShapeError, format_shape
from ansatz.nn.channel_norm import ChannelNorm, RunningNorm
from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sharing import Params
from ansatz.nn.sizes import are_numbers, checked_size
from ansatz.nn.standardize import along, standardized

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class InstanceNorm(RunningNorm):
    """Normalises each channel of each example over its other axes.

    `y = (x - mean) / √(var + eps) · weight + bias`, with the mean and the biased variance of one
    channel of one example. Training and evaluation do the same, unless running statistics are
    asked for: they move as in `BatchNorm`, towards the averages over the batch, and normalise in
    evaluation. Like PyTorch's, and unlike Gluon's, the layer has no parameters by default.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance normalization", equation 3.

    Args:
        channels: the number of channels; without one, the first input tells it.
        axis: where the channels are: -1 for channels-last, 1 for channels-first. Axis 0 is the
            batch.
        eps: what is added to the variance.
        momentum: the weight of the new batch in the running statistics, from 0 to 1; `None` for
            the average of all batches.
        use_weight: whether there is a scale, starting at one.
        use_bias: whether there is a shift, starting at zero.
        track_running_stats: whether there are running statistics.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of weight and bias; running statistics are float32.

    Attributes:
        weight: shape `(channels,)`, or `None`.
        bias: shape `(channels,)`, or `None`.
        running_mean: a state of shape `(channels,)`, or `None`.
        running_var: a state of shape `(channels,)`, or `None`.
        num_batches_tracked: a state, how many batches were seen, or `None`; PyTorch's stays at 0.

    Raises:
        ShapeError: when called, if the number of channels differs, or if an example has fewer than
            two values for each channel.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.InstanceNorm(axis=1)(jnp.array([[[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]])).round(4))
        [[[-1.2247  0.      1.2247]
          [ 0.      0.      0.    ]]]
    """

    def __init__(
        self,
        channels: int | None = None,
        *,
        axis: int = -1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        use_weight: bool = False,
        use_bias: bool = False,
        track_running_stats: bool = False,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            channels,
            axis=axis,
            eps=eps,
            momentum=momentum,
            use_weight=use_weight,
            use_bias=use_bias,
            track_running_stats=track_running_stats,
            params=params,
            dtype=dtype,
        )

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`, of shape `(batch, ..., channels)` or as `axis` says."""
        channels = _channel_axis(self, x)
        axes = tuple(axis for axis in range(1, x.ndim) if axis != channels)
        by_instance = self.training or self.running_mean is None
        values = math.prod(x.shape[axis] for axis in axes)
        few = are_numbers(values) and values < 2
        if by_instance and few and not deferral.is_under_way():
            raise ShapeError(
                "InstanceNorm needs at least two values for each channel of an example, but the "
                f"input has shape {format_shape(x.shape)} with the batch along axis 0 and channels "
                f"along axis {self.axis}"
            )
        return self.normalize(x, axes)


class GroupNorm(ChannelNorm):
    """Normalises groups of neighbouring channels of each example, with all its other axes.

    `y = (x - mean) / √(var + eps) · weight + bias`, with the mean and the biased variance of one
    group of one example. Training and evaluation do the same.

    Source: Wu & He 2018, "Group normalization", section 3.

    Args:
        groups: how many groups the channels are divided into.
        channels: the number of channels; without one, the first input tells it.
        axis: where the channels are: -1 for channels-last, 1 for channels-first. Axis 0 is the
            batch.
        eps: what is added to the variance.
        use_weight: whether there is a scale, starting at one.
        use_bias: whether there is a shift, starting at zero.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of weight and bias.

    Attributes:
        weight: shape `(channels,)`, or `None`.
        bias: shape `(channels,)`, or `None`.

    Raises:
        ValueError: `groups` is not positive.
        ShapeError: the number of channels differs, or cannot be divided by `groups`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.GroupNorm(2)(jnp.array([[1.0, 3.0, 5.0, 9.0]])).round(4))
        [[-1.  1. -1.  1.]]
    """

    def __init__(
        self,
        groups: int,
        channels: int | None = None,
        *,
        axis: int = -1,
        eps: float = 1e-5,
        use_weight: bool = True,
        use_bias: bool = True,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.groups = checked_size("groups", groups)
        if self.groups == 0:
            raise ValueError("groups of GroupNorm has to be positive, got 0")
        super().__init__(
            channels,
            axis=axis,
            eps=eps,
            use_weight=use_weight,
            use_bias=use_bias,
            params=params,
            dtype=dtype,
        )
        self._check_groups(self.channels)

    def _check_groups(self, channels: int | None) -> None:
        if channels is not None and channels % self.groups:
            raise ShapeError(
                f"GroupNorm cannot divide {channels} channels into {self.groups} groups of one "
                "size; choose a number of groups that divides the channels"
            )

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        super().infer_shape(x)
        self._check_groups(x.shape[self.axis])

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`, of shape `(batch, ..., channels)` or as `axis` says."""
        axis = _channel_axis(self, x)
        weight = None if self.weight is None else self.weight.value
        bias = None if self.bias is None else self.bias.value
        return _normalize_groups(x, weight, bias, self.groups, axis, self.eps)

    def extra_repr(self) -> str:
        """The arguments that matter."""
        return f"{self.groups}, {super().extra_repr()}"


def _channel_axis(layer: ChannelNorm, x: Any) -> int:
    axis: int = layer.axis % x.ndim
    if axis == 0:
        raise ShapeError(
            f"{type(layer).__name__} takes axis 0 for the batch, but finds the channels of an "
            f"input of shape {format_shape(x.shape)} there (axis={layer.axis}); add a batch axis, "
            "x[None]"
        )
    return axis


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _normalize_groups(
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    groups: int,
    axis: int,
    eps: float,
) -> jax.Array:
    axes = tuple(other for other in range(1, x.ndim) if other != axis)
    scale, shift = along(weight, x.ndim, axis), along(bias, x.ndim, axis)
    y, _, _ = standardized(at_least_float32(x), axes, eps, scale, shift, (axis, groups))
    return y.astype(floating_dtype_of(x))
