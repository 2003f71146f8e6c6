import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz.nn.sizes import checked_size, checked_width, size_along


def test_an_axis_that_does_not_exist_is_a_shape_error():
    assert size_along(jnp.ones((2, 3)), -1) == 3
    with pytest.raises(az.ShapeError, match=r"\(2, 3\), which has no axis 2"):
        size_along(jnp.ones((2, 3)), 2)


def test_whole_numbers_of_numpy_are_sizes():
    assert checked_size("units", np.int64(3)) == 3
    assert checked_width("in_units", None) is None


def test_anything_else_is_refused_by_name():
    with pytest.raises(TypeError, match=r"units is a whole number, got 2\.5"):
        checked_size("units", 2.5)
    with pytest.raises(ValueError, match="units cannot be negative"):
        checked_size("units", -1)
