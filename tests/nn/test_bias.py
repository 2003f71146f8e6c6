import copy
import pickle

import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import init, nn


def test_the_bias_of_a_deferred_linear_waits_for_the_weight():
    layer = nn.Linear(None, 8)
    assert layer.bias.shape == (8,)
    assert layer.initialize(seed=0)["bias"].status == "deferred"
    with pytest.raises(az.DeferredInitializationError, match="bias"):
        _ = layer.bias.value
    layer(jnp.ones((2, 16)))
    assert 0 < abs(layer.bias.value).max() <= 0.25


def test_the_bias_has_the_values_of_a_linear_whose_width_was_known():
    late, early = nn.Linear(None, 8), nn.Linear(4, 8)
    late.initialize(seed=3)
    early.initialize(seed=3)
    late(jnp.ones((1, 4)))
    assert (late.bias.value == early.bias.value).all()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_deferred_linear_waits_for_its_own_weight(copied):
    layer = nn.Linear(None, 8)
    other = copied(layer)
    other(jnp.ones((1, 4)))
    assert other.bias.has_value
    assert layer.bias.is_deferred


def test_a_weight_that_is_tied_in_tells_the_fan_in():
    head, embed = nn.Linear(None, 10), nn.Embedding(10, 4)
    head.weight = embed.weight
    assert not head.bias.is_deferred
    assert abs(head.bias.value).max() <= 0.5


def test_a_bias_with_another_initialiser_does_not_wait():
    layer = nn.Linear(None, 3)
    layer.bias.init = init.Constant(2)
    assert layer.bias.value.tolist() == [2, 2, 2]


def test_a_loaded_bias_does_not_wait():
    layer = nn.Linear(None, 2)
    layer.bias.value = jnp.array([1.0, 2.0])
    assert not layer.bias.is_deferred


def test_a_rule_reaches_the_bias_of_a_deferred_linear():
    layer = nn.Linear(None, 3)
    layer.initialize({"bias": init.Constant(5)})
    layer(jnp.ones((1, 2)))
    assert layer.bias.value.tolist() == [5, 5, 5]


def test_errors_call_the_bias_a_parameter():
    net = nn.Sequential(nn.Linear(None, 3))
    assert net[0].bias.describe() == "parameter '0.bias'"
