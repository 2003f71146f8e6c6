"""Tensors of PyTorch that are made of other tensors: quantised and sparse ones.

A quantised tensor is integers with a scale and a zero point, for all or for each channel; it is
given as float32, as `dequantize()` does. A sparse one is values with their places; it is given
dense, as `to_dense()` does. Every place is checked before anything is written there.

Source: the arguments of `_rebuild_qtensor` and `_rebuild_sparse_tensor` in files of PyTorch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ansatz.checkpoint.contents import MAX_RANK
from ansatz.checkpoint.dtypes import NUMPY
from ansatz.checkpoint.sparse_indices import check_within, rows_of
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMES = ("per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams")
"""How integers are scaled, by the names that PyTorch has for it."""

_PRESSED = {"torch.sparse_csr": 0, "torch.sparse_csc": 1}


class Composed(NamedTuple):
    """A tensor that is computed from others.

    Attributes:
        kind: how it is made, in a word.
        shape: its shape.
        dtype: its dtype.
        parts: the tensors that it is made of; each has a shape and a dtype.
        values: makes it, from the arrays of these parts and its shape.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    parts: tuple[Any, ...]
    values: Callable[[list[NDArray[Any]], tuple[int, ...]], NDArray[Any]]

    def read(self, arrays: list[NDArray[Any]], what: str) -> NDArray[Any]:
        """The tensor, from the arrays of its parts.

        Raises:
            CheckpointError: they do not fit together.
        """
        try:
            made = self.values(arrays, self.shape)
        except ValueError as error:
            raise CheckpointError(f"{what} is damaged: {error}") from error
        return np.asarray(made, self.dtype, order="C")


class Unread(NamedTuple):
    """A tensor of a kind that is not read.

    Attributes:
        reason: what it is, with the next step.
    """

    reason: str


def quantised(integers: Any, scheme: Any) -> Composed:
    """Integers with scales and zero points.

    Args:
        integers: the tensor of integers.
        scheme: its name, then a scale and a zero point, or tensors of them and an axis.

    Raises:
        ValueError: this is no such scheme.
    """
    name, scale, zero, *axis = scheme
    if getattr(name, "name", "") not in SCHEMES:
        raise ValueError("an unknown way to quantise")
    if name.name == SCHEMES[0]:
        sound = isinstance(scale, float) and type(zero) is int and abs(zero) < 1 << 31
        if not sound or axis:
            raise ValueError("a scale or a zero point is no number")
        whole = np.array(scale, np.float64), np.array(zero)
        parts: tuple[Any, ...] = (integers,)
        channels = 0
    else:
        (channels,) = axis
        sound = type(channels) is int and 0 <= channels < len(integers.shape)
        if not sound or not scale.shape == zero.shape == (integers.shape[channels],):
            raise ValueError("scales and zero points do not fit the channels")
        if scale.dtype.kind != "f" or zero.dtype.kind not in "fi":
            raise ValueError("scales or zero points that are no numbers")
        parts = (integers, scale, zero)

    def values(arrays: list[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
        held = arrays[0]
        scales, zeros = arrays[1:] or whole
        if len(arrays) > 1:
            along = [1] * len(shape)
            along[channels] = -1
            scales, zeros = scales.reshape(along), zeros.reshape(along)
        wide = np.float32 if zeros.dtype.kind == "f" else np.int64
        # What is too large for float32 becomes infinite, as in PyTorch, but no scale of its own.
        with np.errstate(over="ignore", invalid="ignore"):
            factors = scales.astype(np.float32)
            if (np.isinf(factors) & np.isfinite(scales)).any():
                raise ValueError("its scale is too large for float32")
            difference = held.astype(wide) - zeros.astype(wide)
            made: NDArray[np.float32] = factors * difference.astype(np.float32)
        return made

    return Composed("quantised", tuple(integers.shape), NUMPY["float32"], parts, values)


def sparse(layout: Any, data: tuple[Any, ...]) -> Composed | Unread:
    """Values with their places.

    Args:
        layout: the name that PyTorch has for how the places are told.
        data: the places, the values and the shape.

    Raises:
        ValueError: they do not fit together.
    """
    if layout == "torch.sparse_coo":
        places, values, shape = data[:3]
        rank, count = places.shape
        sound = values.shape == (count, *shape[rank:]) and rank <= len(shape) <= MAX_RANK
        parts: tuple[Any, ...] = (places, values)
        made: Any = _from_coordinates
    elif layout in _PRESSED:
        pressed, plain, values, shape = data[:4]
        axis = _PRESSED[layout]
        if len(shape) != 2 or len(values.shape) != 1:
            return Unread(f"has the layout {layout} and more than two dimensions; {_DENSE}")
        sound = plain.shape == values.shape and pressed.shape == (shape[axis] + 1,)
        parts = (pressed, plain, values)
        made = _from_rows if axis == 0 else _from_columns
    else:
        return Unread(f"has the layout {layout}; {_DENSE}")
    if not sound or any(part.dtype.kind != "i" for part in parts[:-1]):
        raise ValueError("places and values that do not fit together")
    return Composed("sparse", tuple(shape), values.dtype, parts, made)


_DENSE = "save it as tensor.to_dense()"


def _from_coordinates(arrays: list[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    places, values = arrays
    for axis, along in enumerate(places):
        check_within(along, shape[axis])
    if not len(places):  # No axis is sparse, as of a scalar: all values have the same place.
        first = np.zeros((1, len(values)), np.int64)
        return _from_coordinates([first, values], (1, *shape)).reshape(shape)
    dense = np.zeros(shape, values.dtype)
    np.add.at(dense, tuple(places), values)  # A place may occur twice; the values are added.
    return dense


def _from_rows(arrays: list[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    starts, columns, values = arrays
    places = np.stack([rows_of(starts, columns, shape), columns])
    return _from_coordinates([places, values], shape)


def _from_columns(arrays: list[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    return _from_rows(arrays, shape[::-1]).T
