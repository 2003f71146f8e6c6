"""Gluon, document 001: networks whose shapes are found at the first call."""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import init, nn

WAITING = {"0.weight": (256, None), "0.bias": (256,), "1.weight": (10, None), "1.bias": (10,)}
SETTLED = {"0.weight": (256, 20), "0.bias": (256,), "1.weight": (10, 256), "1.bias": (10,)}


def get_net() -> nn.Sequential:
    """The network of the document: no layer knows its input."""
    net = nn.Sequential()
    net.add(nn.Dense(256, activation="relu"))
    net.add(nn.Dense(10))
    return net


def batch(*shape: int) -> jax.Array:
    return jax.random.uniform(jax.random.key(0), shape or (2, 20))


def shapes(net: nn.Module) -> dict[str, Any]:
    return {path: p.shape for path, p in net.collect_params().items()}


def drawn(net: nn.Module) -> list[str]:
    """The parameters that have a value."""
    return [path for path, p in net.collect_params().items() if p.has_value]


class Announcing(init.Initializer):
    """Prints each draw."""

    def draw(self, rng: np.random.Generator, spec: init.Spec) -> np.ndarray[Any, Any]:
        print("Init", spec.path, spec.shape)
        return rng.random(spec.shape, dtype=np.float32)


def test_G_001_1_a_network_is_declared_without_input_sizes_and_draws_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Building a network needs no input size and draws no number."""
    assert drawn(get_net()) == []
    nn.Sequential(nn.Dense(3, in_units=2, weight_init=Announcing()))
    assert capsys.readouterr().out == ""


def test_G_001_2_the_tree_of_layers_shows_which_inputs_are_unknown() -> None:
    """Printing the method shows the tree of layers, with `None` for an unknown input width."""
    net = get_net()
    text = str(net.collect_params)
    assert text.startswith("<bound method Module.collect_params of Sequential(")
    assert "(0): Dense(None -> 256" in text
    assert "(1): Dense(None -> 10" in text
    net(batch())
    assert "(0): Dense(20 -> 256" in str(net.collect_params)


def test_G_001_3_parameters_exist_before_they_are_initialised() -> None:
    """Before initialisation all parameters are there, with every dimension that is known."""
    net = get_net()
    assert shapes(net) == WAITING
    for text in (repr(net.collect_params()), str(net.collect_params()), repr(net[0].weight)):
        assert "(256, None)" in text
    assert "(256,)" in str(net[0].bias)
    assert drawn(net) == []


def test_G_001_4_the_print_has_one_line_for_each_parameter() -> None:
    """The print of the parameters has a header, one line for each, and a closing bracket."""
    first, *entries, last = repr(get_net().collect_params()).splitlines()
    assert (first, last) == ("Sequential (", ")")
    assert [line.split(" (")[0] for line in entries] == [f"  Parameter {path}" for path in WAITING]


def test_G_001_5_unknown_is_spelled_in_one_way_that_is_no_number() -> None:
    """An unknown dimension is `None`; zero is a size like any other, and -1 is refused."""
    assert nn.Dense(4).weight.shape == (4, None)
    empty = nn.Dense(4, in_units=0)
    assert empty.weight.shape == (4, 0)
    assert not empty.weight.is_deferred
    np.testing.assert_array_equal(empty(jnp.ones((2, 0))), np.zeros((2, 4)))
    for wrong in (-1, (4, -1)):
        with pytest.raises(az.ShapeError, match="None stands for a dimension"):
            az.Parameter(wrong)


def test_G_001_6_a_value_that_cannot_exist_yet_raises_by_name() -> None:
    """Asking for a value before its shape is known raises a RuntimeError that names it."""
    net = get_net()
    with pytest.raises(RuntimeError, match=r"'0\.weight'"):
        _ = net[0].weight.value
    with pytest.raises(az.DeferredInitializationError, match=r"'1\.weight'"):
        _ = net[1].weight.data[:]
    assert drawn(net) == []


def test_G_001_7_the_message_says_what_to_call() -> None:
    """The message says what to call: one batch, `initialize(example=…)`, or the input size."""
    with pytest.raises(az.DeferredInitializationError) as caught:
        _ = get_net()[0].weight.value
    message = str(caught.value)
    assert "Pass one batch through the network" in message
    assert "net.initialize(example=" in message
    assert "give the input size" in message
    assert "(256, None)" in message


def test_G_001_8_a_call_without_initialize_works_and_a_failed_one_settles_nothing() -> None:
    """The first call initialises what nobody did; one that fails leaves every shape unknown."""
    net = get_net()
    with pytest.raises(TypeError):
        net(batch(), "one argument too many")
    assert shapes(net) == WAITING
    assert drawn(net) == []
    assert net(batch()).shape == (2, 10)
    assert shapes(net) == SETTLED


def test_G_001_9_initialize_accepts_unknown_shapes() -> None:
    """Initialising a network of unknown shapes raises nothing and leaves the shapes unknown."""
    net = get_net()
    report = net.initialize()
    assert shapes(net) == WAITING
    assert {path: entry.status for path, entry in report.items()} == {
        "0.weight": "deferred",
        "0.bias": "initialised",
        "1.weight": "deferred",
        "1.bias": "initialised",
    }


def test_G_001_10_initialisation_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is written to the output or the error stream."""
    net = get_net()
    net.initialize()
    net(batch()).block_until_ready()
    assert capfd.readouterr() == ("", "")


def test_G_001_11_what_is_known_is_initialised_at_once() -> None:
    """`initialize` gives the biases their zeros; only the two weights wait."""
    net = get_net()
    net.initialize()
    assert drawn(net) == ["0.bias", "1.bias"]
    np.testing.assert_array_equal(net[0].bias.value, np.zeros(256))


def test_G_001_12_value_and_gradient_of_a_waiting_parameter_raise() -> None:
    """Between `initialize` and the first call value and gradient raise, and nothing is lost."""
    net = get_net()
    net.initialize(init.Constant(2))
    for read in (lambda p: p.value, lambda p: p.grad, lambda p: p.data[0], lambda p: p.size):
        with pytest.raises(az.DeferredInitializationError, match=r"'0\.weight'.*one batch"):
            read(net[0].weight)
    assert issubclass(az.DeferredInitializationError, az.AnsatzError)
    net(batch())
    assert (net[0].weight.value == 2).all()
    assert not net[0].weight.grad.any()


@pytest.mark.filterwarnings("error")
def test_G_001_13_the_choice_is_remembered_and_may_be_replaced() -> None:
    """The last initialiser chosen before the first call is the one used, without a warning."""
    net = get_net()
    net.initialize(init.Constant(1))
    net.initialize(init.Constant(2))
    net(batch())
    assert (net[0].weight.value == 2).all()
    assert (net[1].weight.value == 2).all()
    assert not net[1].bias.value.any()


def test_G_001_14_saving_and_training_wait_zeroing_is_free_and_a_summary_settles(
    tmp_path: Path,
) -> None:
    """While parameters wait, saving raises and writes nothing, and zeroing does nothing."""
    net = get_net()
    net.initialize()
    for need in (lambda: net.save(tmp_path / "net.safetensors"), net.state_dict):
        with pytest.raises(az.DeferredInitializationError, match=r"'0\.weight', '1\.weight'"):
            need()
    assert not list(tmp_path.iterdir())
    net.zero_grad()
    net.collect_params().zero_grad()
    assert shapes(net) == WAITING
    net.summary(batch())
    assert shapes(net) == SETTLED


def test_G_001_14_an_optimiser_needs_a_batch_first() -> None:
    """An optimiser step needs shapes: a trainer finds them in the batch that it is given."""
    net = get_net()
    trainer = az.Trainer(net, optax.sgd(0.1), lambda out, y: ((out - y) ** 2).mean())
    trainer.step(batch(), jnp.zeros((2, 10)))
    assert shapes(net) == SETTLED
    assert net[0].weight.value.devices() == batch().devices()


def test_G_001_15_the_first_call_fixes_the_shapes() -> None:
    """The first call returns (2, 10); the weights then have their shapes and ranges."""
    net = get_net()
    net.initialize(init.Uniform(0.07))
    assert net(batch()).shape == (2, 10)
    assert shapes(net) == SETTLED
    for layer in net:
        assert float(abs(layer.weight.value).max()) <= 0.07
    net.initialize(force_reinit=True)
    assert float(abs(net[0].weight.value).max()) <= 1 / math.sqrt(20)
    assert float(abs(net[1].weight.value).max()) <= 1 / math.sqrt(256)


def test_G_001_16_drawing_happens_once_in_the_first_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What waits is drawn in the first call, in order, once; forced again it is drawn at once."""
    both = "Init 0.weight (256, 20)\nInit 1.weight (10, 256)\n"
    net = get_net()
    net.initialize(Announcing())
    assert capsys.readouterr().out == ""
    net(batch())
    assert capsys.readouterr().out == both
    net(batch())
    assert capsys.readouterr().out == ""
    net.initialize(Announcing(), force_reinit=True)
    assert capsys.readouterr().out == both
    assert shapes(net) == SETTLED


def test_G_001_17_known_widths_are_drawn_by_initialize() -> None:
    """With all widths given nothing waits; with the first alone, only the second layer does."""
    net = nn.Sequential(nn.Dense(256, in_units=20), nn.Dense(10, in_units=256))
    assert net.initialize().count("deferred") == 0
    assert drawn(net) == list(SETTLED)
    net = nn.Sequential(nn.Dense(256, in_units=20), nn.Dense(10))
    net.initialize()
    assert drawn(net) == ["0.weight", "0.bias", "1.bias"]
    assert net[1].weight.shape == (10, None)


def test_G_001_18_another_width_is_an_error_that_names_the_layer() -> None:
    """Another batch size is welcome; another width is refused, naming layer and parameter."""
    net = get_net()
    net(batch())
    assert net(batch(5, 20)).shape == (5, 10)
    with pytest.raises(az.ShapeError) as caught:
        net(batch(2, 21))
    for part in ("layer '0'", "Dense(20 -> 256", "[2, 21]", "'0.weight'", "(256, 20)"):
        assert part in str(caught.value)
    assert shapes(net) == SETTLED
    assert net(batch()).shape == (2, 10)


def test_G_001_19_every_layer_of_unknown_width_waits() -> None:
    """Not the first layer alone: both weights have an unknown dimension, and both wait."""
    net = get_net()
    report = net.initialize()
    waiting = [path for path, entry in report.items() if entry.status == "deferred"]
    assert waiting == ["0.weight", "1.weight"]


def test_G_001_20_the_first_call_settles_all_or_nothing() -> None:
    """If a later layer fails, the earlier ones stay as they were, also inside `az.jit`."""
    net = nn.Sequential(nn.Dense(3), nn.Dense(2, in_units=7))
    net.initialize()
    before = drawn(net)
    for call in (net, az.jit(net), az.jit(lambda x: net(x))):
        with pytest.raises(az.ShapeError, match=r"layer '1', .*\[2, 3\].*\(2, 7\)"):
            call(batch(2, 4))
        assert net[0].weight.shape == (3, None)
        assert drawn(net) == before
    assert nn.Sequential(net[0], nn.Dense(2))(batch(2, 5)).shape == (2, 2)
    assert net[0].weight.shape == (3, 5)


class Convolution(nn.Module):
    """A 3 × 3 convolution over images (batch, height, width, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = az.Parameter((channels, None, 3, 3))

    def infer_shape(self, x: jax.Array) -> None:
        self.weight.shape = (self.channels, x.shape[-1], 3, 3)

    def forward(self, x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, self.weight.value, (1, 1), "VALID", dimension_numbers=("NHWC", "OIHW", "NHWC")
        )


class Flatten(nn.Module):
    def forward(self, x: jax.Array) -> jax.Array:
        return x.reshape(len(x), -1)


def test_G_001_21_resolution_matters_from_the_first_flattening_layer_on() -> None:
    """Convolution weights depend on channels and kernel; the dense one behind on resolution."""
    found = {}
    for size in (8, 12):
        net = nn.Sequential(Convolution(4), Convolution(5), Flatten(), nn.Dense(2))
        net(jnp.ones((1, size, size, 3)))
        found[size] = [p.shape for p in net.collect_params("*.weight").values()]
    assert found[8] == [(4, 3, 3, 3), (5, 4, 3, 3), (2, 4 * 4 * 5)]
    assert found[12] == [(4, 3, 3, 3), (5, 4, 3, 3), (2, 8 * 8 * 5)]


def test_G_001_22_values_do_not_depend_on_when_shapes_become_known() -> None:
    """The same seed gives the same values whichever widths were known, and however they came."""

    def widths(first: int | None, second: int | None) -> nn.Sequential:
        return nn.Sequential(nn.Dense(256, first, activation="relu"), nn.Dense(10, second))

    known = widths(20, 256)
    known.initialize(init.Normal(0.01), seed=7)
    for other in (widths(None, None), widths(20, None), widths(None, 256)):
        other.initialize(init.Normal(0.01), seed=7)
        other(batch())
        for path, p in known.collect_params().items():
            np.testing.assert_array_equal(other.get_parameter(path).value, p.value)
    settled = widths(None, None)
    settled.initialize(init.Normal(0.01), seed=7, example=jax.ShapeDtypeStruct((2, 20), "float32"))
    np.testing.assert_array_equal(settled[1].weight.value, known[1].weight.value)
    first, second = [], []
    for run in (first, second):
        az.seed(3)
        net = widths(20, 256) if run is first else widths(None, None)
        if run is first:
            net.initialize()
        net(batch())
        run.extend(p.value for p in net.parameters())
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# -- what does not hold yet ------------------------------------------------------------------------


class Faulty(init.Initializer):
    def draw(self, rng: np.random.Generator, spec: init.Spec) -> np.ndarray[Any, Any]:
        return np.zeros((1, 1), np.float32)


def test_G_001_20_an_initialiser_that_fails_in_the_first_call_changes_nothing() -> None:
    """If a later layer cannot be drawn, no layer is settled: the message says so, and it holds."""
    for transform in (lambda net: net, az.jit):
        net = nn.Sequential(nn.Dense(3), nn.Dense(2, weight_init=Faulty()))
        with pytest.raises(az.InitializationError, match="nothing was changed"):
            transform(net)(batch(2, 4))
        assert drawn(net) == []
        assert [p.shape for p in net.parameters()] == [(3, None), (3,), (2, None), (2,)]


def test_G_001_22_values_do_not_depend_on_which_layer_is_called_first() -> None:
    """Calling one layer of a network first, or reading it, gives what the whole would give."""
    drawn_first = []
    for touch in (
        lambda net: net(batch()),
        lambda net: net[0].weight.value,
        lambda net: net[0](batch()),
    ):
        az.seed(5)
        net = nn.Sequential(nn.Dense(3, in_units=20), nn.Dense(2))
        touch(net)
        net(batch())
        drawn_first.append([np.asarray(p.value) for p in net.parameters()])
    for other in drawn_first[1:]:
        for value, expected in zip(other, drawn_first[0], strict=True):
            np.testing.assert_array_equal(value, expected)
