"""The window of a pooling layer, as it is declared, and where it stands on a given input."""

from __future__ import annotations

import dataclasses

import jax

from ansatz.nn.spatial import Pads, extents, pads_of, places, spatial_axes, spatial_sizes


@dataclasses.dataclass(frozen=True, slots=True)
class Pool:
    """How the window of a pooling layer moves; what is static when it is compiled.

    Attributes:
        size: how many cells the window has along each spatial axis.
        stride: how many cells it moves on.
        padding: what is added around the spatial axes, a name or numbers.
        dilation: how far apart the cells of the window are.
        ceil_mode: whether a last window may reach beyond the padding.
        layout: where the axes of input and output stand.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | Pads
    dilation: tuple[int, ...]
    ceil_mode: bool
    layout: str

    def placed(self, x: jax.Array) -> Placed:
        """The window on an input of the shape of `x`."""
        lengths, extent = spatial_sizes(x, self.layout), extents(self.size, self.dilation)
        pads = pads_of(self.padding, lengths, extent, self.stride)
        counts = places("pooling", lengths, extent, self.stride, pads, ceil_mode=self.ceil_mode)
        reached = [
            (count - 1) * s + e - n - before
            for count, s, e, n, (before, _) in zip(
                counts, self.stride, extent, lengths, pads, strict=True
            )
        ]
        beyond = tuple(
            (before, max(after, reach))
            for (before, after), reach in zip(pads, reached, strict=True)
        )
        return Placed(spatial_axes(self.layout), lengths, pads, beyond, counts)


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """Where the windows stand on an input of known lengths.

    Attributes:
        axes: the spatial axes.
        lengths: how long they are.
        pads: the padding.
        beyond: the padding with what the last windows of `ceil_mode` reach beyond it.
        counts: at how many places the window stands.
    """

    axes: tuple[int, ...]
    lengths: tuple[int, ...]
    pads: Pads
    beyond: Pads
    counts: tuple[int, ...]
