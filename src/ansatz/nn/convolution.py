"""Convolution as an operation: what the layers of `conv.py` and `conv_transpose.py` compute."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from ansatz.nn.activation_functions import by_name
from ansatz.nn.convolution_cpu import slide_on_cpu
from ansatz.nn.padding import padded
from ansatz.nn.sliding import Sliding, slide
from ansatz.nn.spatial import (
    Pads,
    channel_axis,
    extents,
    pads_of,
    places,
    spatial_sizes,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Geometry:
    """How the window of a convolution moves, as a layer declares it.

    Attributes:
        stride: how many cells the window moves on, for each spatial axis.
        padding: what is added around the spatial axes, a name or numbers.
        dilation: how far apart the cells of the window are.
        groups: into how many groups channels are divided; each output sees one group of inputs.
        layout: where the axes of input and output stand.
        padding_mode: what the padding is made of, one of `PADDING_MODES`.
    """

    stride: tuple[int, ...]
    padding: str | Pads
    dilation: tuple[int, ...]
    groups: int
    layout: str
    padding_mode: str = "zeros"


@functools.partial(jax.jit, static_argnums=(3, 4))
def convolve(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    geometry: Geometry,
    activation: str | None = None,
) -> jax.Array:
    """Slide the weight over `x`, add the bias, apply an activation.

    Args:
        x: the input, in the layout of `geometry`.
        weight: shape `(out, in / groups, *kernel)`.
        bias: shape `(out,)`.
        geometry: how the window moves.
        activation: the name of a function that is applied last.
    """
    g = geometry
    lengths, extent = spatial_sizes(x, g.layout), extents(weight.shape[2:], g.dilation)
    pads = pads_of(g.padding, lengths, extent, g.stride)
    places("a convolution", lengths, extent, g.stride, pads)
    if g.padding_mode != "zeros":
        x = padded("padding_mode", x, pads, g.padding_mode, g.layout)
        pads = ((0, 0),) * len(pads)
    spread = (1,) * len(lengths)
    sliding = Sliding(g.stride, pads, g.dilation, spread, g.groups, g.layout)
    return _finished(x, weight, bias, sliding, activation)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def convolve_transposed(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    geometry: Geometry,
    output_padding: tuple[int, ...],
    activation: str | None = None,
) -> jax.Array:
    """The transpose of the convolution with the same weight, plus bias, then an activation.

    Args:
        x: the input, in the layout of `geometry`.
        weight: shape `(in, out / groups, *kernel)`.
        bias: shape `(out,)`.
        geometry: how the window of the convolution moves whose transpose this is.
        output_padding: how many places are added at the end of each axis of the output.
        activation: the name of a function that is applied last.
    """
    g = geometry
    extent = extents(weight.shape[2:], g.dilation)
    cuts = cuts_of(g.padding, extent, g.stride)
    pads = tuple(
        (e - 1 - before, e - 1 - after + more)
        for e, (before, after), more in zip(extent, cuts, output_padding, strict=True)
    )
    # The transpose reads the kernel backwards, and exchanges inputs and outputs in each group.
    inputs, outputs, *kernel = weight.shape
    weight = jnp.flip(weight, range(2, weight.ndim))
    weight = weight.reshape(g.groups, inputs // g.groups, outputs, *kernel)
    weight = weight.swapaxes(1, 2).reshape(g.groups * outputs, inputs // g.groups, *kernel)
    ones = (1,) * len(kernel)
    sliding = Sliding(ones, pads, g.dilation, g.stride, g.groups, g.layout)
    return _finished(x, weight, bias, sliding, activation)


def cuts_of(padding: str | Pads, extent: tuple[int, ...], stride: tuple[int, ...]) -> Pads:
    """What a padding cuts off before and after each axis of a transposed convolution.

    `"same"` and `"causal"` make the output `stride` times as long as the input, by cutting on both
    sides or at the end alone; a negative number adds places.
    """
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return ((0, 0),) * len(extent)
    spare = [e - s for e, s in zip(extent, stride, strict=True)]
    if padding == "causal":
        return tuple((0, n) for n in spare)
    return tuple((max(n, 0) // 2, n - max(n, 0) // 2) for n in spare)


def _finished(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    sliding: Sliding,
    activation: str | None,
) -> jax.Array:
    dtype = jnp.result_type(x, weight)
    slides = slide_on_cpu if jax.default_backend() == "cpu" else slide
    y = slides(x.astype(dtype), weight.astype(dtype), sliding)
    if bias is not None:
        shape = [1] * y.ndim
        shape[channel_axis(sliding.layout)] = bias.size
        y = y + bias.reshape(shape)
    return y if activation is None else by_name(activation)(y)
