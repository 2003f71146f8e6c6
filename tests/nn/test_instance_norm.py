import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.reference import COMPILED, close


@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(1, 3),
    spatial=st.lists(st.integers(1, 3), max_size=2),
    groups=st.integers(1, 3),
    size=st.integers(1, 2),
    first=st.booleans(),
)
def test_each_group_of_each_example_is_standardised(batch, spatial, groups, size, first):
    shape = (batch, groups * size, *spatial) if first else (batch, *spatial, groups * size)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    y = nn.GroupNorm(groups, axis=1 if first else -1)(x)
    assert y.shape == shape
    channels = np.moveaxis(x, 1 if first else -1, 1).reshape(batch, groups, -1).astype(float)
    expected = channels - channels.mean(-1, keepdims=True)
    expected /= np.sqrt(channels.var(-1, keepdims=True) + 1e-5)
    found = np.moveaxis(np.asarray(y), 1 if first else -1, 1).reshape(batch, groups, -1)
    close(found, expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(spatial=st.lists(st.integers(1, 3), min_size=1, max_size=2), first=st.booleans())
def test_instance_norm_is_group_norm_with_a_group_for_each_channel(spatial, first):
    shape = (2, 3, *spatial) if first else (2, *spatial, 3)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    axis = 1 if first else -1
    layer = nn.InstanceNorm(axis=axis)
    if np.prod(spatial) == 1:
        with pytest.raises(az.ShapeError, match="at least two values"):
            layer(x)
        return
    close(layer(x), nn.GroupNorm(3, axis=axis)(x), rtol=1e-4, atol=1e-5)


def test_running_statistics_of_instances_are_the_averages_over_the_batch():
    layer = nn.InstanceNorm(axis=1, momentum=None, track_running_stats=True)
    x = np.array([[[1.0, 3.0]], [[5.0, 9.0]]], np.float32)
    az.jit(layer)(x)
    close(layer.running_mean.value, [4.5])
    close(layer.running_var.value, [5.0])
    close(layer.eval()(x), (x - 4.5) / np.sqrt(5 + 1e-5))


def test_by_default_there_are_no_parameters_and_evaluation_does_the_same():
    layer = nn.InstanceNorm()
    x = jnp.arange(12.0).reshape(2, 3, 2)
    y = layer(x)
    assert not layer.state_dict()
    assert (layer.eval()(x) == y).all()


def test_channels_that_cannot_be_divided_are_refused():
    with pytest.raises(az.ShapeError, match="6 channels into 4 groups"):
        nn.GroupNorm(4, 6)
    layer = nn.GroupNorm(4)
    with pytest.raises(az.ShapeError, match="6 channels into 4 groups"):
        layer(jnp.ones((2, 6)))
    assert layer.channels is None
    with pytest.raises(ValueError, match="positive"):
        nn.GroupNorm(0)
    with pytest.raises(TypeError, match="groups is a whole number"):
        nn.GroupNorm(None)


@pytest.mark.parametrize("layer", [nn.GroupNorm(1), nn.InstanceNorm()])
def test_an_example_without_a_batch_axis_is_refused(layer):
    with pytest.raises(az.ShapeError, match="axis 0 for the batch"):
        layer(jnp.ones(3))


def test_a_declared_number_of_channels_is_checked_also_without_parameters():
    with pytest.raises(az.ShapeError, match="it has 4 channels along axis"):
        nn.InstanceNorm(4)(jnp.ones((2, 5, 3)))


@pytest.mark.parametrize("layer", [nn.GroupNorm(1), nn.InstanceNorm(track_running_stats=True)])
def test_a_call_outside_of_jit_is_one_dispatch(layer):
    x = jnp.arange(12.0).reshape(2, 3, 2)
    layer.settle_shapes(x)
    called = jax.make_jaxpr(lambda state, x: az.functional_call(layer, state, x, return_state=True))
    (equation,) = called(layer.state_dict(), x).eqns
    assert equation.primitive.name in COMPILED


def test_they_print_their_settings():
    assert repr(nn.GroupNorm(2)) == "GroupNorm(2, None, axis=-1, eps=1e-05)"
    assert repr(nn.InstanceNorm(3)) == (
        "InstanceNorm(3, axis=-1, eps=1e-05, track_running_stats=False)"
    )
