import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn


def test_sums_of_half_precision_are_taken_in_float32():
    # The square of 300 is more than float16 can hold.
    y = nn.LocalResponseNorm(1, alpha=1, beta=0.5)(jnp.full((1, 3), 300, "float16"))
    assert y.dtype == jnp.float16
    np.testing.assert_allclose(y, 300 / np.sqrt(1 + 300**2), rtol=1e-3)


def test_a_mistake_is_named():
    with pytest.raises(ValueError, match="size of LocalResponseNorm is at least 1"):
        nn.LocalResponseNorm(0)
    with pytest.raises(az.ShapeError, match="no axis 1"):
        nn.LocalResponseNorm(2, axis=1)(jnp.ones(3))


def test_it_prints_its_arguments():
    norm = nn.LocalResponseNorm(5, axis=1)
    assert repr(norm) == "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0, axis=1)"
