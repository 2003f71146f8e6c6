"""Space: the axes that convolutions and pooling slide their windows over.

An input has a batch axis, a channel axis and one to three *spatial* axes. The *layout* says where
they stand: `"NHWC"` has the channels last, `"NCHW"` first; sequences are `"NWC"` or `"NCW"`,
volumes `"NDHWC"` or `"NCDHW"`. A *window* of `size` cells, `dilation` apart, stands at every
`stride`-th place of the padded axis, so that

    extent = dilation · (size - 1) + 1
    places = ⌊(length + before + after - extent) / stride⌋ + 1
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from ansatz.core.errors import ShapeError, format_shape

Size = int | Sequence[int]
"""One number for all spatial axes, or one for each."""

Padding = str | int | Sequence[int | tuple[int, int]]
"""A name, one number for all sides, or for each spatial axis a number or `(before, after)`."""

Pads = tuple[tuple[int, int], ...]
"""How many cells are added before and after each spatial axis."""

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""What the cells hold that padding adds."""

_LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def checked_layout(layout: str | None, axes: int) -> str:
    """`layout`, or channels-last if it is `None`.

    Raises:
        ValueError: it is no layout of that many spatial axes.
    """
    last, first = f"N{_LETTERS[axes]}C", f"NC{_LETTERS[axes]}"
    if layout is None:
        return last
    if layout not in (last, first):
        raise ValueError(
            f"layout is '{last}' (channels last) or '{first}' (channels first), got {layout!r}"
        )
    return layout


def checked_layout_of_any(layout: str | None) -> str | None:
    """`layout`, if it is `None` or a layout of one to three spatial axes.

    Raises:
        ValueError: it is neither.
    """
    known = [f"N{letters}C" for letters in _LETTERS.values()]
    known += [f"NC{letters}" for letters in _LETTERS.values()]
    if layout is not None and layout not in known:
        named = ", ".join(repr(each) for each in known)
        raise ValueError(f"layout is None for channels last, or one of {named}; got {layout!r}")
    return layout


def layout_for(kind: str, x: Any, layout: str | None, axes: int | None = None) -> str:
    """The layout of an input with one to three spatial axes.

    Args:
        kind: what takes the input.
        x: the input.
        layout: its layout; `None` for channels last, whatever the number of axes.
        axes: how many spatial axes there have to be; `None` for any number.

    Raises:
        ShapeError: it does not fit the layout, or has more or fewer axes.
    """
    if layout is not None:
        check_axes(kind, x, layout)
        return layout
    if axes is not None:
        check_axes(kind, x, checked_layout(None, axes))
    if x.ndim - 2 not in _LETTERS:
        raise ShapeError(
            f"{kind} takes an input with a batch axis, one to three spatial axes and a channel "
            f"axis, such as NHWC, got shape {format_shape(x.shape)}; add the missing ones: x[None] "
            "for a batch of one, x[..., None] for one channel"
        )
    return checked_layout(None, x.ndim - 2)


def channel_axis(layout: str) -> int:
    """Where the channels are: 1 or -1."""
    return 1 if layout[1] == "C" else -1


def spatial_axes(layout: str) -> tuple[int, ...]:
    """Where the spatial axes are, counted from the front."""
    return tuple(axis for axis, letter in enumerate(layout) if letter not in "NC")


def spatial_sizes(x: Any, layout: str) -> tuple[int, ...]:
    """How long the spatial axes of `x` are."""
    return tuple(x.shape[axis] for axis in spatial_axes(layout))


def check_axes(kind: str, x: Any, layout: str) -> None:
    """Refuse an input that does not have one axis for each letter of the layout.

    Raises:
        ShapeError: it has more or fewer.
    """
    if x.ndim == len(layout):
        return
    hint = (
        ""
        if x.ndim != len(layout) - 1
        else f"; add the missing one: x[None] for a batch of one, "
        f"{'x[:, None]' if layout[1] == 'C' else 'x[..., None]'} for one channel"
    )
    raise ShapeError(
        f"{kind} takes an input with {len(layout)} axes, {layout}, got shape "
        f"{format_shape(x.shape)}{hint}"
    )


def check_channels(kind: str, x: Any, layout: str, channels: int) -> None:
    """Refuse an input that does not have that many channels.

    Raises:
        ShapeError: it has more or fewer.
    """
    found = x.shape[channel_axis(layout)]
    if found == channels:
        return
    other = layout[0] + layout[2:] + "C" if layout[1] == "C" else "NC" + layout[1:-1]
    hint = ""
    if x.shape[channel_axis(other)] == channels:
        hint = f"; if the input is {other}, build the layer with layout='{other}'"
    raise ShapeError(
        f"{kind} expects {channels} channels, but the input of shape {format_shape(x.shape)} has "
        f"{found} in the layout {layout}{hint}"
    )


def per_axis(name: str, value: Any, axes: int, *, least: int = 1) -> tuple[int, ...]:
    """`value` as one whole number for each spatial axis.

    Raises:
        TypeError: it is neither a whole number nor a sequence of them.
        ValueError: there are too many or too few, or one is smaller than `least`.
    """
    numbers = _one_each(name, value, axes)
    try:
        sizes = tuple(operator.index(number) for number in numbers)
    except TypeError:
        raise TypeError(f"{name} is made of whole numbers, got {value!r}") from None
    if any(size < least for size in sizes):
        raise ValueError(f"{name} cannot be less than {least}, got {value!r}")
    return sizes


def _one_each(name: str, value: Any, axes: int) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * axes
    if len(value) != axes:
        wanted = "one number" if axes == 1 else f"one number, or {axes} of them"
        raise ValueError(f"{name} is {wanted}, got {value!r}")
    return value


def checked_padding(value: Any, axes: int, names: Sequence[str]) -> str | Pads:
    """`value` as a name, or as what is added before and after each spatial axis.

    Names may be in capitals, `"SAME"`, as JAX and Flax write them.

    Raises:
        TypeError: it is neither, or a number in it is not whole.
        ValueError: the name is not one of `names`, there are too many or too few entries, or one
            is negative.
    """
    if isinstance(value, str):
        name = value.lower()
        if name not in names:
            known = ", ".join(f"'{name}'" for name in names)
            hint = ""
            if name in PADDING_MODES:
                hint = f"; convolutions take padding='same', padding_mode={name!r}"
            raise ValueError(
                f"padding is {known}, a number, or for each spatial axis a number or a pair "
                f"(before, after); got {value!r}{hint}"
            )
        return name
    if isinstance(value, Sequence) and len(value) != axes:
        hint = f"; a pair for the one axis is written ({tuple(value)},)" if axes == 1 else ""
        raise ValueError(
            f"padding has one entry, a number or a pair (before, after), for each of the {axes} "
            f"spatial axes, got {value!r}{hint}"
        )
    return tuple(
        (pair[0], pair[1])
        for pair in (per_axis("padding", entry, 2, least=0) for entry in _one_each("", value, axes))
    )


def checked_padding_mode(value: Any) -> str:
    """`value`, if it says what padding is made of.

    Raises:
        ValueError: it is not one of `PADDING_MODES`.
    """
    if value not in PADDING_MODES:
        known = ", ".join(f"'{mode}'" for mode in PADDING_MODES)
        raise ValueError(f"padding_mode is one of {known}; got {value!r}")
    return str(value)


def extents(size: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """How many cells a window spans along each axis, from its first to its last."""
    return tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))


def pads_of(
    padding: str | Pads, lengths: Sequence[int], extent: Sequence[int], stride: Sequence[int]
) -> Pads:
    """What a padding means for axes of these lengths.

    `"valid"` adds nothing. `"same"` makes ⌈length / stride⌉ places, with an odd cell after the
    axis; `"causal"` likewise, with all cells before it.
    """
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return ((0, 0),) * len(lengths)
    pads = []
    for n, e, s in zip(lengths, extent, stride, strict=True):
        if padding == "causal":
            pads.append((e - 1, 0))
            continue
        total = max((-(-n // s) - 1) * s + e - n, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def places(
    kind: str,
    lengths: Sequence[int],
    extent: Sequence[int],
    stride: Sequence[int],
    pads: Pads,
    *,
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """At how many places a window stands along each axis.

    With `ceil_mode` a last window may reach beyond the padding, but it has to begin in the axis
    or in the padding before it; that is PyTorch's rule.

    Raises:
        ShapeError: the window is larger than the padded axis.
    """
    counts = []
    for n, e, s, (before, after) in zip(lengths, extent, stride, pads, strict=True):
        room = n + before + after - e
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1
        if count < 1:
            raise ShapeError(
                f"{kind} slides a window that spans {format_shape(extent)} over spatial axes of "
                f"lengths {format_shape(lengths)} with padding {pads}: the window is larger; use "
                "a smaller kernel or more padding"
            )
        counts.append(count)
    return tuple(counts)


def spelled_padding(padding: str | Pads) -> str:
    """A padding as short as it can be written."""
    if isinstance(padding, str):
        return repr(padding)
    if all(before == after for before, after in padding):
        return repr(spelled_size([before for before, _ in padding]))
    return repr(padding)


def spelled_size(sizes: Sequence[int | None]) -> int | tuple[int | None, ...] | None:
    """One number if all are equal, else all of them."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)
