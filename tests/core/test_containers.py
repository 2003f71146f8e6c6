import collections
import copy
import pickle
from typing import NamedTuple

import jax.numpy as jnp
import pytest

import ansatz as az
from tests.core.layers import Affine, Chain, inputs


def paths(module):
    return list(module.collect_params())


def test_layers_are_found_in_lists_tuples_and_dicts_nested_at_will():
    net = az.Module()
    net.parts = [{"a": (Affine(1), [Affine(2)])}, Affine(3)]
    assert [path for path, _ in net.named_modules()] == [
        "",
        "parts.0.a.0",
        "parts.0.a.1.0",
        "parts.1",
    ]


def test_layers_in_a_named_tuple_are_found_and_it_stays_one():
    class Pair(NamedTuple):
        left: object
        right: object

    net = az.Module()
    net.pair = Pair(Affine(1), [Affine(2)])
    assert isinstance(net.pair, Pair)
    net.pair.right.append(Affine(3))
    assert len(list(net.children())) == 3


@pytest.mark.parametrize(
    ("change", "length"),
    [
        (lambda items, new: items.append(new), 3),
        (lambda items, new: items.extend([new]), 3),
        (lambda items, new: items.insert(0, new), 3),
        (lambda items, new: items.__setitem__(0, new), 2),
        (lambda items, new: items.__setitem__(slice(0, 1), [new, new]), 3),
        (lambda items, new: items.__iadd__([new]), 3),
        (lambda items, new: items.__imul__(2), 4),
        (lambda items, new: items.pop(), 1),
        (lambda items, new: items.__delitem__(0), 1),
        (lambda items, new: items.remove(items[0]), 1),
        (lambda items, new: items.reverse(), 2),
        (lambda items, new: items.sort(key=id), 2),
        (lambda items, new: items.clear(), 0),
    ],
)
def test_a_compiled_function_sees_every_change_of_a_list(change, length):
    new, spare = Affine(5, 5), Affine(5, 5)
    net = Chain(Affine(5, 5), spare)
    x = inputs()
    run = az.jit(lambda net, x: net(x))
    run(net, x)
    change(net.layers, new)
    assert len(net.layers) == length
    assert jnp.allclose(run(net, x), net(x), atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda items, new: items.__setitem__("c", new),
        lambda items, new: items.update(a=new),
        lambda items, new: items.__ior__({"c": new}),
        lambda items, new: items.setdefault("c", new),
        lambda items, new: items.pop("a"),
        lambda items, new: items.popitem(),
        lambda items, new: items.__delitem__("a"),
        lambda items, new: items.clear(),
    ],
)
def test_a_compiled_function_sees_every_change_of_a_dict(change):
    class Net(az.Module):
        def __init__(self):
            self.parts = {"a": Affine(5, 5), "b": Affine(5, 5)}

        def forward(self, x):
            for part in self.parts.values():
                x = part(x)
            return x

    net, new, x = Net(), Affine(5, 5), inputs()
    run = az.jit(lambda net, x: net(x))
    run(net, x)
    change(net.parts, new)
    assert jnp.allclose(run(net, x), net(x), atol=1e-5)


def test_a_list_in_a_tuple_is_tracked():
    net = Chain(Affine(5, 5))
    net.layers = (net.layers[0], [])
    net.layers[1].append(Affine(2))
    assert paths(net) == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.0.weight",
        "layers.1.0.bias",
    ]


def test_a_subclass_of_dict_keeps_its_class_and_its_changes_are_seen():
    class Net(az.Module):
        def __init__(self):
            self.parts = collections.OrderedDict(a=Affine(5, 5))

        def forward(self, x):
            for part in self.parts.values():
                x = part(x)
            return x

    net, spare, x = Net(), Affine(2, 5), inputs()
    run = az.jit(lambda net, x: net(x))
    run(net, x)
    assert type(net.parts) is collections.OrderedDict
    assert net.parts["a"].weight.path == "parts.a.weight"
    net.parts["b"] = spare
    assert run(net, x).shape == (4, 2)


@pytest.mark.parametrize(
    "kind", [set, frozenset, collections.deque, lambda x: {"a": x[0]}.values()]
)
def test_a_container_without_paths_refuses_layers(kind):
    net = az.Module()
    with pytest.raises(az.StructureError, match=r"holds Affine.*Use a list, a tuple or a dict"):
        net.parts = kind([Affine(1)])


def test_a_set_without_layers_is_an_ordinary_attribute():
    net = az.Module()
    net.names = {"a", "b"}
    assert net.names == {"a", "b"}


def test_a_list_that_grows_behind_the_back_of_its_module_is_refused():
    layers = [Affine(1)]
    net = Chain()
    net.layers = layers
    layers.append(Affine(2))
    with pytest.raises(az.StructureError, match=r"'layers' .*it had 1 items then and has 2 now"):
        net.collect_params()


def test_a_list_whose_item_is_replaced_behind_the_back_of_its_module_is_refused():
    layers = [Affine(1)]
    net = Chain()
    net.layers = layers
    layers[0] = Affine(2)
    with pytest.raises(az.StructureError, match="changed afterwards"):
        net.collect_params()


def test_a_dict_that_grows_behind_the_back_of_its_module_is_refused():
    parts = {}
    net = az.Module()
    net.parts = parts
    parts["a"] = Affine(1)
    with pytest.raises(az.StructureError, match=r"the dict 'parts' .*self\.layers\[key\] = …"):
        net.collect_params()


@pytest.mark.parametrize("key", ["a.b", ""])
def test_a_key_that_would_break_a_path_is_refused(key):
    net = az.Module()
    net.parts = {key: Affine(1)}
    with pytest.raises(az.StructureError, match="cannot be part of a path"):
        net.collect_params()


def test_any_key_is_fine_for_what_is_no_layer():
    net = az.Module()
    net.table = {"a.b": 1, "": 2}
    assert paths(net) == []


def test_a_list_shared_by_two_modules_is_one_list():
    first, second = Chain(Affine(5, 5)), Chain()
    second.layers = first.layers
    second.layers.append(Affine(2, 5))
    assert len(first.layers) == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_the_lists_of_a_copied_module_are_its_own_and_tracked(copied):
    net = Chain(Affine(5, 5))
    other = copied(net)
    other.layers.append(Affine(2, 5))
    assert len(net.layers) == 1
    assert other.layers[1].weight.path == "layers.1.weight"
    assert other.layers[0].weight.path == "layers.0.weight"


@pytest.mark.parametrize(
    "hold",
    [
        lambda net, x: setattr(net, "seen", x),
        lambda net, x: setattr(net, "seen", [x]),
        lambda net, x: net.seen.append(x),
        lambda net, x: net.table.__setitem__("x", x),
        lambda net, x: net.seen.append({"x": (x,)}),
    ],
)
def test_an_array_of_a_trace_cannot_be_left_in_a_module(hold):
    class Net(az.Module):
        def __init__(self):
            self.seen = []
            self.table = {}

        def forward(self, x):
            hold(self, x)
            return x

    net = Net()
    with pytest.raises(az.TraceError, match=r"az\.State"):
        az.jit(lambda net, x: net(x))(net, inputs())
    assert net.seen == []
    assert net.table == {}
