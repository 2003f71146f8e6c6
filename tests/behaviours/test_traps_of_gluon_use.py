"""GT-20 … GT-35: the traps of Gluon in use, each as what holds in Ansatz.

The numbers are those of the list of traps in the reference on Gluon. What belongs to parts of the
library that are still to come:

* GT-27, hyper-parameters in a stored trainer state: with resuming from a file.
* GT-28, the names in exported files: with the reader of MXNet's format.
"""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import re
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import nn
from ansatz.core import errors
from tests.behaviours.networks import Holder, MyDense, X, squared, unchanged


def test_GT_20_what_is_no_layer_is_refused_and_deleting_deletes():
    """`Sequential` takes layers, names are taken once, and `del` removes the parameters."""
    net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    for wrong in (3, "relu", jnp.sin, nn.Linear):
        with pytest.raises(TypeError, match="module"):
            net.add(wrong)
        with pytest.raises(TypeError, match="module"):
            nn.Sequential(wrong)
    with pytest.raises(az.StructureError, match="taken"):
        net.add_module("0", nn.Linear(1, 1))
    del net[0]
    assert list(net.collect_params()) == ["0.weight", "0.bias"]
    holder = Holder(child=nn.Linear(1, 1))
    del holder.child
    assert list(holder.collect_params()) == []


def test_GT_20_an_unknown_setting_of_parameters_is_refused():
    """A mistyped attribute of a parameter, or of all of them, is no new attribute."""
    net = nn.Linear(2, 2)
    with pytest.raises(AttributeError):
        net.weight.trainble = False
    with pytest.raises(AttributeError):
        net.collect_params().trainable = False


def test_GT_21_looking_up_never_creates():
    """A mistyped name raises, whatever way it was looked up."""
    net = nn.Sequential(nn.Linear(2, 2))
    before = list(net.state_dict())
    for look in (
        lambda: net.get_parameter("0.wieght"),
        lambda: net.collect_params()["0.wieght"],
        lambda: net[0].wieght,
        lambda: net.get_submodule("1"),
    ):
        with pytest.raises((az.PathError, AttributeError)):
            look()
    assert net.collect_params().get("0.wieght") is None
    assert list(net.state_dict()) == before


def test_GT_22_an_unknown_initialiser_is_refused_where_it_is_written():
    """When the layer is built, not when it is initialised; the near name is given."""
    with pytest.raises(ValueError, match="'xavire'; did you mean 'xavier'"):
        nn.Dense(2, weight_init="xavire")
    with pytest.raises(TypeError, match="5"):
        az.Parameter((2,), init=5)


def test_GT_23_patterns_are_whole_globs_and_an_empty_selection_warns():
    """A glob matches a whole path; a regular expression is compiled, and searches."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert list(net.collect_params("0.*")) == ["0.weight", "0.bias"]
    assert list(net.collect_params("*.weight")) == ["0.weight", "1.weight"]
    assert list(net.collect_params(re.compile("weight"))) == ["0.weight", "1.weight"]
    assert list(net.collect_params(re.compile(r"^1\.|0\.b"))) == ["0.bias", "1.weight", "1.bias"]
    with pytest.warns(az.UnmatchedRuleWarning, match=r"re\.compile"):
        assert len(net.collect_params(".*weight|.*bias")) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", az.UnmatchedRuleWarning)
        with pytest.raises(az.UnmatchedRuleWarning):
            net.collect_params("weight")


def test_GT_24_two_trainers_on_the_same_parameters_are_reported():
    """The second one warns and names the parameters; a tied parameter is no duplicate."""
    net = nn.Sequential(nn.Linear(3, 3))
    shared = nn.Sequential(net[0], net[0])
    first = az.Trainer(net, optax.sgd(0.1), squared)
    second = az.Trainer(shared, optax.sgd(0.1), squared)
    first.step(X, X)
    with pytest.warns(UserWarning, match=r"two trainers.*'0\.weight'"):
        second.step(X, X)


def test_GT_25_errors_are_errors_and_warnings_are_warnings():
    """No class is raised under the name of the other kind."""
    public = [getattr(errors, name) for name in errors.__all__]
    for cls in public:
        if isinstance(cls, type):
            assert issubclass(cls, Warning) == cls.__name__.endswith("Warning")
            assert issubclass(cls, az.AnsatzError) != issubclass(cls, Warning)


def test_GT_26_weight_decay_is_masked_by_path():
    """A function of paths decides; biases and norm scales stay out of it."""
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm(3))
    for parameter in net.parameters():
        parameter.value = np.ones(parameter.shape, np.float32)
    decayed = optax.add_decayed_weights(1.0, mask=lambda params: {k: "0.w" in k for k in params})
    trainer = az.Trainer(net, optax.chain(decayed, optax.sgd(0.5)), lambda o, y: (o * 0).mean())
    trainer.step(X, X)
    means = {path: float(p.value.mean()) for path, p in net.collect_params().items()}
    assert means == {"0.weight": 0.5, "0.bias": 1, "1.weight": 1, "1.bias": 1}


@pytest.mark.parametrize("value", [np.ones((2, 2)), np.ones((2, 2), np.int32), np.eye(2) > 0])
def test_GT_29_nothing_is_cast_silently(value: np.ndarray[Any, Any]):
    """Setting a value of another dtype is refused; only the cast that is asked for happens."""
    layer = nn.Linear(2, 2)
    before = layer.state_dict()
    with pytest.raises(az.DTypeError, match=rf"'weight'.*float32.*{value.dtype}"):
        layer.weight.value = value
    with pytest.raises(az.DTypeError):
        layer.collect_params().cast("int32")
    assert unchanged(layer, before)
    layer.collect_params().cast("float16")
    assert layer.weight.value.dtype == np.float16


@pytest.mark.parametrize("value", [np.full((2, 2), 1 / 3), np.full((2, 2), 1j)])
def test_GT_29_nor_in_an_edit_in_place(value: np.ndarray[Any, Any]):
    """Writing a wider array into a part would round it."""
    layer = nn.Linear(2, 2)
    with pytest.raises(az.DTypeError, match="float32"):
        layer.weight.data[:] = value


def test_GT_29_an_edit_beyond_the_end_is_an_error():
    """As in NumPy; JAX itself drops such a write, and reads the last row instead."""
    layer = nn.Linear(2, 3)
    with pytest.raises(IndexError, match=r"5"):
        layer.weight.data[5, 0] = 1
    with pytest.raises(IndexError, match=r"5"):
        layer.weight[5]


def test_GT_30_inputs_may_be_given_by_keyword():
    """Also where shapes wait for them, and in compiled calls."""
    net = nn.Sequential(nn.Dense(4), MyDense(2))
    np.testing.assert_array_equal(net(x=X), net(X))
    np.testing.assert_allclose(az.jit(net)(x=X), net(X), rtol=1e-5, atol=1e-6)
    assert MyDense(2)(x=X).shape == (4, 2)


def test_GT_31_an_error_is_raised_by_the_call_that_made_it():
    """It carries the path of the layer and what it was called with."""

    class Failing(nn.Module):
        def forward(self, x: jax.Array) -> jax.Array:
            return x @ jnp.ones((7, 7))

    net = nn.Sequential(nn.Dense(2), Holder(), Failing())
    net[1].forward = lambda x: x
    for call in (net, az.jit(net)):
        with pytest.raises(TypeError) as caught:
            call(X)
        assert any("layer '2', Failing()" in note for note in caught.value.__notes__)


def test_GT_32_printing_shows_own_parameters_and_marks_ties():
    """A layer of one's own that says nothing about itself shows its parameters."""
    net = nn.Sequential(MyDense(2), MyDense(2))
    assert "weight" in repr(net[0])
    assert "(2, None)" in repr(net[0])
    net[1].weight = net[0].weight
    assert "weight shared with 0.weight" in repr(net)
    assert "also 1.weight" in repr(net.collect_params())


def test_GT_33_no_scopes_are_needed():
    """Two layers built anywhere, in any order, get their names from where they stand."""
    late = nn.Dense(1)
    early = nn.Dense(1)
    net = Holder(a=early, b=Holder(c=late))
    assert [path.rpartition(".")[0] for path in net.collect_params()] == ["a", "a", "b.c", "b.c"]
    assert late.weight.path == "b.c.weight"


def test_GT_34_compiled_and_eager_calls_agree():
    """Unused parameters, unused children, constants and other inputs make no difference."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            self.unused = az.Parameter((2,))
            self.constant = az.Parameter(np.ones(3, np.float32), trainable=False)
            self.spare = nn.Dense(2)
            self.used = nn.Dense(2)

        def forward(self, x: jax.Array, lengths: Any = None, *, twice: bool = False) -> Any:
            y = self.used(x * self.constant.value)
            y = y if lengths is None else jnp.where(jnp.arange(len(x))[:, None] < lengths, y, 0)
            return {"y": y, "twice": 2 * y if twice else None}

    net = Odd()
    compiled = az.jit(net.forward, static_argnames="twice")
    for kwargs in ({}, {"lengths": 2}, {"twice": True}, {"lengths": jnp.array(3), "twice": True}):
        expected, found = net(X, **kwargs), compiled(X, **kwargs)
        assert jax.tree.structure(expected) == jax.tree.structure(found)
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transform", [lambda f: f, az.jit, az.remat], ids=["", "jit", "remat"])
def test_GT_35_running_statistics_change_in_the_forward_pass_once(transform: Any):
    """With or without gradients, one training call is one update of a tenth of the batch mean."""
    for differentiate in (False, True):
        net = nn.Sequential(nn.BatchNorm(3))

        def loss(net: nn.Module, x: Any) -> jax.Array:
            return (net(x) ** 3).sum()

        transform(az.grad(loss) if differentiate else loss)(net, X)
        np.testing.assert_allclose(net[0].running_mean.value, 0.1 * X.mean(0), rtol=1e-4, atol=1e-6)
        assert int(net[0].num_batches_tracked.value) == 1
        net.eval()(X)
        assert int(net[0].num_batches_tracked.value) == 1
