"""Gluon, document 000: reach the parameters of a network, and initialise them."""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ansatz as az
from ansatz import init, nn

SHAPES = {"0.weight": (256, 20), "0.bias": (256,), "1.weight": (10, 256), "1.bias": (10,)}


def batch() -> jax.Array:
    return jax.random.uniform(jax.random.key(0), (2, 20))


def declared() -> nn.Sequential:
    """The network of the document, before anything happened to it."""
    return nn.Sequential(nn.Dense(256, activation="relu"), nn.Dense(10))


@pytest.fixture
def net() -> nn.Sequential:
    """The network of the document: initialised with the default and called once."""
    network = declared()
    network.initialize(seed=0)
    network(batch())
    return network


def values(net: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {path: np.asarray(p.value) for path, p in net.collect_params().items()}


def follows(sample: Any, distribution: Any) -> bool:
    """Whether a Kolmogorov-Smirnov test accepts the sample (the seeds of all draws are fixed)."""
    return bool(stats.kstest(np.ravel(sample), distribution.cdf).pvalue > 1e-3)


def uniform(bound: float) -> Any:
    return stats.uniform(-bound, 2 * bound)


# -- 000-A: containers, and a layer's own parameters -----------------------------------------------


def test_G_000_1_the_implied_network_is_complete_and_gives_ten_outputs() -> None:
    """The document's network, written out in full, maps 20 inputs to 10 outputs."""
    net = nn.Sequential()
    net.add(nn.Dense(256, activation="relu"), nn.Dense(10))
    net.initialize()
    assert net(jax.random.uniform(jax.random.key(0), (2, 20))).shape == (2, 10)


def test_G_000_2_index_slice_and_length_of_a_container(net: nn.Sequential) -> None:
    """A container is indexed, sliced, counted and iterated like the list of its layers."""
    first, last = net
    assert net[0] is first
    assert net[1] is last
    assert net[-1] is last
    assert len(net) == 2
    part = net[0:1]
    assert type(part) is type(net)
    assert len(part) == 1
    assert part[0] is first
    assert len(net) == 2
    with pytest.raises(IndexError, match="index 2 is out of range"):
        net[2]


def test_G_000_3_a_layers_parameters_are_a_mapping_printed_line_by_line(
    net: nn.Sequential,
) -> None:
    """A layer's parameters are a mapping of weight and bias, one printed line for each."""
    own = net[0].collect_params()
    assert isinstance(own, Mapping)
    assert list(own) == ["weight", "bias"]
    assert all(isinstance(p, az.Parameter) for p in own.values())
    assert repr(own).splitlines() == [
        "Dense (",
        "  Parameter weight (shape=(256, 20), dtype=float32)",
        "  Parameter bias (shape=(256,), dtype=float32)",
        ")",
    ]


def test_G_000_4_a_weight_is_outputs_by_inputs_in_float32(net: nn.Sequential) -> None:
    """A dense weight has shape (outputs, inputs), its bias (outputs,), both in float32."""
    weight, bias = net[0].weight, net[0].bias
    assert (weight.shape, bias.shape) == ((256, 20), (256,))
    assert weight.value.shape == (256, 20)
    assert weight.dtype == bias.dtype == weight.value.dtype == bias.value.dtype == jnp.float32


def test_G_000_5_the_parameters_a_module_owns_itself_can_be_told_from_those_below() -> None:
    """What a container owns itself is what its paths name without a dot: nothing, usually."""
    own = re.compile(r"^[^.]+$")
    net = declared()
    assert list(net[0].collect_params(own)) == ["weight", "bias"]
    with pytest.warns(az.UnmatchedRuleWarning):
        assert len(net.collect_params(own)) == 0
    net.scale = az.Parameter((), init="ones")
    assert list(net.collect_params(own)) == ["scale"]


def test_G_000_6_all_parameters_have_a_length_and_include_nested_layers(
    net: nn.Sequential,
) -> None:
    """Asked of a container, the mapping holds the parameters of all layers and has a length."""
    assert len(net[0].collect_params()) == 2
    assert len(net.collect_params()) == 4
    assert dict(net.collect_params()) == {
        "0.weight": net[0].weight,
        "0.bias": net[0].bias,
        "1.weight": net[1].weight,
        "1.bias": net[1].bias,
    }


# -- 000-B: one parameter, by name and by attribute ------------------------------------------------


def test_G_000_7_name_and_attribute_give_the_same_object(net: nn.Sequential) -> None:
    """Looking a parameter up by path and by attribute gives one object, not two equal ones."""
    assert net.collect_params()["0.weight"] is net[0].weight
    assert net[0].collect_params()["weight"] is net[0].weight
    assert net.get_parameter("0.weight") is net[0].weight


def test_G_000_8_a_local_name_is_no_name_in_the_network(net: nn.Sequential) -> None:
    """A full name is the layer's path and the local name; the local name alone is refused."""
    assert net[0].weight.path == "0.weight"
    with pytest.raises(KeyError, match=r"'weight'; did you mean .*'0\.weight'"):
        net.collect_params()["weight"]
    assert "weight" not in net.collect_params()


def test_G_000_9_names_depend_on_the_network_alone() -> None:
    """The second network of a process has the same names as the first."""
    first, second = declared(), declared()
    assert list(first.collect_params()) == list(second.collect_params()) == list(SHAPES)
    assert second.collect_params()["0.weight"] is not first.collect_params()["0.weight"]


# -- 000-C to 000-F: values, gradients, all parameters ---------------------------------------------


def test_G_000_10_a_value_is_an_array_within_the_default_range(net: nn.Sequential) -> None:
    """The value is a float32 array; by default U(±1/√20) here, and Gluon's range by name."""
    value = net[0].weight.value
    assert isinstance(value, jax.Array)
    assert (value.shape, value.dtype) == ((256, 20), jnp.float32)
    assert float(abs(value).max()) <= 1 / math.sqrt(20)
    net.initialize(init.Uniform(0.07), seed=1, force_reinit=True)
    assert 0.069 < float(abs(net[0].weight.value).max()) <= 0.07


def test_G_000_11_writing_through_the_handle_changes_the_network(net: nn.Sequential) -> None:
    """`data` is a live handle: the next forward pass uses what was written through it."""
    x, handle, before = batch(), net[0].weight.data, net[0].weight.value
    output, kept = net(x), np.asarray(before)
    handle[:] += 1
    np.testing.assert_array_equal(net[0].weight.value, kept + 1)
    np.testing.assert_array_equal(handle.value, kept + 1)
    np.testing.assert_array_equal(before, kept)
    hidden = jax.nn.relu(x @ (kept + 1).T + net[0].bias.value)
    expected = hidden @ net[1].weight.value.T + net[1].bias.value
    np.testing.assert_allclose(net(x), expected, rtol=1e-5)
    assert not np.allclose(net(x), output)


def test_G_000_12_gradients_are_zeros_before_any_backward_pass(net: nn.Sequential) -> None:
    """Before a backward pass a trainable parameter has a gradient of zeros, a frozen one none."""
    grad = net[0].weight.grad
    assert grad.dtype == jnp.float32
    np.testing.assert_array_equal(grad, np.zeros((256, 20)))
    net[0].weight.trainable = False
    assert net[0].weight.grad is None


def test_G_000_13_the_bias_of_the_output_layer_is_ten_zeros(net: nn.Sequential) -> None:
    """A dense bias starts at zero."""
    np.testing.assert_array_equal(net[1].bias.value, np.zeros(10))


def test_G_000_14_all_parameters_are_listed_layer_by_layer(net: nn.Sequential) -> None:
    """The whole network has four entries, layer by layer, weight before bias."""
    everything = net.collect_params()
    assert {path: p.shape for path, p in everything.items()} == SHAPES
    assert list(everything) == list(SHAPES)
    assert repr(everything).splitlines() == [
        "Sequential (",
        *(f"  Parameter {path} (shape={shape}, dtype=float32)" for path, shape in SHAPES.items()),
        ")",
    ]


def test_G_000_15_a_pattern_selects_parameters(net: nn.Sequential) -> None:
    """A glob covers the whole path, a compiled regular expression is searched for in it."""
    assert list(net.collect_params("*weight")) == ["0.weight", "1.weight"]
    assert list(net.collect_params("*.bias")) == ["0.bias", "1.bias"]
    assert list(net.collect_params("0.*")) == ["0.weight", "0.bias"]
    assert list(net.collect_params(re.compile("^0|1.bias"))) == ["0.weight", "0.bias", "1.bias"]
    with pytest.warns(az.UnmatchedRuleWarning, match="'weigh' matched no parameter"):
        assert not net.collect_params("weigh")


def test_G_000_16_layers_in_plain_containers_are_counted() -> None:
    """Layers kept in a list, a tuple or a dict belong to the network like any other."""

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.listed = [nn.Dense(1, in_units=1)]
            self.paired = (nn.Dense(1, in_units=1), [nn.Dense(1, in_units=1)])
            self.named = {"a": nn.Dense(1, in_units=1)}

    assert list(Holder().collect_params("*.weight")) == [
        "listed.0.weight",
        "paired.0.weight",
        "paired.1.0.weight",
        "named.a.weight",
    ]


# -- 000-G to 000-J: initialise, and again ---------------------------------------------------------


def test_G_000_17_default_weights_are_uniform_and_biases_zero(net: nn.Sequential) -> None:
    """Without a choice weights are U(±1/√fan_in) and biases 0; U(±0.07) is a choice by name."""
    assert follows(net[0].weight.value, uniform(1 / math.sqrt(20)))
    assert follows(net[1].weight.value, uniform(1 / math.sqrt(256)))
    net.initialize(init.Uniform(0.07), seed=2, force_reinit=True)
    for layer in net:
        assert follows(layer.weight.value, uniform(0.07))
        assert not layer.bias.value.any()


def test_G_000_18_the_statements_run_one_after_the_other(net: nn.Sequential) -> None:
    """The statements that the document ran together work as separate ones, in its order."""
    net.initialize(init=init.Normal(sigma=0.01), force_reinit=True)
    net.initialize(init=init.Constant(1), force_reinit=True)
    net[0].weight.initialize(init=init.Xavier(), force_reinit=True)
    assert net[0].weight.value[0].shape == (20,)
    np.testing.assert_array_equal(net[1].weight.value, np.ones((10, 256)))


def test_G_000_19_normal_redraws_all_weights_and_leaves_biases_zero(net: nn.Sequential) -> None:
    """A second initialisation redraws every weight from N(0, 0.01²), no bias."""
    before = values(net)
    net.initialize(init=init.Normal(sigma=0.01), seed=3, force_reinit=True)
    for layer in net:
        assert follows(layer.weight.value, stats.norm(0, 0.01))
        assert not layer.bias.value.any()
    after = values(net)
    assert net[0].weight.value[0].shape == (20,)
    assert not (before["0.weight"] == after["0.weight"]).any()
    assert not (before["1.weight"] == after["1.weight"]).any()


def test_G_000_20_initialise_again_keeps_values_and_warns_once(net: nn.Sequential) -> None:
    """Without `force_reinit` nothing changes, and one warning tells so for the whole network."""
    before = values(net)
    with pytest.warns(az.AlreadyInitializedWarning, match="force_reinit=True") as caught:
        report = net.initialize(init.Normal(sigma=0.01))
    assert len(caught) == 1
    assert report.count("kept") == 4
    for path, value in values(net).items():
        np.testing.assert_array_equal(value, before[path])
    with pytest.warns(az.AlreadyInitializedWarning, match=r"0\.weight.*force_reinit=True"):
        net[0].weight.initialize(init.Constant(1))
    np.testing.assert_array_equal(net[0].weight.value, before["0.weight"])


def test_G_000_21_a_constant_sets_weights_and_leaves_biases(net: nn.Sequential) -> None:
    """A default of 1 fills the weights; the biases keep the zeros that their layers chose."""
    net.initialize(init=init.Constant(1), force_reinit=True)
    np.testing.assert_array_equal(net[0].weight.value[0], np.ones(20))
    for layer in net:
        assert (layer.weight.value == 1).all()
        assert (layer.bias.value == 0).all()


def test_G_000_22_a_default_yields_to_the_layers_own_choice() -> None:
    """What a layer was built with beats the default, also when forced; a rule beats both."""
    layer = nn.Dense(2, in_units=2, weight_init=init.Constant(3))
    report = layer.initialize(init.Constant(7), force_reinit=True)
    assert (layer.weight.value == 3).all()
    assert report["weight"].initializer == init.Constant(3)
    assert "layer" in report["weight"].reason
    layer.initialize({"weight": init.Constant(7)}, force_reinit=True)
    assert (layer.weight.value == 7).all()


def test_G_000_23_one_parameter_is_initialised_alone(net: nn.Sequential) -> None:
    """Xavier for one weight draws U(±√(3/((20+256)/2))) and touches nothing else."""
    before = values(net)
    net[0].weight.initialize(init=init.Xavier(), seed=4, force_reinit=True)
    after = values(net)
    bound = math.sqrt(3 / ((20 + 256) / 2))
    assert bound == pytest.approx(0.14744, abs=1e-5)
    assert follows(after["0.weight"], uniform(bound))
    assert abs(after["0.weight"]).max() <= bound
    assert not (after["0.weight"] == before["0.weight"]).any()
    for path in ("0.bias", "1.weight", "1.bias"):
        np.testing.assert_array_equal(after[path], before[path])


def test_G_000_24_a_choice_for_one_parameter_wins_once_and_is_not_remembered() -> None:
    """`Parameter.initialize` beats the layer's choice; the next `net.initialize` forgets it."""
    chosen = nn.Dense(2, in_units=2, weight_init=init.Constant(3))
    left_open = nn.Dense(2, in_units=2)
    net = nn.Sequential(chosen, left_open)
    net.initialize()
    for layer in net:
        layer.weight.initialize(init.Constant(5), force_reinit=True)
        assert (layer.weight.value == 5).all()
    net.initialize(init.Constant(7), force_reinit=True)
    assert (chosen.weight.value == 3).all()
    assert (left_open.weight.value == 7).all()


# -- 000-K and 000-L: a user's initialiser, and writing a value ------------------------------------


class MyInit(init.Initializer):
    def draw(self, rng: np.random.Generator, spec: init.Spec) -> np.ndarray[Any, Any]:
        print("Init", spec.path, spec.shape)
        data = rng.uniform(-10, 10, spec.shape)
        return (data * (abs(data) >= 5)).astype(spec.dtype)


def test_G_000_25_a_users_initialiser_is_asked_for_weights_only(
    net: nn.Sequential, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user's initialiser learns name and shape, and is never asked for a bias."""
    net.initialize(MyInit(), seed=5, force_reinit=True)
    assert capsys.readouterr().out == "Init 0.weight (256, 20)\nInit 1.weight (10, 256)\n"
    assert not net[0].bias.value.any()


def test_G_000_26_a_users_initialiser_leaves_the_values_it_made(net: nn.Sequential) -> None:
    """Half of the values are zero, also negative zero; the others lie between 5 and 10."""
    net.initialize(MyInit(), seed=5, force_reinit=True)
    weight = np.asarray(net[0].weight.value)
    zero = weight == 0
    assert stats.binomtest(int(zero.sum()), weight.size, 0.5).pvalue > 1e-3
    assert (abs(weight[~zero]) >= 5).all()
    assert (abs(weight) <= 10).all()
    assert np.signbit(weight[zero]).any()


def test_G_000_27_a_value_is_set_whole_and_only_in_its_shape(net: nn.Sequential) -> None:
    """Setting value + 1 adds exactly one everywhere; a value of another shape is refused."""
    before = values(net)
    net[0].weight.value = net[0].weight.value + 1
    np.testing.assert_array_equal(net[0].weight.value, before["0.weight"] + np.float32(1))
    net.collect_params().set({"1.bias": net[1].bias.value + 1})
    np.testing.assert_array_equal(net[1].bias.value, np.ones(10))
    with pytest.raises(az.ShapeError, match=r"'0\.weight'.*\(256, 20\).*\(20, 256\)"):
        net[0].weight.value = jnp.zeros((20, 256))
    with pytest.raises(az.ShapeError, match="nothing was changed"):
        net[0].weight.value = jnp.zeros(20)
    np.testing.assert_array_equal(net[0].weight.value, before["0.weight"] + np.float32(1))


# -- what does not hold yet ------------------------------------------------------------------------


def test_G_000_11_a_write_out_of_bounds_is_refused(net: nn.Sequential) -> None:
    """A write through the handle is never dropped: an index out of bounds raises."""
    before = values(net)
    for index in ((256, 0), (0, -21), (slice(None), 20)):
        with pytest.raises(IndexError):
            net[0].weight.data[index] = 1
    np.testing.assert_array_equal(net[0].weight.value, before["0.weight"])


def test_G_000_15_a_regular_expression_given_as_text_is_recognised(net: nn.Sequential) -> None:
    """A pattern in Gluon's spelling that matches no path as a glob leads to `re.compile`."""
    with pytest.warns(az.UnmatchedRuleWarning, match=r"re\.compile"):
        assert not net.collect_params(".*weight|.*bias")


def test_G_000_24_a_choice_for_one_parameter_also_wins_while_it_waits() -> None:
    """Whether the width is known or not, `net.initialize` keeps what was chosen for one alone."""
    for in_units in (4, None):
        net = nn.Sequential(nn.Dense(3, in_units))
        net[0].weight.initialize(init.Constant(5))
        net.initialize()
        net(jnp.ones((2, 4)))
        assert (net[0].weight.value == 5).all(), in_units
