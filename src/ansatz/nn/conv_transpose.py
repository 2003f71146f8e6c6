"""Transposed convolutions: layers that make sequences, images and volumes larger.

Such a layer computes the transpose of what a convolution with the same weight computes (it is not
its inverse), and is also called a deconvolution or fractionally strided convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.parameter import Parameter
from ansatz.core.spelling import shared_init
from ansatz.init import Kaiming
from ansatz.nn.activation_functions import Activation, activated
from ansatz.nn.conv import WindowedLayer
from ansatz.nn.convolution import convolve_transposed, cuts_of
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width
from ansatz.nn.spatial import (
    Padding,
    Size,
    extents,
    per_axis,
    spatial_sizes,
    spelled_size,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class ConvTransposeBase(WindowedLayer):
    """What the transposed convolutions are, whatever the number of axes."""

    @shared_init
    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        *,
        output_padding: Size = 0,
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
        super().__init__(kernel_size, stride, padding, dilation, groups, layout, activation)
        self.output_padding = per_axis("output_padding", output_padding, self.axes, least=0)
        self._check_output_padding()
        channels = checked_size("channels", channels)
        outputs = self.in_groups("channels", channels)
        in_channels = checked_width("in_channels", in_channels)
        if in_channels is not None:
            self.in_groups("in_channels", in_channels)
        self.weight = Parameter(
            (in_channels, outputs, *self.kernel_size),
            weight_init,
            dtype=dtype,
            fallback=_PYTORCHS_DEFAULT,
            fan_axes=(0, 1),
        )
        self.bias = Parameter((channels,), bias_init, dtype=dtype) if use_bias else None
        share(self, params, weight_init=weight_init)

    def _check_output_padding(self) -> None:
        options = zip(self.output_padding, self.stride, self.dilation, strict=True)
        if any(more >= max(stride, dilation) for more, stride, dilation in options):
            raise ValueError(
                "output_padding is smaller than the stride or the dilation, got output_padding="
                f"{self.output_padding} with stride={self.stride}, dilation={self.dilation}"
            )
        if isinstance(self.padding, str) and self.padding != "valid" and any(self.output_padding):
            raise ValueError(
                f"padding={self.padding!r} settles the size of the output, so output_padding="
                f"{self.output_padding} has no room; give the padding in numbers"
            )

    @property
    def channels(self) -> int | None:
        """The number of channels of the output."""
        outputs = self.weight.shape[1]
        return None if outputs is None else outputs * self.groups

    @property
    def in_channels(self) -> int | None:
        """The number of channels of the input; `None` while it is not known."""
        return self.weight.shape[0]

    def infer_shape(self, x: Any) -> None:
        """Take the number of input channels from `x`."""
        inputs = self.channels_of(x)
        self.in_groups("in_channels", inputs)
        self.weight.shape = (inputs, *self.weight.shape[1:])
        self._check_lengths(x)

    def _check_lengths(self, x: Any) -> None:
        lengths = spatial_sizes(x, self.layout)
        extent = extents(self.kernel_size, self.dilation)
        cuts = cuts_of(self.padding, extent, self.stride)
        axes = zip(lengths, self.stride, extent, cuts, self.output_padding, strict=True)
        places = [(n - 1) * s + e - sum(cut) + more for n, s, e, cut, more in axes]
        if min(places) < 1:
            raise ShapeError(
                f"the padding of {type(self).__name__} cuts everything off an input of shape "
                f"{format_shape(x.shape)}: its output would have the lengths {places}; use less "
                "padding"
            )

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, in)` to `(batch, *places, out)`, or with channels first."""
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        more = self.output_padding
        return activated(
            self.activation,
            lambda name: convolve_transposed(x, weight, bias, self.geometry, more, name),
        )

    def extra_repr(self) -> str:
        """`in -> out`, the kernel, and what differs from the defaults."""
        window = self.window_repr(self.in_channels, self.channels, self.bias)
        if not any(self.output_padding):
            return window
        return f"{window}, output_padding={spelled_size(self.output_padding)}"


# U(±1/√fan) with a fan of out/groups · kernel, which PyTorch takes for the fan-in.
_PYTORCHS_DEFAULT = Kaiming("fan_out", "leaky_relu", "uniform", param=5**0.5)


class ConvTranspose1D(ConvTransposeBase):
    """Transposed convolution over sequences.

    An axis of length `n` becomes `(n - 1) · stride - before - after + dilation · (kernel_size - 1)
    + output_padding + 1` long.

    Without any choice the weight is drawn from U(±1/√fan), with
    `fan = channels / groups · kernel_size`, and the bias is zero. That is PyTorch's default: it
    reads the fan-in off the second axis, where a transposed layer has its outputs. Initialisers
    that are chosen get the true axes, inputs first: `fan_in = in_channels · kernel_size`.

    Source: Zeiler et al. 2010, "Deconvolutional networks".

    Args:
        channels: the number of channels of the output.
        kernel_size: how many steps the window has.
        stride: how many steps the window moves on in the output for each step of the input.
        padding: how many steps are cut off on both sides of the output; a pair for the two sides,
            `((before, after),)`; `"same"` for n · stride outputs; `"valid"` for no cut;
            `"causal"` for n · stride outputs, cut off at the end alone.
        output_padding: how many steps are added at the end of the output, fewer than the stride
            or the dilation.
        dilation: how far apart the steps of the window are.
        groups: into how many groups channels are divided.
        in_channels: the number of channels of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        layout: `"NWC"`, which is the default, or `"NCW"`.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(in_channels, channels / groups, kernel_size)` in any layout.
        bias: shape `(channels,)`, or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: if channels cannot be divided into the groups; when called, if the input has
            other axes or channels than declared, or nothing is left after the cut.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConvTranspose1D(8, 4, stride=2, padding=1)(jnp.ones((2, 10, 3))).shape
        (2, 20, 8)
    """

    axes = 1


class ConvTranspose2D(ConvTransposeBase):
    """Transposed convolution over images.

    An axis of length `n` becomes `(n - 1) · stride - before - after + dilation · (kernel_size - 1)
    + output_padding + 1` long.

    Without any choice the weight is drawn from U(±1/√fan), with
    `fan = channels / groups · height · width`, and the bias is zero. That is PyTorch's default: it
    reads the fan-in off the second axis, where a transposed layer has its outputs. Initialisers
    that are chosen get the true axes, inputs first: `fan_in = in_channels · height · width`.

    Source: Zeiler et al. 2010, "Deconvolutional networks".

    Args:
        channels: the number of channels of the output.
        kernel_size: height and width of the window, one number if they are equal.
        stride: how many pixels the window moves on in the output for each pixel of the input.
        padding: how many pixels are cut off the output: one number for all sides, or for each axis
            a number or a pair, `((top, bottom), (left, right))`; `"same"` for n · stride outputs;
            `"valid"` for no cut.
        output_padding: how many pixels are added at the end of each axis of the output, fewer
            than the stride or the dilation.
        dilation: how far apart the pixels of the window are.
        groups: into how many groups channels are divided.
        in_channels: the number of channels of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(in_channels, channels / groups, height, width)` in any layout.
        bias: shape `(channels,)`, or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: if channels cannot be divided into the groups; when called, if the input has
            other axes or channels than declared, or nothing is left after the cut.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> up = nn.ConvTranspose2D(8, 3, stride=2, padding=1, output_padding=1)
        >>> up(jnp.ones((2, 10, 10, 16))).shape
        (2, 20, 20, 8)
        >>> up
        ConvTranspose2D(16 -> 8, kernel_size=3, stride=2, padding=1, output_padding=1)
    """

    axes = 2


class ConvTranspose3D(ConvTransposeBase):
    """Transposed convolution over volumes.

    An axis of length `n` becomes `(n - 1) · stride - before - after + dilation · (kernel_size - 1)
    + output_padding + 1` long.

    Without any choice the weight is drawn from U(±1/√fan), with
    `fan = channels / groups · depth · height · width`, and the bias is zero. That is PyTorch's
    default: it reads the fan-in off the second axis, where a transposed layer has its outputs.
    Initialisers that are chosen get the true axes, inputs first.

    Source: Zeiler et al. 2010, "Deconvolutional networks".

    Args:
        channels: the number of channels of the output.
        kernel_size: depth, height and width of the window, one number if they are equal.
        stride: how many cells the window moves on in the output for each cell of the input.
        padding: how many cells are cut off the output: one number for all sides, or for each axis
            a number or a pair `(before, after)`; `"same"` for n · stride outputs; `"valid"` for
            no cut.
        output_padding: how many cells are added at the end of each axis of the output, fewer
            than the stride or the dilation.
        dilation: how far apart the cells of the window are.
        groups: into how many groups channels are divided.
        in_channels: the number of channels of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        layout: `"NDHWC"`, which is the default, or `"NCDHW"`.
        weight_init: the weight's initialiser; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight: shape `(in_channels, channels / groups, depth, height, width)` in any layout.
        bias: shape `(channels,)`, or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: if channels cannot be divided into the groups; when called, if the input has
            other axes or channels than declared, or nothing is left after the cut.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ConvTranspose3D(4, 2, stride=2)(jnp.ones((1, 2, 3, 3, 8))).shape
        (1, 4, 6, 6, 4)
    """

    axes = 3
