"""The exercises of the chapter, and the sections next to those that the documents abridge."""

# ruff: noqa: N802 - the numbers of the statements are part of the names

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import init, nn


def batch(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), shape or (2, 20))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Dense(256, activation="relu"), nn.Dense(10))


def values(net: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {path: np.asarray(p.value) for path, p in net.collect_params().items()}


def drawn(net: nn.Module) -> list[str]:
    return [path for path, p in net.collect_params().items() if p.has_value]


def squared(net: nn.Module, x: jax.Array) -> jax.Array:
    return (net(x) ** 2).mean()


@az.jit
def descend(net: nn.Module, x: jax.Array) -> jax.Array:
    """One step of gradient descent on the mean square of the output."""
    loss, grads = az.value_and_grad(squared)(net, x)
    for path, p in net.collect_params().items():
        if path in grads:
            p.value -= 0.1 * grads[path]
    return loss


def test_E_1_a_module_may_forget_to_call_its_base() -> None:
    """A module without `super().__init__()` holds and trains its layers all the same."""

    class NoSuper(nn.Module):
        def __init__(self) -> None:
            self.layers = [nn.Dense(3), nn.Dense(2)]

        def forward(self, x: jax.Array) -> jax.Array:
            for layer in self.layers:
                x = layer(x)
            return x

    net = NoSuper()
    assert descend(net, batch()) > descend(net, batch())
    assert len(net.collect_params()) == 4


def test_E_2_layers_in_a_list_are_found_and_trained() -> None:
    """Layers in a Python list are parameters of the network, and every one of them trains."""

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Dense(4, activation="tanh") for _ in range(2)]
            self.layers.append(nn.Dense(1))

        def forward(self, x: jax.Array) -> jax.Array:
            for layer in self.layers:
                x = layer(x)
            return x

    net = Listed()
    net(batch())
    before = values(net)
    assert list(before) == [f"layers.{i}.{name}" for i in range(3) for name in ("weight", "bias")]
    descend(net, batch())
    for path, value in values(net).items():
        assert (value != before[path]).any(), path


def test_E_3_a_parallel_block_concatenates_its_children() -> None:
    """Two children of 2 and 3 units side by side turn (1, 4) into (1, 5)."""

    class Parallel(nn.Module):
        def __init__(self, *branches: nn.Module) -> None:
            super().__init__()
            self.branches = branches

        def forward(self, x: jax.Array) -> jax.Array:
            return jnp.concatenate([branch(x) for branch in self.branches], axis=-1)

    net = Parallel(nn.Dense(2), nn.Dense(3))
    x = batch(1, 4)
    assert net(x).shape == (1, 5)
    np.testing.assert_array_equal(net(x)[:, :2], net.branches[0](x))
    assert list(net.collect_params("*.weight")) == ["branches.0.weight", "branches.1.weight"]


def test_E_4_a_factory_gives_new_layers_and_an_object_the_same() -> None:
    """A factory called twice gives independent parameters, one layer used twice shared ones."""

    def block() -> nn.Sequential:
        return nn.Sequential(nn.Dense(3), nn.Dense(3))

    separate = nn.Sequential(block(), block())
    assert len(separate.collect_params()) == 8
    separate(batch())
    assert not np.array_equal(separate[0][1].weight.value, separate[1][1].weight.value)
    one = block()
    shared = nn.Sequential(nn.Dense(3), one, one)
    assert len(shared.collect_params()) == 6
    assert shared[1][0].weight is shared[2][0].weight


def test_E_5_every_inner_parameter_is_reached_by_indices_and_attributes() -> None:
    """In a mix of blocks and containers each parameter has a chain that leads to it."""

    class Nest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Dense(64, activation="relu"), nn.Dense(32))
            self.heads = {"left": nn.Dense(16), "right": nn.Dense(16)}

        def forward(self, x: jax.Array) -> jax.Array:
            x = self.body(x)
            return self.heads["left"](x) + self.heads["right"](x)

    net = nn.Sequential(Nest(), nn.Dense(20))
    assert net(batch()).shape == (2, 20)
    chains = {
        "0.body.1.weight": net[0].body[1].weight,
        "0.heads.right.bias": net[0].heads["right"].bias,
        "1.weight": net[-1].weight,
    }
    for path, parameter in chains.items():
        assert net.get_parameter(path) is parameter
        assert parameter.path == path
    assert net[0].body[1].weight.shape == (32, 64)


def test_E_6_known_dimensions_are_exact_before_the_first_call() -> None:
    """After `initialize` shapes show what is known; values of unknown shape raise."""
    net = nn.Sequential(nn.Dense(256, in_units=20), nn.Dense(10))
    net.initialize()
    assert [p.shape for p in net.parameters()] == [(256, 20), (256,), (10, None), (10,)]
    assert net[0].weight.value.shape == (256, 20)
    with pytest.raises(az.DeferredInitializationError, match=r"'1\.weight'"):
        _ = net[1].weight.value


def test_E_7_a_shared_layer_stays_shared_through_training() -> None:
    """After every step both positions are equal, and the gradient is the sum over both."""
    shared = nn.Dense(4, in_units=4, activation="tanh")
    net = nn.Sequential(nn.Dense(4), shared, nn.Dense(4, params=shared.collect_params()))
    separate = nn.Sequential(nn.Dense(4), nn.Dense(4, activation="tanh"), nn.Dense(4))
    net(batch())
    separate(batch())
    for _ in range(3):
        separate.collect_params().set(net.state_dict(aliases=True))
        az.backward(squared, net, batch())
        az.backward(squared, separate, batch())
        for name in ("weight", "bias"):
            both = separate[1].get_parameter(name).grad + separate[2].get_parameter(name).grad
            np.testing.assert_allclose(net[1].get_parameter(name).grad, both, rtol=1e-5)
        before = net[1].weight.value
        descend(net, batch())
        assert (net[1].weight.value != before).any()
        np.testing.assert_array_equal(net[1].weight.value, net[2].weight.value)
        assert net[1].weight is net[2].weight


def test_E_8_a_layer_of_known_width_does_not_wait_for_the_others() -> None:
    """With the first width given that layer is initialised at once; the second waits."""
    net = nn.Sequential(nn.Dense(4, in_units=3), nn.Dense(2))
    net.initialize()
    assert drawn(net) == ["0.weight", "0.bias", "1.bias"]
    first = net[0].weight.value
    net(batch(5, 3))
    assert net[1].weight.shape == (2, 4)
    np.testing.assert_array_equal(net[0].weight.value, first)


@pytest.mark.parametrize("transform", [lambda net: net, az.jit], ids=["eager", "compiled"])
def test_E_9_a_wrong_width_in_the_middle_initialises_nothing(transform: Any) -> None:
    """If a middle layer declares a wrong width, the call raises and no layer is settled."""
    net = nn.Sequential(nn.Dense(3), nn.Dense(2, in_units=7), nn.Dense(1))
    with pytest.raises(az.ShapeError, match=r"layer '1'.*\(2, 7\).*\(2, 3\)"):
        transform(net)(batch(2, 4))
    assert net[0].weight.shape == (3, None)
    assert net[2].weight.shape == (1, None)
    assert drawn(net) == []


def test_E_10_another_batch_size_is_welcome_and_another_width_is_not() -> None:
    """The batch may grow, the width may not; behind a flattening layer only the product counts."""
    net = nn.Sequential(nn.Flatten(), nn.Dense(3))
    assert net(batch(2, 3, 4)).shape == (2, 3)
    for shape in ((5, 3, 4), (2, 4, 3), (2, 12), (1, 2, 3, 2)):
        assert net(batch(*shape)).shape == (shape[0], 3)
    with pytest.raises(az.ShapeError, match=r"layer '1'.*\(3, 12\).*\(3, 10\)"):
        net(batch(2, 2, 5))


def test_E_11_a_bilinear_layer_finds_its_input_width() -> None:
    """A user's y_k = Σ_ij W_ijk x_i x_j gets W of shape (4, 4, 3) from a batch (2, 4)."""

    class Bilinear(nn.Module):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.units = units
            self.weight = az.Parameter((None, None, units), init="ones")

        def infer_shape(self, x: jax.Array) -> None:
            self.weight.shape = (x.shape[-1], x.shape[-1], self.units)

        def forward(self, x: jax.Array) -> jax.Array:
            return jnp.einsum("bi,ijk,bj->bk", x, self.weight.value, x)

    layer = Bilinear(3)
    layer.initialize()
    x = batch(2, 4)
    y = layer(x)
    assert layer.weight.shape == (4, 4, 3)
    # With W = 1 the sum is (Σ x)², for every k.
    np.testing.assert_allclose(y, jnp.tile(x.sum(1, keepdims=True) ** 2, 3), rtol=1e-5)


def test_E_12_a_layer_of_fourier_coefficients_has_no_parameters() -> None:
    """The leading half of the Fourier coefficients of a cosine is a single line of height n/2."""

    class LeadingHalf(nn.Module):
        def forward(self, x: jax.Array) -> jax.Array:
            return jnp.fft.fft(x)[..., : x.shape[-1] // 2]

    layer = LeadingHalf()
    assert len(layer.collect_params()) == 0
    wave = jnp.cos(2 * jnp.pi * jnp.arange(8) / 8)
    np.testing.assert_allclose(layer(wave), [0, 4, 0, 0], atol=1e-5)
    assert nn.Sequential(nn.Dense(8), layer)(batch()).shape == (2, 4)


@pytest.mark.filterwarnings("error")
def test_E_13_layers_of_a_trained_network_may_be_used_in_a_new_one() -> None:
    """A new network holds the same parameter objects and initialises only what is new, quietly."""
    trained = nn.Sequential(nn.Dense(8, activation="relu"), nn.Dense(4), nn.Dense(2))
    descend(trained, batch())
    before = values(trained)
    new = nn.Sequential(*trained[:2], nn.Dense(5))
    new.initialize()
    new.initialize(init.Constant(1))
    assert new(batch()).shape == (2, 5)
    for path in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert new.get_parameter(path) is trained.get_parameter(path)
        np.testing.assert_array_equal(new.get_parameter(path).value, before[path])
    assert (new[2].weight.value == 1).all()
    assert trained(batch()).shape == (2, 2)


class Shifted(nn.Module):
    """A dense layer behind the addition of a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = az.Parameter(jnp.full((20,), 2.0), trainable=False)
        self.dense = nn.Dense(1, weight_init="ones")

    def forward(self, x: jax.Array) -> jax.Array:
        return self.dense(x * self.constant.value)


def test_E_15_a_constant_is_saved_but_neither_trained_nor_differentiated() -> None:
    """A constant has no gradient and no update; the gradient flows through it to the input."""
    net = Shifted()
    x = batch()
    grads, to_input = az.grad(lambda net, x: net(x).sum(), (0, 1))(net, x)
    assert list(grads) == ["dense.weight", "dense.bias"]
    np.testing.assert_array_equal(to_input, np.full((2, 20), 2.0))
    az.backward(squared, net, x)
    assert net.constant.grad is None
    assert net.dense.weight.grad.any()
    weight = net.dense.weight.value
    descend(net, x)
    assert (net.dense.weight.value != weight).any()
    np.testing.assert_array_equal(net.constant.value, np.full(20, 2.0))
    np.testing.assert_array_equal(net.state_dict()["constant"], np.full(20, 2.0))


def test_E_15_a_trainer_leaves_a_constant_alone(tmp_path: Path) -> None:
    """Weight decay and momentum do not touch a constant either, and a file holds it."""
    net = Shifted()
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    trainer = az.Trainer(net, optimizer, lambda out, y: ((out - y) ** 2).mean())
    for _ in range(2):
        trainer.step(batch(), jnp.zeros((2, 1)))
    np.testing.assert_array_equal(net.constant.value, np.full(20, 2.0))
    net.constant.value = jnp.full((20,), 3.0)
    net.save(tmp_path / "net.safetensors")
    other = Shifted()
    other.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other.constant.value, np.full(20, 3.0))


def test_E_16_a_layer_may_be_used_twice_and_a_loop_may_depend_on_values() -> None:
    """A layer used twice in `forward` is one set of parameters; a `while` on values works."""

    class FixedHidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Dense(20)

        def forward(self, x: jax.Array) -> jax.Array:
            x = self.dense(jax.nn.relu(self.dense(x)))
            while abs(x).sum() > 1:
                x /= 2
            return x

    net = FixedHidden()
    x = 100 * batch()
    y = net(x)
    assert list(net.collect_params()) == ["dense.weight", "dense.bias"]
    assert 0.5 < float(abs(y).sum()) <= 1
    weight = net.dense.weight.value
    direction = jax.nn.relu(x @ weight.T) @ weight.T
    np.testing.assert_allclose(
        y / jnp.linalg.norm(y), direction / jnp.linalg.norm(direction), atol=1e-5
    )
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        az.jit(net)(x)
    assert "Call the network without jit" in "".join(caught.value.__notes__)


def test_E_17_a_users_own_sequential_works_like_the_built_in_one() -> None:
    """A container that registers children by name takes part in everything recursive."""

    class MySequential(nn.Module):
        def __init__(self, *layers: nn.Module) -> None:
            super().__init__()
            for index, layer in enumerate(layers):
                self.add_module(str(index), layer)

        def forward(self, x: jax.Array) -> jax.Array:
            for layer in self.children():
                x = layer(x)
            return x

    mine = MySequential(nn.Dense(256, activation="relu"), nn.Dense(10))
    built_in = mlp()
    for net in (mine, built_in):
        net.initialize(init.Normal(0.1), seed=0)
    np.testing.assert_array_equal(mine(batch()), built_in(batch()))
    assert list(mine.collect_params()) == list(built_in.collect_params())
    assert repr(mine) == f"My{built_in!r}"
    visited: list[str] = []
    mine.apply(lambda module: visited.append(type(module).__name__))
    assert visited == ["Dense", "Dense", "MySequential"]
    mine.load_state_dict(built_in.state_dict())


def test_E_20_a_dry_run_fixes_the_shapes_and_a_function_initialises() -> None:
    """`initialize(init, example=…)` settles all shapes without computing, then initialises."""
    seen: list[bool] = []

    class Spy(nn.Module):
        def forward(self, x: jax.Array) -> jax.Array:
            seen.append(isinstance(x, jax.core.Tracer))
            return x

    net = nn.Sequential(nn.Dense(256), Spy(), nn.Dense(10))
    net.initialize(init.Constant(3), example=jax.ShapeDtypeStruct((2, 20), "float32"))
    assert seen == [True]
    assert [p.shape for p in net.parameters()] == [(256, 20), (256,), (10, 256), (10,)]
    assert (net[2].weight.value == 3).all()

    def ones(module: nn.Module) -> None:
        if isinstance(module, nn.Dense):
            module.weight.value = jnp.ones(module.weight.shape)

    assert net.apply(ones) is net
    assert (net[0].weight.value == 1).all()


def test_E_23_all_routes_lead_to_the_same_parameter() -> None:
    """The mapping, the path and the position give one object; `state_dict` gives its value."""
    net = mlp()
    net(batch())
    parameter = net[1].bias
    assert net.collect_params()["1.bias"] is parameter
    assert net.get_parameter("1.bias") is parameter
    assert dict(net.named_parameters())["1.bias"] is parameter
    assert net.get_submodule("1").bias is parameter
    snapshot = net.state_dict()
    np.testing.assert_array_equal(snapshot["1.bias"], np.zeros(10))
    parameter.data[:] = 7
    assert (net.collect_params()["1.bias"].value == 7).all()
    np.testing.assert_array_equal(snapshot["1.bias"], np.zeros(10))


def test_E_24_an_undeclared_bias_of_a_users_layer_is_zero_unless_a_default_is_given() -> None:
    """A bias without an initialiser of its own is zero; a default for the network reaches it."""

    class MyDense(nn.Module):
        def __init__(self, units: int, in_units: int) -> None:
            super().__init__()
            self.weight = az.Parameter((units, in_units))
            self.bias = az.Parameter((units,))

        def forward(self, x: jax.Array) -> jax.Array:
            return x @ self.weight.value.T + self.bias.value

    layer = MyDense(3, 5)
    layer.initialize(seed=0)
    np.testing.assert_array_equal(layer.bias.value, np.zeros(3))
    report = layer.initialize(init.Uniform(0.07), seed=0, force_reinit=True)
    assert (layer.bias.value != 0).all()
    assert float(abs(layer.bias.value).max()) <= 0.07
    assert report["bias"].reason == "the default given to initialize"
    built_in = nn.Dense(3, in_units=5)
    built_in.initialize(init.Uniform(0.07), force_reinit=True)
    np.testing.assert_array_equal(built_in.bias.value, np.zeros(3))


# -- what does not hold yet ------------------------------------------------------------------------


def test_E_13_an_error_names_a_reused_layer_as_it_stands_in_the_network_called() -> None:
    """What fails in the new network is named by its path there, not by that in the old one."""
    trained = nn.Sequential(nn.Dense(8), nn.Dense(4))
    trained(batch())
    new = nn.Sequential(nn.Dense(19), *trained)
    with pytest.raises(az.ShapeError, match=r"layer '1'.*parameter '1\.weight'"):
        new(batch())
