import gc
import weakref

import jax
import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz.core.node import cells_of, own_entries, path_of, root_of, walk
from tests.core.layers import Affine, Chain


def test_cells_come_before_nodes():
    net = az.Module()
    net.child = Affine(1)
    net.own = az.State(0)
    assert [name for name, _ in own_entries(net)] == ["own", "child"]


def test_each_cell_has_one_canonical_path_and_walk_gives_all():
    shared = Affine(1, 1)
    net = Chain(shared, shared)
    assert list(cells_of(net).values()) == ["layers.0.weight", "layers.0.bias"]
    assert [path for path, entry in walk(net) if isinstance(entry, az.Parameter)] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
    ]


def test_a_module_inside_itself_is_entered_once():
    net = Chain(Affine(1, 1))
    net.layers[0].parent = net
    assert list(net.collect_params()) == ["layers.0.weight", "layers.0.bias"]
    assert len(list(net.modules())) == 2


def test_the_root_is_the_outermost_module():
    inner = Affine(1)
    net = Chain(Chain(inner))
    assert root_of(inner) is net
    assert path_of(inner) == "layers.0.layers.0"
    assert path_of(net) == ""


def test_a_module_whose_parent_is_gone_is_a_root():
    inner = Affine(1)
    net = Chain(inner)
    del net
    gc.collect()
    assert root_of(inner) is inner
    assert inner.weight.path == "weight"


def test_a_child_does_not_keep_its_parent_alive():
    net = Chain(Affine(1))
    inner, gone = net.layers[0], weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    assert inner.units == 1


def test_a_missing_attribute_suggests_near_names():
    with pytest.raises(AttributeError, match=r"Affine has no attribute 'wieght'; did you mean 'we"):
        _ = Affine(1).wieght


def test_an_error_in_a_property_is_the_one_that_is_shown():
    class Net(az.Module):
        @property
        def width(self):
            return self.missing_part

    with pytest.raises(AttributeError, match="missing_part"):
        _ = Net().width


def test_a_property_with_a_setter_is_called():
    class Net(az.Module):
        @property
        def rate(self):
            return self._rate

        @rate.setter
        def rate(self, new):
            self._rate = 2 * new

    net = Net()
    net.rate = 3
    assert net.rate == 6


def test_a_parameter_is_not_overwritten_by_an_array():
    net = Affine(2, 2)
    with pytest.raises(TypeError, match=r"parameter 'weight' .* by float32\[2, 2\]; .*\.value = v"):
        net.weight = jnp.ones((2, 2))
    with pytest.raises(TypeError, match="cannot be replaced"):
        net.weight = net.weight * 2


def test_a_parameter_may_be_replaced_by_none():
    net = Affine(2, 2)
    net.bias = None
    assert list(net.collect_params()) == ["weight"]


def test_a_tie_by_assignment_checks_shape_and_dtype():
    net = Chain(Affine(2, 3), Affine(3, 2))
    with pytest.raises(az.TieError, match=r"shape \(2, 3\).*declared with shape \(3, 2\).*transp"):
        net.layers[1].weight = net.layers[0].weight
    half = az.Parameter((3, 2), dtype="float16")
    with pytest.raises(az.TieError, match="float16"):
        net.layers[1].weight = half


def test_a_tie_by_assignment_joins_what_the_shapes_say():
    net = Chain(Affine(3), Affine(3, 7))
    net.layers[1].weight = net.layers[0].weight
    assert net.layers[0].weight.shape == (3, 7)


def test_a_concrete_array_may_be_an_attribute():
    net = az.Module()
    net.table = jnp.arange(3)
    assert az.jit(lambda net: net.table.sum())(net) == 3
    net.table = jnp.arange(4)
    assert az.jit(lambda net: net.table.sum())(net) == 6


def test_a_deleted_attribute_is_noticed_by_compiled_functions():
    class Net(az.Module):
        def forward(self, x):
            return x * 2 if hasattr(self, "double") else x

    net = Net()
    net.double = True
    run = az.jit(lambda net, x: net(x))
    assert run(net, 1.0) == 2
    del net.double
    assert run(net, 1.0) == 1


def test_names_that_the_library_uses_inside_are_free_for_users():
    net = az.Module()
    net.path, net.cells, net.root, net.value = 1, 2, 3, 4
    net.layer = Affine(1)
    assert net.layer.weight.path == "layer.weight"
    assert (net.path, net.cells, net.root, net.value) == (1, 2, 3, 4)


def test_a_module_is_no_pytree_whatever_jax_function_it_meets():
    net = Chain(Affine(1, 1))
    for use in (jax.tree.leaves, jax.jit(lambda n: 0), lambda n: jax.tree.map(lambda a: a, n)):
        with pytest.raises(az.TraceError, match=r"Chain was passed to .*az\.functional_call"):
            use(net)


@pytest.mark.parametrize("value", [az.State(0), Affine(1), [Affine(1)], 3], ids=type)
def test_an_attribute_that_would_hide_a_method_of_every_module_is_refused(value):
    net = az.Module()
    with pytest.raises(
        az.core.errors.StructureError, match=r"cannot be called 'load'.*net\.load\(\)"
    ):
        net.load = value


def test_a_layer_may_be_called_summary_as_some_of_pytorch_are():
    net = Chain()
    net.summary = Affine(1, 1)
    assert list(net.collect_params()) == ["summary.weight", "summary.bias"]


def test_a_method_may_be_replaced_by_a_function():
    net = Chain(Affine(1))
    net.forward = lambda x: 2 * x
    assert net(3) == 6
