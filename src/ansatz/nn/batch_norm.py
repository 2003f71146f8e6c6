"""Batch normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansatz.core import deferral
from ansatz.core.errors import ShapeError, format_shape
from ansatz.nn.channel_norm import RunningNorm
from ansatz.nn.sharing import Params
from ansatz.nn.sizes import are_numbers

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class BatchNorm(RunningNorm):
    """Normalises each channel over the batch and all other axes.

    In training, `y = (x - mean) / √(var + eps) · weight + bias` with the mean and the (biased)
    variance of the batch, and the running statistics move towards those of the batch:

        running = (1 - momentum) · running + momentum · batch

    where the batch variance is the unbiased one. That is PyTorch's convention for `momentum` and
    variance; Gluon and Keras call `1 - momentum` the momentum and use the biased variance. In
    evaluation (`net.eval()`) the running statistics normalise and nothing moves.

    The batch is the whole batch, on however many devices it lies: under `az.jit` arrays are
    global, so the statistics of a sharded batch are synchronised without an axis name or a layer
    of another kind. Inside `jax.shard_map` and `az.vmap` a layer sees one shard or one element,
    and its statistics are of that alone.

    The names are PyTorch's, so its state dicts fit.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.

    Args:
        channels: the number of channels; without one, the first input tells it.
        axis: where the channels are: -1 for channels-last, 1 for channels-first.
        eps: what is added to the variance.
        momentum: the weight of the new batch, from 0 to 1; `None` for the average of all batches.
        use_weight: whether there is a scale, starting at one.
        use_bias: whether there is a shift, starting at zero.
        track_running_stats: false for a layer that normalises by the batch in evaluation too.
        params: `other.collect_params()` of a layer whose parameters this one shall hold; the
            running statistics stay its own.
        dtype: the dtype of weight and bias; the running statistics are float32.

    Attributes:
        weight: shape `(channels,)`, or `None`.
        bias: shape `(channels,)`, or `None`.
        running_mean: a state of shape `(channels,)`, or `None`.
        running_var: a state of shape `(channels,)`, or `None`.
        num_batches_tracked: a state, how many batches were seen, or `None`.

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
        track_running_stats: bool = True,
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
        by_batch = self.training or self.running_mean is None
        few = are_numbers(x.size) and x.size < 2 * x.shape[self.axis]
        # A run that only looks for shapes may do so with a batch of one.
        if by_batch and few and not deferral.is_under_way():
            raise ShapeError(
                f"in training BatchNorm needs at least two values for each channel, but the input "
                f"has shape {format_shape(x.shape)} with channels along axis {self.axis}; use a "
                "larger batch, or net.eval()"
            )
        channels = self.axis % x.ndim
        return self.normalize(x, tuple(axis for axis in range(x.ndim) if axis != channels))
