"""The derivative that is written by hand, and means that are far from zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ansatz.nn.standardize import scaled_to_unit, standardized
from tests.nn.reference import close


def plain(x, axes, eps, weight=1.0, bias=0.0):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / jnp.sqrt(var + eps) * weight + bias, mean, var


@pytest.mark.parametrize(
    ("axes", "ones"),
    [((0, 1), (1, 1, 4)), ((1,), (3, 1, 4)), ((1,), (1, 1, 4)), ((-1,), (1, 1, 1))],
)
def test_all_derivatives_are_those_of_the_plain_formula(axes, ones):
    rng = np.random.default_rng(0)
    x, tangent = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    weight, bias = rng.normal(size=(2, *ones)).astype("float32")

    def of(function):
        def loss(x, weight, bias):
            y, mean, var = function(x, axes, 0.1, weight, bias)
            return (jnp.sin(y) + mean * y + var**2).sum()

        return loss

    def all_derivatives(function, *arguments):
        gradient = jax.grad(of(function), (0, 1, 2))
        # Forward over reverse: the derivative of the derivative.
        _, twice = jax.jvp(jax.grad(of(function)), arguments, (tangent, weight, bias))
        return of(function)(*arguments), gradient(*arguments), twice

    run = jax.jit(all_derivatives, static_argnums=0)
    (loss, grads, twice), expected = (run(f, x, weight, bias) for f in (standardized, plain))
    close(loss, expected[0], rtol=1e-4)
    for found, wanted in zip(grads, expected[1], strict=True):
        close(found, wanted, rtol=1e-3, atol=1e-4)
    close(twice, expected[2], rtol=1e-3, atol=1e-3)


def test_the_derivative_of_the_root_mean_square_is_right_in_both_modes():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    scaled = jax.jit(lambda x: scaled_to_unit(x, (-1,), 0.1))
    check_grads(scaled, (x,), order=2, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("shape", [(4096, 3), (8, 16, 16, 2)])
def test_a_mean_of_ten_thousand_costs_no_precision(shape):
    x = (np.random.default_rng(0).normal(size=shape) + 1e4).astype("float32")
    axes = tuple(range(len(shape) - 1))
    y, mean, var = jax.jit(standardized, static_argnums=(1, 2))(x, axes, 1e-5)
    exact = x.astype("float64")
    close(mean, exact.mean(axes, keepdims=True), rtol=1e-6)
    close(var, exact.var(axes, keepdims=True), rtol=1e-4)
    expected = (exact - exact.mean(axes)) / np.sqrt(exact.var(axes) + 1e-5)
    close(y, expected, rtol=1e-3, atol=2e-3)
