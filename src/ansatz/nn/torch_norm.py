"""Norms in PyTorch's spelling: `nn.BatchNorm2d(64)`.

They are the layers of `batch_norm.py` and `instance_norm.py` with PyTorch's arguments, with the
channels along axis 1, and for inputs of as many axes as the name says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansatz.core.errors import ShapeError, format_shape
from ansatz.nn.batch_norm import BatchNorm
from ansatz.nn.channel_norm import ChannelNorm
from ansatz.nn.instance_norm import InstanceNorm
from ansatz.nn.sharing import Params

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def _check_axes(layer: ChannelNorm, x: Any, allowed: tuple[int, ...]) -> None:
    if x.ndim not in allowed:
        raise ShapeError(
            f"{type(layer).__name__} takes inputs of {' or '.join(map(str, allowed))} axes with "
            f"the channels along axis 1, got shape {format_shape(x.shape)}"
        )


class _BatchNorm(BatchNorm):
    """`BatchNorm` with PyTorch's arguments and the channels along axis 1.

    Args:
        num_features: the number of channels; without one, the first input tells it.
        eps: what is added to the variance.
        momentum: the weight of the new batch, from 0 to 1; `None` for the average of all batches.
        affine: whether there are a scale and a shift.
        track_running_stats: false for a layer that normalises by the batch in evaluation too.
        params: `other.collect_params()` of a layer whose parameters this one shall hold; the
            running statistics stay its own.
        dtype: the dtype of weight and bias.

    Attributes: those of `BatchNorm`.

    Raises:
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if the input has another number of axes or channels.
    """

    _allowed: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            num_features,
            axis=1,
            eps=eps,
            momentum=momentum,
            use_weight=affine,
            use_bias=affine,
            track_running_stats=track_running_stats,
            params=params,
            dtype=dtype,
        )

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        _check_axes(self, x, self._allowed)
        super().infer_shape(x)


class BatchNorm1d(_BatchNorm):
    """`BatchNorm(axis=1)` for `(batch, channels)` or `(batch, channels, length)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.BatchNorm1d()(jnp.ones((4, 3, 5))).shape
        (4, 3, 5)
    """

    _allowed = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm(axis=1)` in PyTorch's spelling, for `(batch, channels, height, width)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.BatchNorm2d(3)(jnp.ones((4, 3, 5, 5))).shape
        (4, 3, 5, 5)
    """

    _allowed = (4,)


class BatchNorm3d(_BatchNorm):
    """`BatchNorm(axis=1)` in PyTorch's spelling, for `(batch, channels, depth, height, width)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.BatchNorm3d(3)(jnp.ones((4, 3, 2, 5, 5))).shape
        (4, 3, 2, 5, 5)
    """

    _allowed = (5,)


class _InstanceNorm(InstanceNorm):
    """`InstanceNorm` with PyTorch's arguments and the channels along axis 1.

    Args:
        num_features: the number of channels; without one, the first input tells it.
        eps: what is added to the variance.
        momentum: the weight of the new batch in the running statistics; `None` for the average.
        affine: whether there are a scale and a shift.
        track_running_stats: whether there are running statistics.
        params: `other.collect_params()` of a layer whose parameters this one shall hold; the
            running statistics stay its own.
        dtype: the dtype of weight and bias.

    Attributes: those of `InstanceNorm`.

    Raises:
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if the input has another number of axes or channels.
    """

    _allowed: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            num_features,
            axis=1,
            eps=eps,
            momentum=momentum,
            use_weight=affine,
            use_bias=affine,
            track_running_stats=track_running_stats,
            params=params,
            dtype=dtype,
        )

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        _check_axes(self, x, self._allowed)
        super().infer_shape(x)


class InstanceNorm1d(_InstanceNorm):
    """`InstanceNorm(axis=1)` in PyTorch's spelling, for `(batch, channels, length)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.InstanceNorm1d(3)(jnp.ones((4, 3, 5))).shape
        (4, 3, 5)
    """

    _allowed = (3,)


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm(axis=1)` in PyTorch's spelling, for `(batch, channels, height, width)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.InstanceNorm2d(3)(jnp.ones((4, 3, 5, 5))).shape
        (4, 3, 5, 5)
    """

    _allowed = (4,)


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm(axis=1)` in PyTorch's spelling, `(batch, channels, depth, height, width)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.InstanceNorm3d(3)(jnp.ones((4, 3, 2, 5, 5))).shape
        (4, 3, 2, 5, 5)
    """

    _allowed = (5,)
