"""The compiled step: its numbers, its states, and what it refuses."""

import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import nn
from ansatz.train import EvaluationModeWarning, SharedTrainingWarning, Trainer, TrainingError
from ansatz.train.mode import warn_in_evaluation
from tests.train.layers import Noisy, X, Y, leaves_by_path, squared_error, total

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


def test_a_step_in_evaluation_mode_leaves_states_alone_and_warns_once():
    net = nn.Sequential(Noisy(), nn.Dense(2))
    trainer = Trainer(net, optax.sgd(0.1), squared_error)
    trainer.step(X, Y)
    net.eval()  # To predict, say, and nobody has switched it back.
    with pytest.warns(EvaluationModeWarning, match=r"'0' would do.*net\.train\(\)") as caught:
        trainer.step(X, Y)
    assert caught[0].filename == __file__
    assert int(net[0].calls.value) == 1
    net[1].freeze()
    trainer.step(X, Y)  # A new program, and no second warning.


@pytest.mark.parametrize(
    ("net", "part"),
    [
        (nn.Sequential(Noisy(), nn.Dense(2)), "0"),  # The network itself is in training mode.
        (nn.Sequential(nn.Dense(2), nn.BatchNorm(track_running_stats=False)), ""),
        (nn.Sequential(nn.Dense(2), nn.MultiHeadAttention(2, 1)), ""),
    ],
    ids=["part", "no statistics", "no dropout"],
)
def test_evaluation_mode_of_a_part_or_without_effect_is_no_reason_to_warn(net, part):
    net.get_submodule(part).eval()
    assert not warn_in_evaluation(net)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm(), nn.Dropout(0.1), nn.LSTM(2, num_layers=2, dropout=0.1)]
)
def test_layers_that_behave_differently_in_training_are_known(layer):
    with pytest.warns(EvaluationModeWarning, match=type(layer).__name__):
        assert warn_in_evaluation(layer.eval())


def test_running_statistics_are_updated_once_per_step():
    # gluon.nn.BatchNorm(momentum=0.9): the batch mean [2, 4] moves the running one by a tenth.
    norm = nn.BatchNorm(momentum=0.1)
    trainer = Trainer(norm, optax.sgd(0.1), total)
    trainer.step(np.array([[1, 2], [3, 6]], np.float32), 0)
    np.testing.assert_allclose(norm.running_mean.value, [0.2, 0.4], rtol=1e-6)
    assert int(norm.num_batches_tracked.value) == 1


# -- errors and warnings -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [lambda output: 0.0, lambda output, y, weights: 0.0, nn.Dense(1)])
def test_a_loss_of_another_signature_is_refused_at_once(loss):
    with pytest.raises(TypeError, match=r"called as loss\(output, y\)"):
        Trainer(nn.Dense(2), optax.sgd(0.1), loss)


def test_what_is_no_loss_no_optimizer_or_no_network_is_refused_at_once():
    with pytest.raises(TypeError, match=r"loss\(output, y\).* got 'mse' of type str"):
        Trainer(nn.Dense(2), optax.sgd(0.1), "mse")
    with pytest.raises(TypeError, match=r"the loss stands behind it: az\.Tr"):
        Trainer(nn.Dense(2), squared_error, optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"optax\.adam"):
        Trainer(nn.Dense(2), "adam", squared_error)
    with pytest.raises(TypeError, match=r"that is optax\.sgd\(learning_rate\)"):
        Trainer(nn.Dense(2), "sgd", {"learning_rate": 0.1})
    with pytest.raises(TypeError, match="call it, with a learning rate"):
        Trainer(nn.Dense(2), optax.sgd, squared_error)
    with pytest.raises(TypeError, match="trains a module, got a dict with nothing; pass the net"):
        Trainer({}, optax.sgd(0.1), squared_error)
    with pytest.raises(TypeError, match="'learning_rate'; it is the optimizer's"):
        Trainer(nn.Dense(2), optax.sgd(0.1), squared_error, learning_rate=0.1)
    with pytest.raises(TypeError, match="Trainer needs loss; it takes"):
        Trainer(nn.Dense(2), optax.sgd(0.1))


def test_a_loss_that_is_no_scalar_is_named_with_its_shape():
    def errors(output, y):
        return (output - y) ** 2

    with pytest.raises(az.ShapeError, match=r"errors.*\(4, 2\).*\.mean\(\)"):
        Trainer(nn.Dense(2), optax.sgd(0.1), errors).step(X, Y)


def test_a_loss_in_parts_is_refused_with_where_parts_are_measured():
    def parts(output, y):
        return output.mean(), output.sum()

    with pytest.raises(TrainingError, match=r"parts returned a tuple of 2.*sum.*as metrics of"):
        Trainer(nn.Dense(2), optax.sgd(0.1), parts).step(X, Y)


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


class Foreign:
    """A tensor of another library."""

    shape, dtype = (4, 3), "float32"

    def __array__(self, dtype=None, copy=None):
        return X


def test_what_is_no_array_is_named_with_what_to_pass_in_the_first_step_and_in_later_ones():
    trainer = Trainer(nn.Dense(2), optax.sgd(0.1), squared_error)
    calls = [
        (("a", Y), r"^argument 'x' of Trainer\.step is 'a' of type str"),
        ((Foreign(), Y), r"^argument 'x' of Trainer\.step is a .*Foreign.*pass np\.asarray\(x\)"),
        (((X, Foreign()), Y), r"^argument 'x'\[1\] of Trainer\.step is a"),
        ((X, np.array(["a"] * 4)), r"^argument 'y' of Trainer\.step is a NumPy array of dtype <U1"),
    ]
    for _ in range(2):
        for batch, message in calls:
            with pytest.raises(TypeError, match=message):
                trainer.step(*batch)
        trainer.step(X, Y)
    with pytest.raises(TypeError, match=r"^argument 'x' of Trainer\.evaluate is a"):
        trainer.evaluate([(Foreign(), Y)])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("learning_rate", r"optax\.inject_hyperparams"),
        ("optimiser_state", "'optimizer_state'"),
        ("save", r"trainer\.net\.save\(path\); trainer\.optimizer_state"),
        ("load_state_dict", r"net\.load_state_dict\(values\)"),
    ],
)
def test_an_attribute_that_would_be_set_in_vain_is_refused(name, hint):
    trainer = Trainer(nn.Dense(2), optax.sgd(0.1), squared_error)
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'.*{hint}"):
        setattr(trainer, name, 1e-9)
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'.*{hint}"):
        getattr(trainer, name)


def test_a_subclass_of_the_trainer_has_attributes_of_its_own():
    class Counting(Trainer):
        steps = 0

    trainer = Counting(nn.Dense(2), optax.sgd(0.1), squared_error)
    trainer.steps, trainer.best = 1, 0.5
    assert (trainer.steps, trainer.best) == (1, 0.5)


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
