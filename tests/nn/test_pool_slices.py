"""Pooling by slices gives the numbers of XLA's operation for windows, and so do its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ansatz.nn import pool, pool_slices
from ansatz.nn.pool_window import Pool
from tests.nn.reference import close

POOLS = {
    "apart": Pool((2, 2), (2, 2), "valid", (1, 1), False, "NHWC"),
    "apart, channels first": Pool((2, 2), (2, 2), "valid", (1, 1), False, "NCHW"),
    "overlapping": Pool((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), False, "NHWC"),
    "uneven": Pool((3, 2), (1, 3), ((0, 1), (1, 0)), (1, 1), True, "NHWC"),
    "same": Pool((4, 3), (1, 2), "same", (1, 1), False, "NCHW"),
}


@pytest.fixture
def x():
    # Many windows have several largest cells.
    return jnp.asarray(np.random.default_rng(0).integers(0, 4, (2, 7, 6, 3)), "float32")


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("kind", ["max", "sum"])
def test_outputs_and_gradients_are_those_of_the_operation_for_windows(name, kind, x):
    def run(way):
        def compute(x):
            y, pullback = jax.vjp(lambda x: way(x, POOLS[name]), x)
            return y, *pullback(jnp.sin(jnp.arange(y.size, dtype="float32")).reshape(y.shape))

        return jax.jit(compute)(x)

    slices = getattr(pool_slices, f"{kind}_of_slices")
    windows = getattr(pool, f"{kind}_of_windows")
    for found, expected in zip(run(slices), run(windows), strict=True):
        close(found, expected, atol=1e-5)


def test_derivatives_of_the_maximum_hold_in_forward_mode_twice_and_under_vmap(x):
    window = POOLS["overlapping"]

    def results(way):
        energy = lambda x: (way(x[None], window) ** 3).sum()  # noqa: E731
        directional = lambda x: jax.jvp(jax.grad(energy), (x,), (x + 1,))[1]  # noqa: E731
        return jax.jit(jax.vmap(directional))(x)

    close(results(pool_slices.max_of_slices), results(pool.max_of_windows), rtol=1e-4)


def test_nan_is_larger_than_everything_in_both_ways(x):
    window = POOLS["overlapping"]
    x = x.at[0, 2, 3, 1].set(jnp.nan)
    found, expected = (way(x, window) for way in (pool_slices.max_of_slices, pool.max_of_windows))
    assert np.isnan(found).sum() > 0
    assert (np.isnan(found) == np.isnan(expected)).all()
