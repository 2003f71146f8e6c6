import math

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn


def test_identity_gives_back_the_very_object():
    x = object()
    assert nn.Identity()(x) is x


def test_flatten_keeps_the_batch_axis():
    x = jnp.arange(24).reshape(2, 3, 4)
    assert (nn.Flatten()(x) == x.reshape(2, 12)).all()
    assert nn.Flatten(2)(x).shape == (2, 3, 4)
    assert nn.Flatten(0)(x).shape == (24,)
    assert nn.Flatten(-2)(x).shape == (2, 12)


def test_flatten_without_an_axis_to_merge_is_refused():
    with pytest.raises(az.ShapeError, match=r"axes from 1 on.*\(3,\)"):
        nn.Flatten()(jnp.ones(3))


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(0, 3), min_size=2, max_size=4), data=st.data())
def test_flatten_keeps_elements_and_leading_axes(shape, data):
    start = data.draw(st.integers(0, len(shape) - 1))
    y = nn.Flatten(start)(jnp.ones(shape))
    assert y.shape == (*shape[:start], math.prod(shape[start:]))


def test_lambda_makes_a_layer_of_a_function():
    net = nn.Sequential(nn.Lambda(lambda x: x - x.mean()))
    assert net(jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])).tolist() == [-2, -1, 0, 1, 2]
    assert not net.collect_params()


def test_lambda_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="wants a function, got 3"):
        nn.Lambda(3)


def test_layers_without_parameters_print_what_they_do():
    assert repr(nn.Lambda(jnp.sin)) == "Lambda(sin)"
    assert repr(nn.Flatten()) == "Flatten(start_axis=1)"
    assert repr(nn.Identity()) == "Identity()"


def test_unflatten_is_the_inverse_of_flatten():
    x = jnp.arange(24).reshape(2, 3, 4)
    assert (nn.Unflatten(1, (3, 4))(nn.Flatten()(x)) == x).all()
    assert nn.Unflatten(-1, (2, -1))(x).shape == (2, 3, 2, 2)
    assert nn.Unflatten(0, [2, 1])(x).shape == (2, 1, 3, 4)
    assert nn.Unflatten(1, (0, 3))(jnp.ones((2, 0))).shape == (2, 0, 3)
    assert repr(nn.Unflatten(1, [3, -1])) == "Unflatten(axis=1, shape=(3, -1))"


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ((3, 5), (2, 12), r"splits axis 1 into \(3, 5\).*\(2, 12\), with 12 there"),
        ((5, -1), (2, 12), "with 12 there"),
        ((0, -1), (2, 12), "with 12 there"),
        ((3,), (2,), "has no axis 1"),
    ],
)
def test_unflatten_refuses_what_it_cannot_split(shape, given, message):
    with pytest.raises(az.ShapeError, match=message):
        nn.Unflatten(1, shape)(jnp.ones(given))


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        ((-1, -1), ValueError, "one of which may be -1"),
        ((-2, 3), ValueError, "one of which may be -1"),
        ((), ValueError, "one size or more"),
        ((None, 3), TypeError, "-1 stands for what is left"),
        (3, TypeError, "made of whole numbers"),
    ],
)
def test_unflatten_refuses_sizes_that_are_none(shape, error, message):
    with pytest.raises(error, match=message):
        nn.Unflatten(1, shape)
