"""Means and standard deviations."""

import math
import statistics
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.inspect.statistics import moments, moments_of


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50))
def test_the_moments_are_those_of_the_standard_library(numbers: list[float]) -> None:
    found = moments(np.array(numbers, "float32"))
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(numbers), abs=1e-9)
    assert found.std == pytest.approx(statistics.pstdev(numbers), abs=1e-6)


def test_a_long_array_is_summed_exactly_whatever_its_precision() -> None:
    # 2²² alternating values: a sum in float16 or float32 would be far off.
    array = np.tile(np.array([1000, 1001], "float16"), 2**21)
    assert moments(array) == (1000.5, 0.5)


@pytest.mark.parametrize(
    "array", [np.arange(3), np.array([True]), np.zeros((0, 3)), np.array([1j])]
)
def test_what_has_no_moments_has_none(array: Any) -> None:
    assert moments(array) is None


def test_low_precision_has_moments() -> None:
    assert moments(jnp.array([1, 3], jnp.bfloat16)) == (2, 1)


def test_nan_and_infinity_are_told_without_a_warning() -> None:
    found = moments(np.array([1, np.nan]))
    assert found is not None
    assert math.isnan(found.mean)
    infinite = moments(np.array([1, np.inf]))
    assert infinite is not None
    assert infinite.mean == math.inf


def test_nothing_is_drawn_to_have_its_moments() -> None:
    parameter = nn.Linear(2, 2).weight
    assert moments_of(parameter) is None
    assert not parameter.has_value


def test_moments_hand_out_no_array_so_training_goes_on_without_copies() -> None:
    parameter = az.Parameter((256, 256), init="ones")

    @az.jit
    def step() -> None:
        parameter.value = parameter.value * 0.5

    step()
    step()
    before = parameter.materialize().unsafe_buffer_pointer()
    assert moments_of(parameter) == (0.25, 0)
    step()
    assert parameter.materialize().unsafe_buffer_pointer() == before
