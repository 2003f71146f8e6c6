"""`az.parametrize` and `az.unparametrize`: weights that are computed from parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import init, nn
from tests.core.computed_weights import Cayley, Difference, Scaled, X, symmetric, two_layers

# -- what is computed -------------------------------------------------------------------------


def test_the_layer_uses_the_computed_weight():
    layer = nn.Linear(3, 2)
    before = layer.weight.value
    az.parametrize(layer, "weight", jnp.tanh)
    np.testing.assert_allclose(layer.weight.value, np.tanh(before), rtol=1e-6)
    np.testing.assert_allclose(layer(X), X @ np.tanh(before).T + layer.bias.value, rtol=1e-5)


def test_it_reads_like_a_parameter():
    layer = az.parametrize(nn.Linear(3, 2), "weight", jnp.tanh)
    weight = layer.weight
    assert isinstance(weight, az.Parametrized)
    assert (weight.shape, weight.dtype, weight.ndim, weight.size) == ((2, 3), "float32", 2, 6)
    assert bool((weight.T == weight.value.T).all())
    assert bool((weight * 2 == weight.value * 2).all())
    assert float(weight[0, 1]) == float(weight.data[0, 1]) == float(weight.value[0, 1])
    assert np.asarray(weight).shape == (2, 3)
    assert repr(weight) == "Parametrized (shape=(2, 3), dtype=float32, tanh of original)"


def test_the_original_is_the_parameter_and_the_computed_weight_is_none():
    net = two_layers()
    declared = net[0].weight
    az.parametrize(net, "0.weight", jnp.tanh)
    assert net[0].weight.original is declared
    assert list(net.collect_params()) == [
        "0.bias",
        "0.parametrizations.weight.original",
        "1.weight",
        "1.bias",
    ]
    assert declared.path == "0.parametrizations.weight.original"
    assert net.get_parameter("0.parametrizations.weight.original") is declared
    with pytest.raises(az.PathError, match="it is tanh of original"):
        net.get_parameter("0.weight")


def test_the_printed_network_says_how_the_weight_is_computed():
    net = az.parametrize(two_layers(), "0.weight", jnp.tanh)
    assert "# weight is tanh of original" in repr(net)
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    row = next(row for row in net.summary().rows if row.path.endswith("original"))
    assert row.layer == "Dense"


def test_a_step_may_be_a_module_with_parameters_of_its_own():
    net = az.parametrize(two_layers(), "*.weight", Scaled())
    net(X)
    scales = net.collect_params("*scale")
    assert {path: p.shape for path, p in scales.items()} == {
        "0.parametrizations.weight.0.scale": (4, 1),
        "1.parametrizations.weight.0.scale": (3, 1),
    }
    original = net[0].weight.original.value
    np.testing.assert_allclose(net[0].weight.value, 2 * original)


def test_an_orthogonal_weight_stays_orthogonal_while_it_is_trained():
    layer = az.parametrize(nn.Dense(3, use_bias=False), "weight", Cayley())
    trainer = az.Trainer(layer, optax.sgd(0.5), lambda output, y: ((output - y) ** 2).mean())
    first = float(trainer.step(X, X[:, ::-1]))
    for _ in range(10):
        last = float(trainer.step(X, X[:, ::-1]))
    assert last < first
    weight = layer.weight.value
    np.testing.assert_allclose(weight @ weight.T, np.eye(3), atol=1e-5)


def test_steps_are_called_one_after_the_other():
    layer = nn.Linear(3, 3)
    before = layer.weight.value
    az.parametrize(layer, "weight", jnp.exp)
    az.parametrize(layer, "weight", symmetric)
    np.testing.assert_allclose(layer.weight.value, symmetric(np.exp(before)), rtol=1e-6)
    assert "exp then symmetric of original" in repr(layer.weight)
    assert list(layer.collect_params()) == ["bias", "parametrizations.weight.original"]


def test_a_weight_in_a_list_can_be_computed():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = [az.Parameter((2,), "ones"), az.Parameter((2,), "ones")]

        def forward(self, x):
            return x * self.weights[0].value * self.weights[1].value

    net = az.parametrize(Several(), "weights.1", lambda weight: 3 * weight)
    assert net(jnp.ones(2)).tolist() == [3, 3]
    assert list(net.collect_params()) == ["weights.0", "parametrizations.weights.1.original"]
    az.unparametrize(net)
    assert net.weights[1].value.tolist() == [3, 3]


# -- which weights ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("0.weight", ["0"]),
        ("0", ["0"]),
        ("*.weight", ["0", "1"]),
        (nn.Dense, ["0", "1"]),
        (lambda path, parameter: parameter.shape[0] == 3 and parameter.ndim == 2, ["1"]),
    ],
)
def test_selectors_pick_weights_or_the_layers_that_own_them(select, expected):
    net = az.parametrize(two_layers(), select, jnp.tanh)
    computed = [
        path for path, layer in net.named_children() if not isinstance(layer.weight, az.Parameter)
    ]
    assert computed == expected
    assert isinstance(net[0].bias, az.Parameter)


def test_a_selector_that_picks_nothing_is_refused():
    with pytest.raises(
        az.PathError, match=r"'0\.wieght' selects no weight.*did you mean '0\.weight'"
    ):
        az.parametrize(two_layers(), "0.wieght", jnp.tanh)
    with pytest.raises(az.PathError, match="no weight of Sequential is computed"):
        az.unparametrize(two_layers())


def test_a_type_of_layer_selects_the_originals_of_its_weights():
    net = az.parametrize(two_layers(), "*.weight", jnp.tanh)
    assert "0.parametrizations.weight.original" in net.collect_params(nn.Dense)
    net.initialize({nn.Dense: init.Constant(0.5)}, seed=0)
    net(X)
    assert float(net[0].weight.value[0, 0]) == pytest.approx(np.tanh(0.5))


# -- deferral ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_shapes_may_wait(compiled):
    net, twin = (
        az.parametrize(nn.Sequential(nn.Dense(4, width), nn.Dense(3)), "*.weight", Scaled())
        for width in (None, 3)
    )
    assert net[0].weight.shape == (4, None)
    assert net[0].weight.is_deferred
    for each in (net, twin):
        each.initialize(seed=5)
    y = (az.jit(net) if compiled else net)(X)
    assert net[0].weight.shape == (4, 3)
    np.testing.assert_allclose(y, twin(X), rtol=1e-6)
    for path, value in twin.state_dict().items():
        assert (net.state_dict()[path] == value).all(), path


def test_reading_too_early_names_the_original():
    net = az.parametrize(two_layers(), "*.weight", jnp.tanh)
    with pytest.raises(
        az.DeferredInitializationError, match=r"0\.parametrizations\.weight\.original"
    ):
        _ = net[0].weight.value
    with pytest.raises(az.DeferredInitializationError):
        az.unparametrize(net)
    assert isinstance(net[0].weight, az.Parametrized)


def test_sizes_that_the_weight_tells_are_known_at_once_if_the_weight_is():
    layer = az.parametrize(nn.Linear(3, 2), "weight", Scaled())
    assert not any(p.is_deferred for p in layer.parameters())
    assert not layer.weight.has_value


def test_several_originals_may_wait_as_well():
    layer = az.parametrize(nn.Dense(2, use_bias=False), "weight", Difference())
    layer.settle_shapes(X)
    assert {path: p.shape for path, p in layer.collect_params().items()} == {
        "parametrizations.weight.plus": (2, 3),
        "parametrizations.weight.minus": (2, 3),
    }


@pytest.mark.parametrize("rules", [None, init.Normal(0.3), {"*.original": init.Normal(0.3)}])
def test_parametrising_changes_no_initial_value(rules):
    plain, computed = nn.Sequential(nn.Dense(4), nn.Dense(3)), two_layers()
    az.parametrize(computed, "*.weight", Scaled())
    if isinstance(rules, dict):
        plain.initialize({"*.weight": init.Normal(0.3)}, seed=2)
    else:
        plain.initialize(rules, seed=2)
    computed.initialize(rules, seed=2)
    plain(X)
    computed(X)
    for one, other in zip(plain, computed, strict=True):
        assert (one.weight.value == other.weight.original.value).all()
        assert (one.bias.value == other.bias.value).all()


# -- assignment -------------------------------------------------------------------------------


def test_a_right_inverse_lets_the_value_be_assigned():
    layer = az.parametrize(nn.Linear(2, 2), "weight", jnp.exp, right_inverse=jnp.log)
    layer.weight.value = jnp.full((2, 2), 3.0)
    np.testing.assert_allclose(layer.weight.original.value, np.log(3.0), rtol=1e-6)
    layer.weight.data[0, 0] = 5.0
    layer.weight.data *= 2
    np.testing.assert_allclose(layer.weight.value, [[10, 6], [6, 6]], rtol=1e-5)


def test_the_value_stays_when_there_is_a_right_inverse():
    layer = nn.Linear(2, 2)
    layer.weight.value = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    az.parametrize(layer, "weight", jnp.exp, right_inverse=jnp.log)
    np.testing.assert_allclose(layer.weight.value, [[1, 2], [3, 4]], rtol=1e-6)
    az.parametrize(layer, "weight", Scaled())
    with pytest.raises(az.StructureError, match="Scaled"):
        layer.weight.value = jnp.ones((2, 2))


def test_without_a_right_inverse_an_assignment_is_refused():
    layer = az.parametrize(nn.Linear(2, 2), "weight", jnp.tanh)
    before = layer.weight.value
    with pytest.raises(az.StructureError, match=r"tanh has no right_inverse.*original\.value ="):
        layer.weight.value = jnp.ones((2, 2))
    assert (layer.weight.value == before).all()


def test_an_assigned_value_is_checked():
    layer = az.parametrize(nn.Linear(2, 2), "weight", jnp.exp, right_inverse=jnp.log)
    with pytest.raises(az.ShapeError, match="nothing was changed"):
        layer.weight.value = jnp.ones((3, 2))
    with pytest.raises(az.DTypeError, match="nothing was changed"):
        layer.weight.value = jnp.ones((2, 2), "float16")
    with pytest.raises(TypeError, match="parameter 'weight' cannot be replaced"):
        layer.weight = jnp.ones((2, 2))


# -- undoing ----------------------------------------------------------------------------------


def test_unparametrize_leaves_exactly_the_effective_value():
    net = az.parametrize(two_layers(), "*.weight", Scaled())
    net(X)
    values = [layer.weight.value for layer in net]
    y = net(X)
    original = net[0].weight.original
    assert az.unparametrize(net) is net
    assert list(net.collect_params()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert net[0].weight is original
    assert original.path == "0.weight"
    assert all(
        (layer.weight.value == value).all() for layer, value in zip(net, values, strict=True)
    )
    assert (net(X) == y).all()


def test_going_back_to_the_original():
    layer = nn.Linear(3, 2)
    before = layer.weight.value
    az.parametrize(layer, "weight", jnp.tanh)
    az.unparametrize(layer, leave_parametrized=False)
    assert (layer.weight.value == before).all()
    az.parametrize(layer, "weight", Difference())
    with pytest.raises(az.StructureError, match="no single original"):
        az.unparametrize(layer, leave_parametrized=False)


def test_a_parametrisation_that_does_not_fit_changes_nothing():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    before = net.state_dict()
    with pytest.raises(az.ShapeError, match=r"'1\.weight'.*keeps the shape"):
        az.parametrize(net, "*.weight", lambda weight: weight.T)
    with pytest.raises(az.DTypeError, match="astype"):
        az.parametrize(net, "*.weight", lambda weight: weight.astype("float16"))
    az.parametrize(net, "0.weight", jnp.tanh)
    with pytest.raises(az.ShapeError):
        az.parametrize(net, "*.weight", lambda weight: weight.T[:, :2])
    az.unparametrize(net, leave_parametrized=False)
    after = net.state_dict()
    assert list(after) == list(before)
    assert [layer.weight.path for layer in net] == ["0.weight", "1.weight"]
    assert all((after[path] == before[path]).all() for path in before)


def test_what_only_parameters_have_is_not_set_in_vain():
    weight = az.parametrize(nn.Linear(3, 2), "weight", Difference()).weight
    weight.trainable = False
    assert not weight.trainable
    assert [p.trainable for p in weight.originals.values()] == [False, False]
    with pytest.raises(AttributeError, match=r"no 'grad_req' of its own.*plus\.grad_req"):
        weight.grad_req = "add"
    with pytest.raises(AttributeError, match="no 'grad' of its own"):
        _ = weight.grad


def test_mistakes_are_named():
    with pytest.raises(TypeError, match=r"make an object of it, Scaled\("):
        az.parametrize(two_layers(), "0", Scaled)
    with pytest.raises(TypeError, match="a function of one array"):
        az.parametrize(two_layers(), "0", 3)
    with pytest.raises(TypeError, match="define right_inverse"):
        az.parametrize(two_layers(), "0", Scaled(), right_inverse=jnp.log)
    computed = az.parametrize(two_layers(), "0", Scaled())
    with pytest.raises(az.StructureError, match="it has to be the first"):
        az.parametrize(computed, "0", Difference())
    step = Difference()
    step.originals = lambda weight: {"value": weight}
    with pytest.raises(az.StructureError, match="cannot call a parameter 'value'"):
        az.parametrize(two_layers(), "0", step)
    step.originals = lambda weight: {"other": az.Parameter(weight.shape)}
    with pytest.raises(az.StructureError, match="exactly one is the weight"):
        az.parametrize(two_layers(), "0", step)
    in_tuple = nn.Module()
    in_tuple.weights = (az.Parameter((2,)),)
    with pytest.raises(TypeError, match="stands in a tuple"):
        az.parametrize(in_tuple, "weights.0", jnp.tanh)
    with pytest.raises(TypeError, match="tanh of original"):
        init.zeros_(az.parametrize(nn.Linear(2, 2), "weight", jnp.tanh).weight)
    with pytest.raises(az.TraceError, match="outside"):
        az.jit(lambda net: az.parametrize(net, "0", jnp.tanh))(two_layers())
    with pytest.raises(az.TraceError, match="pass or return its value"):
        jax.jit(lambda weight: weight)(az.parametrize(nn.Linear(2, 2), "weight", jnp.tanh).weight)
