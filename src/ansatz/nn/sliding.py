"""A window that slides over space: the sum of products that all convolutions come down to.

    y[n, …, o] = Σ x[n, … · stride + … · dilation - before, c] · weight[o, c, …]

where `x` counts as zero outside, and may have zeros put between its cells (which is what makes a
convolution the transpose of another one). This file states it as `jax.lax` computes it.
"""

from __future__ import annotations

import dataclasses

import jax

from ansatz.nn.spatial import Pads, channel_axis


@dataclasses.dataclass(frozen=True, slots=True)
class Sliding:
    """How the window slides, with nothing left open; static where it is compiled.

    Attributes:
        stride: how many cells the window moves on, for each spatial axis.
        pads: how many zeros are added before and after each axis; negative ones cut cells off.
        dilation: how far apart the cells of the window are.
        spread: how far apart the cells of the input are put, with zeros between them.
        groups: into how many groups channels are divided; each output sees one group of inputs.
        layout: where the axes of input and output stand.
    """

    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]
    spread: tuple[int, ...]
    groups: int
    layout: str

    @property
    def channels_last(self) -> bool:
        """Whether the channels are the last axis."""
        return channel_axis(self.layout) == -1


def slide(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The sum of products, as `jax.lax` computes it.

    Args:
        x: the input, in the layout of `sliding`.
        weight: shape `(out, in / groups, *kernel)`, of the dtype of `x`.
        sliding: how the window slides.
    """
    kernel_layout = "OI" + "".join(letter for letter in sliding.layout if letter not in "NC")
    return jax.lax.conv_general_dilated(
        x,
        weight,
        window_strides=sliding.stride,
        padding=sliding.pads,
        lhs_dilation=sliding.spread,
        rhs_dilation=sliding.dilation,
        dimension_numbers=(sliding.layout, kernel_layout, sliding.layout),
        feature_group_count=sliding.groups,
    )
