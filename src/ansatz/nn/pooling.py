"""Pooling layers: the largest cell, or the average, of each window that slides over space.

None of them has parameters, so none needs to know an input size. `adaptive_pooling.py` has the
layers that are told how many windows there are instead of how large they are, and
`torch_pooling.py` all of them in PyTorch's spelling.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ansatz.core.module import Module
from ansatz.nn.pool import avg_pool, max_pool
from ansatz.nn.pool_window import Pool
from ansatz.nn.sizes import checked_size
from ansatz.nn.spatial import (
    Padding,
    Size,
    check_axes,
    checked_layout,
    checked_padding,
    extents,
    per_axis,
    spelled_padding,
    spelled_size,
)


class PoolingLayer(Module):
    """What pooling layers have in common: how their window moves.

    Attributes:
        kernel_size, stride, dilation: one number for each spatial axis.
        padding: a name, or what is added before and after each spatial axis.
        ceil_mode: whether a last window may reach beyond the padding.
        layout: where the axes of input and output stand.
    """

    axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None,
        padding: Padding,
        dilation: Size,
        ceil_mode: bool,
        layout: str | None,
    ) -> None:
        super().__init__()
        axes = self.axes
        self.kernel_size = per_axis("kernel_size", kernel_size, axes)
        self.stride = self.kernel_size if stride is None else per_axis("stride", stride, axes)
        self.padding = checked_padding(padding, axes, ("same", "valid"))
        self.dilation = per_axis("dilation", dilation, axes)
        self.ceil_mode = bool(ceil_mode)
        self.layout = checked_layout(layout, axes)
        spans = extents(self.kernel_size, self.dilation)
        if not isinstance(self.padding, str) and any(
            2 * max(pair) > span for pair, span in zip(self.padding, spans, strict=True)
        ):
            # A window that sees nothing but padding has no largest cell and no average.
            raise ValueError(
                f"padding of {type(self).__name__} is at most half of the window, which spans "
                f"{spelled_size(spans)}; got {padding!r}"
            )

    @property
    def pool(self) -> Pool:
        """How the window moves."""
        return Pool(
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.layout,
        )

    def extra_repr(self) -> str:
        """The window, and what differs from the defaults."""
        parts = [f"kernel_size={spelled_size(self.kernel_size)}"]
        if self.stride != self.kernel_size:
            parts.append(f"stride={spelled_size(self.stride)}")
        if spelled_padding(self.padding) not in ("0", "'valid'"):
            parts.append(f"padding={spelled_padding(self.padding)}")
        if any(dilation != 1 for dilation in self.dilation):
            parts.append(f"dilation={spelled_size(self.dilation)}")
        if self.ceil_mode:
            parts.append("ceil_mode=True")
        if self.layout != checked_layout(None, self.axes):
            parts.append(f"layout={self.layout!r}")
        return ", ".join(parts)


class MaxPoolBase(PoolingLayer):
    """The largest cell of each window, whatever the number of axes."""

    def __init__(
        self,
        kernel_size: Size = 2,
        stride: Size | None = None,
        padding: Padding = 0,
        *,
        dilation: Size = 1,
        ceil_mode: bool = False,
        layout: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode, layout)

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, *places, channels)`, or channels first."""
        check_axes(type(self).__name__, x, self.layout)
        return max_pool(x, self.pool)


class AvgPoolBase(PoolingLayer):
    """The average of each window, whatever the number of axes."""

    def __init__(
        self,
        kernel_size: Size = 2,
        stride: Size | None = None,
        padding: Padding = 0,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        layout: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode, layout)
        self.count_include_pad = bool(count_include_pad)
        self.divisor_override = None
        if divisor_override is not None:
            self.divisor_override = checked_size("divisor_override", divisor_override)
            if self.divisor_override == 0:
                raise ValueError("divisor_override cannot be less than 1, got 0")

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, *places, channels)`, or channels first."""
        check_axes(type(self).__name__, x, self.layout)
        return avg_pool(x, self.pool, self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        """The window, and what differs from the defaults."""
        parts = [super().extra_repr()]
        if not self.count_include_pad:
            parts.append("count_include_pad=False")
        if self.divisor_override is not None:
            parts.append(f"divisor_override={self.divisor_override}")
        return ", ".join(parts)


class MaxPool1D(MaxPoolBase):
    """The largest cell of each window that slides over sequences.

    Padding is smaller than everything, NaN is larger, and the derivative goes to the first of
    several largest cells. Without padding and dilation, each axis of length `n` becomes `⌊(n -
    kernel_size) / stride⌋ + 1` long; in general `⌊(n + before + after - dilation · (kernel_size -
    1) - 1) / stride⌋ + 1`.

    Source: Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex".

    Args:
        kernel_size: how many cells the window has.
        stride: how many cells it moves on; without one, `kernel_size`.
        padding: how many cells are added on both sides; a pair for the two sides, `((before,
            after),)`; `"same"` for ⌈n / stride⌉ outputs; `"valid"` for no padding. At most half of
            the window.
        dilation: how far apart the cells of the window are.
        ceil_mode: whether the quotient is rounded up, so that a last window may reach beyond the
            padding; it has to begin in the input or in the padding before it.
        layout: `"NWC"`, which is the default, or `"NCW"`.

    Raises:
        ValueError: an option does not exist, or the padding is wider than half of the window.
        ShapeError: when called, if the input has other axes than `(batch, length, channels)`
            or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> pool = nn.MaxPool1D(3, stride=2, padding=1)
        >>> pool(jnp.ones((2, 8, 3))).shape
        (2, 4, 3)
        >>> pool
        MaxPool1D(kernel_size=3, stride=2, padding=1)
    """

    axes = 1


class MaxPool2D(MaxPoolBase):
    """The largest cell of each window that slides over images.

    Padding is smaller than everything, NaN is larger, and the derivative goes to the first of
    several largest cells. Without padding and dilation, each axis of length `n` becomes `⌊(n -
    kernel_size) / stride⌋ + 1` long; in general `⌊(n + before + after - dilation · (kernel_size -
    1) - 1) / stride⌋ + 1`.

    Source: Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex".

    Args:
        kernel_size: how many cells the window has, along all axes or each.
        stride: how many cells it moves on; without one, `kernel_size`.
        padding: how many cells are added: one number for all sides, or for each axis a number or a
            pair, `((top, bottom), (left, right))`; `"same"` for ⌈n / stride⌉ outputs; `"valid"` for
            no padding. At most half of the window.
        dilation: how far apart the cells of the window are.
        ceil_mode: whether the quotient is rounded up, so that a last window may reach beyond the
            padding; it has to begin in the input or in the padding before it.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.

    Raises:
        ValueError: an option does not exist, or the padding is wider than half of the window.
        ShapeError: when called, if the input has other axes than `(batch, height, width, channels)`
            or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> pool = nn.MaxPool2D(3, stride=2, padding=1)
        >>> pool(jnp.ones((2, 8, 8, 3))).shape
        (2, 4, 4, 3)
        >>> pool
        MaxPool2D(kernel_size=3, stride=2, padding=1)
    """

    axes = 2


class MaxPool3D(MaxPoolBase):
    """The largest cell of each window that slides over volumes.

    Padding is smaller than everything, NaN is larger, and the derivative goes to the first of
    several largest cells. Without padding and dilation, each axis of length `n` becomes `⌊(n -
    kernel_size) / stride⌋ + 1` long; in general `⌊(n + before + after - dilation · (kernel_size -
    1) - 1) / stride⌋ + 1`.

    Source: Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex".

    Args:
        kernel_size: how many cells the window has, along all axes or each.
        stride: how many cells it moves on; without one, `kernel_size`.
        padding: how many cells are added: one number for all sides, or for each axis a number or a
            pair `(before, after)`; `"same"` for ⌈n / stride⌉ outputs; `"valid"` for no padding. At
            most half of the window.
        dilation: how far apart the cells of the window are.
        ceil_mode: whether the quotient is rounded up, so that a last window may reach beyond the
            padding; it has to begin in the input or in the padding before it.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.

    Raises:
        ValueError: an option does not exist, or the padding is wider than half of the window.
        ShapeError: when called, if the input has other axes than
            `(batch, depth, height, width, channels)` or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> pool = nn.MaxPool3D(3, stride=2, padding=1)
        >>> pool(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 4, 4, 4, 3)
        >>> pool
        MaxPool3D(kernel_size=3, stride=2, padding=1)
    """

    axes = 3


class AvgPool1D(AvgPoolBase):
    """The average of each window that slides over sequences.

    Each axis of length `n` becomes `⌊(n + before + after - kernel_size) / stride⌋ + 1` long. The
    sum is taken in float32 at least; integers become float32.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section
    II.B, "subsampling".

    Args:
        kernel_size: how many cells the window has.
        stride: how many cells it moves on; without one, `kernel_size`.
        padding: how many cells are added on both sides; a pair for the two sides, `((before,
            after),)`; `"same"` for ⌈n / stride⌉ outputs; `"valid"` for no padding. At most half of
            the window.
        ceil_mode: whether the quotient is rounded up, so that a last window may reach beyond the
            padding; it has to begin in the input or in the padding before it.
        count_include_pad: whether padding counts as zeros in the average, or not at all. What a
            window of `ceil_mode` has beyond the padding never counts.
        divisor_override: what the sum of each window is divided by, in place of its cells.
        layout: `"NWC"`, which is the default, or `"NCW"`.

    Raises:
        ValueError: an option does not exist, or the padding is wider than half of the window.
        ShapeError: when called, if the input has other axes than `(batch, length, channels)`
            or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> pool = nn.AvgPool1D(3, stride=2, padding=1)
        >>> pool(jnp.ones((2, 8, 3))).shape
        (2, 4, 3)
        >>> pool
        AvgPool1D(kernel_size=3, stride=2, padding=1)
    """

    axes = 1


class AvgPool2D(AvgPoolBase):
    """The average of each window that slides over images.

    Each axis of length `n` becomes `⌊(n + before + after - kernel_size) / stride⌋ + 1` long. The
    sum is taken in float32 at least; integers become float32.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section
    II.B, "subsampling".

    Args:
        kernel_size: how many cells the window has, along all axes or each.
        stride: how many cells it moves on; without one, `kernel_size`.
        padding: how many cells are added: one number for all sides, or for each axis a number or a
            pair, `((top, bottom), (left, right))`; `"same"` for ⌈n / stride⌉ outputs; `"valid"` for
            no padding. At most half of the window.
        ceil_mode: whether the quotient is rounded up, so that a last window may reach beyond the
            padding; it has to begin in the input or in the padding before it.
        count_include_pad: whether padding counts as zeros in the average, or not at all. What a
            window of `ceil_mode` has beyond the padding never counts.
        divisor_override: what the sum of each window is divided by, in place of its cells.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.

    Raises:
        ValueError: an option does not exist, or the padding is wider than half of the window.
        ShapeError: when called, if the input has other axes than `(batch, height, width, channels)`
            or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> pool = nn.AvgPool2D(3, stride=2, padding=1)
        >>> pool(jnp.ones((2, 8, 8, 3))).shape
        (2, 4, 4, 3)
        >>> pool
        AvgPool2D(kernel_size=3, stride=2, padding=1)
    """

    axes = 2


class AvgPool3D(AvgPoolBase):
    """The average of each window that slides over volumes.

    Each axis of length `n` becomes `⌊(n + before + after - kernel_size) / stride⌋ + 1` long. The
    sum is taken in float32 at least; integers become float32.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section
    II.B, "subsampling".

    Args:
        kernel_size: how many cells the window has, along all axes or each.
        stride: how many cells it moves on; without one, `kernel_size`.
        padding: how many cells are added: one number for all sides, or for each axis a number or a
            pair `(before, after)`; `"same"` for ⌈n / stride⌉ outputs; `"valid"` for no padding. At
            most half of the window.
        ceil_mode: whether the quotient is rounded up, so that a last window may reach beyond the
            padding; it has to begin in the input or in the padding before it.
        count_include_pad: whether padding counts as zeros in the average, or not at all. What a
            window of `ceil_mode` has beyond the padding never counts.
        divisor_override: what the sum of each window is divided by, in place of its cells.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.

    Raises:
        ValueError: an option does not exist, or the padding is wider than half of the window.
        ShapeError: when called, if the input has other axes than
            `(batch, depth, height, width, channels)` or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> pool = nn.AvgPool3D(3, stride=2, padding=1)
        >>> pool(jnp.ones((2, 8, 8, 8, 3))).shape
        (2, 4, 4, 4, 3)
        >>> pool
        AvgPool3D(kernel_size=3, stride=2, padding=1)
    """

    axes = 3
