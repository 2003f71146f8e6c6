"""The optimizer state by path, and how it follows the network."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import nn
from ansatz.train import Trainer, TrainingError
from tests.train.layers import X, Y, momentum, squared_error, total

# -- the optimizer state -------------------------------------------------------------------------


def test_the_optimizer_state_is_keyed_by_path():
    net = nn.Sequential(*(nn.Dense(2) for _ in range(11)))
    trainer = Trainer(net, optax.sgd(0.1, momentum=0.9), squared_error)
    trainer.step(X, Y)
    assert set(momentum(trainer)) == set(net.collect_params())
    assert momentum(trainer)["0.weight"].shape == (2, 3)
    assert momentum(trainer)["10.weight"].shape == (2, 2)


def test_the_optimizer_state_that_was_handed_out_stays_alive_and_unchanged():
    trainer = Trainer(nn.Dense(2), optax.adam(0.1), squared_error)
    trainer.step(X, Y)
    kept = trainer.optimizer_state
    values = jax.tree.map(np.array, kept)
    for _ in range(3):
        trainer.step(X, Y)
    jax.tree.map(np.testing.assert_array_equal, kept, values)


def test_an_optimizer_that_keeps_an_array_of_the_user_leaves_it_alive():
    rate = jnp.array(0.1)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
    trainer = Trainer(nn.Dense(2), optimizer, squared_error)
    trainer.step(X, Y)
    trainer.step(X, Y)
    assert float(rate) == pytest.approx(0.1)


def test_the_optimizer_state_can_be_put_back_to_resume():
    net = nn.Dense(2, in_units=3)
    trainer = Trainer(net, optax.adam(0.1), squared_error)
    trainer.step(X, Y)
    values, state = net.state_dict(), trainer.optimizer_state
    expected = [float(trainer.step(X, Y)) for _ in range(3)]

    resumed = nn.Dense(2, in_units=3)
    resumed.collect_params().set(values)
    other = Trainer(resumed, optax.adam(0.1), squared_error)
    other.optimizer_state = state
    assert [float(other.step(X, Y)) for _ in range(3)] == expected


def test_an_injected_learning_rate_can_be_changed():
    layer = nn.Dense(1, in_units=1, use_bias=False, weight_init="zeros")
    trainer = Trainer(layer, optax.inject_hyperparams(optax.sgd)(learning_rate=1.0), total)
    trainer.step(np.ones((1, 1), np.float32), 0)
    state = trainer.optimizer_state
    state.hyperparams["learning_rate"] = 0.25
    trainer.optimizer_state = state
    trainer.step(np.ones((1, 1), np.float32), 0)
    np.testing.assert_allclose(layer.weight.value, [[-1.25]])


def test_a_state_of_another_network_is_refused_by_path():
    trainer = Trainer(nn.Dense(2, in_units=3), optax.sgd(0.1, momentum=0.9), squared_error)
    other = Trainer(nn.Dense(2, in_units=4), optax.sgd(0.1, momentum=0.9), squared_error)
    with pytest.raises(TrainingError, match=r"weight.*shape \(2, 4\).*expected shape \(2, 3\)"):
        trainer.optimizer_state = other.optimizer_state


def test_a_state_of_another_optimizer_is_refused():
    trainer = Trainer(nn.Dense(2, in_units=3), optax.sgd(0.1, momentum=0.9), squared_error)
    other = Trainer(nn.Dense(2, in_units=3), optax.adam(0.1), squared_error)
    with pytest.raises(TrainingError, match=r"missing.*unexpected"):
        trainer.optimizer_state = other.optimizer_state


def test_the_state_of_a_network_without_shapes_says_what_to_do():
    trainer = Trainer(nn.Dense(2), optax.adam(0.1), squared_error)
    with pytest.raises(az.DeferredInitializationError, match=r"'weight'.*Make a step"):
        _ = trainer.optimizer_state


# -- freezing, tying, changing -------------------------------------------------------------------


def test_a_frozen_parameter_is_not_updated_and_has_no_state():
    net = nn.Sequential(nn.Dense(4), nn.Dense(2)).freeze("0.*")
    net.settle_shapes(X)
    before = net.state_dict()
    trainer = Trainer(net, optax.adamw(0.1), squared_error)
    trainer.step(X, Y)
    adam = trainer.optimizer_state[0]
    assert set(adam.mu) == {"1.weight", "1.bias"}
    np.testing.assert_array_equal(net[0].weight.value, before["0.weight"])
    assert (net[1].weight.value != before["1.weight"]).all()


def test_freezing_keeps_the_momentum_and_the_counter_of_the_others():
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    trainer = Trainer(net, optax.adam(0.1), squared_error)
    trainer.step(X, Y)
    before = trainer.optimizer_state[0]
    net.freeze("0.*")
    trainer.step(X, Y)
    frozen = trainer.optimizer_state[0]
    assert int(frozen.count) == 2
    assert set(frozen.mu) == {"1.weight", "1.bias"}

    net.unfreeze()
    weight = np.array(net[0].weight.value)
    trainer.step(X, Y)
    after = trainer.optimizer_state[0]
    assert int(after.count) == 3
    assert set(after.mu) == set(before.mu)
    assert (net[0].weight.value != weight).any()


def test_the_momentum_after_a_freeze_is_that_of_an_unbroken_run():
    kept, switched = nn.Dense(2, in_units=3), nn.Dense(2, in_units=3)
    switched.weight.value = kept.weight.value
    a = Trainer(kept, optax.sgd(0.1, momentum=0.9), squared_error)
    b = Trainer(switched, optax.sgd(0.1, momentum=0.9), squared_error)
    a.step(X, Y), b.step(X, Y)
    switched.freeze("bias")
    switched.unfreeze("bias")
    a.step(X, Y), b.step(X, Y)
    jax.tree.map(np.testing.assert_array_equal, momentum(a), momentum(b))


def test_a_layer_that_is_added_starts_fresh_and_the_others_keep_their_momentum():
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    trainer = Trainer(net, optax.sgd(0.0, momentum=0.5), total)
    trainer.step(X, Y)
    before = momentum(trainer)
    net.append(nn.Dense(2))
    trainer.step(X, Y)
    after = momentum(trainer)
    assert set(after) == {*before, "2.weight", "2.bias"}
    # The gradient of a sum to a bias behind everything is the batch size; no momentum before.
    np.testing.assert_allclose(after["2.bias"], [4.0, 4.0])


def test_the_state_moves_with_a_layer_that_another_one_is_inserted_before():
    net = nn.Sequential(nn.Dense(3, in_units=3), nn.Dense(3, in_units=3))
    trainer = Trainer(net, optax.sgd(0.0, momentum=1.0), total)
    trainer.step(X, Y)
    moved = momentum(trainer)
    net.insert(1, nn.Dense(3, weight_init=lambda shape: np.eye(3, dtype=np.float32)))
    trainer.step(X, Y)
    after = momentum(trainer)
    # Behind the identity the gradient of the last layer is what it was, and is added once more.
    np.testing.assert_allclose(after["2.weight"], 2 * moved["1.weight"], rtol=1e-5)
    np.testing.assert_allclose(after["1.weight"] * 0, np.zeros((3, 3)))


def test_a_layer_that_replaces_another_does_not_inherit_its_momentum():
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    trainer = Trainer(net, optax.sgd(0.0, momentum=0.5), total)
    trainer.step(X, Y)
    net[1] = nn.Dense(2)
    trainer.step(X, Y)
    np.testing.assert_allclose(momentum(trainer)["1.bias"], [4.0, 4.0])


def test_the_state_is_cast_along_with_a_parameter():
    net = nn.Dense(2, in_units=3)
    trainer = Trainer(net, optax.sgd(0.1, momentum=0.5), squared_error)
    trainer.step(X, Y)
    before = momentum(trainer)["weight"]
    net.collect_params().cast("bfloat16")
    trainer.step(X.astype("bfloat16"), Y)
    assert momentum(trainer)["weight"].dtype == jnp.bfloat16
    assert before.dtype == jnp.float32


def test_a_tied_parameter_is_one_entry_and_its_gradient_is_the_sum():
    net = nn.Sequential(nn.Dense(2, in_units=2), nn.Dense(2, in_units=2))
    az.tie(net, "0.weight", "1.weight")
    net.initialize(seed=0)
    loose = copy.deepcopy(net)
    az.untie(loose, "1.weight")
    x = np.array([[1.0, 2.0]], np.float32)
    _, grads = az.value_and_grad(lambda net: net(x).sum())(loose)
    trainer = Trainer(net, optax.sgd(1.0, momentum=0.9), total)
    start = np.array(net[0].weight.value)
    trainer.step(x, 0)
    assert set(momentum(trainer)) == {"0.weight", "0.bias", "1.bias"}
    assert net[1].weight is net[0].weight
    summed = grads["0.weight"] + grads["1.weight"]
    np.testing.assert_allclose(net[0].weight.value, start - summed, rtol=1e-5)


def test_a_tied_parameter_that_is_frozen_under_one_name_is_frozen():
    net = nn.Sequential(nn.Dense(2, in_units=2), nn.Dense(2, in_units=2))
    az.tie(net, "0.weight", "1.weight")
    net.freeze("1.weight")
    before = np.array(net[0].weight.value)
    trainer = Trainer(net, optax.sgd(1.0), total)
    trainer.step(np.ones((1, 2), np.float32), 0)
    np.testing.assert_array_equal(net[0].weight.value, before)


def test_a_transposed_tie_is_one_entry():
    net = nn.Sequential(nn.Dense(4, in_units=3), nn.Dense(3, in_units=4))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    trainer = Trainer(net, optax.sgd(0.1, momentum=0.9), total)
    trainer.step(X, 0)
    assert set(momentum(trainer)) == {"0.weight", "0.bias", "1.bias"}
    np.testing.assert_array_equal(net[1].weight.value, net[0].weight.value.T)


def test_an_edit_between_steps_is_seen_and_keeps_the_momentum():
    layer = nn.Dense(1, in_units=1, use_bias=False, weight_init="zeros")
    trainer = Trainer(layer, optax.sgd(1.0, momentum=0.5), total)
    x = np.ones((1, 1), np.float32)
    trainer.step(x, 0)
    layer.weight.data[:] = 10
    trainer.step(x, 0)
    np.testing.assert_allclose(layer.weight.value, [[10 - 1.5]])
