"""S-11 … S-26: silent failures of names, files and counts, and what Ansatz does instead.

The numbers are those of the table of silent failures of Ansatz's peers. S-22 and S-23 stand for
the lists of PyTorch's and Gluon's traps, which have files of their own.
"""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import ast
import re
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.behaviours.networks import Holder, X, total, unchanged


def tied_net() -> nn.Sequential:
    """Positions 0 and 2 hold one layer, 3 has the weight of both."""
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(3, 3))
    net[3].weight = layer.weight
    return net


def test_S_11_positions_are_strings_and_what_is_saved_loads(tmp_path: Path):
    """List positions, integer keys and child names come back from a file as what they were."""

    def make() -> Holder:
        return Holder(layers=[nn.Linear(3, 3), {7: nn.Linear(3, 3)}], heads={0: nn.Linear(3, 1)})

    net, again = make(), make()
    assert all(isinstance(path, str) for path in net.state_dict())
    assert {"layers.0.bias", "layers.1.7.bias", "heads.0.bias"} <= set(net.state_dict())
    net.save(tmp_path / "net.safetensors")
    again.load(tmp_path / "net.safetensors")
    assert unchanged(again, net.state_dict())


def test_S_12_loading_checks_the_shapes(tmp_path: Path):
    """A file of a wider network is refused, with the path and both shapes of each entry."""
    wide, narrow = nn.Sequential(nn.Linear(3, 5)), nn.Sequential(nn.Linear(3, 2))
    wide.save(tmp_path / "wide.safetensors")
    before = narrow.state_dict()
    with pytest.raises(az.CheckpointError) as caught:
        narrow.load(tmp_path / "wide.safetensors")
    for part in ("0.weight", "(5, 3)", "(2, 3)", "0.bias", "(5,)", "(2,)"):
        assert part in str(caught.value)
    assert unchanged(narrow, before)


def test_S_13_loading_goes_by_name_whatever_the_order(tmp_path: Path):
    """Two weights of equal shape do not swap when a class lists its fields in another order."""
    first = Holder(a=nn.Linear(3, 3), b=nn.Linear(3, 3))
    second = Holder(b=nn.Linear(3, 3), a=nn.Linear(3, 3))
    first.save(tmp_path / "net.safetensors")
    second.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(first.a.weight.value, second.a.weight.value)
    np.testing.assert_array_equal(first.b.weight.value, second.b.weight.value)


def test_S_14_no_edit_of_the_tree_changes_a_shape():
    """A parameter is not replaced by one that does not fit, in an attribute or by a tie."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 7))
    with pytest.raises(az.TieError, match=r"0\.weight.*\(7,\).*\(4, 4\)|\(7,\).*0\.weight"):
        net[0].weight = az.Parameter((7,))
    with pytest.raises(az.TieError, match=r"\(4, 4\).*\(7, 4\)"):
        az.tie(net, "0.weight", "1.weight")
    assert [p.shape for p in net.parameters()] == [(4, 4), (4,), (7, 4), (7,)]


def test_S_15_a_name_that_is_taken_is_refused():
    """No second child, and no second parameter, gets a name that exists."""
    net = nn.Sequential({"a": nn.Linear(3, 3)})
    with pytest.raises(az.StructureError, match="'a', which is taken already: Linear"):
        net.add_module("a", nn.Linear(3, 3))
    assert len(net) == 1


@pytest.mark.parametrize(
    "collide",
    [
        lambda: Holder(held={1: nn.Linear(1, 1), "1": nn.Linear(1, 1)}),
        lambda: Holder(a=Holder(b=az.Parameter((1,))), **{"a.b": az.Parameter((1,))}),
    ],
    ids=["a number and its text as keys", "an attribute with a dot"],
)
def test_S_15_two_parameters_cannot_have_one_path(collide: Callable[[], nn.Module]):
    """Where two places would have one path is an error, at the latest when they are listed."""
    with pytest.raises(az.StructureError):
        collide().state_dict()


def test_S_16_names_depend_on_the_network_alone():
    """A second network of the same kind has the same names, also as a part of a larger one."""
    first, second = tied_net(), tied_net()
    assert list(first.state_dict()) == list(second.state_dict())
    inner = Holder(part=second).state_dict()
    assert list(inner) == [f"part.{path}" for path in first.state_dict()]


def test_S_17_values_depend_on_the_seed_and_the_path_only():
    """Adding, widening and reordering other layers changes no value of a layer that stays."""

    def draw(**layers: nn.Module) -> jax.Array:
        net = Holder(**layers)
        net.initialize(seed=7)
        return net.kept.weight.value

    alone = draw(kept=nn.Linear(3, 3))
    more = draw(before=nn.Linear(3, 9), kept=nn.Linear(3, 3), drop=nn.Dropout(0.1))
    turned = draw(kept=nn.Linear(3, 3), before=nn.Dense(5))
    np.testing.assert_array_equal(alone, more)
    np.testing.assert_array_equal(alone, turned)


class Branching(nn.Module):
    """Calls one of its two branches only."""

    def __init__(self) -> None:
        self.used = nn.Dense(2)
        self.spare = nn.Dense(2)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.used(x)


def test_S_18_parameters_that_no_call_reached_are_listed(tmp_path: Path):
    """They exist, print as deferred, and whoever needs their value names every one."""
    net = Branching()
    net(X)
    assert [p.is_deferred for p in net.parameters()] == [False, False, True, False]
    assert "spare.weight (shape=(2, None), dtype=float32, deferred)" in repr(net.collect_params())
    for needed in (net.state_dict, lambda: net.save(tmp_path / "net.safetensors")):
        with pytest.raises(az.DeferredInitializationError, match=r"'spare\.weight'"):
            needed()
    assert net.initialize()["spare.weight"].status == "deferred"


def test_S_19_a_summary_counts_a_tied_parameter_once_and_says_with_whom_it_is_shared():
    """The row of each further name names the first one; 9 + 3 + 3 numbers are counted."""
    net = tied_net()
    table = net.summary()
    rows = {row.path: row for row in table.rows}
    assert rows["3.weight"].shared_with == "0.weight"
    assert rows["3.weight"].count is None
    assert table.totals.parameters == 15
    assert "= 0.weight" in str(table)


def test_S_20_an_entry_that_no_layer_uses_is_reported():
    """The pure call and the load refuse a state with one name too many."""
    net = nn.Linear(3, 2)
    state = {**net.state_dict(), "zzz": jnp.ones(2)}
    with pytest.raises(az.PathError, match="'zzz'"):
        az.functional_call(net, state, X)
    with pytest.raises(az.CheckpointError, match="zzz"):
        net.load_state_dict(state)


def test_S_21_a_load_names_everything_that_it_did_not_fill():
    """Missing names are an error, or, where that is allowed, listed in the report."""
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm(3))
    before = net.state_dict()
    state = {"0.weight": jnp.ones((3, 3)), "0.bias": jnp.ones(3), "1.weight": jnp.ones(3)}
    missing = ["1.bias", "1.running_mean", "1.running_var"]
    with pytest.raises(az.CheckpointError) as caught:
        net.load_state_dict(state)
    assert all(path in str(caught.value) for path in missing)
    assert unchanged(net, before)
    report = net.load_state_dict(state, strict=False)
    assert report.missing_keys == missing
    # Only PyTorch counts batches: other files may leave that out, and the report says that they do.
    assert report.paths("optional") == ["1.num_batches_tracked"]
    np.testing.assert_array_equal(net[1].running_var.value, before["1.running_var"])


@pytest.mark.parametrize(
    ("prefix", "count", "files"),
    [
        pytest.param("PT", 26, "test_traps_of_pytorch*.py", id="S-22"),
        pytest.param("GT", 35, "test_traps_of_gluon*.py", id="S-23"),
    ],
)
def test_S_22_S_23_every_trap_has_a_test_or_is_listed_as_later(prefix: str, count: int, files: str):
    """The two further lists are covered number by number."""
    found: set[int] = set()
    for file in Path(__file__).parent.glob(files):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        found |= {int(n) for name in names for n in re.findall(rf"{prefix}_(\d+)_", name)}
        later = re.findall(rf"^\* {prefix}-(\d+)", ast.get_docstring(tree) or "", re.MULTILINE)
        found |= {int(n) for n in later}
    assert found == set(range(1, count + 1))


def test_S_24_shapes_are_checked_when_a_layer_is_shared():
    """`Dense(9)` cannot have the parameters of a `Dense(8)`."""
    donor = nn.Dense(8, in_units=3)
    with pytest.raises(az.TieError, match=r"(?s)8.*9|9.*8"):
        nn.Dense(9, in_units=3, params=donor.collect_params())


def test_S_25_a_failed_load_changes_nothing(tmp_path: Path):
    """One entry that does not fit keeps all others from being read, from a file as from a dict."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 4))
    other.save(tmp_path / "other.safetensors")
    before = net.state_dict()
    with pytest.raises(az.CheckpointError):
        net.load_state_dict(other.state_dict())
    with pytest.raises(az.CheckpointError):
        net.load(tmp_path / "other.safetensors")
    assert unchanged(net, before)


def test_S_26_one_call_lists_the_parameters_that_cannot_train():
    """Trainable parameters without a gradient path are found, whatever the reason."""

    class Faulty(nn.Module):
        def __init__(self) -> None:
            self.good = nn.Linear(3, 3)
            self.cut = nn.Linear(3, 3)
            self.rounded = az.Parameter((3,), init="ones")
            self.unused = nn.Linear(3, 3)
            self.frozen = nn.Linear(3, 3).freeze()

        def forward(self, x: jax.Array) -> jax.Array:
            y = self.good(x) + jax.lax.stop_gradient(self.cut(x))
            return y * jnp.round(self.rounded.value)

    net = Faulty()
    expected = ["rounded", "cut.weight", "cut.bias", "unused.weight", "unused.bias"]
    assert az.without_gradient(total, net, X) == expected
    assert az.without_gradient(az.jit(total), net, X) == expected
    assert az.without_gradient(total, nn.Sequential(nn.Dense(2), nn.ReLU()), X) == []


def test_S_26_a_parameter_that_no_call_reaches_is_listed_too():
    """It is trainable and will never train, whether or not its shape is known."""
    paths = az.without_gradient(total, Branching(), X)
    assert paths == ["spare.weight", "spare.bias"]
