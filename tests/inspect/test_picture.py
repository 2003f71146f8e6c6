"""Histograms and images of arrays."""

import base64

import numpy as np
import pytest

from ansatz.inspect.picture import Picture, picture_of


def pixels(picture: Picture) -> np.ndarray:  # type: ignore[type-arg]
    raw = np.frombuffer(base64.b64decode(picture.pixels), np.uint8)
    return raw.reshape(picture.height, picture.width)


def test_each_pixel_is_the_mean_of_its_part() -> None:
    values = np.array([[1, 3, 0, 0], [1, 3, 0, 0], [-4, -4, 1, 1], [-4, -4, 1, 1]], "f4")
    picture = picture_of(values, -4, 3, side=2)
    assert picture is not None
    assert picture.scale == 4
    assert pixels(picture).tolist() == [[round(127 + 127 * 0.5), 127], [0, round(127 + 127 / 4)]]


def test_what_is_not_finite_is_left_out_of_means_and_marked_where_nothing_else_is() -> None:
    picture = picture_of(np.array([[np.nan, np.inf], [2.0, np.nan]]), 2, 2, side=1)
    assert picture is not None
    assert picture.scale == 2
    picture = picture_of(np.array([[np.nan, 2.0]]), 2, 2, side=2)
    assert picture is not None
    assert pixels(picture).tolist() == [[255, 254]]


def test_the_histogram_is_that_of_numpy() -> None:
    values = np.random.default_rng(0).normal(size=(40, 50))
    picture = picture_of(values, values.min(), values.max(), side=8)
    assert picture is not None
    assert list(picture.bins) == np.histogram(values, 48)[0].tolist()


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.ones(2, "complex64")])
def test_empty_and_complex_arrays_have_no_picture(values: object) -> None:
    assert picture_of(values, None, None, side=4) is None


def test_extremes_of_float64_and_constants_are_drawn() -> None:
    huge = np.array([-1.7e308, 1.7e308, 0.0])
    picture = picture_of(huge, -1.7e308, 1.7e308, side=4)
    assert picture is not None
    assert sum(picture.bins) == 3
    constant = picture_of(np.ones((3, 3), "i4"), 1, 1, side=2)
    assert constant is not None
    assert sum(constant.bins) == 9
