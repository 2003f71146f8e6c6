"""The first step: shapes, values and programs, all or nothing."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import nn
from ansatz.train import Trainer, TrainingError
from tests.train.layers import Branching, Noisy, X, Y, momentum, squared_error


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
