"""Convolutional layers in PyTorch's spelling: `nn.Conv2d(3, 16, 3)`.

They are the layers of `conv.py` and `conv_transpose.py`, with three differences: the number of
input channels comes first, channels are the first axis of inputs and outputs unless `layout` says
otherwise, and the bias is drawn from U(±1/√fan_in) of the weight instead of being zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ansatz.core.initializer import BoundedUniform
from ansatz.core.parameter import Parameter
from ansatz.core.spelling import shared_init
from ansatz.nn.bias import FanInUniformOfWeight
from ansatz.nn.conv import Conv1D, Conv2D, Conv3D, ConvBase
from ansatz.nn.conv_transpose import (
    ConvTranspose1D,
    ConvTranspose2D,
    ConvTranspose3D,
    ConvTransposeBase,
)
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size
from ansatz.nn.spatial import Padding, Size

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


_CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


class _Spelled(ConvBase):
    """A convolution with PyTorch's arguments."""

    @shared_init
    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        layout: str | None = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            checked_size("out_channels", out_channels),
            kernel_size,
            stride,
            padding,
            padding_mode=padding_mode,
            dilation=dilation,
            groups=groups,
            in_channels=in_channels,
            use_bias=False,
            layout=layout or _CHANNELS_FIRST[self.axes],
            dtype=dtype,
        )
        if bias:
            self.bias = Parameter((out_channels,), FanInUniformOfWeight(self), dtype=dtype)
        share(self, params)

    @property
    def out_channels(self) -> int | None:
        """The number of channels of the output."""
        return self.channels

    def extra_repr(self) -> str:
        """The arguments, as PyTorch prints them."""
        return _as_in_pytorch(self)


class _SpelledTranspose(ConvTransposeBase):
    """A transposed convolution with PyTorch's arguments."""

    @shared_init
    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        *,
        layout: str | None = None,
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            checked_size("out_channels", out_channels),
            kernel_size,
            stride,
            padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            in_channels=in_channels,
            use_bias=False,
            layout=layout or _CHANNELS_FIRST[self.axes],
            dtype=dtype,
        )
        if bias:
            fan = out_channels // self.groups * math.prod(self.kernel_size)
            bound = 1 / math.sqrt(fan) if fan else 0.0
            self.bias = Parameter((out_channels,), BoundedUniform(bound), dtype=dtype)
        share(self, params)

    @property
    def out_channels(self) -> int | None:
        """The number of channels of the output."""
        return self.channels

    def extra_repr(self) -> str:
        """The arguments, as PyTorch prints them."""
        return _as_in_pytorch(self)


def _as_in_pytorch(layer: _Spelled | _SpelledTranspose) -> str:
    parts = [
        f"{layer.in_channels}, {layer.out_channels}, kernel_size={layer.kernel_size}, "
        f"stride={layer.stride}"
    ]
    padding: Any = layer.padding
    if not isinstance(padding, str) and all(before == after for before, after in padding):
        padding = tuple(before for before, _ in padding)
    if padding != (0,) * layer.axes:
        parts.append(f"padding={padding!r}")
    if any(dilation != 1 for dilation in layer.dilation):
        parts.append(f"dilation={layer.dilation}")
    if isinstance(layer, _SpelledTranspose) and any(layer.output_padding):
        parts.append(f"output_padding={layer.output_padding}")
    if layer.groups != 1:
        parts.append(f"groups={layer.groups}")
    if layer.bias is None:
        parts.append("bias=False")
    if layer.layout != _CHANNELS_FIRST[layer.axes]:
        parts.append(f"layout={layer.layout!r}")
    return ", ".join(parts)


class Conv1d(_Spelled, Conv1D):
    """Convolution over sequences in PyTorch's spelling: `Conv1D` with channels first.

    Weight and bias are both drawn from U(±1/√fan_in), with the fan-in of the weight. The default
    given to `initialize` replaces the weight's initialiser and leaves the bias's alone.

    Args:
        in_channels: the number of channels of the input; `None` if the first input shall tell it.
        out_channels: the number of channels of the output.
        kernel_size: the size of the window.
        stride: how many cells it moves on.
        padding: as of `Conv1D`.
        dilation: how far apart the cells of the window are.
        groups: into how many groups channels are divided.
        bias: whether there is a bias.
        padding_mode: as of `Conv1D`.
        layout: `"NCW"`, which is the default, or `"NWC"`.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(out_channels, in_channels / groups, kernel_size)`.
        bias: shape `(out_channels,)`, or `None`.

    Raises:
        ValueError, TieError, ShapeError: as of `Conv1D`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Conv1d(3, 16, 3, padding=1)(jnp.ones((2, 3, 100))).shape
        (2, 16, 100)
    """


class Conv2d(_Spelled, Conv2D):
    """Convolution over images in PyTorch's spelling: `Conv2D` with channels first.

    Weight and bias are both drawn from U(±1/√fan_in), with the fan-in of the weight. The default
    given to `initialize` replaces the weight's initialiser and leaves the bias's alone.

    Args:
        in_channels: the number of channels of the input; `None` if the first input shall tell it.
        out_channels: the number of channels of the output.
        kernel_size: the size of the window.
        stride: how many cells it moves on.
        padding: as of `Conv2D`.
        dilation: how far apart the cells of the window are.
        groups: into how many groups channels are divided.
        bias: whether there is a bias.
        padding_mode: as of `Conv2D`.
        layout: `"NCHW"`, which is the default, or `"NHWC"`.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(out_channels, in_channels / groups, height, width)`.
        bias: shape `(out_channels,)`, or `None`.

    Raises:
        ValueError, TieError, ShapeError: as of `Conv2D`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Conv2d(3, 16, 3, padding=1)(jnp.ones((2, 3, 32, 32))).shape
        (2, 16, 32, 32)
    """


class Conv3d(_Spelled, Conv3D):
    """Convolution over volumes in PyTorch's spelling: `Conv3D` with channels first.

    Weight and bias are both drawn from U(±1/√fan_in), with the fan-in of the weight. The default
    given to `initialize` replaces the weight's initialiser and leaves the bias's alone.

    Args:
        in_channels: the number of channels of the input; `None` if the first input shall tell it.
        out_channels: the number of channels of the output.
        kernel_size: the size of the window.
        stride: how many cells it moves on.
        padding: as of `Conv3D`.
        dilation: how far apart the cells of the window are.
        groups: into how many groups channels are divided.
        bias: whether there is a bias.
        padding_mode: as of `Conv3D`.
        layout: `"NCDHW"`, which is the default, or `"NDHWC"`.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(out_channels, in_channels / groups, depth, height, width)`.
        bias: shape `(out_channels,)`, or `None`.

    Raises:
        ValueError, TieError, ShapeError: as of `Conv3D`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Conv3d(3, 16, 3, padding=1)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 16, 8, 8, 8)
    """


class ConvTranspose1d(_SpelledTranspose, ConvTranspose1D):
    """Transposed convolution over sequences in PyTorch's spelling, with channels first.

    Weight and bias are both drawn from U(±1/√fan), where `fan` is `out_channels / groups` times
    the size of the kernel: PyTorch reads it off the second axis of the weight.

    Args:
        in_channels: the number of channels of the input; `None` if the first input shall tell it.
        out_channels: the number of channels of the output.
        kernel_size: the size of the window.
        stride: how many cells it moves on in the output.
        padding: as of `ConvTranspose1D`: how much is cut off the output.
        output_padding: how many cells are added at the end of each axis of the output.
        groups: into how many groups channels are divided.
        bias: whether there is a bias.
        dilation: how far apart the cells of the window are.
        layout: `"NCW"`, which is the default, or `"NWC"`.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(in_channels, out_channels / groups, kernel_size)`.
        bias: shape `(out_channels,)`, or `None`.

    Raises:
        ValueError, TieError, ShapeError: as of `ConvTranspose1D`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConvTranspose1d(3, 16, 2, stride=2)(jnp.ones((2, 3, 100))).shape
        (2, 16, 200)
    """


class ConvTranspose2d(_SpelledTranspose, ConvTranspose2D):
    """Transposed convolution over images in PyTorch's spelling, with channels first.

    Weight and bias are both drawn from U(±1/√fan), where `fan` is `out_channels / groups` times
    the size of the kernel: PyTorch reads it off the second axis of the weight.

    Args:
        in_channels: the number of channels of the input; `None` if the first input shall tell it.
        out_channels: the number of channels of the output.
        kernel_size: the size of the window.
        stride: how many cells it moves on in the output.
        padding: as of `ConvTranspose2D`: how much is cut off the output.
        output_padding: how many cells are added at the end of each axis of the output.
        groups: into how many groups channels are divided.
        bias: whether there is a bias.
        dilation: how far apart the cells of the window are.
        layout: `"NCHW"`, which is the default, or `"NHWC"`.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(in_channels, out_channels / groups, height, width)`.
        bias: shape `(out_channels,)`, or `None`.

    Raises:
        ValueError, TieError, ShapeError: as of `ConvTranspose2D`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConvTranspose2d(3, 16, 2, stride=2)(jnp.ones((2, 3, 32, 32))).shape
        (2, 16, 64, 64)
    """


class ConvTranspose3d(_SpelledTranspose, ConvTranspose3D):
    """Transposed convolution over volumes in PyTorch's spelling, with channels first.

    Weight and bias are both drawn from U(±1/√fan), where `fan` is `out_channels / groups` times
    the size of the kernel: PyTorch reads it off the second axis of the weight.

    Args:
        in_channels: the number of channels of the input; `None` if the first input shall tell it.
        out_channels: the number of channels of the output.
        kernel_size: the size of the window.
        stride: how many cells it moves on in the output.
        padding: as of `ConvTranspose3D`: how much is cut off the output.
        output_padding: how many cells are added at the end of each axis of the output.
        groups: into how many groups channels are divided.
        bias: whether there is a bias.
        dilation: how far apart the cells of the window are.
        layout: `"NCDHW"`, which is the default, or `"NDHWC"`.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(in_channels, out_channels / groups, depth, height, width)`.
        bias: shape `(out_channels,)`, or `None`.

    Raises:
        ValueError, TieError, ShapeError: as of `ConvTranspose3D`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConvTranspose3d(3, 16, 2, stride=2)(jnp.ones((2, 3, 8, 8, 8))).shape
        (2, 16, 16, 16, 16)
    """
