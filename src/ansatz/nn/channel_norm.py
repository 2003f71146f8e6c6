"""What the norms have in common that scale and shift each channel, and count running statistics."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core import frame
from ansatz.core.declared import Declared
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter, State
from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import channels_along, checked_width
from ansatz.nn.standardize import affine, along, standardized

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class ChannelNorm(Module):
    """The base of norms with a scale and a shift for each channel: how many there are, and where.

    Args:
        channels: the number of channels; `None` if the first input tells it.
        axis: where the channels are.
        eps: what is added to the variance.
        use_weight: whether there is a scale, starting at one.
        use_bias: whether there is a shift, starting at zero.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of weight and bias.
    """

    def __init__(
        self,
        channels: int | None,
        *,
        axis: int,
        eps: float,
        use_weight: bool,
        use_bias: bool,
        params: Params,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        self.axis = axis
        self.eps = float(eps)
        self.declared_channels = checked_width("channels", channels)
        shape = (self.declared_channels,)
        self.weight = Parameter(shape, "ones", dtype=dtype) if use_weight else None
        self.bias = Parameter(shape, "zeros", dtype=dtype) if use_bias else None
        share(self, params)

    def _per_channel(self) -> Iterator[Declared]:
        """What holds one number for each channel."""
        yield from (cell for cell in (self.weight, self.bias) if cell is not None)

    @property
    def channels(self) -> int | None:
        """The number of channels; `None` while it is not known."""
        for cell in self._per_channel():
            return cell.shape[0]
        return self.declared_channels

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        found = channels_along(x, self.axis, self.channels)
        for cell in self._per_channel():
            cell.shape = (found,)

    def extra_repr(self) -> str:
        """The arguments that matter."""
        return f"{self.channels}, axis={self.axis}, eps={self.eps}"


class RunningNorm(ChannelNorm):
    """The base of norms that keep running statistics, by which they normalise in evaluation.

    Args:
        channels: as in `ChannelNorm`, like the arguments that are not named here.
        momentum: the weight of the new batch in the running statistics, from 0 to 1; `None` for
            the average of all batches.
        track_running_stats: whether there are running statistics.
        **options: see `ChannelNorm`.
    """

    def __init__(
        self,
        channels: int | None,
        *,
        momentum: float | None,
        track_running_stats: bool,
        **options: Any,
    ) -> None:
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(
                f"momentum of {type(self).__name__} is the weight of the new batch, a number from "
                f"0 to 1 or None; got {momentum!r}"
            )
        super().__init__(channels, **options)
        self.momentum = None if momentum is None else float(momentum)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            shape = (self.declared_channels,)
            self.running_mean = State(shape=shape, init="zeros")
            self.running_var = State(shape=shape, init="ones")
            self.num_batches_tracked = State(shape=(), dtype="int32", init="zeros", optional=True)

    def _per_channel(self) -> Iterator[Declared]:
        yield from super()._per_channel()
        if self.running_mean is not None and self.running_var is not None:
            yield from (self.running_mean, self.running_var)

    def normalize(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Normalise over `axes` of `x`, or in evaluation by the running statistics, if any."""
        weight = None if self.weight is None else self.weight.value
        bias = None if self.bias is None else self.bias.value
        mean, var, count = self.running_mean, self.running_var, self.num_batches_tracked
        if mean is None or var is None or count is None:
            return _normalize_over(x, weight, bias, axes, self.axis, self.eps)
        running = mean.value, var.value, count.value
        if not self.training:
            return _normalize_by(x, weight, bias, *running[:2], self.axis, self.eps)
        y, updated = _normalize_and_track(
            x, weight, bias, running, axes, self.axis, self.eps, self.momentum
        )
        # The statistics fit by construction, so they need none of the checks of an assignment.
        frame.commit(dict(zip((mean, var, count), updated, strict=True)))
        return y

    def extra_repr(self) -> str:
        """The arguments that matter."""
        kept = f"momentum={self.momentum}"
        if self.running_mean is None:
            kept = "track_running_stats=False"
        return f"{super().extra_repr()}, {kept}"


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
    scale = jax.lax.rsqrt(var + eps)
    scale = scale if weight is None else scale * weight
    centered = at_least_float32(x) - along(mean, x.ndim, axis)
    y = affine(centered, along(scale, x.ndim, axis), along(bias, x.ndim, axis))
    return y.astype(floating_dtype_of(x))


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _normalize_over(
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    axes: tuple[int, ...],
    axis: int,
    eps: float,
) -> jax.Array:
    """Standardise `x` over `axes`, then scale and shift the channels along `axis`."""
    weight, bias = along(weight, x.ndim, axis), along(bias, x.ndim, axis)
    y, _, _ = standardized(at_least_float32(x), axes, eps, weight, bias)
    return y.astype(floating_dtype_of(x))


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _normalize_and_track(
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    running: tuple[jax.Array, jax.Array, jax.Array],
    axes: tuple[int, ...],
    axis: int,
    eps: float,
    momentum: float | None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    weight, bias = along(weight, x.ndim, axis), along(bias, x.ndim, axis)
    y, mean, var = standardized(at_least_float32(x), axes, eps, weight, bias)
    values = math.prod(x.shape[reduced] for reduced in axes)
    unbiased = var * (values / max(values - 1, 1))
    running_mean, running_var, count = running
    count = count + 1
    share_of_batch = 1 / count.astype(jnp.float32) if momentum is None else momentum
    # What was not averaged over for the statistics is averaged over now (instances).
    others = tuple(other for other in range(x.ndim) if other != axis % x.ndim)
    moved = [
        old + share_of_batch * (jax.lax.stop_gradient(new).mean(others) - old)
        for old, new in ((running_mean, mean), (running_var, unbiased))
    ]
    new_mean, new_var = (value.astype(running_mean.dtype) for value in moved)
    return y.astype(floating_dtype_of(x)), (new_mean, new_var, count)
