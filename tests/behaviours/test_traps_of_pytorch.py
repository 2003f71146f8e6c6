"""PT-1 … PT-12: the traps of PyTorch in names, ties and loading, as what holds in Ansatz.

The numbers are those of the list of traps to beat in the reference on PyTorch. PT-13 … PT-26 are
in test_traps_of_pytorch_deferred.py.
"""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import collections
import copy
import functools
import pickle
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import init, nn
from tests.behaviours.networks import Holder, X, squared, total, unchanged


def tied_net() -> nn.Sequential:
    """The two layers have one weight, and biases of their own."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    return net


def saved_and_loaded(net: nn.Module, folder: Path) -> nn.Module:
    net.save(folder / "net.safetensors")
    net.load(folder / "net.safetensors")
    return net


def trained(net: nn.Module) -> nn.Module:
    step = az.jit(lambda net: az.backward(total, net, X))
    step(net)
    trainer = az.Trainer(net, optax.adam(0.01), squared)
    trainer.step(X, X)
    return net


OPERATIONS: dict[str, Callable[[Any, Path], Any]] = {
    "cast": lambda net, folder: net.collect_params().cast("float16") or net,
    "cast to bfloat16": lambda net, folder: net.collect_params().cast("bfloat16") or net,
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "save and load": saved_and_loaded,
    "load_state_dict": lambda net, folder: net.load_state_dict(net.state_dict()) and net,
    "initialise": lambda net, folder: net.initialize(seed=1, force_reinit=True) and net,
    "abstract, then initialise": lambda net, folder: (
        net.initialize(example=jax.ShapeDtypeStruct((4, 3), "float32")) and net
    ),
    "replace the value": lambda net, folder: setattr(net[1].weight, "value", X[:3]) or net,
    "slice": lambda net, folder: net[:],
    "train": lambda net, folder: trained(net),
    "freeze": lambda net, folder: net.freeze("1.*").unfreeze(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("deferred", [False, True], ids=["", "deferred"])
@pytest.mark.parametrize("transpose", [False, True], ids=["", "transposed"])
def test_PT_1_a_tie_survives(operation: str, deferred: bool, transpose: bool, tmp_path: Path):
    """After each operation there is one value, seen and written under both names."""
    layers = [nn.Dense(3), nn.Dense(3)] if deferred else [nn.Linear(3, 3), nn.Linear(3, 3)]
    net = nn.Sequential(*layers)
    az.tie(net, "0.weight", "1.weight", transpose=transpose)
    if operation in ("save and load", "load_state_dict"):
        net(X)  # What is saved has to have a shape.
    net = OPERATIONS[operation](net, tmp_path)
    net(X.astype(net[0].weight.dtype))
    assert net.collect_params().aliases == {"0.weight": ("1.weight",)}
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.bias"]
    net[1].weight.data[0, 2] = 5
    assert net[0].weight.value[(2, 0) if transpose else (0, 2)] == 5
    assert net[0].weight.dtype == net[1].weight.dtype == net[1].weight.value.dtype


def test_PT_2_a_failed_load_changes_nothing():
    """The last entry is wrong, the first is not taken; shapes and gradients stay as well."""
    net = nn.Sequential(nn.Dense(3), nn.Dense(2))
    with pytest.raises(az.CheckpointError, match=r"1\.bias"):
        net.load_state_dict(
            {
                "0.weight": np.ones((3, 3), np.float32),
                "0.bias": np.ones(3, np.float32),
                "1.weight": np.ones((2, 3), np.float32),
                "1.bias": np.ones(7, np.float32),
            }
        )
    assert net[0].weight.shape == (3, None)
    assert not any(p.has_value for p in net.parameters())


def one_weight(value: np.ndarray[Any, Any]) -> tuple[nn.Module, dict[str, Any]]:
    net = nn.Linear(2, 2, bias=False)
    net.initialize()
    return net, {"weight": value}


def test_PT_3_a_load_that_would_change_the_dtype_is_refused_unless_allowed():
    """Both dtypes and the option are named; a complex value is never cut to its real part."""
    net, state = one_weight(np.ones((2, 2), np.float64))
    before = net.state_dict()
    with pytest.raises(az.CheckpointError, match=r"float64.*float32.*cast=True"):
        net.load_state_dict(state)
    net, state = one_weight(np.full((2, 2), 1j, np.complex64))
    with pytest.raises(az.CheckpointError, match="complex64"):
        net.load_state_dict(state, cast=True)
    net, state = one_weight(np.full((2, 2), 0.5, np.float64))
    assert net.load_state_dict(state, cast=True).paths("cast") == ["weight"]
    assert net.weight.dtype == np.float32
    assert before["weight"].dtype == np.float32


def test_PT_3_values_that_are_not_finite_are_at_least_reported():
    """Without the option they load, as a checkpoint may hold them, and the report says so."""
    net, state = one_weight(np.array([[1, np.nan], [1, 1]], np.float32))
    assert "nan" in repr(net.load_state_dict(state)).lower()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_PT_3_values_that_are_not_finite_are_refused_on_request(bad: float):
    """`finite=True` refuses NaN and infinity before anything changes."""
    net, state = one_weight(np.array([[1, bad], [1, 1]], np.float32))
    before = net.state_dict()
    with pytest.raises(az.CheckpointError, match=r"weight"):
        net.load_state_dict(state, finite=True)
    assert unchanged(net, before)


def test_PT_4_conflicting_values_for_one_parameter_name_both_paths():
    """Two names of a tied parameter have to say the same."""
    net = tied_net()
    state = net.state_dict(aliases=True)
    net.load_state_dict(state)
    with pytest.raises(az.CheckpointError, match=r"0\.weight.*1\.weight|1\.weight.*0\.weight"):
        net.load_state_dict({**state, "1.weight": state["1.weight"] + 1})


def test_PT_5_unfitting_entries_are_left_out_by_an_explicit_choice():
    """The backbone of another network is loaded, and the report says what was left out."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 10))
    with pytest.raises(az.CheckpointError):
        net.load_state_dict(other.state_dict(), strict=False)
    report = net.load_state_dict(other.state_dict(), select="0.*")
    assert report.paths("match") == ["0.weight", "0.bias"]
    assert report.paths("left out") == ["1.weight", "1.bias"]
    np.testing.assert_array_equal(net[0].weight.value, other[0].weight.value)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_PT_6_a_prefix_is_taken_off_on_request_and_suggested(prefix: str):
    """The error says which prefix all names have too much, and what to write."""
    net = nn.Sequential(nn.Linear(3, 3))
    state = {prefix + path: value + 1 for path, value in net.state_dict().items()}
    with pytest.raises(az.CheckpointError, match=rf"strip_prefix\('{prefix}'\)"):
        net.load_state_dict(state)
    net.load_state_dict(state, rename=az.checkpoint.strip_prefix(prefix))
    assert unchanged(net, {path.removeprefix(prefix): value for path, value in state.items()})


def test_PT_7_a_mistyped_path_is_answered_with_the_nearest():
    """Every way that takes a path suggests it."""
    net = nn.Sequential(nn.Linear(3, 3))
    ways = [
        lambda path: net.get_parameter(path),
        lambda path: net.get_submodule(path),
        lambda path: net.collect_params()[path],
        lambda path: az.tie(net, path, "0.bias"),
        lambda path: az.untie(net, path),
    ]
    for way in ways:
        with pytest.raises(az.PathError, match=r"did you mean '0\.weight'"):
            way("0.wieght")
    with pytest.warns(az.UnmatchedRuleWarning, match=r"did you mean '0\.weight'"):
        net.freeze("0.wieght")


def test_PT_8_what_stands_in_containers_is_registered():
    """Lists, tuples and dicts, nested and extended later, hold parameters like attributes do."""
    net = Holder(held=[(nn.Linear(1, 1), {"deep": [az.Parameter((1,))]})])
    net.held.append(az.Parameter((2,)))
    net.held[0][1]["more"] = az.Parameter((3,))
    assert set(net.collect_params()) == {
        "held.0.0.weight",
        "held.0.0.bias",
        "held.0.1.deep.0",
        "held.0.1.more",
        "held.1",
    }


@pytest.mark.parametrize("kind", ["set", "deque", "partial", "object"])
def test_PT_8_what_hides_a_layer_is_refused(kind: str):
    """A layer that would have no path is an error at the assignment."""
    layer = nn.Linear(1, 1)
    hidden = {
        "set": lambda: {layer},
        "deque": lambda: collections.deque([layer]),
        "partial": lambda: functools.partial(lambda layer, x: layer(x), layer),
        "object": lambda: types.SimpleNamespace(layer=layer),
    }
    with pytest.raises(az.StructureError, match="Linear"):
        Holder(held=hidden[kind]())


def test_PT_9_every_parameter_has_an_initialiser_and_is_reached_by_it():
    """Also bare parameters and those of built-in layers; nothing keeps an old value."""
    net = nn.Sequential(
        nn.Linear(3, 3),
        nn.BatchNorm(3),
        nn.LayerNorm(3),
        nn.PReLU(),
        Holder(bare=az.Parameter((2, 2)), given=az.Parameter(np.ones(2, np.float32))),
    )
    for parameter in net.parameters():
        parameter.value = np.full(parameter.shape, 99, np.float32)
    report = net.initialize(seed=0, force_reinit=True)
    assert set(report) >= set(net.collect_params())
    for path, parameter in net.collect_params().items():
        assert report[path].initializer is not None
        assert not np.any(parameter.value == 99)


def test_PT_10_initialising_again_reproduces_what_was_declared():
    """The same seed gives the same bits, with initialisers of one's own as with built-in ones."""

    def halves(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
        return rng.choice([-0.5, 0.5], shape)

    net = nn.Sequential(nn.Dense(3, 3, weight_init=halves), nn.Dense(2, 3, bias_init=halves))
    net.initialize(seed=5, force_reinit=True)
    before = net.state_dict()
    assert set(np.ravel(before["0.weight"]).tolist()) == {-0.5, 0.5}
    net.initialize(seed=6, force_reinit=True)
    assert not unchanged(net, before)
    net.initialize(seed=5, force_reinit=True)
    assert unchanged(net, before)


def test_PT_11_rules_reach_subclasses_and_layers_whose_shape_is_unknown():
    """A layer without bias is no error, and a deferred one is initialised by the rule later."""

    class Projection(nn.Dense):
        pass

    net = nn.Sequential(Projection(3), nn.Dense(2, use_bias=False))
    report = net.initialize({nn.Dense: init.Constant(2), "*.bias": init.Constant(1)})
    assert report["0.weight"].status == "deferred"
    net(X)
    assert all(np.all(layer.weight.value == 2) for layer in net)
    assert np.all(net[0].bias.value == 1)


def test_PT_12_counts_summaries_and_optimizers_have_a_tied_parameter_once():
    """9 + 3 + 3 elements, and one entry in the optimizer's state."""
    net = tied_net()
    assert sum(p.size for p in net.parameters()) == 15
    assert net.summary().totals.parameters == 15
    trainer = az.Trainer(net, optax.adam(0.1), squared)
    trainer.step(X, X)
    assert sorted(trainer.optimizer_state[0].mu) == ["0.bias", "0.weight", "1.bias"]
