"""Computed weights together with transforms, training, files, freezing and ties."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import nn
from tests.core.computed_weights import Scaled, X, two_layers

# -- transforms -------------------------------------------------------------------------------


def test_gradients_go_to_the_originals():
    layer = az.parametrize(nn.Dense(2, in_units=3, use_bias=False), "weight", jnp.tanh)
    grads = az.grad(lambda layer: layer(X).sum())(layer)
    assert list(grads) == ["parametrizations.weight.original"]
    original = np.asarray(layer.weight.original.value)
    expected = np.asarray(X).sum(0) * (1 - np.tanh(original) ** 2)
    np.testing.assert_allclose(grads["parametrizations.weight.original"], expected, rtol=1e-5)
    az.backward(lambda layer: layer(X).sum(), layer)
    np.testing.assert_allclose(layer.weight.original.grad, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "run",
    [
        lambda net: az.jit(net)(X),
        lambda net: az.remat(net)(X),
        lambda net: az.vmap(net)(X),
        lambda net: az.functional_call(net, net.state_dict(), X),
        lambda net: jax.jit(lambda state: az.functional_call(net, state, X))(net.state_dict()),
        lambda net: copy.deepcopy(net)(X),
        lambda net: pickle.loads(pickle.dumps(net))(X),
    ],
    ids=["jit", "remat", "vmap", "functional_call", "jax.jit", "deepcopy", "pickle"],
)
def test_it_computes_the_same_everywhere(run):
    net = az.parametrize(two_layers(), "*.weight", Scaled())
    np.testing.assert_allclose(net(X), run(net), rtol=1e-5, atol=1e-6)


def test_a_copy_has_parameters_of_its_own():
    layer = az.parametrize(nn.Linear(3, 2), "weight", jnp.tanh)
    other = copy.deepcopy(layer)
    other.weight.original.data[:] = 0
    assert (other.weight.value == 0).all()
    assert not (layer.weight.value == 0).any()


def test_a_compiled_function_follows_the_parametrisation():
    net = nn.Sequential(nn.Linear(3, 2))
    call = az.jit(lambda net, x: net(x))
    plain = call(net, X)
    az.parametrize(net, "0.weight", jnp.tanh)
    computed = call(net, X)
    assert not np.allclose(plain, computed)
    net[0].weight.original.data[:] = 0
    np.testing.assert_allclose(call(net, X), jnp.broadcast_to(net[0].bias.value, (2, 2)))
    assert call.traces == 2


def test_a_plain_jit_warns_of_the_original():
    layer = az.parametrize(nn.Linear(3, 2), "weight", jnp.tanh)
    with pytest.warns(az.StaleParameterWarning, match="parametrizations.weight.original"):
        jax.jit(lambda x: x @ layer.weight.value.T)(X)


def test_the_originals_are_trained_and_a_value_that_was_handed_out_stays():
    net = az.parametrize(two_layers(), "*.weight", Scaled())
    held = None
    trainer = az.Trainer(net, optax.adam(0.05), lambda output, y: ((output - y) ** 2).mean())
    losses = []
    for _ in range(5):
        losses.append(float(trainer.step(X, jnp.ones((2, 3)))))
        held = net[0].weight.original.value if held is None else held
    assert losses[-1] < losses[0]
    assert trainer.traces == 1
    assert float(held.sum()) != float(net[0].weight.original.value.sum())


def test_the_trainer_follows_when_weights_are_parametrised_between_steps():
    net = two_layers()
    trainer = az.Trainer(net, optax.adam(0.05), lambda output, y: ((output - y) ** 2).mean())
    trainer.step(X, jnp.ones((2, 3)))
    az.parametrize(net, "0.weight", jnp.tanh)
    trainer.step(X, jnp.ones((2, 3)))
    adam, _ = trainer.optimizer_state
    assert "0.parametrizations.weight.original" in adam.mu
    assert int(adam.count) == 2


# -- names, files, freezing -------------------------------------------------------------------


def test_saving_and_loading_is_the_identity(tmp_path):
    net = az.parametrize(two_layers(), "*.weight", Scaled())
    y = net(X)
    net.save(tmp_path / "net.safetensors")
    fresh = az.parametrize(two_layers(), "*.weight", Scaled())
    fresh.load(tmp_path / "net.safetensors")
    assert fresh[0].weight.shape == (4, 3)
    assert (fresh(X) == y).all()
    with pytest.raises(az.CheckpointError, match=r"parametrizations\.weight\.original"):
        two_layers().load(tmp_path / "net.safetensors")


def test_originals_are_frozen_by_their_paths():
    net = az.parametrize(two_layers(), "0.weight", Scaled()).freeze("*.original")
    net(X)
    assert list(az.grad(lambda net: net(X).sum())(net)) == [
        "0.bias",
        "0.parametrizations.weight.0.scale",
        "1.weight",
        "1.bias",
    ]


def test_the_bias_of_a_linear_still_follows_the_width_of_its_weight():
    layer = az.parametrize(nn.Linear(None, 8), "weight", jnp.tanh)
    layer(jnp.ones((1, 16)))
    assert 0 < abs(layer.bias.value).max() <= 0.25


# -- ties -------------------------------------------------------------------------------------


def test_a_tied_weight_is_parametrised_for_all_who_hold_it():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    az.parametrize(net[2], "weight", jnp.tanh)
    assert net[0].weight is net[2].weight
    assert net.collect_params().aliases == {
        "0.parametrizations.weight.original": ("2.parametrizations.weight.original",)
    }
    assert "2.weight is tanh" not in repr(net)
    assert "weight shared with 0.weight" in repr(net)
    az.unparametrize(net, "0")
    assert net[0].weight is net[2].weight
    assert isinstance(net[0].weight, az.Parameter)


def test_a_computed_weight_is_tied_like_any_other():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    az.parametrize(net, "0.weight", jnp.tanh)
    assert az.tie(net, "0.weight", "1.weight") is net[1].weight
    y = net(X)
    grads = az.grad(lambda net: net(X).sum())(net)
    assert [path for path in grads if "weight" in path] == ["0.parametrizations.weight.original"]
    own = az.untie(net, "1.weight")
    assert net[1].weight is own
    assert own is not net[0].weight
    assert (net(X) == y).all()
    net[1].weight = net[0].weight
    assert copy.deepcopy(net)[1].weight is not net[1].weight


def test_ties_that_cannot_be_computed_are_refused():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    with pytest.raises(az.TieError, match=r"'1\.weight' is tied to its transpose"):
        az.parametrize(net, "0.weight", jnp.tanh)
    assert net.collect_params().aliases == {"0.weight": ("1.weight",)}
    net = az.parametrize(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3)), "0", jnp.tanh)
    with pytest.raises(az.TieError, match="cannot be tied transposed"):
        az.tie(net, "0.weight", "1.weight", transpose=True)
    with pytest.raises(az.TieError, match="shape"):
        net[1].weight = net[0].weight
    with pytest.raises(az.TieError, match="nothing to untie"):
        az.untie(net, "0.weight")
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    az.parametrize(net, "0", jnp.tanh)
    net[1].weight = net[0].weight.original
    with pytest.raises(az.TieError, match=r"is also '1\.weight'"):
        az.unparametrize(net)
