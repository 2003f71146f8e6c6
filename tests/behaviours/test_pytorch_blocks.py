"""Statements P-004-1 … 31: blocks, access, ties and layers of one's own, of the last document."""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import copy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import ansatz as az
from ansatz import init, nn

X = np.random.default_rng(0).random((2, 20), dtype=np.float32)


class MLP(nn.Module):
    """The network of 004-A."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(20, 256)
        self.out = nn.Linear(256, 10)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.out(jax.nn.relu(self.hidden(x)))


class CenteredLayer(nn.Module):
    """The layer without parameters of 004-G."""

    def forward(self, x: jax.Array) -> jax.Array:
        return x - x.mean()


class MyLinear(nn.Module):
    """The layer of 004-H with the forward that P-004-25 gives."""

    def __init__(self, in_units: int, units: int) -> None:
        super().__init__()
        self.weight = az.Parameter((in_units, units), init=init.Normal(1.0))
        self.bias = az.Parameter((units,), init=init.Normal(1.0))

    def forward(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x @ self.weight.value + self.bias.value)


class CutLinear(MyLinear):
    """The layer of 004-H with the fault of the document: its gradient is cut."""

    def forward(self, x: jax.Array) -> jax.Array:
        weight, bias = jax.lax.stop_gradient((self.weight.value, self.bias.value))
        return jax.nn.relu(x @ weight + bias)


def small_net() -> nn.Sequential:
    """The network of 002-A."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def tied_net() -> nn.Sequential:
    """The network of 004-F."""
    shared = nn.Linear(8, 8)
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1)
    )


def total(net: nn.Module, x: object) -> object:
    return (net(x) ** 2).sum()


def test_P_004_1_layers_assigned_to_attributes_are_registered():
    """The names of the parameters are the attributes' names, joined by dots."""
    net = MLP()
    assert net(X).shape == (2, 10)
    assert [path for path, _ in net.named_parameters()] == [
        "hidden.weight",
        "hidden.bias",
        "out.weight",
        "out.bias",
    ]


def test_P_004_2_a_constructor_and_a_forward_are_all_that_a_block_needs():
    """Output, gradients, parameters and their initialisation come with these two methods."""
    net = MLP()
    np.testing.assert_array_equal(net(X), net.forward(X))
    az.backward(total, net, X)
    assert all(np.any(p.grad) for p in net.parameters())
    report = net.initialize(seed=0, force_reinit=True)
    assert report.count("initialised") == 4


def test_P_004_3_nobody_writes_a_backward_function():
    """The gradient of a block that has only a forward agrees with finite differences."""
    net = nn.Sequential(MyLinear(3, 4), CenteredLayer(), nn.Linear(4, 1))
    net.initialize(seed=0, force_reinit=True)
    x = X[:, :3]
    assert not any(hasattr(module, "backward") for module in net.modules())
    gradient = az.grad(total)(net, x)["2.bias"]
    step = 1e-2
    losses = []
    for shift in (step, -step):
        net[2].bias.data[:] += shift
        losses.append(total(net, x))
        net[2].bias.data[:] -= shift
    np.testing.assert_allclose(gradient, [(losses[0] - losses[1]) / (2 * step)], rtol=1e-2)


def test_P_004_4_the_constructor_of_a_module_takes_no_parameters():
    """Parameters are given to the layers that share them, not to the base class."""
    with pytest.raises(TypeError):
        nn.Module(params={})
    donor = nn.Dense(8, in_units=4)
    assert nn.Dense(8, params=donor.collect_params()).weight is donor.weight


def test_P_004_5_forgetting_the_base_constructor_works():
    """A module without `super().__init__()` registers, trains, copies and compiles as any other."""

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.hidden = nn.Linear(20, 4)

        def forward(self, x: jax.Array) -> jax.Array:
            return self.hidden(x)

    net = Forgetful()
    assert [path for path, _ in net.named_parameters()] == ["hidden.weight", "hidden.bias"]
    assert copy.deepcopy(net).eval().training is False
    np.testing.assert_allclose(az.jit(net)(X), net(X), rtol=1e-6)
    assert list(az.grad(total)(net, X)) == ["hidden.weight", "hidden.bias"]


def test_P_004_6_names_and_shapes_are_relative_to_the_object_asked():
    """A layer knows local names, the network paths; a shape is a tuple."""
    net = small_net()
    assert [(name, p.shape) for name, p in net[0].named_parameters()] == [
        ("weight", (8, 4)),
        ("bias", (8,)),
    ]
    assert [(name, p.shape) for name, p in net.named_parameters()] == [
        ("0.weight", (8, 4)),
        ("0.bias", (8,)),
        ("2.weight", (1, 8)),
        ("2.bias", (1,)),
    ]


def test_P_004_7_the_two_networks_of_the_document_have_different_names():
    """`net[0]` belongs to the container; the MLP has no positions."""
    assert list(small_net()[0].state_dict()) == ["weight", "bias"]
    with pytest.raises(TypeError):
        MLP()[0]


def test_P_004_8_the_state_dict_is_read_by_path():
    """One value of shape (1,); a wrong path is a `KeyError`, also with the near name."""
    net = small_net()
    assert net.state_dict()["2.bias"].shape == (1,)
    with pytest.raises(KeyError, match=r"2\.bais"):
        net.state_dict()["2.bais"]
    with pytest.raises(KeyError, match=r"did you mean .*'2\.bias'"):
        net.collect_params()["2.bais"]


@pytest.mark.parametrize("compiled", [False, True])
def test_P_004_9_a_state_dict_is_a_snapshot(compiled: bool):
    """Neither an edit nor a (donating) training step changes what was handed out."""
    net = small_net()
    x = X[:, :4]
    snapshot = net.state_dict()
    kept = {path: np.array(value) for path, value in snapshot.items()}

    def step() -> None:
        grads = az.grad(total)(net, x)
        for path, p in net.collect_params().items():
            p.value -= 0.1 * grads[path]

    run = az.jit(step) if compiled else step
    run()
    net[2].bias.data[:] = 100
    run()
    for path, value in snapshot.items():
        np.testing.assert_array_equal(value, kept[path])
        assert not np.array_equal(value, net.state_dict()[path])


def test_P_004_10_normal_weights_and_zero_biases():
    """The first built-in initialisation, as one rule for each kind of parameter."""
    net = small_net()
    net.initialize({"*.weight": init.Normal(0.01), "*.bias": "zeros"}, seed=0, force_reinit=True)
    row = net[0].weight.data[0]
    assert row.shape == (4,)
    assert 0 < abs(row).max() < 0.06
    assert net[0].bias.data[0] == 0


def test_P_004_11_constant_weights():
    """The row is four ones, the bias element zero."""
    net = small_net()
    net.initialize({"*.weight": init.Constant(1), "*.bias": "zeros"}, force_reinit=True)
    assert net[0].weight.data[0].tolist() == [1, 1, 1, 1]
    assert net[0].bias.data[0] == 0


def test_P_004_12_xavier_for_one_layer_and_42_for_another():
    """Each rule reaches its layer; biases keep their values."""
    net = small_net()
    biases = [net[0].bias.value, net[2].bias.value]
    net[0].collect_params("weight").initialize(init.Xavier(), seed=0, force_reinit=True)
    net.collect_params("2.weight").initialize({"*": init.Constant(42)}, force_reinit=True)
    assert 0.5 < abs(net[0].weight.value).max() <= 0.5**0.5  # √(6 / (4 + 8))
    assert net[2].weight.value.tolist() == [[42] * 8]
    np.testing.assert_array_equal(net[0].bias.value, biases[0])
    np.testing.assert_array_equal(net[2].bias.value, biases[1])


def test_P_004_13_the_default_range_comes_from_the_inputs_alone():
    """Widening the output does not narrow the draw; subclasses and missing biases are no case."""

    class Projection(nn.Linear):
        pass

    az.seed(0)
    net = nn.Sequential(Projection(4, 2000, bias=False))
    assert 0.49 < abs(net[0].weight.value).max() <= 0.5
    net.initialize({nn.Linear: init.Constant(1)}, force_reinit=True)
    assert np.all(net[0].weight.value == 1)


class Printing(init.Initializer):
    """The distribution of 004-E, which says what it initialises."""

    def draw(self, rng: np.random.Generator, spec: init.Spec) -> np.ndarray:
        print("Init", spec.path, spec.shape)
        values = rng.uniform(-10, 10, spec.shape).astype(spec.dtype)
        return values * (abs(values) >= 5)


def test_P_004_14_a_distribution_of_ones_own_is_a_class_with_one_method(
    capsys: pytest.CaptureFixture,
):
    """It prints the path of each weight it fills, and no bias; slices of it have gradients."""
    net = small_net()
    net.initialize({"*.weight": Printing()}, force_reinit=True)
    assert capsys.readouterr().out == "Init 0.weight (8, 4)\nInit 2.weight (1, 8)\n"
    assert net[0].weight[:2].shape == (2, 4)
    assert np.any(az.grad(lambda net: net[0].weight[:2].sum())(net)["0.weight"])


def test_P_004_15_the_distribution_is_the_one_of_the_formula():
    """U(5, 10) and U(-10, -5) with 1/4 each, 0 with 1/2."""
    layer = nn.Linear(200, 200)
    layer.weight.initialize(Printing(), seed=0)
    weight = np.ravel(layer.weight.value)
    counts = [int((weight > 0).sum()), int((weight < 0).sum()), int((weight == 0).sum())]
    expected = [weight.size / 4, weight.size / 4, weight.size / 2]
    assert stats.chisquare(counts, expected).pvalue > 1e-4
    assert stats.kstest(weight[weight > 0], stats.uniform(5, 5).cdf).pvalue > 1e-4
    assert stats.kstest(weight[weight < 0], stats.uniform(-10, 5).cdf).pvalue > 1e-4


def test_P_004_16_the_tied_layers_stay_equal_after_a_write():
    """Eight times true before and after one position was written."""
    net = tied_net()
    net(X[:, :4])
    assert np.all(net[2].weight.data[0] == net[4].weight.data[0])
    net[2].weight.data[0, 0] = 100
    assert np.all(net[2].weight.data[0] == net[4].weight.data[0])
    assert net[4].weight.value[0, 0] == 100


def test_P_004_17_gradients_of_both_positions_are_summed():
    """With unit weights the doubled layer h = W·W·x has the gradient 4 in each entry (G-000-36)."""
    shared = nn.Linear(2, 2, bias=False)
    net = nn.Sequential(shared, shared)
    nn.init.ones_(shared.weight)
    az.backward(lambda net, x: net(x).sum(), net, jnp.ones((1, 2)))
    assert shared.weight.grad.tolist() == [[4, 4], [4, 4]]


def test_P_004_18_a_tie_is_identity_by_layer_or_by_parameter():
    """A layer object used twice, or one parameter in two layers: `is` tells, equality does not."""
    layer = nn.Linear(2, 2)
    by_layer = nn.Sequential(layer, layer)
    by_parameter = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    equal = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    by_parameter[1].weight = by_parameter[0].weight
    equal[1].weight.value = equal[0].weight.value
    for net, tied in ((by_layer, True), (by_parameter, True), (equal, False)):
        assert (net[0].weight is net[1].weight) is tied
        assert ("1.weight" in net.collect_params().aliases.get("0.weight", ())) is tied


def test_P_004_19_a_layer_without_parameters_computes():
    """The mean of 1 … 5 is taken away."""
    x = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert CenteredLayer()(x).tolist() == [-2, -1, 0, 1, 2]


def test_P_004_20_a_layer_without_parameters_works_in_a_container():
    """The mean of what comes out is zero up to rounding."""
    net = nn.Sequential(nn.Linear(8, 128), CenteredLayer())
    assert abs(net(X[:, :8]).mean()) < 1e-6
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
    assert list(CenteredLayer().parameters()) == []


def test_P_004_21_a_layer_of_ones_own_registers_its_parameters():
    """Shapes (5, 3) and (3,), both drawn from N(0, 1), printed with path and values."""
    layer = MyLinear(5, 3)
    assert {name: p.shape for name, p in layer.named_parameters()} == {
        "weight": (5, 3),
        "bias": (3,),
    }
    layer.weight.value = np.zeros((5, 3), np.float32)
    assert str(layer.weight).startswith("Parameter weight (shape=(5, 3), dtype=float32):\n[[0. 0.")
    wide = MyLinear(100, 2000)
    wide.initialize(seed=0)
    for parameter in wide.parameters():
        assert stats.kstest(np.ravel(parameter.value), stats.norm.cdf).pvalue > 1e-4


def test_P_004_22_the_output_is_relu_of_the_product():
    """relu(X·W + b), of shape (2, 3) and never negative."""
    layer = MyLinear(5, 3)
    x = X[:, :5]
    y = layer(x)
    expected = np.maximum(x @ np.asarray(layer.weight.value) + np.asarray(layer.bias.value), 0)
    assert y.shape == (2, 3)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_P_004_23_layers_of_ones_own_compose():
    """Two of them in a container map (2, 64) to (2, 1)."""
    net = nn.Sequential(MyLinear(64, 8), MyLinear(8, 1))
    assert net(jnp.ones((2, 64))).shape == (2, 1)


def test_P_004_24_values_used_in_forward_carry_gradients():
    """`.value` and `.data` are both part of the gradient; only `stop_gradient` cuts it."""

    class ByData(MyLinear):
        def forward(self, x: jax.Array) -> jax.Array:
            return jax.nn.relu(x @ self.weight.data.value + self.bias.data.value)

    layer = ByData(5, 3)
    layer.bias.value = np.full(3, 10, np.float32)
    grads = az.grad(lambda layer, x: layer(x).sum())(layer, X[:, :5])
    assert all(np.any(gradient) for gradient in grads.values())


def test_P_004_24_data_views_may_be_used_like_arrays_in_forward():
    """The document's forward, `matmul(X, weight.data) + bias.data`, trains in Ansatz."""

    class ByData(MyLinear):
        def forward(self, x: jax.Array) -> jax.Array:
            return jax.nn.relu(x @ self.weight.data + self.bias.data)

    layer = ByData(5, 3)
    layer.bias.value = np.full(3, 10, np.float32)
    for x in (X[:, :5], jnp.asarray(X[:, :5])):
        grads = az.grad(lambda layer, x: layer(x).sum())(layer, x)
        assert all(np.any(gradient) for gradient in grads.values())


def test_P_004_25_a_layer_that_cuts_its_gradient_is_found_by_one_call():
    """The fault of the document is named by path; the correct layer is not."""
    faulty = nn.Sequential(nn.Linear(5, 4), CutLinear(4, 3), nn.Linear(3, 1))
    correct = nn.Sequential(nn.Linear(5, 4), MyLinear(4, 3), nn.Linear(3, 1))
    assert az.without_gradient(total, faulty, X[:, :5]) == ["1.weight", "1.bias"]
    assert az.without_gradient(total, correct, X[:, :5]) == []


def test_P_004_26_the_correct_layer_trains():
    """After one step of gradient descent both parameters have changed."""
    net = nn.Sequential(nn.Linear(5, 4), MyLinear(4, 3), nn.Linear(3, 1))
    net[1].bias.value = np.full(3, 10, np.float32)
    before = net.state_dict()
    trainer = az.Trainer(net, optax.sgd(0.01), lambda output, y: ((output - y) ** 2).mean())
    trainer.step(X[:, :5], jnp.zeros((2, 1)))
    after = net.state_dict()
    for path in ("1.weight", "1.bias"):
        assert not np.array_equal(before[path], after[path])
    az.backward(total, net, X[:, :5])
    assert np.any(net[1].weight.grad)
    assert np.any(net[1].bias.grad)


def test_P_004_27_a_layer_says_which_axes_are_in_and_out():
    """Kaiming for 300 inputs has the bound √(6/300) = 0.1414, in either layout."""
    turned = az.Parameter((300, 30), init=init.Kaiming(distribution="uniform"), fan_axes=(0, 1))
    usual = az.Parameter((30, 300), init=init.Kaiming(distribution="uniform"))
    for parameter in (turned, usual):
        parameter.initialize(seed=0)
        assert 0.140 < abs(parameter.value).max() <= 0.1415


def test_P_004_28_the_spread_of_the_built_in_layer_depends_on_the_width():
    """The document's layer draws with deviation 1; `Linear` has Var = 1/(3·in) and no ReLU."""
    az.seed(0)
    for inputs in (10, 1000):
        weight = nn.Linear(inputs, 2000).weight.value
        np.testing.assert_allclose(weight.std(), (3 * inputs) ** -0.5, rtol=0.05)
    assert (nn.Linear(20, 100)(X) < 0).any()
    assert MyLinear(5, 3).weight.init == init.Normal(1.0)


def test_P_004_29_parameters_of_ones_own_layer_take_part_in_everything(tmp_path: Path):
    """Access, initialisation, sharing, saving and loading treat them as any others."""
    net = nn.Sequential(MyLinear(4, 4), MyLinear(4, 4))
    net[1].weight = net[0].weight
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.bias"]
    assert list(net.collect_params("*.bias")) == ["0.bias", "1.bias"]
    net.initialize({"*.bias": init.Constant(2)}, force_reinit=True)
    assert net[1].bias.value.tolist() == [2, 2, 2, 2]
    net.save(tmp_path / "net.safetensors")
    other = nn.Sequential(MyLinear(4, 4), MyLinear(4, 4))
    other[1].weight = other[0].weight
    other.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other(X[:, :4]), net(X[:, :4]))


@pytest.mark.parametrize("value", [jnp.ones((5, 3)), np.ones((5, 3)), 1.0, [1.0]])
def test_P_004_30_an_array_over_a_parameter_is_refused_with_the_way_that_works(value: object):
    """The message shows the assignment to the value; `None` removes the parameter."""
    layer = MyLinear(5, 3)
    with pytest.raises(TypeError, match=r"module\.weight\.value = value"):
        layer.weight = value
    assert isinstance(layer.weight, az.Parameter)
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]


def test_P_004_31_layers_and_parameters_in_lists_tuples_and_dicts_are_registered():
    """Positions and keys are parts of the path; what is appended later is there as well."""

    class Held(nn.Module):
        def __init__(self) -> None:
            self.layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
            self.pair = (az.Parameter((2,)), az.Parameter((3,)))
            self.heads = {"first": nn.Linear(2, 1), "nested": [az.Parameter((1,))]}

        def forward(self, x: jax.Array) -> jax.Array:
            for layer in self.layers:
                x = layer(x)
            return self.heads["first"](x)

    net = Held()
    assert [path for path, _ in net.named_parameters()] == [
        "pair.0",
        "pair.1",
        "heads.nested.0",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
        "heads.first.weight",
        "heads.first.bias",
    ]
    compiled = az.jit(net)
    compiled(X[:, :2])
    net.layers.append(nn.Linear(2, 2))
    net.heads["second"] = nn.Linear(2, 1)
    assert {"layers.2.weight", "heads.second.bias"} <= set(net.collect_params())
    np.testing.assert_allclose(compiled(X[:, :2]), net(X[:, :2]), rtol=1e-5, atol=1e-6)
