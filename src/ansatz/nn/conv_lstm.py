"""Convolutional LSTM: a recurrence over images, whose state is made of images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.nn.convolution import Geometry, convolve
from ansatz.nn.precision import at_least_float32
from ansatz.nn.recurrent_cells import check_state_shape, checked_state
from ansatz.nn.sharing import Params, share
from ansatz.nn.sizes import checked_size, checked_width
from ansatz.nn.spatial import (
    Size,
    channel_axis,
    check_axes,
    check_channels,
    checked_layout,
    per_axis,
    spelled_size,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class ConvLSTMCell(Module):
    """One step of a convolutional LSTM, over images, sequences or volumes.

        i, f, o = σ(W_ih * x + W_hh * h + b),  g = tanh(likewise)
        c' = f c + i g,  h' = o tanh(c')

    Both convolutions, `*`, keep the size of the image, with zeros around it. The gates are stacked
    in the order i, f, g, o. As in Keras, Flax and Gluon, no gate sees `c`, which they do in the
    paper. Whole sequences are read by `nn.Recurrent(nn.ConvLSTMCell(8, 3))`.

    Without any choice each weight is drawn from U(±1/√fan_in), as in `Conv2D`, and the bias is
    zero. Keras begins with a forget gate that is open: `bias_init=init.LSTMBias(1.0)`.

    Source: Shi et al. 2015, "Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting", equation 3.

    Args:
        channels: the number of channels of the state and of the output.
        kernel_size: the size of the window of both convolutions: one number for a square, or one
            for each spatial axis, which also says how many there are.
        in_channels: the number of channels of the input; without one, the first input tells it.
        use_bias: whether there is a bias.
        layout: where the axes of the input of one step stand: `"NHWC"`, the default for images,
            `"NCHW"`, and likewise for sequences and volumes.
        weight_init: the initialiser of both weights; without one, `initialize` may choose.
        bias_init: the bias's initialiser, which the default given to `initialize` leaves alone;
            `None` opens it to that choice.
        params: `other.collect_params()` of a cell whose parameters this one shall hold.
        dtype: the dtype of the parameters.

    Attributes:
        weight_ih: shape `(4 · channels, in_channels, *kernel_size)` in any layout.
        weight_hh: shape `(4 · channels, channels, *kernel_size)`.
        bias: shape `(4 · channels,)`, or `None`.

    Raises:
        ValueError: the layout does not exist, or does not fit the kernel.
        TieError: `params` does not match in names, shapes or dtypes.
        ShapeError: when called, if input or state have other axes, sizes or channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> reader = nn.Recurrent(nn.ConvLSTMCell(8, 3))
        >>> y, (h, c) = reader(jnp.ones((2, 5, 16, 16, 3)))
        >>> y.shape, c.shape
        ((2, 5, 16, 16, 8), (2, 16, 16, 8))
        >>> reader.cell
        ConvLSTMCell(3 -> 8, kernel_size=3)
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        *,
        in_channels: int | None = None,
        use_bias: bool = True,
        layout: str | None = None,
        weight_init: Any = None,
        bias_init: Any = "zeros",
        params: Params = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        axes = _axes_of(kernel_size, layout)
        self.layout = checked_layout(layout, axes)
        self.kernel_size = per_axis("kernel_size", kernel_size, axes)
        self.channels = checked_size("channels", channels)
        width = checked_width("in_channels", in_channels)
        rows, kernel = 4 * self.channels, self.kernel_size
        self.weight_ih = Parameter((rows, width, *kernel), weight_init, dtype=dtype)
        self.weight_hh = Parameter((rows, self.channels, *kernel), weight_init, dtype=dtype)
        self.bias = Parameter((rows,), bias_init, dtype=dtype) if use_bias else None
        share(self, params, weight_init=weight_init)

    @property
    def in_channels(self) -> int | None:
        """The number of channels of the input; `None` while it is not known."""
        size: int | None = self.weight_ih.shape[1]
        return size

    def infer_shape(self, x: Any, state: Any = None) -> None:
        """Take the number of input channels from `x`."""
        kind = type(self).__name__
        check_axes(kind, x, self.layout)
        if self.in_channels is not None:
            check_channels(kind, x, self.layout, self.in_channels)
        inputs = x.shape[channel_axis(self.layout)]
        self.weight_ih.shape = (4 * self.channels, inputs, *self.kernel_size)

    def initial_state(self, x: Any) -> tuple[jax.Array, jax.Array]:
        """The `(h, c)` of zeros with which a call begins that is given none.

        Args:
            x: the input of one step, in the layout.
        """
        zeros = jnp.zeros(self._state_shape(x), jnp.result_type(x, self.weight_hh.value))
        return zeros, zeros

    def _state_shape(self, x: Any) -> tuple[int, ...]:
        check_axes(type(self).__name__, x, self.layout)
        shape = list(x.shape)
        shape[channel_axis(self.layout)] = self.channels
        return tuple(shape)

    def forward(self, x: Any, state: Any = None) -> Any:
        """One step.

        Args:
            x: shape `(batch, height, width, in_channels)`, or as the layout says.
            state: the old `(h, c)`, each of shape `(batch, height, width, channels)`; zeros
                without one.

        Returns:
            The new `(h, c)`.
        """
        name = type(self).__name__
        given = checked_state(name, "lstm", self.initial_state(x) if state is None else state)
        check_state_shape(name, given, self._state_shape(x), x)
        bias = None if self.bias is None else self.bias.value
        return _step(x, given, self.weight_ih.value, self.weight_hh.value, bias, self.layout)

    def extra_repr(self) -> str:
        """`in -> out`, the kernel, and what differs from the defaults."""
        parts = [f"{self.in_channels} -> {self.channels}"]
        parts.append(f"kernel_size={spelled_size(self.kernel_size)}")
        if self.bias is None:
            parts.append("use_bias=False")
        if channel_axis(self.layout) == 1:
            parts.append(f"layout={self.layout!r}")
        return ", ".join(parts)


def _axes_of(kernel_size: Any, layout: Any) -> int:
    """How many spatial axes there are: one number alone is the kernel of an image."""
    axes = len(kernel_size) if isinstance(kernel_size, Sequence) else 2
    if isinstance(layout, str) and not isinstance(kernel_size, Sequence):
        axes = len(layout) - 2
    if not 1 <= axes <= 3:
        raise ValueError(
            f"ConvLSTMCell takes 1 to 3 spatial axes, got kernel_size={kernel_size!r}, "
            f"layout={layout!r}"
        )
    return axes


@functools.partial(jax.jit, static_argnums=5)
def _step(
    x: jax.Array,
    state: tuple[jax.Array, jax.Array],
    weight_ih: jax.Array,
    weight_hh: jax.Array,
    bias: jax.Array | None,
    layout: str,
) -> tuple[jax.Array, jax.Array]:
    h, c = state
    ones = (1,) * (len(layout) - 2)
    geometry = Geometry(ones, "same", ones, 1, layout)
    gates = convolve(x, weight_ih, bias, geometry) + convolve(h, weight_hh, None, geometry)
    dtype = jnp.result_type(gates, c)
    i, f, g, o = jnp.split(at_least_float32(gates), 4, channel_axis(layout))
    c = jax.nn.sigmoid(f) * at_least_float32(c) + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return h.astype(dtype), c.astype(dtype)
