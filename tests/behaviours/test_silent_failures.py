"""S-1 … S-10: what other libraries do to values without a word, and what Ansatz does instead.

The numbers are those of the table of silent failures of Ansatz's peers (Flax NNX and Linen,
Equinox, Haiku, Keras, PyTorch, Gluon). The others are in test_silent_failures_of_names.py.
"""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn
from tests.behaviours.networks import Holder, X, total, unchanged


class Counter(nn.Module):
    """Adds its input to a state, and multiplies it by a parameter."""

    def __init__(self) -> None:
        self.seen = az.State(0.0)
        self.scale = az.Parameter((3,), init="ones")

    def forward(self, x: jax.Array) -> jax.Array:
        self.seen.value = self.seen.value + x.sum()
        return x * self.scale.value


def tied_net() -> nn.Sequential:
    """Positions 0 and 2 hold one layer, 3 has the weight of both."""
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(3, 3))
    net[3].weight = layer.weight
    return net


@pytest.mark.parametrize(
    "misuse",
    [
        lambda net: jax.tree.map(lambda leaf: leaf, net),
        lambda net: jax.tree.leaves({"a": [net]}),
        lambda net: jax.jit(total)(net, X),
        lambda net: jax.grad(total)(net, X),
        lambda net: jax.vmap(total, (None, 0))(net, X),
        lambda net: jax.tree.leaves(net[0].weight),
        lambda net: jax.grad(lambda p: p.value.sum())(net[0].weight),
        lambda net: az.jit(lambda net: net)(net),
    ],
)
def test_S_1_a_module_or_parameter_in_a_jax_function_is_refused(misuse: Callable[[Any], Any]):
    """No JAX function gets hold of a module, so none can make two leaves of a tie."""
    with pytest.raises(az.TraceError, match=r"az\.jit|from ansatz"):
        misuse(tied_net())


def test_S_1_what_is_handed_out_to_jax_cannot_come_back_untied():
    """The flat dict holds a tied parameter once, so a step of plain JAX leaves it tied."""
    net = tied_net()

    @jax.jit
    def step(state: dict[str, jax.Array]) -> dict[str, jax.Array]:
        grads = jax.grad(lambda state: (az.functional_call(net, state, X) ** 2).sum())(state)
        return jax.tree.map(lambda value, grad: value - 0.01 * grad, state, grads)

    net.load_state_dict(step(net.state_dict()))
    assert net[0].weight is net[2].weight is net[3].weight
    np.testing.assert_array_equal(net[0].weight.value, net[3].weight.value)


def test_S_2_the_gradient_has_one_entry_per_distinct_parameter():
    """It is the sum over all uses, by `az.grad` as by `jax.grad` of the pure function."""
    net = tied_net()
    apart = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 3))
    apart.load_state_dict(net.state_dict(aliases=True))
    separate = az.grad(total)(apart, X)
    expected = separate["0.weight"] + separate["2.weight"] + separate["3.weight"]
    ours = az.grad(total)(net, X)
    plain = jax.grad(lambda state: (az.functional_call(net, state, X) ** 2).sum())(net.state_dict())
    assert set(ours) == set(plain) == {"0.weight", "0.bias", "3.bias"}
    np.testing.assert_allclose(ours["0.weight"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(plain["0.weight"], expected, rtol=1e-4, atol=1e-5)


def test_S_3_a_layer_used_twice_is_one_parameter_also_after_save_and_load(tmp_path: Path):
    """A file holds it once; reading it, or a pickle, gives a network that is tied as before."""
    net = tied_net()
    net.save(tmp_path / "net.safetensors")
    again = tied_net()
    again.load(tmp_path / "net.safetensors")
    pickled = pickle.loads(pickle.dumps(net))
    for copy in (again, pickled):
        np.testing.assert_array_equal(copy(X), net(X))
        assert copy[0].weight is copy[2].weight is copy[3].weight
        copy[3].weight.data[0, 0] = 100
        assert copy[0].weight.value[0, 0] == 100


def test_S_4_a_compiled_function_sees_every_later_value():
    """A module that is only closed over is an input of the program, not a constant."""
    net = nn.Linear(3, 2)
    call = az.jit(lambda x: net(x))
    call(X)
    net.initialize(init.Constant(0), force_reinit=True)
    net.bias.value = [1.0, 2.0]
    np.testing.assert_array_equal(call(X), np.tile([1, 2], (4, 1)))
    net.weight.data[:] = 1
    np.testing.assert_allclose(call(X), net(X), rtol=1e-6)


def test_S_4_reading_a_parameter_inside_plain_jit_warns():
    """Where the value would be baked in, one warning says so and names the way out."""
    net = nn.Linear(3, 2)
    with pytest.warns(az.StaleParameterWarning, match=r"parameter '\w+' was read.*Use az\.jit"):
        jax.jit(lambda x: net(x))(X)


def test_S_4_rebinding_what_holds_a_module_is_seen():
    """Another module in the same variable, list or attribute is the one that runs."""
    variable = nn.Linear(3, 2)
    held = {"net": nn.Linear(3, 2)}
    outer = Holder(net=nn.Linear(3, 2))
    calls = [
        az.jit(lambda x: variable(x)),
        az.jit(lambda x: held["net"](x)),
        az.jit(lambda x: outer.net(x)),
    ]
    for call in calls:
        call(X)
    variable = held["net"] = outer.net = nn.Linear(3, 2)
    for call in calls:
        np.testing.assert_allclose(call(X), variable(X), rtol=1e-5, atol=1e-6)


def test_S_4_rebinding_a_module_of_an_ordinary_object_is_seen():
    """Also where a plain Python object holds the module."""

    class Plain:
        pass

    plain = Plain()
    plain.net = nn.Linear(3, 2)
    call = az.jit(lambda x: plain.net(x))
    call(X)
    plain.net = nn.Linear(3, 2)
    np.testing.assert_allclose(call(X), plain.net(X), rtol=1e-5, atol=1e-6)


def test_S_5_batch_statistics_are_carried_out_of_a_compiled_call():
    """Compiled and eager calls leave the same running mean: a tenth of the batch's."""
    for call in (az.jit(norm := nn.BatchNorm(3)), norm):
        norm.initialize(force_reinit=True)
        call(X)
        np.testing.assert_allclose(norm.running_mean.value, 0.1 * X.mean(0), rtol=1e-4, atol=1e-6)


def test_S_4_a_module_that_is_listed_once_more_is_seen():
    """A list that is closed over may hold one module twice, which is another function."""
    layer = nn.Linear(3, 2)
    layers = [layer]
    call = az.jit(lambda x: sum(each(x) for each in layers))
    once = call(X)
    layers.append(layer)
    np.testing.assert_allclose(call(X), 2 * once, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::ansatz.StaleParameterWarning")
@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        jax.vmap,
        jax.checkpoint,
        lambda f: lambda x: jax.lax.scan(lambda carry, row: (carry, f(row)), 0, x),
        lambda f: lambda x: jax.lax.cond(True, f, f, x),
        lambda f: jax.grad(lambda x: f(x).sum()),
        lambda f: lambda x: az.jit(lambda x: jax.lax.scan(lambda c, row: (c, f(row)), 0, x))(x),
        lambda f: lambda x: jax.eval_shape(f, x),
    ],
    ids=["jit", "vmap", "checkpoint", "scan", "cond", "grad", "scan in az.jit", "eval_shape"],
)
def test_S_5_a_state_change_that_jax_would_lose_is_an_error(transform: Callable[..., Any]):
    """It names the state and the transform to use, and leaves the state as it was."""
    net = Counter()
    with pytest.raises(az.TraceError, match=r"state 'seen' was written inside .*az\.scan"):
        transform(net)(X)
    assert float(net.seen.value) == 0


def test_S_6_two_calls_of_dropout_have_two_masks():
    """In eager and in compiled calls; under plain `jax.jit` it is an error."""
    dropout = nn.Dropout(0.5)
    x = jnp.ones(100)
    for call in (dropout, az.jit(dropout), az.remat(dropout)):
        assert not np.array_equal(call(x), call(x))
    with (
        pytest.warns(az.StaleParameterWarning),
        pytest.raises(az.TraceError, match="'stream' was written"),
    ):
        jax.jit(dropout)(x)


@pytest.mark.filterwarnings("ignore::ansatz.StaleParameterWarning")
def test_S_7_no_tracer_stays_behind():
    """Cells, attributes and containers refuse tracers, and are usable afterwards."""

    class Leaky(nn.Module):
        def __init__(self) -> None:
            self.norm = nn.BatchNorm(3)
            self.found: list[Any] = []
            self.last = None

        def forward(self, x: jax.Array, how: str) -> jax.Array:
            if how == "state":
                return self.norm(x)
            if how == "attribute":
                self.last = x
            if how == "list":
                self.found.append(x)
            return x

    net = Leaky()
    for how in ("state", "attribute", "list"):
        with pytest.raises(az.TraceError):
            jax.jit(net, static_argnums=1)(X, how)
    assert net.last is None
    assert net.found == []
    assert not isinstance(net.norm.running_mean.value, jax.core.Tracer)
    net(X, "state")


SET: dict[str, Callable[[nn.Module, str, Any], Any]] = {
    "value": lambda net, path, new: setattr(net.get_parameter(path), "value", new),
    "data": lambda net, path, new: setattr(net.get_parameter(path), "data", new),
    "set": lambda net, path, new: net.collect_params().set({path: new}),
    "load_state_dict": lambda net, path, new: net.load_state_dict({**net.state_dict(), path: new}),
    "functional_call": lambda net, path, new: az.functional_call(
        net, {**net.state_dict(), path: new}, X
    ),
}


@pytest.mark.parametrize("way", SET)
def test_S_8_a_value_of_another_shape_is_refused(way: str):
    """Each way to set a value names the path and both shapes, and changes nothing."""
    net = nn.Sequential(nn.Linear(3, 2))
    before = net.state_dict()
    with pytest.raises((az.ShapeError, az.CheckpointError)) as caught:
        SET[way](net, "0.weight", jnp.ones((5, 5)))
    for part in ("0.weight", "(5, 5)", "(2, 3)"):
        assert part in str(caught.value)
    assert unchanged(net, before)


@pytest.mark.parametrize("way", SET)
def test_S_9_an_unknown_name_is_refused_with_the_nearest(way: str):
    """Nothing is added under a mistyped name."""
    net = nn.Sequential(nn.Linear(3, 2))
    before = net.state_dict()
    with pytest.raises((az.PathError, az.CheckpointError), match=r"'0\.weight'"):
        SET[way](net, "0.wieght", jnp.ones((2, 3)))
    assert unchanged(net, before)


def test_S_10_an_array_does_not_replace_a_parameter():
    """Assigning one to an attribute raises, with the assignment that works."""
    net = nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"\.weight\.value = "):
        net.weight = jnp.ones((2, 3))
    assert isinstance(net.weight, az.Parameter)


@pytest.mark.parametrize("key", [0, "a"])
def test_S_10_an_array_does_not_replace_a_parameter_in_a_container(key: int | str):
    """The same holds for a place in a list or dict of a module."""
    parameter = az.Parameter((2,), init="zeros")
    net = Holder(held=[parameter] if key == 0 else {"a": parameter})
    with pytest.raises(TypeError, match=r"value"):
        net.held[key] = jnp.ones(2)
    assert list(net.collect_params()) == [f"held.{key}"]
