"""Depthwise and separable convolutions: a window for each channel, then a mixture of channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansatz.core.errors import TieError
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.nn.activation_functions import Activation, activated
from ansatz.nn.conv import Conv2D, WindowedLayer
from ansatz.nn.convolution import Geometry, convolve
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width
from ansatz.nn.spatial import Padding, Size

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class DepthwiseConv2D(WindowedLayer):
    """Convolution of each channel by itself, with one or more windows of its own.

    It is `Conv2D(multiplier * in_channels, …, groups=in_channels)` of which the number of channels
    may be left open. Channel `c` of the input gives the channels
    `c · multiplier … (c + 1) · multiplier - 1` of the output. Lengths are those of `Conv2D`.

    Without any choice the weight is drawn from U(±1/√(height · width)), and the bias is zero.

    Source: Sifre 2014, "Rigid-motion scattering for image classification", section 6.2; Howard et
    al. 2017, "MobileNets".

    Args:
        kernel_size: height and width of the window, one number if they are equal.
        stride: how many pixels it moves on, along one axis or both.
        padding: as of `Conv2D`.
        padding_mode: as of `Conv2D`.
        multiplier: how many channels of the output come from each channel of the input.
        dilation: how far apart the pixels of the window are.
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
        weight: shape `(in_channels * multiplier, 1, height, width)` in any layout.
        bias: shape `(in_channels * multiplier,)`, or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if the input has other axes or channels than declared, or is
            smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> layer = nn.DepthwiseConv2D(3, padding="same")
        >>> layer(jnp.ones((2, 8, 8, 16))).shape
        (2, 8, 8, 16)
        >>> layer.weight.shape
        (16, 1, 3, 3)
    """

    axes = 2

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        *,
        padding_mode: str = "zeros",
        multiplier: int = 1,
        dilation: Size = 1,
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
            kernel_size, stride, padding, dilation, 1, layout, activation, padding_mode
        )
        self.multiplier = checked_size("multiplier", multiplier)
        if self.multiplier < 1:
            raise ValueError("multiplier cannot be less than 1, got 0")
        in_channels = checked_width("in_channels", in_channels)
        channels = None if in_channels is None else in_channels * self.multiplier
        self.weight = Parameter((channels, 1, *self.kernel_size), weight_init, dtype=dtype)
        self.bias = Parameter((channels,), bias_init, dtype=dtype) if use_bias else None
        share(self, params, weight_init=weight_init)

    @property
    def channels(self) -> int | None:
        """The number of channels of the output; `None` while it is not known."""
        return self.weight.shape[0]

    @property
    def in_channels(self) -> int | None:
        """The number of channels of the input; `None` while it is not known."""
        return None if self.channels is None else self.channels // self.multiplier

    @property
    def geometry(self) -> Geometry:
        """How the window moves; there is a group for each channel of the input."""
        return dataclasses.replace(super().geometry, groups=self.in_channels or 1)

    def infer_shape(self, x: Any) -> None:
        """Take the number of channels from `x`."""
        channels = self.channels_of(x) * self.multiplier
        self.weight.shape = (channels, *self.weight.shape[1:])
        if self.bias is not None:
            self.bias.shape = (channels,)

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, in)` to `(batch, *places, in * multiplier)`, or channels first."""
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        return activated(
            self.activation, lambda name: convolve(x, weight, bias, self.geometry, name)
        )

    def extra_repr(self) -> str:
        """`in -> out`, the kernel, and what differs from the defaults."""
        return self.window_repr(self.in_channels, self.channels, self.bias)


class SeparableConv2D(Module):
    """A depthwise convolution, then a 1×1 convolution that mixes the channels.

    It has the reach of a `Conv2D` with far fewer weights and products. There is no bias and no
    activation between the two. Lengths are those of `Conv2D`.

    Without any choice the weights are drawn from U(±1/√fan_in) of each of the two convolutions,
    and the bias is zero.

    Source: Chollet 2017, "Xception", section 1.

    Args:
        channels: the number of channels of the output.
        kernel_size: height and width of the window, one number if they are equal.
        stride: how many pixels it moves on, along one axis or both.
        padding: as of `Conv2D`.
        padding_mode: as of `Conv2D`.
        multiplier: how many channels the depthwise convolution makes of each.
        dilation: how far apart the pixels of the window are.
        in_channels: the number of channels of the input; without one, the first input tells it.
        activation: a name such as `"relu"`, a function of one array, or a layer; applied last.
        use_bias: whether there is a bias.
        layout: `"NHWC"`, which is the default, or `"NCHW"`.
        depthwise_init: the initialiser of `depthwise.weight`.
        pointwise_init: the initialiser of `pointwise.weight`.
        bias_init: the initialiser of `pointwise.bias`.
        params: `other.collect_params()` of a layer whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        depthwise: a `DepthwiseConv2D`, weight `(in_channels * multiplier, 1, height, width)`.
        pointwise: a `Conv2D`, weight `(channels, in_channels * multiplier, 1, 1)`, and bias
            `(channels,)` or `None`.

    Raises:
        ValueError: an option does not exist, or does not fit the others.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if the input has other axes or channels than declared, or is
            smaller than the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> layer = nn.SeparableConv2D(32, 3, padding="same", activation="relu")
        >>> layer(jnp.ones((2, 8, 8, 16))).shape
        (2, 8, 8, 32)
        >>> list(layer.collect_params())
        ['depthwise.weight', 'pointwise.weight', 'pointwise.bias']
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        *,
        padding_mode: str = "zeros",
        multiplier: int = 1,
        dilation: Size = 1,
        in_channels: int | None = None,
        activation: Activation | None = None,
        use_bias: bool = True,
        layout: str | None = None,
        depthwise_init: Any = None,
        pointwise_init: Any = None,
        bias_init: Any = "zeros",
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        depthwise, pointwise = _divided(params)
        self.depthwise = DepthwiseConv2D(
            kernel_size,
            stride,
            padding,
            padding_mode=padding_mode,
            multiplier=multiplier,
            dilation=dilation,
            in_channels=in_channels,
            use_bias=False,
            layout=layout,
            weight_init=depthwise_init,
            params=depthwise,
            dtype=dtype,
        )
        self.pointwise = Conv2D(
            channels,
            1,
            in_channels=self.depthwise.channels,
            activation=activation,
            use_bias=use_bias,
            layout=layout,
            weight_init=pointwise_init,
            bias_init=bias_init,
            params=pointwise,
            dtype=dtype,
        )

    def forward(self, x: Any) -> Any:
        """`(batch, height, width, in)` to `(batch, *places, out)`, or with channels first."""
        return self.pointwise(self.depthwise(x))


def _divided(params: Params) -> tuple[Params, Params]:
    """The parameters of the two convolutions, by local name."""
    if not isinstance(params, Mapping):
        return params, params
    parts: dict[str, dict[str, Parameter]] = {"depthwise": {}, "pointwise": {}}
    for path, parameter in params.items():
        child, _, name = path.partition(".")
        if child not in parts:
            raise TieError(
                f"params= does not match the parameters of SeparableConv2D: it has none called "
                f"'{path}'. Nothing was shared. Pass those of another one, "
                "params=other.collect_params()"
            )
        parts[child][name] = parameter
    return parts["depthwise"], parts["pointwise"]
