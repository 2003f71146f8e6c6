"""Small pictures of large arrays: a histogram, and an image of averages."""

from __future__ import annotations

import base64
import itertools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

_BINS = 48
_BLOCK = 1 << 20  # So many elements are widened at a time.
_MIDDLE = 127  # The byte of zero; 0 and 254 are the extremes, 255 is what is not finite.
_MISSING = 255


class Picture(NamedTuple):
    """What of an array is drawn.

    Attributes:
        bins: how many finite values fall into each of the equal parts between the least and the
            greatest; empty if there are none.
        height: rows of the image.
        width: columns of the image.
        scale: the absolute value that the extremes of the image stand for.
        pixels: a byte for each pixel, in base64: 127 + 127 * average / scale, or 255 where not one
            value is finite.
    """

    bins: tuple[int, ...]
    height: int
    width: int
    scale: float
    pixels: str


def picture_of(array: Any, low: float | None, high: float | None, side: int) -> Picture | None:
    """The picture of an array of real numbers; `None` for others, and for empty ones.

    An array is drawn as a matrix: rows along the first axis, everything else along the second; one
    with a single axis is broken into lines.

    Args:
        array: the array, of any shape.
        low: its least finite value; `None` if it has none.
        high: its greatest finite value.
        side: how many pixels an image may be high or wide.

    Example:
        >>> import numpy as np
        >>> from ansatz.inspect.picture import picture_of
        >>> picture_of(np.array([[1.0, -1.0], [0.0, 0.5]]), -1, 1, side=2)[1:4]
        (2, 2, 1.0)
    """
    host = np.asarray(array, order="C")
    if host.size == 0 or jnp.issubdtype(host.dtype, jnp.complexfloating):
        return None
    means = _averages(_matrix(host), side)
    finite = np.isfinite(means)
    scale = float(np.abs(means[finite]).max(initial=0.0))
    shown = means / scale if scale else means
    levels = np.full(means.shape, _MISSING, np.uint8)
    levels[finite] = np.rint(_MIDDLE + _MIDDLE * shown[finite]).astype(np.uint8)
    pixels = base64.b64encode(levels.tobytes()).decode()
    height, width = means.shape
    return Picture(_histogram(host.reshape(-1), low, high), height, width, scale, pixels)


def _matrix(host: NDArray[Any]) -> NDArray[Any]:
    if host.ndim > 1:
        return host.reshape(host.shape[0], -1)
    width = math.ceil(math.sqrt(host.size))
    if host.size <= width * 8:  # Short enough for one line.
        return host.reshape(1, -1)
    # The last line may be cut; what is left over there is less than a pixel of most images.
    return host.reshape(-1)[: host.size // width * width].reshape(-1, width)


def _averages(matrix: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Means of finite values over equal parts of the matrix."""
    rows, columns = _edges(matrix.shape[0], side), _edges(matrix.shape[1], side)
    sums = np.zeros((len(rows) - 1, len(columns) - 1))
    counts = np.zeros(sums.shape)
    step = max(1, _BLOCK // matrix.shape[1])
    with np.errstate(all="ignore"):
        for i, (first, last) in enumerate(itertools.pairwise(rows)):
            for start in range(first, last, step):
                wide = matrix[start : min(last, start + step)].astype(np.float64)
                finite = np.isfinite(wide)
                wide[~finite] = 0
                sums[i] += np.add.reduceat(wide.sum(axis=0), columns[:-1])
                counts[i] += np.add.reduceat(finite.sum(axis=0), columns[:-1])
        return sums / counts


def _edges(size: int, parts: int) -> NDArray[np.int64]:
    """The borders of at most `parts` parts of nearly equal size."""
    return np.linspace(0, size, min(size, parts) + 1).astype(np.int64)


def _histogram(flat: NDArray[Any], low: float | None, high: float | None) -> tuple[int, ...]:
    if low is None or high is None:
        return ()
    counts = np.zeros(_BINS, np.int64)
    half = high / 2 - low / 2  # The whole width of float64 would overflow.
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, _BLOCK):
            wide = flat[start : start + _BLOCK].astype(np.float64)
            wide = wide[np.isfinite(wide)]
            if half > 0:
                place = (wide / 2 - low / 2) * (_BINS / half)
                index = np.clip(place, 0, _BINS - 1).astype(np.int64)
            else:
                index = np.full(wide.size, _BINS // 2)
            counts += np.bincount(index, minlength=_BINS)
    return tuple(int(count) for count in counts)
