"""The compiled step: its numbers, its state by path, and how it follows the network."""

import copy
import os
import subprocess
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import nn
from ansatz.train import SharedTrainingWarning, Trainer, TrainingError


def squared_error(output, y):
    return jnp.mean((output - y) ** 2)


def total(output, y):
    return jnp.sum(output)


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
Y = np.ones((4, 2), np.float32)


class Noisy(nn.Module):
    """Counts its calls in training, and draws a key at each."""

    def __init__(self):
        super().__init__()
        self.calls = az.State(0)
        self.stream = az.RandomStream()
        self.scale = az.Parameter((), init="ones")

    def forward(self, x):
        if self.training:
            self.calls.value += 1
            x = x + jax.random.normal(self.stream.next_key(), x.shape)
        return x * self.scale.value


class Branching(nn.Module):
    """Reaches its second layer only if told so."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Dense(2), nn.Dense(2)
        self.both = False

    def forward(self, x):
        x = self.first(x)
        return self.second(x) if self.both else x


def leaves_by_path(state):
    return {
        jax.tree_util.keystr(place): leaf
        for place, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def momentum(trainer):
    trace, _ = trainer.optimizer_state
    return trace.trace


# -- numbers -------------------------------------------------------------------------------------


def test_two_steps_of_momentum_give_the_numbers_that_gluon_gives():
    # MXNet 1.9.1, gluon.Trainer: step(1), then step(10), which divides the gradient by ten.
    net = nn.Sequential(nn.Dense(2, in_units=2), nn.Dense(1, in_units=2))
    net.initialize({"*.weight": "ones"})
    trainer = Trainer(net, optax.sgd(0.1, momentum=0.9), lambda out, scale: jnp.sum(out) / scale)
    x = jnp.ones((1, 2))
    trainer.step(x, 1.0)
    np.testing.assert_allclose(net[0].weight.value, np.full((2, 2), 0.9), rtol=1e-6)
    trainer.step(x, 10.0)
    np.testing.assert_allclose(net[0].weight.value, np.full((2, 2), 0.802), rtol=1e-6)


def test_a_step_equals_the_derivative_worked_out_by_hand():
    layer = nn.Dense(2, in_units=3)
    weight = np.array(layer.weight.value)
    loss = Trainer(layer, optax.sgd(0.5), squared_error).step(X, Y)
    error = X @ weight.T - Y
    np.testing.assert_allclose(loss, np.mean(error**2), rtol=1e-6)
    gradient = 2 * error.T @ X / error.size
    np.testing.assert_allclose(layer.weight.value, weight - 0.5 * gradient, rtol=1e-5)
    np.testing.assert_allclose(
        layer.bias.value, -0.5 * 2 * error.sum(axis=0) / error.size, rtol=1e-5
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(0.01),
        optax.adamw(0.01, mask=lambda ps: {path: "bias" not in path for path in ps}),
        optax.sgd(optax.cosine_decay_schedule(0.1, 4), momentum=0.9, nesterov=True),
        optax.chain(optax.clip_by_global_norm(0.01), optax.rmsprop(0.01)),
        optax.MultiSteps(optax.adam(0.01), every_k_schedule=2).gradient_transformation(),
        optax.multi_transform(
            {"slow": optax.sgd(0.001), "fast": optax.adam(0.1)},
            lambda ps: {path: "slow" if path.startswith("0.") else "fast" for path in ps},
        ),
        optax.lbfgs(),
        optax.contrib.schedule_free_sgd(0.1),
    ],
    ids=["adam", "masked", "schedule", "clipped", "accumulated", "labels", "lbfgs", "free"],
)
def test_five_steps_equal_a_loop_written_with_jax_and_optax_alone(optimizer):
    net = nn.Sequential(nn.Dense(5, in_units=3), nn.Dense(2, in_units=5))
    params = {path: jnp.array(p.value) for path, p in net.collect_params().items()}

    def objective(params):
        hidden = X @ params["0.weight"].T + params["0.bias"]
        return squared_error(hidden @ params["1.weight"].T + params["1.bias"], Y)

    full = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(objective)(params)
        updates, state = full.update(
            grads, state, params, value=loss, grad=grads, value_fn=objective
        )
        return optax.apply_updates(params, updates), state, loss

    state = optimizer.init(params)
    trainer = Trainer(net, optimizer, squared_error)
    for _ in range(5):
        params, state, loss = step(params, state)
        np.testing.assert_allclose(trainer.step(X, Y), loss, rtol=1e-4, atol=1e-6)
    for path, p in net.collect_params().items():
        np.testing.assert_allclose(p.value, params[path], rtol=1e-4, atol=1e-6)
    expected = leaves_by_path(state)
    found = leaves_by_path(trainer.optimizer_state)
    assert found.keys() == expected.keys()
    for place, leaf in found.items():
        np.testing.assert_allclose(leaf, expected[place], rtol=1e-3, atol=1e-5)


def test_gradients_are_clipped_by_their_global_norm():
    layer = nn.Dense(1, in_units=2, use_bias=False, weight_init="zeros")
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0))
    Trainer(layer, optimizer, total).step(np.array([[30.0, 40.0]], np.float32), 0)
    np.testing.assert_allclose(layer.weight.value, [[-0.6, -0.8]], rtol=1e-6)


def test_gradients_accumulated_over_two_halves_are_those_of_the_whole_batch():
    halves, whole = nn.Dense(2, in_units=3), nn.Dense(2, in_units=3)
    whole.weight.value = halves.weight.value
    start = np.array(halves.weight.value)
    trainer = Trainer(halves, optax.MultiSteps(optax.sgd(0.1), every_k_schedule=2), squared_error)
    trainer.step(X[:2], Y[:2])
    np.testing.assert_array_equal(halves.weight.value, start)
    trainer.step(X[2:], Y[2:])
    Trainer(whole, optax.sgd(0.1), squared_error).step(X, Y)
    np.testing.assert_allclose(halves.weight.value, whole.weight.value, rtol=1e-5)


def test_a_schedule_is_followed_step_by_step():
    layer = nn.Dense(1, in_units=1, use_bias=False, weight_init="zeros")
    schedule = optax.piecewise_constant_schedule(1.0, {1: 0.1, 2: 0.1})
    trainer = Trainer(layer, optax.sgd(schedule), total)
    weights = []
    for _ in range(3):
        trainer.step(np.ones((1, 1), np.float32), 0)
        weights.append(float(layer.weight.value[0, 0]))
    np.testing.assert_allclose(weights, [-1.0, -1.1, -1.11], rtol=1e-6)


def test_a_plateau_is_told_the_loss():
    # optax.contrib.reduce_on_plateau: after `patience` steps without progress the scale shrinks.
    net = nn.Dense(1, in_units=1)
    optimizer = optax.chain(optax.sgd(0.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=2))
    trainer = Trainer(net, optimizer, lambda output, y: 0 * output.sum() + 1)
    for _ in range(4):
        trainer.step(np.ones((1, 1), np.float32), 0)
    assert float(trainer.optimizer_state[-1].scale) == 0.5


def test_a_tuple_is_handed_over_as_several_inputs():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Dense(2), nn.Dense(2)

        def forward(self, a, b):
            return self.left(a) + self.right(b)

    net = Sum()
    Trainer(net, optax.sgd(0.1), squared_error).step((X, X[:, :2]), Y)
    assert net.left.weight.shape == (2, 3)
    assert net.right.weight.shape == (2, 2)


# -- states --------------------------------------------------------------------------------------


def test_states_and_random_streams_advance_once_per_step():
    net = nn.Sequential(Noisy(), nn.Dense(2))
    trainer = Trainer(net, optax.sgd(0.0), squared_error)
    losses = [float(trainer.step(X, Y)) for _ in range(3)]
    assert int(net[0].calls.value) == 3
    assert int(net[0].stream.value[2]) == 3
    assert len(set(losses)) == 3


def test_a_step_in_evaluation_mode_leaves_states_alone():
    net = nn.Sequential(Noisy(), nn.Dense(2)).eval()
    Trainer(net, optax.sgd(0.1), squared_error).step(X, Y)
    assert int(net[0].calls.value) == 0


def test_running_statistics_are_updated_once_per_step():
    # gluon.nn.BatchNorm(momentum=0.9): the batch mean [2, 4] moves the running one by a tenth.
    norm = nn.BatchNorm(momentum=0.1)
    trainer = Trainer(norm, optax.sgd(0.1), total)
    trainer.step(np.array([[1, 2], [3, 6]], np.float32), 0)
    np.testing.assert_allclose(norm.running_mean.value, [0.2, 0.4], rtol=1e-6)
    assert int(norm.num_batches_tracked.value) == 1


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


# -- first steps ---------------------------------------------------------------------------------


def test_the_first_step_settles_the_shapes_and_traces_once():
    net = nn.Sequential(nn.Dense(8), nn.Dense(2))
    trainer = Trainer(net, optax.sgd(0.1), squared_error)
    for _ in range(3):
        trainer.step(X, Y)
    assert net[0].weight.shape == (8, 3)
    assert trainer.traces == 1


def test_each_structure_and_each_batch_shape_is_traced_once():
    net = nn.Sequential(nn.Dense(8), nn.Dense(2))
    trainer = Trainer(net, optax.adam(0.1), squared_error)
    for _ in range(2):
        trainer.step(X, Y)
        trainer.step(X[:3], Y[:3])
    assert trainer.traces == 2
    for _ in range(3):
        net.freeze("0.*")
        trainer.step(X, Y)
        net.unfreeze("0.*")
        trainer.step(X, Y)
        net.eval()
        net.train()
    assert trainer.traces == 3


@pytest.mark.parametrize(
    ("loss", "error"),
    [
        (lambda output, y: output @ jnp.ones((7, 7)), TypeError),
        (lambda output, y: (output - y) ** 2, az.ShapeError),
        (lambda output, y: jnp.argmax(output), az.DTypeError),
        (lambda output, y: [output.sum()], TrainingError),
        # Can be run, but not differentiated.
        (
            lambda output, y: jax.lax.while_loop(lambda v: v < 0, lambda v: v + 1, output.sum()),
            ValueError,
        ),
    ],
    ids=["fails", "no scalar", "integer", "list", "no gradient"],
)
def test_a_first_step_that_fails_leaves_everything_as_it_was(loss, error):
    net = nn.Sequential(Noisy(), nn.Dense(8), nn.Dense(2))
    shapes = [p.shape for p in net.parameters()]
    trainer = Trainer(net, optax.adam(0.1), loss)
    with pytest.raises(error):
        trainer.step(X, Y)
    assert [p.shape for p in net.parameters()] == shapes
    assert not any(p.has_value for p in net.parameters())
    assert not any(state.has_value for _, state in net.named_states() if state is not net[0].calls)
    assert [str(p.origin) for p in net.parameters()] == ["declared"] * 5
    with pytest.raises(az.DeferredInitializationError):
        _ = trainer.optimizer_state
    assert net(np.ones((2, 5), np.float32)).shape == (2, 2)


def test_an_optimizer_that_fails_leaves_a_deferred_network_deferred():
    def fail(*_):
        raise RuntimeError("no")

    net = nn.Sequential(nn.Dense(2))
    trainer = Trainer(net, optax.GradientTransformation(optax.sgd(0.1).init, fail), squared_error)
    with pytest.raises(RuntimeError, match="no"):
        trainer.step(X, Y)
    assert net[0].weight.shape == (2, None)
    assert not net[0].bias.has_value


def test_a_later_step_that_fails_changes_nothing():
    net = nn.Dense(2)
    trainer = Trainer(net, optax.adam(0.1), squared_error)
    trainer.step(X, Y)
    values, state = net.state_dict(), trainer.optimizer_state
    with pytest.raises(az.ShapeError, match=r"\(2, 3\)"):
        trainer.step(X[:, :2], Y)
    jax.tree.map(np.testing.assert_array_equal, net.state_dict(), values)
    jax.tree.map(np.testing.assert_array_equal, trainer.optimizer_state, state)
    trainer.step(X, Y)


def test_the_first_step_draws_what_an_initialised_network_has():
    first, second = (nn.Sequential(nn.Dense(3), nn.Dense(2)) for _ in range(2))
    first.initialize(seed=3)
    second.initialize(seed=3, example=jax.ShapeDtypeStruct(X.shape, X.dtype))
    Trainer(first, optax.sgd(0.1), squared_error).step(X, Y)
    Trainer(second, optax.sgd(0.1), squared_error).step(X, Y)
    for path, value in first.state_dict().items():
        np.testing.assert_array_equal(value, second.state_dict()[path])


def test_a_branch_that_no_step_has_reached_gets_its_state_when_one_does():
    net = Branching()
    trainer = Trainer(net, optax.sgd(0.1, momentum=0.9), squared_error)
    trainer.step(X, Y)
    assert "first.weight" in momentum(trainer)
    assert "second.weight" not in momentum(trainer)
    net.both = True
    trainer.step(X, Y)
    assert set(momentum(trainer)) == set(net.collect_params())


def test_a_branch_that_was_settled_elsewhere_does_not_confuse_the_step():
    net = Branching()
    trainer = Trainer(net, optax.sgd(0.1, momentum=0.9), squared_error)
    trainer.step(X, Y)
    net.second(np.ones((1, 2), np.float32))
    trainer.step(X, Y)
    trainer.step(X[:2], Y[:2])
    assert net.second.weight.has_value


def test_a_network_that_looks_at_values_cannot_be_compiled_and_stays_unsettled():
    class Choosing(nn.Dense):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    net = Choosing(2)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        Trainer(net, optax.sgd(0.1), squared_error).step(np.ones((1, 2), np.float32), 0)
    assert net.weight.shape == (2, None)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec
from ansatz import nn
from ansatz.train import Trainer

rows = NamedSharding(jax.make_mesh((2,), ("rows",)), PartitionSpec("rows"))
net = nn.Dense(4, in_units=3)
for parameter in net.parameters():
    parameter.value = jax.device_put(parameter.value, rows)
trainer = Trainer(net, optax.adam(0.1), lambda output, y: jnp.mean((output - y) ** 2))
for _ in range(3):
    trainer.step(np.ones((2, 3), np.float32), np.zeros((2, 4), np.float32))
adam, _ = trainer.optimizer_state
for array in (net.weight.value, adam.mu["weight"], adam.nu["bias"]):
    assert array.sharding.is_equivalent_to(rows, array.ndim), array.sharding
assert int(adam.count) == 3
"""


def test_the_state_of_a_sharded_parameter_is_sharded_alike():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", SHARDED]
    subprocess.run(command, env={**os.environ, **flags}, timeout=120, check=True)


# -- errors and warnings -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [lambda output: 0.0, lambda output, y, weights: 0.0, nn.Dense(1)])
def test_a_loss_of_another_signature_is_refused_at_once(loss):
    with pytest.raises(TypeError, match=r"called as loss\(output, y\)"):
        Trainer(nn.Dense(2), optax.sgd(0.1), loss)


def test_what_is_no_loss_no_optimizer_or_no_network_is_refused_at_once():
    with pytest.raises(TypeError, match=r"loss\(output, y\)"):
        Trainer(nn.Dense(2), optax.sgd(0.1), "mse")
    with pytest.raises(TypeError, match=r"optax\.adam"):
        Trainer(nn.Dense(2), "adam", squared_error)
    with pytest.raises(TypeError, match="trains a module, got dict"):
        Trainer({}, optax.sgd(0.1), squared_error)


def test_a_loss_that_is_no_scalar_is_named_with_its_shape():
    def errors(output, y):
        return (output - y) ** 2

    with pytest.raises(az.ShapeError, match=r"errors.*\(4, 2\).*\.mean\(\)"):
        Trainer(nn.Dense(2), optax.sgd(0.1), errors).step(X, Y)


def test_a_network_with_nothing_to_train_says_so():
    frozen = nn.Dense(2).freeze()
    with pytest.raises(TrainingError, match="all 2 parameters of Dense are frozen"):
        Trainer(frozen, optax.sgd(0.1), squared_error).step(X, Y)
    with pytest.raises(TrainingError, match="has no parameters"):
        Trainer(nn.Sequential(), optax.sgd(0.1), squared_error).step(X, Y)


def test_the_parts_of_a_trainer_cannot_be_replaced_behind_its_back():
    trainer = Trainer(nn.Dense(2), optax.sgd(0.1), squared_error)
    with pytest.raises(AttributeError):
        trainer.optimizer = optax.adam(0.1)


def test_a_step_inside_a_compiled_function_is_refused():
    trainer = Trainer(nn.Dense(2), optax.sgd(0.1), squared_error)
    with pytest.raises(az.TraceError, match="compiled already"):
        az.jit(lambda x, y: trainer.step(x, y))(X, Y)


def test_two_trainers_on_the_same_parameters_warn_once_and_name_them():
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    first = Trainer(net, optax.sgd(0.1), squared_error)
    second = Trainer(net, optax.adam(0.1), squared_error)
    first.step(X, Y)
    with pytest.warns(SharedTrainingWarning, match=r"'0\.weight'.*and 1 more") as caught:
        second.step(X, Y)
    assert caught[0].filename == __file__
    second.step(X, Y)


def test_trainers_of_separate_parts_and_of_later_times_do_not_warn():
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    first = Trainer(net[0], optax.sgd(0.1), squared_error)
    first.step(X, np.ones((4, 4), np.float32))
    Trainer(net[1], optax.sgd(0.1), squared_error).step(np.ones((4, 4), np.float32), Y)
    del first
    Trainer(net[0], optax.sgd(0.1), squared_error).step(X, np.ones((4, 4), np.float32))


def test_two_threads_each_with_a_trainer_of_its_own_get_the_results_of_one():
    def train(seed, results):
        net = nn.Sequential(nn.Dense(8), nn.Dense(2))
        net.initialize(seed=seed)
        trainer = Trainer(net, optax.adam(0.01), squared_error)
        for index in range(30):
            if index % 10 == 0:
                net.eval()
                net.train()
            loss = trainer.step(X, Y)
        results[seed] = float(loss)

    alone, together = {}, {}
    for seed in (0, 1):
        train(seed, alone)
    with warnings.catch_warnings():
        threads = [threading.Thread(target=train, args=(seed, together)) for seed in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert together == alone


def test_a_loss_may_use_a_network_of_its_own_that_is_not_trained():
    teacher, student = nn.Dense(2, in_units=3), nn.Dense(2, in_units=3)
    before = np.array(teacher.weight.value)
    trainer = Trainer(student, optax.sgd(0.1), lambda out, x: jnp.mean((out - teacher(x)) ** 2))
    first = float(trainer.step(X, X))
    teacher.weight.data[:] = 0
    assert float(trainer.step(X, X)) != pytest.approx(first)
    assert (before != 0).any()
    np.testing.assert_array_equal(teacher.weight.value, np.zeros((2, 3)))
