"""Where the values of a sparse array belong, checked before anything is written there.

Indices come from a file that is not trusted. They are compared with each other and with the shape,
never subtracted first: a difference wraps around, and so would pass for a small number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_within(indices: NDArray[Any], size: int) -> None:
    """Refuse indices that are negative, or not below `size`.

    Raises:
        ValueError: there is one.
    """
    if indices.size and not 0 <= indices.min() <= indices.max() < size:
        raise ValueError("its indices do not lie within its shape")


def check_rising(indices: NDArray[Any], size: int) -> None:
    """Refuse indices that are not below `size`, or of which one is not above the one before it.

    Raises:
        ValueError: there is one.
    """
    inside = not indices.size or (indices[0] >= 0 and indices[-1] < size)
    if not inside or not (indices[1:] > indices[:-1]).all():
        raise ValueError("its row numbers do not rise within its shape")


def rows_of(
    starts: NDArray[Any], columns: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """The row of each value of an array that is stored row after row.

    Args:
        starts: integers `(rows + 1,)`: which value is the first of each row, then their number.
        columns: integers `(values,)`: the column of each value.
        shape: `(rows, columns)` of the array.

    Returns:
        `(values,)`.

    Raises:
        ValueError: rows do not begin one after the other, or a column lies outside of the shape.

    Example:
        >>> import numpy as np
        >>> from ansatz.checkpoint.sparse_indices import rows_of
        >>> rows_of(np.array([0, 2, 2, 3]), np.array([0, 1, 1]), (3, 2))
        array([0, 0, 2])
    """
    check_within(columns, shape[1])
    wide = starts.astype(np.int64)
    whole = wide.shape == (shape[0] + 1,) and wide[0] == 0 and wide[-1] == columns.size
    if not whole or not (wide[1:] >= wide[:-1]).all():
        raise ValueError("its rows do not begin one after the other within its values")
    # They rise from 0 to the number of values, so no difference wraps around.
    return np.repeat(np.arange(shape[0], dtype=np.int64), np.diff(wide))
