import abc
import copy
import dataclasses
import pickle
from typing import Protocol

import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Branches, Centre, Chain, Mask, inputs, mean_square, sgd


class Tied(az.Module):
    """Two layers of one weight, and a third that sees it transposed."""

    def __init__(self):
        self.first = Affine(5, 5)
        self.second = Affine(5, 5)
        self.third = Affine(5, 5)
        self.second.weight = self.first.weight
        az.tie(self, "first.weight", "third.weight", transpose=True)

    def forward(self, x):
        return self.third(self.second(self.first(x)))


def notes_of(error):
    """The notes that are ours: JAX adds one of its own on hidden frames."""
    return [note for note in error.__notes__ if note.startswith("in ")]


# -- building -----------------------------------------------------------------------------------


def test_a_subclass_may_forget_to_call_super():
    layer = Affine(3)
    assert layer.training
    assert layer(inputs()).shape == (4, 3)


def test_a_data_class_may_be_a_module():
    @dataclasses.dataclass
    class Scale(az.Module):
        width: int

        def __post_init__(self):
            self.weight = az.Parameter((self.width,), init="ones")

        def forward(self, x):
            return x * self.weight.value

    net = Scale(5)
    run = az.jit(lambda net, x: net(x))
    assert_array_equal(run(net, inputs()), inputs())
    run(net, inputs())
    assert run.traces == 1
    assert copy.deepcopy(net).weight is not net.weight


class Registered:
    """A mixin of another library that sets something up when an object is made."""

    def __new__(cls, *args, **kwargs):
        made = super().__new__(cls)
        made.tag = [len(args), dict(kwargs)]
        return made


@pytest.mark.parametrize("bases", [(az.Module, Registered), (Registered, az.Module)])
def test_the_new_of_a_mixin_is_called_wherever_it_stands(bases):
    class Net(*bases):
        def __init__(self, units, *, scale):
            self.weight = az.Parameter((units,), init="ones")

    net = Net(2, scale=3)
    assert net.tag == [1, {"scale": 3}]
    assert net.training
    assert list(net.collect_params()) == ["weight"]
    assert copy.deepcopy(net).tag == [1, {"scale": 3}]


def test_a_module_may_be_an_abstract_class_and_follow_a_protocol():
    class Called(Protocol):
        def forward(self, x): ...

    class Base(az.Module, Called, abc.ABC):
        @abc.abstractmethod
        def forward(self, x): ...

    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert type("Net", (Base,), {"forward": lambda self, x: x})()(3) == 3


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r"Module has no forward(?s:.*)def forward"):
        az.Module()(1)


@pytest.mark.parametrize("name", ["call", "hybrid_forward"])
def test_a_module_that_is_written_as_elsewhere_is_told_the_name_of_forward(name):
    net = type("Net", (az.Module,), {name: lambda self, x: x})()
    with pytest.raises(NotImplementedError, match=f"that is what '{name}' is called here"):
        net(1)


def test_a_child_may_have_a_name_with_spaces():
    net = az.Module()
    assert net.add_module("my layer", Affine(1, 2)) is net
    assert list(net.collect_params()) == ["my layer.weight", "my layer.bias"]
    assert net.get_submodule("my layer") is getattr(net, "my layer")
    assert "(my layer)" in repr(net)
    assert "my layer" not in dir(net)


@pytest.mark.parametrize("name", ["", "a.b"])
def test_a_name_that_would_break_a_path_is_refused(name):
    with pytest.raises(az.StructureError, match="holds no dot"):
        az.Module().add_module(name, Affine(1))


@pytest.mark.parametrize("name", ["forward", "train", "training", "taken"])
def test_a_name_that_is_taken_is_refused(name):
    net = az.Module()
    net.taken = 3
    with pytest.raises(az.StructureError, match=rf"cannot be called '{name}'"):
        net.add_module(name, Affine(1))


def test_only_modules_are_children():
    with pytest.raises(TypeError, match="a child is a module, got 3"):
        az.Module().add_module("a", 3)


# -- walking ------------------------------------------------------------------------------------


def test_children_and_modules_come_once_each_in_definition_order():
    shared = Affine(1)
    net = Chain(shared, Chain(Affine(2), shared))
    assert [name for name, _ in net.named_children()] == ["layers.0", "layers.1"]
    assert [name for name, _ in net.named_modules()] == [
        "",
        "layers.0",
        "layers.1",
        "layers.1.layers.0",
    ]
    assert len(list(net.children())) == 2
    assert len(list(net.modules())) == 4


def test_apply_visits_children_first_and_each_once():
    shared = Affine(1)
    net, seen = Chain(shared, Chain(shared)), []
    assert net.apply(seen.append) is net
    assert seen == [shared, net.layers[1], net]


def test_train_and_eval_reach_everything_and_return_the_module():
    net = Chain(Mask(), [{"a": Centre()}])
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())


def test_paths_lead_to_modules_and_parameters():
    net = Chain(Affine(1, 2))
    assert net.get_parameter("layers.0.weight") is net.layers[0].weight
    assert net.get_submodule("") is net
    with pytest.raises(
        az.PathError, match=r"nothing at 'layers.0.wight'; did you mean 'layers.0.w"
    ):
        net.get_parameter("layers.0.wight")
    with pytest.raises(az.PathError, match="is a Affine, not a parameter"):
        net.get_parameter("layers.0")
    with pytest.raises(az.PathError, match="is a Parameter, not a module"):
        net.get_submodule("layers.0.weight")


def test_named_parameters_lists_ties_on_request():
    net = Tied()
    assert [path for path, _ in net.named_parameters()] == [
        "first.weight",
        "first.bias",
        "second.bias",
        "third.bias",
    ]
    assert [path for path, _ in net.named_parameters(remove_duplicate=False)] == [
        "first.weight",
        "first.bias",
        "second.weight",
        "second.bias",
        "third.weight",
        "third.bias",
    ]


def test_states_are_named_apart():
    net = Chain(Affine(1, 1), Centre(), Mask())
    assert [path for path, _ in net.named_states()] == [
        "layers.1.mean",
        "layers.1.calls",
        "layers.2.stream",
    ]


# -- calling ------------------------------------------------------------------------------------


def test_a_hook_sees_and_may_replace_the_output():
    net, seen = Affine(1, 5), []
    remove_first = net.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    remove_second = net.register_forward_hook(lambda module, args, out: out * 0)
    run = az.jit(lambda net, x: net(x))
    assert run(net, inputs()).tolist() == [[0]] * 4
    assert seen == [(4, 1)]
    remove_second()
    assert float(jnp.abs(run(net, inputs())).sum()) > 0
    remove_first()
    remove_first()
    assert list(net.collect_params()) == ["weight", "bias"]


def test_an_error_in_a_nested_forward_carries_one_note_with_path_and_shapes():
    class Broken(az.Module):
        def forward(self, x):
            return jnp.dot(x, jnp.ones(99))

    net = Chain(Affine(3), Chain(Broken()))
    with pytest.raises(TypeError) as caught:
        net(inputs())
    assert notes_of(caught.value) == [
        "in layer 'layers.1.layers.0', Broken(), called with (float32[4, 3])"
    ]


def test_the_notes_of_two_failing_calls_do_not_add_up():
    class Broken(az.Module):
        def forward(self, x):
            raise error

    error = RuntimeError("always the same object")
    net = Chain(Broken())
    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            net(inputs())
    assert len(notes_of(caught.value)) == 1


def test_control_flow_on_values_works_eagerly_and_explains_itself_under_jit():
    class Choose(az.Module):
        def __init__(self):
            self.layer = Affine(3)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else self.layer(-x)

    net = Chain(Choose())
    assert net(jnp.ones((2, 5))).shape == (2, 3)
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        az.jit(lambda net, x: net(x))(net, jnp.ones((2, 5)))
    notes = notes_of(caught.value)
    assert len(notes) == 1
    assert "layer 'layers.0', Choose()" in notes[0]
    assert "jax.numpy.where or jax.lax.cond" in notes[0]


def test_a_wrong_width_names_the_layer_its_class_its_shapes_and_the_input():
    net = Chain(Affine(3), Affine(2))
    net(inputs(width=5))
    with pytest.raises(az.ShapeError) as caught:
        net(inputs(width=6))
    message = str(caught.value)
    for part in ("layer 'layers.0'", "Affine(", "float32[4, 6]", "weight has shape (3, 5)"):
        assert part in message


# -- copies -------------------------------------------------------------------------------------

COPIES = pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)


@COPIES
def test_a_copy_keeps_its_ties_and_computes_the_same(copied):
    net = Tied()
    net.initialize(seed=1)
    other = copied(net)
    assert other.second.weight is other.first.weight
    assert other.third.weight.base is other.first.weight
    assert other.first.weight is not net.first.weight
    assert_array_equal(other(inputs()), net(inputs()))


@COPIES
@pytest.mark.parametrize("donor", ["net", "other"])
def test_neither_a_copy_nor_its_original_loses_its_values_to_donation(copied, donor):
    net = Chain(Affine(5), Centre(), Mask(), Affine(1))
    step = az.jit(sgd)
    step(net, inputs())
    other = copied(net)
    kept = net if donor == "other" else other
    before = jax.tree.map(lambda a: a.tolist(), kept.state_dict())
    for _ in range(2):
        step(net if donor == "net" else other, inputs())
    assert {path: value.tolist() for path, value in kept.state_dict().items()} == before
    step(kept, inputs())


@COPIES
def test_a_copy_of_a_deferred_network_settles_by_itself(copied):
    net = Chain(Affine(3))
    other = copied(net)
    other(inputs(width=7))
    net(inputs(width=5))
    assert net.layers[0].weight.shape == (3, 5)
    assert other.layers[0].weight.shape == (3, 7)


@COPIES
def test_a_copy_shares_the_compiled_program(copied):
    net = Chain(Affine(3, 5))
    run = az.jit(mean_square)
    run(net, inputs())
    run(copied(net), inputs())
    assert run.traces == 1


@COPIES
def test_a_planned_initialisation_is_copied(copied):
    net = Chain(Affine(3))
    net.initialize("ones", seed=1)
    other = copied(net)
    other(inputs())
    assert float(other.layers[0].weight.value.sum()) == 15


def test_a_copy_of_a_copy_of_a_part():
    net = Chain(Affine(5, 5))
    net.initialize(seed=0)
    net.layers.append(copy.deepcopy(net.layers[0]))
    net.layers.append(copy.deepcopy(copy.deepcopy(net.layers[0])))
    step = az.jit(sgd)
    step(net, inputs())
    step(net, inputs())
    assert len(net.state_dict()) == 6


# -- state dicts --------------------------------------------------------------------------------


def test_a_state_dict_does_not_change_afterwards():
    net = Chain(Affine(1, 5), Centre())
    net(inputs())
    state = net.state_dict()
    before = {path: value.tolist() for path, value in state.items()}
    step = az.jit(sgd)
    step(net, inputs())
    step(net, inputs())
    assert {path: value.tolist() for path, value in state.items()} == before


def test_a_state_dict_names_every_parameter_without_a_shape():
    net = Branches(Affine(1), Affine(2))
    net(jnp.ones((1, 5)))
    with pytest.raises(az.DeferredInitializationError, match=r"'many.weight' are not known yet"):
        net.state_dict()


def test_a_state_dict_lists_aliases_on_request():
    net = Tied()
    assert list(net.state_dict(aliases=True)) == [
        "first.weight",
        "first.bias",
        "second.weight",
        "second.bias",
        "third.weight",
        "third.bias",
    ]
    assert_array_equal(
        net.state_dict(aliases=True)["third.weight"], net.state_dict()["first.weight"].T
    )


def test_printing_shows_the_tree_and_what_is_shared():
    net = Tied()
    assert "# weight shared with first.weight" in repr(net)
    shared = Affine(1)
    assert "# shared with layers.0" in repr(Chain(shared, shared))


def test_freeze_and_unfreeze_return_the_module():
    net = Chain(Affine(1, 1))
    assert net.freeze("*.weight") is net
    assert [path for path, p in net.named_parameters() if p.trainable] == ["layers.0.bias"]
    assert net.unfreeze() is net
    assert all(p.trainable for p in net.parameters())
