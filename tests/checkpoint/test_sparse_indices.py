"""Indices of sparse arrays: checked as whole numbers are compared, whatever their width."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansatz.checkpoint.sparse_indices import check_rising, check_within, rows_of

# Whole numbers at the edges of 64 bits, where differences and comparisons of them go apart.
NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 2**63 - 1, -(2**63), 2**62, -(2**62) - 1])


@given(
    starts=st.lists(NUMBERS, min_size=1, max_size=6),
    columns=st.lists(st.integers(-1, 3), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_starts_of_rows_are_taken_only_if_they_rise_from_none_to_all(
    starts: list[int], columns: list[int]
) -> None:
    shape = (len(starts) - 1, 3)
    # Of Python's integers, which do not wrap around.
    sound = starts[0] == 0 and starts[-1] == len(columns) and starts == sorted(starts)
    sound = sound and all(0 <= column < 3 for column in columns)
    given_arrays = np.array(starts, "int64"), np.array(columns, "int64")
    if not sound:
        with pytest.raises(ValueError, match="its "):
            rows_of(*given_arrays, shape)
        return
    expected = [row for row in range(shape[0]) for _ in range(starts[row], starts[row + 1])]
    assert rows_of(*given_arrays, shape).tolist() == expected


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_narrow_integers_do_not_wrap_around_either(dtype: str) -> None:
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    starts: Any = np.array([0, most, least, -1, 2], dtype)
    with pytest.raises(ValueError, match="one after the other"):
        rows_of(starts, np.array([0, 1], dtype), (4, 2))
    with pytest.raises(ValueError, match="do not rise"):
        check_rising(np.array([0, least, 2], dtype), 4)
    with pytest.raises(ValueError, match="do not lie"):
        check_within(np.array([0, least], dtype), 4)


def test_no_index_is_sound_for_any_shape() -> None:
    none = np.zeros(0, "int64")
    check_within(none, 0)
    check_rising(none, 0)
    assert rows_of(np.zeros(1, "int64"), none, (0, 0)).tolist() == []
