"""Statements P-003-1 … 27: initialise, write into parameters and share, of the third document.

The document's network is that of 002-A. Its initialisation functions test `type(m) == nn.Linear`;
here they ask `isinstance`, so that they also reach subclasses (P-003-4).
"""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import copy
from pathlib import Path

import jax
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


def tied_net() -> nn.Sequential:
    """The network of 003-F: one layer at positions 2 and 4."""
    shared = nn.Linear(8, 8)
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1)
    )


def untied_net() -> nn.Sequential:
    """The same structure with a layer of its own at position 4."""
    net = tied_net()
    net[4] = nn.Linear(8, 8)
    return net


def init_normal(m: nn.Module) -> None:
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight, mean=0, std=0.01)
        nn.init.zeros_(m.bias)


def init_constant(m: nn.Module) -> None:
    if isinstance(m, nn.Linear):
        nn.init.constant_(m.weight, 1)
        nn.init.zeros_(m.bias)


def xavier(m: nn.Module) -> None:
    if isinstance(m, nn.Linear):
        nn.init.xavier_uniform_(m.weight)


def init_42(m: nn.Module) -> None:
    if isinstance(m, nn.Linear):
        nn.init.constant_(m.weight, 42)


def my_init(m: nn.Module) -> None:
    if isinstance(m, nn.Linear):
        print("Init", *next((name, param.shape) for name, param in m.named_parameters()))
        nn.init.uniform_(m.weight, -10, 10)
        m.weight.data *= abs(m.weight.data) >= 5


def total(net: nn.Module, x: object) -> object:
    return (net(x) ** 2).sum()


def test_P_003_1_the_network_and_its_input_are_two_lines():
    """A complete program needs the imports, the network and an input."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    assert net(jnp.ones((2, 4))).shape == (2, 1)


@pytest.mark.parametrize("outputs", [8, 8000])
def test_P_003_2_the_default_range_does_not_depend_on_the_output_width(outputs: int):
    """Weights fill U(-1/√in, 1/√in), however many outputs there are."""
    az.seed(0)
    weight = abs(nn.Linear(4, outputs).weight.value)
    assert 0.4 < weight.max() <= 0.5


def test_P_003_3_normal_weights_and_zero_biases():
    """A row has four small values, a bias element is a zero without dimensions."""
    net = small_net()
    net.apply(init_normal)
    row, element = net[0].weight.data[0], net[0].bias.data[0]
    assert row.shape == (4,)
    assert 0 < abs(row).max() < 0.06  # six standard deviations
    assert element.shape == ()
    assert element == 0


def test_P_003_4_rules_reach_subclasses_and_pass_over_missing_biases():
    """What the document's function skips or crashes on, a rule initialises."""

    class Projection(nn.Linear):
        pass

    net = nn.Sequential(Projection(4, 8, bias=False), nn.Linear(8, 1))
    net.initialize({nn.Linear: init.Constant(3), "*.bias": "zeros"}, force_reinit=True)
    assert np.all(net[0].weight.value == 3)
    assert np.all(net[1].weight.value == 3)
    assert np.all(net[1].bias.value == 0)


def test_P_003_5_constant_weights_are_exact():
    """The row is four ones, the bias element zero."""
    net = small_net()
    net.apply(init_constant)
    assert net[0].weight.data[0].tolist() == [1, 1, 1, 1]
    assert net[0].bias.data[0] == 0


def test_P_003_6_only_what_the_function_names_is_set():
    """The weights are ones and the biases zeros; a rule for everything is written `"*"`."""
    net = small_net()
    net.apply(init_constant)
    assert {p.ndim: p.value.max().item() for p in net.parameters()} == {2: 1, 1: 0}
    net.initialize({"*": init.Constant(1)}, force_reinit=True)
    assert all(np.all(p.value == 1) for p in net.parameters())


def test_P_003_7_different_rules_for_different_layers():
    """Layer 0 is U(-0.7071, 0.7071) by Xavier with 4 inputs and 8 outputs, layer 2 is 42."""
    az.seed(0)
    net = small_net()
    net[0].apply(xavier)
    net[2].apply(init_42)
    assert 0.5 < abs(net[0].weight.value).max() <= (6 / (4 + 8)) ** 0.5
    assert net[2].weight.value.tolist() == [[42] * 8]


def test_P_003_8_apply_on_a_part_touches_that_part_and_no_bias():
    """What the function does not reach keeps its value."""
    net = small_net()
    before = net.state_dict()
    net[0].apply(xavier)
    after = net.state_dict()
    changed = [path for path in before if not np.array_equal(before[path], after[path])]
    assert changed == ["0.weight"]


def test_P_003_9_a_function_prints_local_names_once_per_layer(capsys: pytest.CaptureFixture):
    """Within a layer its parameters have their local names; the bias is not touched."""
    net = small_net()
    biases = [net[0].bias.value, net[2].bias.value]
    net.apply(my_init)
    assert capsys.readouterr().out == "Init weight (8, 4)\nInit weight (1, 8)\n"
    np.testing.assert_array_equal(net[0].bias.value, biases[0])
    np.testing.assert_array_equal(net[2].bias.value, biases[1])


def test_P_003_10_half_of_the_values_are_zero_and_the_others_lie_beyond_five():
    """P(w = 0) = 1/2, else U[5, 10) or U(-10, -5] with 1/4 each; negative zeros occur."""
    az.seed(0)
    layer = nn.Linear(200, 200)
    my_init(layer)
    weight = np.ravel(layer.weight.value)
    zero = weight == 0
    assert stats.binomtest(int(zero.sum()), weight.size, 0.5).pvalue > 1e-4
    assert not np.any((abs(weight) > 0) & (abs(weight) < 5))
    assert stats.kstest(abs(weight[~zero]), stats.uniform(5, 5).cdf).pvalue > 1e-4
    assert stats.binomtest(int((weight > 0).sum()), int((~zero).sum()), 0.5).pvalue > 1e-4


def test_P_003_10_an_initialiser_says_the_same_and_leaves_negative_zeros():
    """Drawn on the host, -3 times false is -0.0 (compiled by XLA, the product is a plain 0)."""

    class Masked(init.Initializer):
        def draw(self, rng: np.random.Generator, spec: init.Spec) -> np.ndarray:
            values = rng.uniform(-10, 10, spec.shape).astype(spec.dtype)
            return values * (abs(values) >= 5)

    net = nn.Sequential(nn.Linear(200, 200))
    net.initialize({"*.weight": Masked()}, seed=0)
    weight = np.ravel(net[0].weight.value)
    zero = weight == 0
    assert stats.binomtest(int(zero.sum()), weight.size, 0.5).pvalue > 1e-4
    assert stats.kstest(abs(weight[~zero]), stats.uniform(5, 5).cdf).pvalue > 1e-4
    assert np.signbit(weight[zero]).any()
    assert not np.signbit(weight[zero]).all()


def test_P_003_11_slicing_a_parameter_is_part_of_the_gradient():
    """`weight[:2]` has two rows, and in a loss its gradient reaches those two rows."""
    net = small_net()
    assert net[0].weight[:2].shape == (2, 4)
    grads = az.grad(lambda net: net[0].weight[:2].sum())(net)
    assert grads["0.weight"].sum(axis=1).tolist() == [4, 4, 0, 0, 0, 0, 0, 0]


def test_P_003_12_values_are_edited_in_place():
    """All elements grow by one, then one element becomes 42."""
    net = small_net()
    before = net[0].weight.value
    net[0].weight.data[:] += 1
    net[0].weight.data[0, 0] = 42
    np.testing.assert_array_equal(net[0].weight.data[0], [42, *(before[0, 1:] + 1)])
    np.testing.assert_array_equal(net[0].weight.value[1:], before[1:] + 1)


@pytest.mark.parametrize("compiled", [False, True])
def test_P_003_13_the_next_call_uses_the_new_values(compiled: bool):
    """An edit is seen by the network, also if it was compiled before."""
    net = small_net()
    call = az.jit(net) if compiled else net
    call(X)
    net[2].weight.data[:] = 0
    net[2].bias.data[0] = 7
    assert call(X).tolist() == [[7], [7]]


class Square(nn.Module):
    """y = w², of which the gradient at 2 is 4."""

    def __init__(self) -> None:
        self.w = az.Parameter(np.array([2.0], np.float32))

    def forward(self) -> jax.Array:
        return (self.w.value**2).sum()


def test_P_003_14_an_edit_cannot_corrupt_a_gradient():
    """With w = 2 and y = w² the gradient is 4, whenever w is edited; never 200."""
    net = Square()

    def edits_in_between(net: Square) -> jax.Array:
        y = net()
        net.w.data[0] = 100
        return y

    assert az.grad(edits_in_between)(net)["w"].tolist() == [4]
    assert net.w.value.tolist() == [100]

    net = Square()
    y, pull_back = jax.vjp(lambda state: az.functional_call(net, state), net.state_dict())
    net.w.data[0] = 100
    assert pull_back(jnp.ones_like(y))[0]["w"].tolist() == [4]

    net = Square()
    az.backward(lambda net: net(), net)
    net.w.data[0] = 100
    assert net.w.grad.tolist() == [4]


def test_P_003_15_the_prints_of_the_document(capsys: pytest.CaptureFixture):
    """Eight times true, 100, 100, eight times true."""
    net = tied_net()
    net(X)
    print(net[2].weight.data[0] == net[4].weight.data[0])
    net[2].weight.data[0, 0] = 100
    print(net[2].weight.data[0, 0])
    print(net[4].weight.data[0, 0])
    print(net[2].weight.data[0] == net[4].weight.data[0])
    trues = "[ True  True  True  True  True  True  True  True]"
    assert capsys.readouterr().out.splitlines() == [trues, "100.0", "100.0", trues]


def test_P_003_16_writing_at_one_position_is_seen_at_the_other():
    """Both positions hold one object."""
    net = tied_net()
    assert net[2] is net[4]
    net[4].bias.value = np.arange(8, dtype=np.float32)
    assert net[2].bias.value.tolist() == list(range(8))


def test_P_003_17_the_tied_layers_are_the_third_and_the_fifth():
    """Among the linear layers they are the second and the third."""
    net = tied_net()
    tied = net.get_submodule("2")
    assert [index for index, layer in enumerate(net) if layer is tied] == [2, 4]
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    assert [index for index, layer in enumerate(linear) if layer is tied] == [1, 2]


def test_P_003_18_reusing_a_layer_and_assigning_its_parameters_share_alike():
    """Either way there is one parameter, with one value, one gradient and both names."""
    reused, assigned = tied_net(), untied_net()
    assigned[4].weight = assigned[2].weight
    assigned[4].bias = assigned[2].bias
    assert assigned[4] is not assigned[2]
    assigned.load_state_dict(reused.state_dict())
    assert assigned.collect_params().aliases == reused.collect_params().aliases
    ours, theirs = az.grad(total)(assigned, X), az.grad(total)(reused, X)
    assert list(ours) == list(theirs)
    for path, gradient in ours.items():
        np.testing.assert_allclose(gradient, theirs[path], rtol=1e-5, atol=1e-6)
    assigned.initialize(seed=3, force_reinit=True)
    reused.initialize(seed=3, force_reinit=True)
    np.testing.assert_array_equal(assigned[4].weight.value, reused[4].weight.value)


def test_P_003_19_equal_values_are_no_tie():
    """Identity and the listed aliases tell a tie from a coincidence."""
    net = untied_net()
    net[4].weight.value = net[2].weight.value
    assert np.array_equal(net[2].weight.value, net[4].weight.value)
    assert net[2].weight is not net[4].weight
    assert net.collect_params().aliases == {}
    net[2].weight.data[0, 0] = 100
    assert net[4].weight.value[0, 0] != 100


SIX = ["0.weight", "0.bias", "2.weight", "2.bias", "6.weight", "6.bias"]
EIGHT = [*SIX[:4], "4.weight", "4.bias", *SIX[4:]]


def test_P_003_20_there_are_six_names_and_eight_with_aliases():
    """The first path is the name; every path is listed when asked for."""
    net = tied_net()
    assert [path for path, _ in net.named_parameters()] == SIX
    assert [path for path, _ in net.named_parameters(remove_duplicate=False)] == EIGHT
    assert list(net.state_dict()) == SIX
    assert list(net.state_dict(aliases=True)) == EIGHT


def test_P_003_21_a_tied_parameter_is_counted_once():
    """121 numbers are trained; the sum over all names would be 193."""
    net = tied_net()
    assert sum(p.size for p in net.parameters()) == 121
    assert sum(value.size for value in net.state_dict().values()) == 121
    assert sum(value.size for value in net.state_dict(aliases=True).values()) == 193


def test_P_003_22_modules_are_listed_once_and_the_print_marks_the_second():
    """Seven modules with the network, six children; the repeated line says what it shares."""
    net = tied_net()
    assert len(list(net.modules())) == 7
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3", "5", "6"]
    lines = repr(net).splitlines()
    assert lines[3] == f"  (2): {nn.Linear(8, 8)!r}"
    assert lines[5] == f"  (4): {nn.Linear(8, 8)!r}  # shared with 2"


def test_P_003_23_apply_visits_the_shared_layer_once():
    """A function over all modules runs once for a layer that stands twice."""
    net = tied_net()
    visited: list[nn.Module] = []
    net.apply(visited.append)
    assert len(visited) == 7
    assert visited.count(net[2]) == 1


@pytest.mark.parametrize("transform", [lambda f: f, az.jit, az.remat], ids=["", "jit", "remat"])
def test_P_003_24_the_gradient_is_the_sum_over_both_positions(transform):
    """It equals the sum in a network of the same values whose layers are separate."""
    net, apart = tied_net(), untied_net()
    apart.load_state_dict(net.state_dict(aliases=True))
    tied, separate = (transform(az.grad(total))(each, X) for each in (net, apart))
    assert set(tied) == set(SIX)
    for name in ("weight", "bias"):
        expected = separate[f"2.{name}"] + separate[f"4.{name}"]
        np.testing.assert_allclose(tied[f"2.{name}"], expected, rtol=1e-5, atol=1e-6)


def test_P_003_25_a_deep_copy_keeps_the_tie():
    """In the copy, positions 2 and 4 are one object, and not the original's."""
    net = tied_net()
    twin = copy.deepcopy(net)
    assert twin[2] is twin[4]
    assert twin[2] is not net[2]
    twin[4].weight.data[0, 0] = 100
    assert twin[2].weight.value[0, 0] == 100
    assert net[2].weight.value[0, 0] != 100
    assert list(twin.state_dict()) == SIX


def test_P_003_26_tied_values_load_into_an_untied_network_and_stay_untied(tmp_path: Path):
    """A file or mapping with all names fills both places of an untied network."""
    net = tied_net()
    from_mapping = untied_net()
    from_mapping.load_state_dict(net.state_dict(aliases=True))
    net.save(tmp_path / "tied.safetensors")
    from_file = untied_net()
    from_file.load(tmp_path / "tied.safetensors")
    for loaded in (from_mapping, from_file):
        np.testing.assert_array_equal(loaded(X), net(X))
        np.testing.assert_array_equal(loaded[4].weight.value, net[2].weight.value)
        assert loaded[4].weight is not loaded[2].weight


def test_P_003_27_conflicting_values_for_one_parameter_are_an_error():
    """Both names are given, and nothing is loaded."""
    net = tied_net()
    before = net.state_dict()
    state = untied_net().state_dict()
    with pytest.raises(az.CheckpointError) as caught:
        net.load_state_dict(state)
    assert "2.weight" in str(caught.value)
    assert "4.weight" in str(caught.value)
    after = net.state_dict()
    assert all(np.array_equal(before[path], after[path]) for path in before)
