"""Pooling layers in PyTorch's spelling: `nn.MaxPool2d(2)`.

They are the layers of `pooling.py` and `adaptive_pooling.py`, with channels as the first axis of
inputs and outputs unless `layout` says otherwise, and with PyTorch's order of arguments.
"""

from __future__ import annotations

from ansatz.core.spelling import shared_init
from ansatz.nn.adaptive_pooling import (
    AdaptiveAvgPool1D,
    AdaptiveAvgPool2D,
    AdaptiveAvgPool3D,
    AdaptiveMaxPool1D,
    AdaptiveMaxPool2D,
    AdaptiveMaxPool3D,
    AdaptivePoolingLayer,
    Counts,
)
from ansatz.nn.pooling import (
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    AvgPoolBase,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
    MaxPoolBase,
)
from ansatz.nn.spatial import Padding, Size

_CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


class _SpelledMax(MaxPoolBase):
    @shared_init
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Padding = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            layout=layout or _CHANNELS_FIRST[self.axes],
        )


class _SpelledAvg(AvgPoolBase):
    @shared_init
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
            layout=layout or _CHANNELS_FIRST[self.axes],
        )


class _SpelledAdaptive(AdaptivePoolingLayer):
    @shared_init
    def __init__(self, output_size: Counts, *, layout: str | None = None) -> None:
        super().__init__(output_size, layout=layout or _CHANNELS_FIRST[self.axes])


class MaxPool1d(_SpelledMax, MaxPool1D):
    """The largest cell of each window: `MaxPool1D`, which tells the rest, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.MaxPool1d(2)(jnp.ones((2, 3, 8))).shape
        (2, 3, 4)
    """


class MaxPool2d(_SpelledMax, MaxPool2D):
    """The largest cell of each window: `MaxPool2D`, which tells the rest, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.MaxPool2d(2)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 4, 4)
    """


class MaxPool3d(_SpelledMax, MaxPool3D):
    """The largest cell of each window: `MaxPool3D`, which tells the rest, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.MaxPool3d(2)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 4, 4, 4)
    """


class AvgPool1d(_SpelledAvg, AvgPool1D):
    """The average of each window: `AvgPool1D`, which tells the rest, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AvgPool1d(2)(jnp.ones((2, 3, 8))).shape
        (2, 3, 4)
    """


class AvgPool2d(_SpelledAvg, AvgPool2D):
    """The average of each window: `AvgPool2D`, which tells the rest, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AvgPool2d(2)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 4, 4)
    """


class AvgPool3d(_SpelledAvg, AvgPool3D):
    """The average of each window: `AvgPool3D`, which tells the rest, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AvgPool3d(2)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 4, 4, 4)
    """


class AdaptiveMaxPool1d(_SpelledAdaptive, AdaptiveMaxPool1D):
    """The largest cell of `output_size` windows: `AdaptiveMaxPool1D`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveMaxPool1d(1)(jnp.ones((2, 3, 8))).shape
        (2, 3, 1)
    """


class AdaptiveMaxPool2d(_SpelledAdaptive, AdaptiveMaxPool2D):
    """The largest cell of `output_size` windows: `AdaptiveMaxPool2D`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveMaxPool2d(1)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 1, 1)
    """


class AdaptiveMaxPool3d(_SpelledAdaptive, AdaptiveMaxPool3D):
    """The largest cell of `output_size` windows: `AdaptiveMaxPool3D`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveMaxPool3d(1)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 1, 1, 1)
    """


class AdaptiveAvgPool1d(_SpelledAdaptive, AdaptiveAvgPool1D):
    """The average of `output_size` windows: `AdaptiveAvgPool1D`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveAvgPool1d(1)(jnp.ones((2, 3, 8))).shape
        (2, 3, 1)
    """


class AdaptiveAvgPool2d(_SpelledAdaptive, AdaptiveAvgPool2D):
    """The average of `output_size` windows: `AdaptiveAvgPool2D`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveAvgPool2d(1)(jnp.ones((2, 3, 8, 8))).shape
        (2, 3, 1, 1)
    """


class AdaptiveAvgPool3d(_SpelledAdaptive, AdaptiveAvgPool3D):
    """The average of `output_size` windows: `AdaptiveAvgPool3D`, with channels first.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveAvgPool3d(1)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 3, 1, 1, 1)
    """
