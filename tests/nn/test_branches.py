import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.reference import close

X = jnp.arange(6.0).reshape(2, 3)


def test_a_residual_adds_its_input():
    double = nn.Lambda(lambda x: 2 * x)
    close(nn.Residual(double)(X), 3 * X)
    close(nn.Residual(double, double)(X), 5 * X)
    close(nn.Residual(double, shortcut=nn.Lambda(jnp.negative))(X), X)
    close(nn.Residual(nn.Lambda(lambda x: -2 * x), activation="relu")(X), 0 * X)
    close(nn.Residual(double, activation=jnp.negative)(X), -3 * X)
    close(nn.Residual(double, activation=nn.ReLU())(-X), 0 * X)


def test_a_residual_that_changes_the_width_wants_a_shortcut():
    with pytest.raises(az.ShapeError, match=r"\(2, 4\).*\(2, 3\).*shortcut="):
        nn.Residual(nn.Dense(4))(X)
    with pytest.raises(az.ShapeError, match="nothing is broadcast"):
        nn.Residual(nn.Dense(1))(X)
    net = nn.Residual(nn.Dense(4), shortcut=nn.Dense(4, use_bias=False))
    assert az.jit(net)(X).shape == (2, 4)
    assert net.shortcut.weight.shape == (4, 3)


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="got no layer"):
        nn.Residual()
    with pytest.raises(TypeError, match=r"ReLU\(…\)"):
        nn.Residual(nn.ReLU)
    with pytest.raises(TypeError, match=r"nn.Lambda\(function\)"):
        nn.Residual(nn.ReLU(), shortcut=jnp.sin)
    with pytest.raises(ValueError, match="no activation"):
        nn.Residual(nn.ReLU(), activation="rellu")


@settings(max_examples=10, deadline=None)
@given(widths=st.lists(st.integers(1, 3), min_size=1, max_size=3), axis=st.integers(-2, 1))
def test_outputs_are_joined_along_any_axis(widths, axis):
    tiles = [nn.Lambda(lambda x, n=n: jnp.concatenate([x] * n, axis)) for n in widths]
    net = nn.Concurrent(*tiles, axis=axis)
    expected = np.concatenate([np.asarray(X)] * sum(widths), axis)
    close(net(X), expected)
    close(az.jit(net)(X), expected)
    assert jax.grad(lambda x: net(x).sum())(X).tolist() == np.full(X.shape, sum(widths)).tolist()


def test_outputs_that_do_not_fit_are_refused_with_their_shapes():
    flat = nn.Flatten(0)
    with pytest.raises(az.ShapeError, match=r"\(2, 3\), \(6,\)"):
        nn.Concurrent(nn.Identity(), flat)(X)
    with pytest.raises(az.ShapeError, match="axis 2"):
        nn.Concurrent(nn.Identity(), axis=2)(X)
    with pytest.raises(az.ShapeError, match=r"axis 0.*agree"):
        nn.Concurrent(nn.Identity(), nn.Dense(4), axis=0)(X)
    with pytest.raises(az.ShapeError, match="it has none"):
        nn.Concurrent()(X)


def test_branches_are_named_and_sliced_like_the_layers_of_a_sequential():
    net = nn.Concurrent({"left": nn.Dense(2), "right": nn.Dense(3)})
    net.append(nn.Identity())
    assert net(X).shape == (2, 8)
    assert net["left"] is net[0]
    assert net[1:](X).shape == (2, 6)
    assert net[1:].axis == -1
    assert not isinstance(net, nn.Sequential)
    assert repr(nn.Concurrent(nn.ReLU(), axis=1)) == "Concurrent(axis=1\n  (0): ReLU()\n)"
