"""Values are converted, compared and checked exactly."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ansatz.checkpoint.values import (
    Policy,
    converted,
    largest_difference,
    lost_by_conversion,
    not_finite,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("stored", "wanted", "cast", "allowed"),
    [
        ("float64", "float32", True, True),
        ("float32", jnp.bfloat16, True, True),
        ("float64", "float32", "float32", True),
        ("float64", "float16", "float32", False),
        ("float64", "float32", False, False),
        ("int32", "float32", True, True),
        ("float32", "complex64", True, True),
        ("complex64", "float32", True, False),
        ("complex64", "float32", "float32", False),
        ("float32", "int32", True, False),
        ("int32", "bool", True, False),
        ("bool", "int32", True, True),
        # The counters of PyTorch have 64 bits, those of JAX 32.
        ("int64", "int32", False, True),
        ("uint64", "uint32", False, True),
        ("int64", "int16", False, False),
        ("int32", "int16", False, False),
        ("int32", "int64", False, False),
    ],
)
def test_only_conversions_that_are_asked_for_and_keep_the_kind_are_done(
    stored: Any, wanted: Any, cast: Any, allowed: bool
) -> None:
    objection = Policy.of(cast, finite=False).objection(jnp.dtype(stored), jnp.dtype(wanted))
    assert (objection == "") is allowed


def test_a_conversion_rounds_to_nearest_and_counts_what_overflows() -> None:
    before = np.array([1 + 2**-30, 1e300, np.inf, NAN])
    after = converted(before, np.dtype("float32"), transposed=False)
    assert after[0] == 1
    assert lost_by_conversion(before, after) == (
        "1 of 4 values are too large for float32 (from float64)"
    )


def test_integers_that_do_not_fit_are_counted() -> None:
    before = np.array([-1, 0, 255, 256])
    after = converted(before, np.dtype("uint8"), transposed=False)
    assert lost_by_conversion(before, after).startswith("2 of 4 values")


def test_a_transposed_value_is_c_contiguous() -> None:
    value = converted(np.arange(6.0).reshape(2, 3), np.dtype("float64"), transposed=True)
    assert value.flags.c_contiguous
    assert value.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_weak_type_of_numbers_does_not_reach_a_parameter() -> None:
    assert not converted(jnp.asarray(1.0), jnp.dtype("float32"), transposed=False).weak_type


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1.0, NAN], [1.0, NAN], None),
        ([0.0], [-0.0], None),
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([1.0], [NAN], np.inf),
        ([np.inf], [np.inf], None),
        ([3 + 4j], [0j], 5.0),
        ([True], [False], 1.0),
    ],
)
def test_the_largest_difference_of_two_values(
    one: list[Any], other: list[Any], expected: float | None
) -> None:
    assert largest_difference(np.array(one), np.array(other)) == expected


def test_nan_and_infinity_are_refused_only_on_request() -> None:
    value = np.array([NAN, np.inf, -np.inf, 0])
    assert Policy.of(False, finite=False).refused_values(value) == ""
    assert "1 NaN and 2 infinite among 4" in Policy.of(False, finite=True).refused_values(value)
    low = jnp.array([NAN, 1], jnp.bfloat16)
    assert "1 NaN and 0 infinite among 2" in Policy.of(False, finite=True).refused_values(low)
    assert Policy.of(False, finite=True).refused_values(np.array([1, 2])) == ""


@pytest.mark.parametrize(
    ("dtype", "expected"),
    # The codes of all 256 bytes: OCP 8-bit floating point specification, tables 1 and 2.
    [(jnp.float8_e4m3fn, "2 NaN and 0 infinite"), (jnp.float8_e5m2, "6 NaN and 2 infinite")],
)
def test_nan_and_infinity_are_counted_in_eight_bits(dtype: Any, expected: str) -> None:
    every = np.arange(256, dtype="uint8").view(jnp.dtype(dtype))
    assert not_finite(every) == f"{expected} among 256 values"


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_every_number_of_16_bits_is_known_to_be_finite_or_not(dtype: Any) -> None:
    every = np.arange(1 << 16, dtype="uint16").view(dtype)
    with np.errstate(invalid="ignore"):  # Signalling NaN are among them.
        finite, nans = np.isfinite(every), int(np.isnan(every).sum())
    assert [not_finite(every[i]) == "" for i in range(0, 1 << 16, 37)] == list(finite[::37])
    assert not_finite(every[finite]) == ""
    assert not_finite(every) == f"{nans} NaN and 2 infinite among 65536 values"
    # At the end of several blocks, and among none.
    long = np.zeros(300_001, dtype)
    assert not_finite(long) == ""
    long[-1] = -np.inf
    assert not_finite(long) == "0 NaN and 1 infinite among 300001 values"
    assert not_finite(long[:0]) == ""
