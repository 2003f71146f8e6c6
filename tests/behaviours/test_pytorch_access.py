"""Statements P-002-1 … 29: access, nested blocks, initialisation and ties of the second document.

The document's network is `Linear(4, 8), ReLU, Linear(8, 1)`; here it is written in Ansatz's
spelling, and each test carries the number of the statement that it shows.
"""

# ruff: noqa: N802 - the numbers of the statements are part of the names

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ansatz as az
from ansatz import init, nn

X = np.random.default_rng(0).random((2, 4), dtype=np.float32)


def small_net() -> nn.Sequential:
    """The network of 002-A."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def block1() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())


def block2() -> nn.Sequential:
    net = nn.Sequential()
    for i in range(4):
        net.add_module(f"block {i}", block1())
    return net


def nested_net() -> nn.Sequential:
    """The network of 002-E."""
    return nn.Sequential(block2(), nn.Linear(4, 1))


def init_normal(m: nn.Module) -> None:
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight, mean=0, std=0.01)
        nn.init.zeros_(m.bias)


def reused_net() -> nn.Sequential:
    """One layer that stands at positions 0 and 2."""
    shared = nn.Linear(4, 4)
    return nn.Sequential(shared, nn.ReLU(), shared)


def separate_copy(net: nn.Sequential) -> nn.Sequential:
    """The same values as `net`, in layers that are all different."""
    copy = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    copy.load_state_dict(net.state_dict(aliases=True))
    return copy


def total(net: nn.Module, x: object) -> object:
    return (net(x) ** 2).sum()


def test_P_002_1_layers_have_values_at_once_and_are_reached_by_position():
    """A layer built with both sizes has its values without any further call."""
    net = small_net()
    assert net[0].weight.value.shape == (8, 4)
    assert net(X).shape == (2, 1)
    assert net[-1] is net[2]
    with pytest.raises(IndexError, match="index 5 is out of range for 3 layers"):
        net[5]


def test_P_002_2_linear_draws_weight_and_bias_uniformly_by_its_input_width():
    """Both parameters of `Linear(in, out)` are U(-1/√in, 1/√in) by default."""
    net = small_net()
    assert all(abs(p.value).max() <= 0.5 for p in net[0].parameters())
    assert all(abs(p.value).max() <= 8**-0.5 for p in net[2].parameters())
    assert abs(net[0].bias.value).min() > 0
    wide = nn.Linear(64, 4096)
    wide.initialize(seed=0)
    uniform = stats.uniform(-1 / 8, 2 / 8)
    assert stats.kstest(np.ravel(wide.weight.value), uniform.cdf).pvalue > 1e-4
    assert stats.kstest(np.ravel(wide.bias.value), uniform.cdf).pvalue > 1e-4


def test_P_002_3_the_state_dict_of_a_layer_has_its_local_names():
    """A layer's state dict is an ordered mapping of weight and bias."""
    state = small_net()[2].state_dict()
    assert isinstance(state, Mapping)
    assert {name: value.shape for name, value in state.items()} == {"weight": (1, 8), "bias": (1,)}
    assert list(state) == ["weight", "bias"]


def test_P_002_4_state_dict_keys_are_paths():
    """The keys are child names joined by dots; a layer without parameters leaves a gap."""
    state = small_net().state_dict()
    assert [(path, value.shape) for path, value in state.items()] == [
        ("0.weight", (8, 4)),
        ("0.bias", (8,)),
        ("2.weight", (1, 8)),
        ("2.bias", (1,)),
    ]


def test_P_002_5_layer_and_network_show_the_same_values():
    """`2.weight` of the network is `weight` of its last layer."""
    net = small_net()
    np.testing.assert_array_equal(net.state_dict()["2.weight"], net[2].state_dict()["weight"])
    assert net.get_parameter("2.weight") is net[2].weight


def test_P_002_6_a_layer_used_twice_has_one_entry_and_further_names_on_request():
    """State dict and named parameters agree: one name for one value, aliases when asked for."""
    net = reused_net()
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
    assert [path for path, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert list(net.state_dict(aliases=True)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert net.collect_params().aliases == {"0.weight": ("2.weight",), "0.bias": ("2.bias",)}


def test_P_002_7_a_parameter_prints_its_path_value_and_whether_it_trains():
    """A parameter has a type and a print of its own, which shows when it is not trained."""
    net = small_net()
    bias = net[2].bias
    assert type(bias) is az.Parameter
    bias.value = [0.25]
    assert str(bias) == "Parameter 2.bias (shape=(1,), dtype=float32):\n[0.25]"
    bias.trainable = False
    assert str(bias) == "Parameter 2.bias (shape=(1,), dtype=float32, frozen):\n[0.25]"


def test_P_002_8_the_bare_value_prints_without_the_wrapper():
    """`.value` and `.data` print as arrays."""
    net = small_net()
    net[2].bias.value = [0.25]
    assert str(net[2].bias.value) == "[0.25]"
    assert repr(net[2].bias.data) == repr(jnp.array([0.25]))


def test_P_002_9_a_parameter_holds_value_gradient_and_settings():
    """Gradients are zeros before the first backward pass, and absent for what is not trained."""
    bias = small_net()[2].bias
    assert bias.value.shape == (1,)
    np.testing.assert_array_equal(bias.grad, [0])
    assert (bias.trainable, bias.grad_req, bias.dtype) == (True, "write", np.float32)
    bias.trainable = False
    assert bias.grad is None


def test_P_002_10_each_call_of_a_factory_makes_layers_of_its_own():
    """The four blocks have different parameters with different values."""
    rgnet = nested_net()
    assert rgnet(X).shape == (2, 1)
    firsts = [block[0].weight for block in rgnet[0]]
    assert len({id(weight) for weight in firsts}) == 4
    for weight in firsts[1:]:
        assert not np.array_equal(weight.value, firsts[0].value)


def test_P_002_11_nested_paths_join_the_names_of_all_levels():
    """There are 18 named parameters, block by block, and the outer layer last."""
    paths = [path for path, _ in nested_net().named_parameters()]
    assert len(paths) == 18
    assert paths[:5] == [
        "0.block 0.0.weight",
        "0.block 0.0.bias",
        "0.block 0.2.weight",
        "0.block 0.2.bias",
        "0.block 1.0.weight",
    ]
    assert paths[-2:] == ["1.weight", "1.bias"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.b", "holds no dot"), ("", "not empty"), ("forward", "attribute of the class")],
)
def test_P_002_12_a_child_may_have_any_name_that_can_be_part_of_a_path(name: str, reason: str):
    """Spaces are legal; a dot, an empty name and an existing attribute are refused."""
    net = nn.Sequential()
    net.add_module("block 0", nn.Linear(1, 1))
    assert [path for path, _ in net.named_children()] == ["block 0"]
    with pytest.raises(az.StructureError, match=reason):
        net.add_module(name, nn.Linear(1, 1))
    with pytest.raises(az.StructureError, match="taken already"):
        net.add_module("block 0", nn.Linear(1, 1))
    assert len(net) == 1


def test_P_002_13_printing_shows_the_tree_with_types_names_and_settings():
    """The print is that of the document, with each block in full."""
    block = """\
    (block {}): Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=4, bias=True)
      (3): ReLU()
    )
"""
    assert repr(nested_net()) == (
        "Sequential(\n  (0): Sequential(\n"
        + "".join(block.format(i) for i in range(4))
        + "  )\n  (1): Linear(in_features=4, out_features=1, bias=True)\n)"
    )


def test_P_002_14_the_print_names_classes_and_not_factory_functions():
    """A network does not know which function built it."""
    text = repr(nested_net())
    assert "block1" not in text
    assert "block2" not in text
    assert text.count("Sequential(") == 6


def test_P_002_15_positions_chain_and_lead_to_what_the_path_leads_to():
    """Second block, first layer, bias: eight values, also by path."""
    rgnet = nested_net()
    bias = rgnet[0][1][0].bias
    assert bias.data.shape == (8,)
    assert rgnet.get_parameter("0.block 1.0.bias") is bias


def test_P_002_16_a_block_has_two_linear_layers_and_the_position_says_which():
    """Position 0 of a block is the first of its linear layers, position 2 the second."""
    block = nested_net()[0][1]
    linear = [layer for layer in block if isinstance(layer, nn.Linear)]
    assert [block[0], block[2]] == linear
    assert block[0].bias.shape != block[2].bias.shape


def test_P_002_17_named_children_are_indexed_by_name():
    """A name is an index of its container, also one with a space, and works in paths."""
    rgnet = nested_net()
    assert rgnet[0]["block 1"] is rgnet[0][1]
    assert rgnet.get_submodule("0.block 1.0") is rgnet[0]["block 1"][0]
    assert rgnet["1"] is rgnet[1]
    with pytest.raises(az.PathError, match="did you mean 'block 1'"):
        rgnet[0]["blok 1"]


def test_P_002_18_slices_keep_the_names_of_children():
    """The keys of a slice begin with the names of its children, which stay the same objects."""
    rgnet = nested_net()
    part = rgnet[0][1:3]
    assert {path.split(".")[0] for path in part.state_dict()} == {"block 1", "block 2"}
    assert part[0] is rgnet[0][1]
    assert rgnet[1:].state_dict().keys() == {"1.weight", "1.bias"}


def test_P_002_19_an_unknown_path_raises_with_the_near_name_and_patterns_select():
    """A mistyped path is answered with the path that was meant."""
    net = small_net()
    with pytest.raises(az.PathError, match=r"nothing at '0\.weigth'; did you mean '0\.weight'"):
        net.get_parameter("0.weigth")
    with pytest.raises(az.PathError, match="Sequential has nothing at '5'"):
        net.get_submodule("5")
    with pytest.raises(AttributeError, match="Linear has no attribute 'weigth'; did you mean"):
        _ = net[0].weigth
    assert list(net.collect_params("*.bias")) == ["0.bias", "2.bias"]


def test_P_002_19_a_fault_inside_a_property_is_reported_as_itself():
    """A name mistyped in a property is named, not the property that does exist."""

    class Sized(nn.Module):
        def __init__(self) -> None:
            self.weight = az.Parameter((2,))

        @property
        def size(self) -> int:
            return self.wieght.size

    with pytest.raises(AttributeError, match="'wieght'; did you mean 'weight'"):
        _ = Sized().size


def test_P_002_20_a_function_over_all_modules_initialises_in_place():
    """Every weight becomes N(0, 0.01²), every bias 0."""
    az.seed(0)
    net = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Linear(300, 1))
    net.apply(init_normal)
    assert stats.kstest(np.ravel(net[0].weight.value), stats.norm(0, 0.01).cdf).pvalue > 1e-4
    assert abs(net[2].weight.value).max() < 0.06
    assert not np.any(net[0].bias.value)
    assert not np.any(net[2].bias.value)
    assert net[0].weight.data[0].shape == (100,)
    assert net[0].bias.data[0].shape == ()


def test_P_002_21_apply_visits_each_module_once_children_first_and_returns_the_network():
    """The order is that of definition, with the container last."""
    net = small_net()
    visited: list[nn.Module] = []
    assert net.apply(visited.append) is net
    assert visited == [net[0], net[1], net[2], net]


def test_P_002_22_the_in_place_functions_overwrite_without_flag_or_warning():
    """A second run draws new values (warnings are errors in this suite)."""
    net = small_net()
    net.apply(init_normal)
    before = net[0].weight.value
    net.apply(init_normal)
    assert not np.array_equal(before, net[0].weight.value)


def test_P_002_23_a_rule_by_type_reaches_subclasses_and_layers_without_input_size():
    """Nothing is skipped for being a subclass, or for waiting for its shape."""

    class Projection(nn.Linear):
        pass

    net = nn.Sequential(Projection(4, 8), nn.Dense(3), nn.Linear(3, 1))
    net.initialize({nn.Dense: init.Constant(2)}, force_reinit=True)
    net(X)
    assert all(np.all(layer.weight.value == 2) for layer in net)


def test_P_002_23_an_in_place_function_reaches_a_layer_without_input_size():
    """Its choice is kept, and carried out as soon as the shape is known."""
    net = nn.Sequential(nn.Dense(3), nn.Linear(None, 2))
    for layer in net:
        nn.init.constant_(layer.weight, 2)
    net(X)
    assert all(np.all(layer.weight.value == 2) for layer in net)


def test_P_002_24_rules_pass_over_a_bias_that_is_not_there():
    """A network in which one layer has no bias is initialised like any other."""
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 1))
    assert net[0].bias is None
    net.initialize({"*.weight": init.Normal(0.01), "*.bias": "zeros"}, force_reinit=True)
    assert np.all(net[1].bias.value == 0)


def test_P_002_24_the_function_of_the_document_works_on_a_layer_without_bias():
    """The in-place functions leave the bias that is not there alone."""
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 1))
    net.apply(init_normal)
    assert abs(net[0].weight.value).max() < 0.06
    assert net[0].bias is None


def test_P_002_25_constant_sets_every_element():
    """A weight filled with 1 is all ones."""
    net = small_net()
    nn.init.constant_(net[0].weight, 1)
    assert np.all(net[0].weight.value == 1)


def test_P_002_26_built_in_and_custom_initialisation_are_both_there():
    """What the document leaves out: a built-in initialiser, and a function of one's own."""
    net = small_net()
    net.initialize(
        {
            "0.weight": init.Xavier(),
            "2.weight": lambda rng, shape, dtype: rng.choice([-1.0, 1.0], shape),
        },
        seed=0,
        force_reinit=True,
    )
    assert abs(net[0].weight.value).max() <= 0.5**0.5  # √(6 / (4 + 8))
    assert set(np.ravel(net[2].weight.value).tolist()) == {-1.0, 1.0}


def test_P_002_27_a_layer_that_stands_twice_is_one_set_of_parameters():
    """What is written at one position is read at the other."""
    net = reused_net()
    assert net[0] is net[2]
    net[0].weight.data[0, 0] = 100
    assert net[2].weight.value[0, 0] == 100


def test_P_002_28_the_gradient_of_a_layer_used_twice_is_the_sum_over_its_uses():
    """It equals g(a) + g(b) of a copy whose two layers are separate."""
    net = reused_net()
    copy = separate_copy(net)
    tied = az.grad(total)(net, X)
    apart = az.grad(total)(copy, X)
    assert set(tied) == {"0.weight", "0.bias"}
    for name in ("weight", "bias"):
        expected = apart[f"0.{name}"] + apart[f"2.{name}"]
        np.testing.assert_allclose(tied[f"0.{name}"], expected, rtol=1e-5, atol=1e-6)
        assert np.any(apart[f"0.{name}"])


def test_P_002_29_the_sum_is_the_chain_rule_and_covers_one_backward_pass():
    """y = w·(w·x) has dy/dw = 2·w·x; a further pass replaces it, or adds if asked to."""
    shared = nn.Linear(1, 1, bias=False)
    net = nn.Sequential(shared, shared)
    shared.weight.value = [[3.0]]
    x = jnp.array([[5.0]])
    for expected in (30, 30):
        az.backward(lambda net, x: net(x).sum(), net, x)
        assert shared.weight.grad.tolist() == [[expected]]
    shared.weight.grad_req = "add"
    az.backward(lambda net, x: net(x).sum(), net, x)
    assert shared.weight.grad.tolist() == [[60]]
