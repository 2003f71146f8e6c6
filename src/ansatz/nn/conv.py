"""Convolutional layers: a small window of weights that slides over sequences, images or volumes.

`Conv1D`, `Conv2D` and `Conv3D` are declared by what they give and may find out what they take;
`torch_conv.py` has the same layers in PyTorch's spelling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansatz.core.errors import ShapeError
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.core.spelling import shared_init
from ansatz.nn.activation_functions import Activation, activated, checked_activation, spelled
from ansatz.nn.convolution import Geometry, convolve
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width
from ansatz.nn.spatial import (
    Padding,
    Size,
    channel_axis,
    check_axes,
    check_channels,
    checked_layout,
    checked_padding,
    checked_padding_mode,
    per_axis,
    spelled_padding,
    spelled_size,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class WindowedLayer(Module):
    """What convolutions of every kind have in common: how their window moves, and their checks.

    Attributes:
        kernel_size, stride, dilation: one number for each spatial axis.
        padding: a name, or what is added before and after each spatial axis.
        groups: into how many groups channels are divided.
        layout: where the axes of input and output stand.
        activation: what is applied last.
        padding_mode: what the padding is made of.
    """

    axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size,
        padding: Padding,
        dilation: Size,
        groups: int,
        layout: str | None,
        activation: Activation | None,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        axes = self.axes
        self.kernel_size = per_axis("kernel_size", kernel_size, axes)
        self.stride = per_axis("stride", stride, axes)
        names = ("same", "valid", "causal") if axes == 1 else ("same", "valid")
        self.padding = checked_padding(padding, axes, names)
        self.padding_mode = checked_padding_mode(padding_mode)
        self.dilation = per_axis("dilation", dilation, axes)
        self.groups = checked_size("groups", groups)
        if self.groups < 1:
            raise ValueError("groups cannot be less than 1, got 0")
        self.layout = checked_layout(layout, axes)
        self.activation = checked_activation(activation)

    @property
    def in_channels(self) -> int | None:
        """The number of channels of the input; `None` while it is not known."""
        raise NotImplementedError

    @property
    def geometry(self) -> Geometry:
        """How the window moves."""
        return Geometry(
            self.stride, self.padding, self.dilation, self.groups, self.layout, self.padding_mode
        )

    def in_groups(self, name: str, size: int) -> int:
        """How many of `size` channels are in each group.

        Raises:
            ShapeError: the groups would not be alike.
        """
        if size % self.groups:
            raise ShapeError(
                f"{name}={size} of {type(self).__name__} cannot be divided into "
                f"groups={self.groups}"
            )
        return size // self.groups

    def channels_of(self, x: Any) -> int:
        """The number of channels of an input.

        Raises:
            ShapeError: it has other axes than the layout, or another number of channels than is
                known already.
        """
        kind = type(self).__name__
        check_axes(kind, x, self.layout)
        if self.in_channels is not None:
            check_channels(kind, x, self.layout, self.in_channels)
        channels: int = x.shape[channel_axis(self.layout)]
        return channels

    def window_repr(self, in_channels: int | None, channels: int | None, bias: Any) -> str:
        """`in -> out`, the kernel, and what differs from the defaults."""
        parts = [f"{in_channels} -> {channels}", f"kernel_size={spelled_size(self.kernel_size)}"]
        if any(stride != 1 for stride in self.stride):
            parts.append(f"stride={spelled_size(self.stride)}")
        if spelled_padding(self.padding) not in ("0", "'valid'"):
            parts.append(f"padding={spelled_padding(self.padding)}")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode!r}")
        if any(dilation != 1 for dilation in self.dilation):
            parts.append(f"dilation={spelled_size(self.dilation)}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.activation is not None and not isinstance(self.activation, Module):
            parts.append(spelled(self.activation))
        if bias is None:
            parts.append("use_bias=False")
        if channel_axis(self.layout) == 1:
            parts.append(f"layout={self.layout!r}")
        return ", ".join(parts)


class ConvBase(WindowedLayer):
    """The convolution that `Conv1D`, `Conv2D` and `Conv3D` are, whatever the number of axes."""

    @shared_init
    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        *,
        padding_mode: str = "zeros",
        dilation: Size = 1,
        groups: int = 1,
        in_channels: int | None = None,
        activation: Activation | None = None,
        use_bias: bool = True,
        layout: str | None = None,
        weight_init: Any = None,
        bias_init: Any = "zeros",
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(
            kernel_size, stride, padding, dilation, groups, layout, activation, padding_mode
        )
        channels = checked_size("channels", channels)
        self.in_groups("channels", channels)
        in_channels = checked_width("in_channels", in_channels)
        inputs = None if in_channels is None else self.in_groups("in_channels", in_channels)
        self.weight = Parameter((channels, inputs, *self.kernel_size), weight_init, dtype=dtype)
        self.bias = Parameter((channels,), bias_init, dtype=dtype) if use_bias else None
        share(self, params, weight_init=weight_init)

    @property
    def channels(self) -> int | None:
        """The number of channels of the output."""
        return self.weight.shape[0]

    @property
    def in_channels(self) -> int | None:
        """The number of channels of the input; `None` while it is not known."""
        inputs = self.weight.shape[1]
        return None if inputs is None else inputs * self.groups

    def infer_shape(self, x: Any) -> None:
        """Take the number of input channels from `x`."""
        inputs = self.in_groups("in_channels", self.channels_of(x))
        self.weight.shape = (self.weight.shape[0], inputs, *self.kernel_size)

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, in)` to `(batch, *places, out)`, or with channels first."""
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        return activated(
            self.activation, lambda name: convolve(x, weight, bias, self.geometry, name)
        )

    def extra_repr(self) -> str:
        """`in -> out`, the kernel, and what differs from the defaults."""
        return self.window_repr(self.in_channels, self.channels, self.bias)


class Conv1D(ConvBase):
    """Convolution over sequences: each output sees a window of `kernel_size` steps.

    As in PyTorch this is a cross-correlation: the kernel is not flipped. Each axis of length
    `n` becomes `⌊(n + before + after - dilation · (kernel_size - 1) - 1) / stride⌋ + 1` long.

    Without any choice the weight is drawn from U(±1/√fan_in), with
    `fan_in = in_channels / groups · kernel_size`, and the bias is zero. Initialisers that look at
    the fan-out take `channels · kernel_size`, not divided by the groups, as PyTorch's do.

    Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition";
    "causal" as in van den Oord et al. 2016, "WaveNet", section 2.1.

    Args:
        channels: the number of channels of the output.
        kernel_size: how many steps the window has.
        stride: how many steps it moves on.
        padding: how much is added on both sides; a pair for the two sides,
            `((before, after),)`; `"same"` for ⌈n / stride⌉ outputs; `"valid"` for no padding;
            `"causal"` for as many outputs as with `"same"`, none of which sees a later step.
        padding_mode: what is added: `"zeros"`; `"reflect"`, the input mirrored at its edge;
            `"replicate"`, the edge itself; `"circular"`, the other end.
        dilation: how far apart the steps of the window are.
        groups: into how many groups channels are divided, each output seeing one group of inputs;
            `groups=in_channels` is a depthwise convolution.
        in_channels: the number of channels of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        layout: `"NWC"`, which is the default, or `"NCW"`.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters. The output has the dtype to which JAX promotes it and
            the input.

    Attributes:
        weight: shape `(channels, in_channels / groups, kernel_size)` in any layout.
        bias: shape `(channels,)`, or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: if channels cannot be divided into the groups; when called, if the input has
            other axes or channels than declared, or is shorter than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> conv = nn.Conv1D(8, 3, padding="causal", dilation=2)
        >>> conv(jnp.ones((4, 100, 2))).shape
        (4, 100, 8)
        >>> conv
        Conv1D(2 -> 8, kernel_size=3, padding='causal', dilation=2)
    """

    axes = 1


class Conv2D(ConvBase):
    """Convolution over images: each output sees a window of `kernel_size` pixels.

    As in PyTorch this is a cross-correlation: the kernel is not flipped. Each axis of length
    `n` becomes `⌊(n + before + after - dilation · (kernel_size - 1) - 1) / stride⌋ + 1` long.

    Without any choice the weight is drawn from U(±1/√fan_in), with
    `fan_in = in_channels / groups · height · width` of the kernel, and the bias is zero.
    Initialisers that look at the fan-out take `channels · height · width`, not divided by the
    groups, as PyTorch's do.

    Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition".

    Args:
        channels: the number of channels of the output.
        kernel_size: height and width of the window, one number if they are equal.
        stride: how many pixels it moves on, along one axis or both.
        padding: how much is added: one number for all sides, or for each axis a number or
            a pair, `((top, bottom), (left, right))`; `"same"` for ⌈n / stride⌉ outputs, with an
            odd one at the end; `"valid"` for no padding.
        padding_mode: what is added: `"zeros"`; `"reflect"`, the input mirrored at its edge;
            `"replicate"`, the edge itself; `"circular"`, the other end.
        dilation: how far apart the pixels of the window are.
        groups: into how many groups channels are divided, each output seeing one group of inputs;
            `groups=in_channels` is a depthwise convolution.
        in_channels: the number of channels of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters. The output has the dtype to which JAX promotes it and
            the input.

    Attributes:
        weight: shape `(channels, in_channels / groups, height, width)` in any layout.
        bias: shape `(channels,)`, or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: if channels cannot be divided into the groups; when called, if the input has
            other axes or channels than declared, or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> conv = nn.Conv2D(16, 3, stride=2, padding=1, activation="relu")
        >>> conv(jnp.ones((4, 32, 32, 3))).shape
        (4, 16, 16, 16)
        >>> conv
        Conv2D(3 -> 16, kernel_size=3, stride=2, padding=1, relu)
        >>> conv.weight.shape
        (16, 3, 3, 3)
    """

    axes = 2


class Conv3D(ConvBase):
    """Convolution over volumes or videos: each output sees a window of `kernel_size` cells.

    As in PyTorch this is a cross-correlation: the kernel is not flipped. Each axis of length
    `n` becomes `⌊(n + before + after - dilation · (kernel_size - 1) - 1) / stride⌋ + 1` long.

    Without any choice the weight is drawn from U(±1/√fan_in), with
    `fan_in = in_channels / groups · depth · height · width` of the kernel, and the bias is zero.

    Source: Ji et al. 2013, "3D convolutional neural networks for human action recognition".

    Args:
        channels: the number of channels of the output.
        kernel_size: depth, height and width of the window, one number if they are equal.
        stride: how many cells it moves on, along one axis or each.
        padding: how much is added: one number for all sides, or for each axis a number or
            a pair `(before, after)`; `"same"` for ⌈n / stride⌉ outputs, with an odd one at the
            end; `"valid"` for no padding.
        padding_mode: what is added: `"zeros"`; `"reflect"`, the input mirrored at its edge;
            `"replicate"`, the edge itself; `"circular"`, the other end.
        dilation: how far apart the cells of the window are.
        groups: into how many groups channels are divided, each output seeing one group of inputs;
            `groups=in_channels` is a depthwise convolution.
        in_channels: the number of channels of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters. The output has the dtype to which JAX promotes it and
            the input.

    Attributes:
        weight: shape `(channels, in_channels / groups, depth, height, width)` in any layout.
        bias: shape `(channels,)`, or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: if channels cannot be divided into the groups; when called, if the input has
            other axes or channels than declared, or is smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Conv3D(8, (1, 3, 3), padding="same")(jnp.ones((2, 4, 6, 6, 3))).shape
        (2, 4, 6, 6, 8)
    """

    axes = 3
