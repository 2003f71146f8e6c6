"""GT-1 … GT-19: the traps of Gluon in the life of a parameter, each as what holds in Ansatz.

The numbers are those of the list of traps in the reference on Gluon; the others are in
test_traps_of_gluon_use.py.
"""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import init, nn
from tests.behaviours.networks import Holder, MyDense, X, squared, unchanged


def test_GT_1_a_path_is_a_function_of_the_network_alone():
    """Files, errors, optimizer and mapping use one name, in any number of networks."""
    for _ in range(2):
        net = nn.Sequential(nn.Dense(2), Holder(inner=nn.Dense(1)))
        assert list(net.collect_params()) == [
            "0.weight",
            "0.bias",
            "1.inner.weight",
            "1.inner.bias",
        ]
        assert net[1].inner.weight.path == "1.inner.weight"


def test_GT_2_optimizer_states_belong_to_paths():
    """In a network of twelve layers each moment is that of the gradient of its own path.

    After the first step of Adam the first moment is (1 - 0.9) times the gradient.
    """
    net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(12)))
    gradients = az.grad(lambda net: squared(net(X), X))(net)
    trainer = az.Trainer(net, optax.adam(0.01, b1=0.9), squared)
    trainer.step(X, X)
    moments = trainer.optimizer_state[0].mu
    assert set(moments) == set(net.collect_params())
    for path, moment in moments.items():
        np.testing.assert_allclose(moment, 0.1 * gradients[path], rtol=1e-3, atol=1e-7)


def test_GT_2_the_state_of_another_network_is_refused():
    """Names and shapes are checked when a state is given to a trainer."""
    trainers = [
        az.Trainer(net, optax.adam(0.01), squared)
        for net in (
            nn.Sequential(nn.Linear(3, 3)),
            nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)),
            nn.Sequential(nn.Linear(3, 4)),
        )
    ]
    for other in trainers[1:]:
        with pytest.raises(az.AnsatzError, match=r"0\.|1\."):
            trainers[0].optimizer_state = other.optimizer_state


@pytest.mark.parametrize(
    "share",
    [
        lambda donor: nn.Dense(8, params=nn.Sequential(donor).collect_params()),
        lambda donor: nn.Dense(8, params={}),
        lambda donor: nn.Dense(8, use_bias=False, params=donor.collect_params()),
        lambda donor: nn.Dense(8, params=nn.Dense(8, use_bias=False).collect_params()),
        lambda donor: nn.Dense(8, params=nn.PReLU().collect_params()),
    ],
    ids=["other paths", "nothing", "too much", "too little", "another kind"],
)
def test_GT_3_sharing_that_binds_not_everything_is_an_error(share: Callable[[Any], Any]):
    """The names that were not matched are listed."""
    with pytest.raises(az.TieError, match=r"'(0\.)?(weight|bias)'"):
        share(nn.Dense(8))


def test_GT_4_a_tie_checks_shapes_dtypes_and_initialisers():
    """Whatever does not fit is refused when the tie is made."""
    donor = nn.Dense(8, in_units=3)
    refused: list[Callable[[], Any]] = [
        lambda: nn.Dense(9, params=donor.collect_params()),
        lambda: nn.Dense(8, in_units=4, params=donor.collect_params()),
        lambda: nn.Dense(8, params=donor.collect_params(), dtype="float16"),
        lambda: nn.Dense(8, params=donor.collect_params(), weight_init="ones"),
    ]
    for share in refused:
        with pytest.raises(az.TieError):
            share()
    assert nn.Dense(8, params=donor.collect_params()).weight is donor.weight


def test_GT_5_a_tie_creates_nothing_in_the_donor():
    """A layer with a bias cannot share one without, and the donor stays as it is."""
    donor = nn.Dense(8, use_bias=False)
    with pytest.raises(az.TieError, match="'bias'"):
        nn.Dense(8, params=donor.collect_params())
    assert list(donor.collect_params()) == ["weight"]
    assert donor.bias is None


def test_GT_6_a_file_of_a_tied_network_fills_every_path_of_an_untied_one(tmp_path: Path):
    """The file tells all names of a parameter."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    net.save(tmp_path / "net.safetensors")
    untied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    untied.load(tmp_path / "net.safetensors")
    assert untied[0].weight is not untied[1].weight
    np.testing.assert_array_equal(untied(X), net(X))


def test_GT_7_whatever_is_saved_loads_into_what_saved_it(tmp_path: Path):
    """Also a layer with the parameters of another one, and a bare parameter."""
    donor = nn.Dense(3, in_units=3)
    for number, module in enumerate(
        [
            nn.Dense(3, params=donor.collect_params()),
            Holder(bare=az.Parameter((2,)), state=az.State(1.0), donor=donor, again=donor),
        ]
    ):
        file = tmp_path / f"{number}.safetensors"
        module.save(file)
        before = module.state_dict()
        module.initialize(force_reinit=True)
        module.load(file)
        assert unchanged(module, before)


def test_GT_8_a_first_call_that_fails_settles_nothing():
    """The layers in front stay as unknown as they were, in eager, compiled and training calls."""
    calls: list[Callable[[Any], Any]] = [
        lambda net: net(X),
        lambda net: az.jit(net)(X),
        lambda net: az.grad(lambda net: net(X).sum())(net),
        lambda net: net.initialize(example=X),
        lambda net: az.Trainer(net, optax.sgd(0.1), squared).step(X, X),
    ]
    for call in calls:
        net = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dense(2, in_units=7))
        with pytest.raises(az.ShapeError):
            call(net)
        assert net[0].weight.shape == (4, None)
        assert net[1].running_mean.shape == (None,)
        assert not net[0].weight.has_value
        net[2] = nn.Dense(2)
        assert net(X).shape == (4, 2)


def test_GT_9_the_error_of_a_deferred_parameter_says_what_to_call():
    """It names the path, what is unknown, and the calls that repair it."""
    net = nn.Sequential(nn.Dense(4))
    for ask in (
        lambda: net[0].weight.value,
        lambda: net[0].weight.grad,
        lambda: net[0].weight.size,
        lambda: net[0].weight[0],
        lambda: net.state_dict(),
    ):
        with pytest.raises(az.DeferredInitializationError) as caught:
            ask()
        for part in ("'0.weight'", "one batch through the network", "initialize(example="):
            assert part in str(caught.value)
        assert "rainer" not in str(caught.value)


def test_GT_10_a_shape_error_names_layer_parameter_and_both_shapes():
    """What the parameter has comes first, then what was given."""
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    net(X)
    with pytest.raises(az.ShapeError, match=r"layer '0'.*\(4, 3\).*\(4, 5\)"):
        net(jnp.ones((4, 5)))
    with pytest.raises(az.ShapeError, match=r"'1\.bias' has shape \(2,\).*new value.*\(3,\)"):
        net[1].bias.value = jnp.ones(3)


def test_GT_11_rules_by_pattern_work_and_the_report_says_who_decided():
    """A bias has random values only where its layer or a rule says so."""
    net = nn.Sequential(nn.Dense(4, 3), MyDense(2), nn.BatchNorm(2))
    report = net.initialize({"0.bias": init.Constant(3)}, seed=0)
    assert np.all(net[0].bias.value == 3)
    assert report["0.bias"].reason == "rule '0.bias'"
    assert report["1.bias"].reason == "declared by its layer"
    assert report["0.weight"].reason == "the layer's fallback"
    assert report["2.weight"].initializer == init.Ones()
    net(X)
    assert np.all(net[1].bias.value == 0)


def test_GT_11_a_parameter_that_is_only_named_bias_gets_no_surprise():
    """A bare vector without an initialiser starts at zero, and a given default is its own."""
    net = Holder(bias=az.Parameter((4,)), gamma=az.Parameter((4,)))
    assert np.all(net.bias.value == 0)
    net.initialize(init.Constant(2), force_reinit=True)
    assert np.all(net.bias.value == 2)
    assert np.all(net.gamma.value == 2)


def test_GT_11_a_rule_that_an_earlier_one_covers_is_told_which():
    """It did match, so the warning does not say that nothing has this name."""
    net = nn.Sequential(nn.Linear(2, 2))
    with pytest.warns(az.AnsatzWarning, match=r"'0\.weight'.*'\*\.weight'") as caught:
        net.initialize({"*.weight": "zeros", "0.weight": "ones"}, force_reinit=True)
    assert "matched no parameter" not in str(caught[0].message)
    assert np.all(net[0].weight.value == 0)


def test_GT_12_the_precedence_is_documented_and_a_rule_is_the_strong_form():
    """Default < declared < rule < the parameter's own call, which is not remembered."""
    net = nn.Sequential(nn.Dense(2, 3, weight_init=init.Constant(3)))
    weight = net[0].weight
    net.initialize(init.Constant(7), force_reinit=True)
    assert np.all(weight.value == 3)
    net.initialize({"*.weight": init.Constant(7)}, force_reinit=True)
    assert np.all(weight.value == 7)
    weight.initialize(init.Constant(9), force_reinit=True)
    assert np.all(weight.value == 9)
    net.initialize(init.Constant(5), force_reinit=True)
    assert np.all(weight.value == 3)


def test_GT_13_initialising_a_partly_initialised_network_is_quiet():
    """What has a value keeps it and what has none gets one; only a call in vain warns, once."""
    trunk = nn.Linear(3, 3)
    kept = trunk.weight.value
    net = nn.Sequential(trunk, nn.Linear(3, 3))
    report = net.initialize(init.Constant(2))
    assert report["0.weight"].status == "kept"
    np.testing.assert_array_equal(trunk.weight.value, kept)
    assert np.all(net[1].weight.value == 2)
    net.initialize()
    with pytest.warns(az.AlreadyInitializedWarning, match="force_reinit=True") as caught:
        net.initialize(init.Constant(4))
    assert len(caught) == 1


def test_GT_14_values_do_not_depend_on_which_shapes_were_known():
    """The same seed and path give the same bits, drawn at once, later, or alone."""
    known = nn.Sequential(nn.Dense(5, 3), nn.Dense(2, 5))
    partly = nn.Sequential(nn.Dense(5, 3), nn.Dense(2))
    unknown = nn.Sequential(nn.Dense(5), nn.Dense(2))
    for net in (known, partly, unknown):
        net.initialize(init.Normal(1.0), seed=4)
    partly(X)
    unknown(X)
    for net in (partly, unknown):
        assert unchanged(net, known.state_dict())
    alone = nn.Sequential(nn.Dense(5, 3), nn.Dense(2, 5))
    alone.collect_params("1.weight").initialize(init.Normal(1.0), seed=4)
    np.testing.assert_array_equal(alone[1].weight.value, known[1].weight.value)


def test_GT_15_there_is_no_hidden_default_seed():
    """Two processes that set no seed draw different values, and two that set one the same."""
    program = """
import ansatz as az
from ansatz import nn

print(nn.Linear(2, 2).weight.value.tolist())
az.seed(3)
print(nn.Linear(2, 2).weight.value.tolist())
"""
    command = [sys.executable, "-c", program]
    (unseeded, seeded), (unseeded_again, seeded_again) = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(2)
    )
    assert unseeded != unseeded_again
    assert seeded == seeded_again


class Branching(nn.Module):
    """Calls one of its two branches only."""

    def __init__(self) -> None:
        self.used, self.left, self.right = nn.Dense(3), nn.Dense(3), nn.Dense(3)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.used(x)


def test_GT_16_a_child_that_is_never_called_breaks_only_what_needs_its_values(tmp_path: Path):
    """Steps and compiled calls work; saving names all of it, or leaves it out by choice."""
    net = Branching()
    az.jit(net)(X)
    az.Trainer(net, optax.sgd(0.1), squared).step(X, X)
    with pytest.raises(az.DeferredInitializationError, match=r"'left\.weight', 'right\.weight'"):
        net.save(tmp_path / "net.safetensors")
    net.save(tmp_path / "net.safetensors", select="used.*")
    report = net.load(tmp_path / "net.safetensors", select="used.*")
    assert report.paths("match") == ["used.weight", "used.bias"]


def test_GT_17_a_layer_of_ones_own_defers_by_one_public_method():
    """`infer_shape` is all it takes: for calls, dry runs and compiled first calls."""
    for first in (
        lambda net: net(X),
        lambda net: az.jit(net)(X),
        lambda net: net.settle_shapes(jax.ShapeDtypeStruct((4, 3), "float32")),
    ):
        net = nn.Sequential(MyDense(5), MyDense(2))
        first(net)
        assert [p.shape for p in net.parameters()] == [(5, 3), (5,), (2, 5), (2,)]


def test_GT_17_a_layer_that_forgets_infer_shape_is_told_what_to_write():
    """The error shows the method for its own parameters."""

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.kernel = az.Parameter((2, None))

        def forward(self, x: jax.Array) -> jax.Array:
            return x @ self.kernel.value.T

    with pytest.raises(az.DeferredInitializationError, match=r"self\.kernel\.shape = \(2, x\."):
        Forgetful()(X)


def test_GT_18_unknown_is_none_and_zero_is_a_size():
    """Zero-size arrays are legal; negative sizes are not."""
    net = nn.Sequential(nn.Dense(3), nn.Linear(3, 0))
    assert net(jnp.ones((2, 0))).shape == (2, 0)
    assert net[0].weight.shape == (3, 0)
    assert net[1].weight.value.shape == (0, 3)
    assert net(jnp.ones((0, 0))).shape == (0, 0)
    with pytest.raises(az.ShapeError, match="-1"):
        az.Parameter((3, -1))
    with pytest.raises(ValueError, match="-1"):
        nn.Dense(3, in_units=-1)


def test_GT_19_assigned_parameters_and_blocks_in_containers_are_registered():
    """Whatever a module holds is found, initialised and trained."""
    net = Holder(made_by_hand=az.Parameter((2,)), blocks=[nn.Linear(1, 1)], named={"a": MyDense(1)})
    assert {"made_by_hand", "blocks.0.weight", "named.a.weight"} <= set(net.collect_params())
    assert "made_by_hand" in net.initialize(seed=0)


def test_GT_19_a_parameter_of_the_class_is_refused():
    """All instances would share it, and none would have it among its parameters."""
    with pytest.raises(az.StructureError, match="__init__"):

        class AtClassLevel(nn.Module):
            weight = az.Parameter((3,), init="ones")

            def forward(self, x: jax.Array) -> jax.Array:
                return x * self.weight.value
