"""Pooling to a given size: the number of windows is chosen, and they share out the input.

A *global* layer has one window over everything. None of these layers has parameters, so none needs
to know an input size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.spelling import shared_init
from ansatz.nn.adaptive_pool import adaptive_avg_pool, adaptive_max_pool
from ansatz.nn.sizes import checked_size
from ansatz.nn.spatial import check_axes, checked_layout, spatial_axes, spatial_sizes, spelled_size

Counts = int | Sequence[int | None]
"""One number for all spatial axes, or one for each, where `None` leaves an axis as it is."""


class AdaptivePoolingLayer(Module):
    """What layers that pool to a given size have in common.

    Attributes:
        output_size: the number of windows along each spatial axis, `None` for an axis that is
            left as it is.
        layout: where the axes of input and output stand.
    """

    axes: ClassVar[int]

    @shared_init
    def __init__(self, output_size: Counts, *, layout: str | None = None) -> None:
        super().__init__()
        counts = output_size if isinstance(output_size, Sequence) else [output_size] * self.axes
        if len(counts) != self.axes:
            raise ValueError(
                f"output_size of {type(self).__name__} is one number, or {self.axes} of them; got "
                f"{output_size!r}"
            )
        self.output_size = tuple(_checked_count(count) for count in counts)
        self.layout = checked_layout(layout, self.axes)

    def extra_repr(self) -> str:
        """The number of windows."""
        shown = f"output_size={spelled_size(self.output_size)}"
        if self.layout != checked_layout(None, self.axes):
            shown += f", layout={self.layout!r}"
        return shown


class GlobalPoolingLayer(Module):
    """What layers that pool over all of space have in common.

    Attributes:
        keepdims: whether the spatial axes stay, with length one.
        layout: where the axes of the input stand.
    """

    axes: ClassVar[int]

    def __init__(self, *, keepdims: bool = True, layout: str | None = None) -> None:
        super().__init__()
        self.keepdims = bool(keepdims)
        self.layout = checked_layout(layout, self.axes)

    def extra_repr(self) -> str:
        """What differs from the defaults."""
        parts = [] if self.keepdims else ["keepdims=False"]
        if self.layout != checked_layout(None, self.axes):
            parts.append(f"layout={self.layout!r}")
        return ", ".join(parts)


def _checked_count(count: int | None) -> int | None:
    if count is None:
        return None
    count = checked_size("output_size", count)
    if count < 1:
        raise ValueError("output_size cannot be less than 1, got 0")
    return count


def _check(layer: AdaptivePoolingLayer | GlobalPoolingLayer, x: Any) -> None:
    check_axes(type(layer).__name__, x, layer.layout)
    if not all(spatial_sizes(x, layer.layout)):
        raise ShapeError(
            f"{type(layer).__name__} has nothing to pool in an input of shape "
            f"{format_shape(x.shape)}"
        )


class AdaptiveMaxPoolBase(AdaptivePoolingLayer):
    """The largest cell of each of a given number of windows, whatever the number of axes."""

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, *output_size, channels)`, or channels first."""
        _check(self, x)
        return adaptive_max_pool(x, spatial_axes(self.layout), self.output_size)


class AdaptiveAvgPoolBase(AdaptivePoolingLayer):
    """The average of each of a given number of windows, whatever the number of axes."""

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, *output_size, channels)`, or channels first."""
        _check(self, x)
        return adaptive_avg_pool(x, spatial_axes(self.layout), self.output_size)


class GlobalMaxPoolBase(GlobalPoolingLayer):
    """The largest cell of each channel, whatever the number of axes."""

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, 1, …, channels)`, or channels first."""
        _check(self, x)
        counts = (1,) * self.axes
        return adaptive_max_pool(x, spatial_axes(self.layout), counts, self.keepdims)


class GlobalAvgPoolBase(GlobalPoolingLayer):
    """The average of each channel, whatever the number of axes."""

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, 1, …, channels)`, or channels first."""
        _check(self, x)
        counts = (1,) * self.axes
        return adaptive_avg_pool(x, spatial_axes(self.layout), counts, self.keepdims)


class AdaptiveMaxPool1D(AdaptiveMaxPoolBase):
    """The largest cell of each of `output_size` windows that share out sequences.

    Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
    `⌈(i + 1) n / m⌉`, as in PyTorch.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.

    Args:
        output_size: how many windows there are along the axis; `None`
            leaves an axis as it is.
        layout: `"NWC"`, which is the default, or `"NCW"`.

    Raises:
        ValueError: an option does not exist.
        ShapeError: when called, if the input has other axes than `(batch, length, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveMaxPool1D(3)(jnp.ones((2, 8, 3))).shape
        (2, 3, 3)
    """

    axes = 1


class AdaptiveMaxPool2D(AdaptiveMaxPoolBase):
    """The largest cell of each of `output_size` windows that share out images.

    Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
    `⌈(i + 1) n / m⌉`, as in PyTorch.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.

    Args:
        output_size: how many windows there are along each axis, one number or one for each; `None`
            leaves an axis as it is.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.

    Raises:
        ValueError: an option does not exist.
        ShapeError: when called, if the input has other axes than `(batch, height, width, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveMaxPool2D(3)(jnp.ones((2, 8, 8, 3))).shape
        (2, 3, 3, 3)
    """

    axes = 2


class AdaptiveMaxPool3D(AdaptiveMaxPoolBase):
    """The largest cell of each of `output_size` windows that share out volumes.

    Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
    `⌈(i + 1) n / m⌉`, as in PyTorch.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.

    Args:
        output_size: how many windows there are along each axis, one number or one for each; `None`
            leaves an axis as it is.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.

    Raises:
        ValueError: an option does not exist.
        ShapeError: when called, if the input has other axes than
            `(batch, depth, height, width, channels)` or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveMaxPool3D(3)(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 3, 3, 3, 3)
    """

    axes = 3


class AdaptiveAvgPool1D(AdaptiveAvgPoolBase):
    """The average of each of `output_size` windows that share out sequences.

    Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
    `⌈(i + 1) n / m⌉`, as in PyTorch.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.

    Args:
        output_size: how many windows there are along the axis; `None`
            leaves an axis as it is.
        layout: `"NWC"`, which is the default, or `"NCW"`.

    Raises:
        ValueError: an option does not exist.
        ShapeError: when called, if the input has other axes than `(batch, length, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveAvgPool1D(3)(jnp.ones((2, 8, 3))).shape
        (2, 3, 3)
    """

    axes = 1


class AdaptiveAvgPool2D(AdaptiveAvgPoolBase):
    """The average of each of `output_size` windows that share out images.

    Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
    `⌈(i + 1) n / m⌉`, as in PyTorch.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.

    Args:
        output_size: how many windows there are along each axis, one number or one for each; `None`
            leaves an axis as it is.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.

    Raises:
        ValueError: an option does not exist.
        ShapeError: when called, if the input has other axes than `(batch, height, width, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveAvgPool2D(3)(jnp.ones((2, 8, 8, 3))).shape
        (2, 3, 3, 3)
    """

    axes = 2


class AdaptiveAvgPool3D(AdaptiveAvgPoolBase):
    """The average of each of `output_size` windows that share out volumes.

    Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
    `⌈(i + 1) n / m⌉`, as in PyTorch.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.

    Args:
        output_size: how many windows there are along each axis, one number or one for each; `None`
            leaves an axis as it is.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.

    Raises:
        ValueError: an option does not exist.
        ShapeError: when called, if the input has other axes than
            `(batch, depth, height, width, channels)` or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.AdaptiveAvgPool3D(3)(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 3, 3, 3, 3)
    """

    axes = 3


class GlobalMaxPool1D(GlobalMaxPoolBase):
    """The largest cell of each channel over the whole sequence.

    Source: Lin, Chen & Yan 2014, "Network in network", section 3.2.

    Args:
        keepdims: whether the spatial axes stay, with length one, as in Gluon; without them the
            output is `(batch, channels)`, as in Keras.
        layout: `"NWC"`, which is the default, or `"NCW"`.

    Raises:
        ValueError: the layout does not exist.
        ShapeError: when called, if the input has other axes than `(batch, length, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.GlobalMaxPool1D()(jnp.ones((2, 8, 3))).shape
        (2, 1, 3)
        >>> nn.GlobalMaxPool1D(keepdims=False)(jnp.ones((2, 8, 3))).shape
        (2, 3)
    """

    axes = 1


class GlobalMaxPool2D(GlobalMaxPoolBase):
    """The largest cell of each channel over the whole image.

    Source: Lin, Chen & Yan 2014, "Network in network", section 3.2.

    Args:
        keepdims: whether the spatial axes stay, with length one, as in Gluon; without them the
            output is `(batch, channels)`, as in Keras.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.

    Raises:
        ValueError: the layout does not exist.
        ShapeError: when called, if the input has other axes than `(batch, height, width, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.GlobalMaxPool2D()(jnp.ones((2, 8, 8, 3))).shape
        (2, 1, 1, 3)
        >>> nn.GlobalMaxPool2D(keepdims=False)(jnp.ones((2, 8, 8, 3))).shape
        (2, 3)
    """

    axes = 2


class GlobalMaxPool3D(GlobalMaxPoolBase):
    """The largest cell of each channel over the whole volume.

    Source: Lin, Chen & Yan 2014, "Network in network", section 3.2.

    Args:
        keepdims: whether the spatial axes stay, with length one, as in Gluon; without them the
            output is `(batch, channels)`, as in Keras.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.

    Raises:
        ValueError: the layout does not exist.
        ShapeError: when called, if the input has other axes than
            `(batch, depth, height, width, channels)` or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.GlobalMaxPool3D()(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 1, 1, 1, 3)
        >>> nn.GlobalMaxPool3D(keepdims=False)(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 3)
    """

    axes = 3


class GlobalAvgPool1D(GlobalAvgPoolBase):
    """The average of each channel over the whole sequence.

    Source: Lin, Chen & Yan 2014, "Network in network", section 3.2.

    Args:
        keepdims: whether the spatial axes stay, with length one, as in Gluon; without them the
            output is `(batch, channels)`, as in Keras.
        layout: `"NWC"`, which is the default, or `"NCW"`.

    Raises:
        ValueError: the layout does not exist.
        ShapeError: when called, if the input has other axes than `(batch, length, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.GlobalAvgPool1D()(jnp.ones((2, 8, 3))).shape
        (2, 1, 3)
        >>> nn.GlobalAvgPool1D(keepdims=False)(jnp.ones((2, 8, 3))).shape
        (2, 3)
    """

    axes = 1


class GlobalAvgPool2D(GlobalAvgPoolBase):
    """The average of each channel over the whole image.

    Source: Lin, Chen & Yan 2014, "Network in network", section 3.2.

    Args:
        keepdims: whether the spatial axes stay, with length one, as in Gluon; without them the
            output is `(batch, channels)`, as in Keras.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.

    Raises:
        ValueError: the layout does not exist.
        ShapeError: when called, if the input has other axes than `(batch, height, width, channels)`
            or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.GlobalAvgPool2D()(jnp.ones((2, 8, 8, 3))).shape
        (2, 1, 1, 3)
        >>> nn.GlobalAvgPool2D(keepdims=False)(jnp.ones((2, 8, 8, 3))).shape
        (2, 3)
    """

    axes = 2


class GlobalAvgPool3D(GlobalAvgPoolBase):
    """The average of each channel over the whole volume.

    Source: Lin, Chen & Yan 2014, "Network in network", section 3.2.

    Args:
        keepdims: whether the spatial axes stay, with length one, as in Gluon; without them the
            output is `(batch, channels)`, as in Keras.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.

    Raises:
        ValueError: the layout does not exist.
        ShapeError: when called, if the input has other axes than
            `(batch, depth, height, width, channels)` or is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.GlobalAvgPool3D()(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 1, 1, 1, 3)
        >>> nn.GlobalAvgPool3D(keepdims=False)(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 3)
    """

    axes = 3
