import copy
from collections import OrderedDict

import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import nn


def dense(*units):
    return [nn.Dense(n) for n in units]


def names(net):
    return [name for name, _ in net.named_children()]


def test_layers_are_numbered_and_run_in_order():
    a, b = dense(3, 2)
    net = nn.Sequential(a, b)
    assert names(net) == ["0", "1"]
    x = jnp.ones((1, 4))
    assert (net(x) == b(a(x))).all()


def test_layers_are_reached_by_position_from_both_ends():
    a, b, c = dense(3, 2, 1)
    net = nn.Sequential(a, b, c)
    assert (net[0], net[-1], len(net), list(net)) == (a, c, 3, [a, b, c])
    with pytest.raises(IndexError, match="index 5 is out of range for 3 layers"):
        net[5]
    with pytest.raises(IndexError):
        net[-4]


def test_layers_are_reached_by_name_also_with_spaces():
    a, b = dense(3, 2)
    net = nn.Sequential(OrderedDict({"block 0": a, "head": b}))
    assert net["block 0"] is net[0] is a
    assert net["head"] is b
    assert list(net.collect_params()) == [
        "block 0.weight",
        "block 0.bias",
        "head.weight",
        "head.bias",
    ]
    with pytest.raises(az.PathError, match="'block 1'; did you mean 'block 0'"):
        net["block 1"]


def test_names_that_cannot_be_part_of_a_path_are_refused():
    for name in ("", "a.b", "forward"):
        with pytest.raises(az.StructureError):
            nn.Sequential({name: nn.Dense(1)})


def test_add_takes_several_and_returns_the_container():
    a, b, c = dense(3, 2, 1)
    net = nn.Sequential()
    assert net.add(a, b) is net
    assert net.append(c) is net
    assert net.extend([]) is net
    assert list(net) == [a, b, c]


def test_appending_renames_nothing():
    net = nn.Sequential(*dense(1, 2, 3))[1:]
    net.append(nn.Dense(4))
    assert names(net) == ["1", "2", "3"]
    named = nn.Sequential({"body": nn.Dense(1)}).append(nn.Dense(2))
    assert names(named) == ["body", "1"]


def test_inserting_numbers_the_numbered_layers_anew():
    a, b, c = dense(1, 2, 3)
    net = nn.Sequential(a, b)
    assert net.insert(1, c) is net
    assert list(net) == [a, c, b]
    assert names(net) == ["0", "1", "2"]
    named = nn.Sequential({"body": nn.Dense(1), "head": nn.Dense(2)}).insert(0, nn.Dense(3))
    assert names(named) == ["0", "body", "head"]


def test_deleting_closes_the_gap():
    a, b, c = dense(1, 2, 3)
    net = nn.Sequential(a, b, c)
    del net[0]
    assert (list(net), names(net)) == ([b, c], ["0", "1"])
    net = nn.Sequential({"body": a, "neck": b, "head": c})
    del net["neck"]
    assert names(net) == ["body", "head"]
    net = nn.Sequential(a, b, c)
    del net[:2]
    assert list(net) == [c]


def test_pop_returns_what_it_takes_out():
    a, b = dense(1, 2)
    net = nn.Sequential(a, b)
    assert net.pop() is b
    assert net.pop("0") is a
    assert len(net) == 0


def test_replacing_keeps_the_place_and_the_name():
    net = nn.Sequential({"body": nn.Dense(3), "head": nn.Dense(2)})
    new = nn.Dense(5)
    net[0] = new
    assert names(net) == ["body", "head"]
    assert net["body"] is new
    net["head"] = new
    assert net[1] is new


def test_a_slice_shares_the_layers_under_their_names():
    net = nn.Sequential(*dense(1, 2, 3), nn.Dense(4))
    part = net[1:3]
    assert type(part) is nn.Sequential
    assert list(part) == [net[1], net[2]]
    assert list(part.collect_params()) == ["1.weight", "1.bias", "2.weight", "2.bias"]


def test_a_slice_leaves_the_layers_where_they_are_at_home():
    net = nn.Sequential(*dense(1, 2, 3))
    part = net[1:]
    assert part[0].weight.path == "1.weight"
    assert net[1].weight.path == "1.weight"
    outer = nn.Sequential({"inner": net})
    assert part[0].weight.path == "inner.1.weight"
    assert outer["inner"][1] is part[0]


def test_a_slice_keeps_type_mode_and_settings():
    class Scaled(nn.Sequential):
        def __init__(self, *layers, scale):
            super().__init__(*layers)
            self.scale = scale

        def forward(self, x):
            return self.scale * super().forward(x)

    net = Scaled(nn.Identity(), nn.Identity(), scale=3).eval()
    part = net[:1]
    assert type(part) is Scaled
    assert not part.training
    assert part(2) == 6


def test_an_empty_container_is_true_and_gives_back_its_input():
    net = nn.Sequential()
    assert net
    assert net(3) == 3


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (nn.ReLU, r"ReLU\(…\)"),
        ([nn.ReLU()], r"nn.Sequential\(\*layers\)"),
        (jnp.tanh, r"nn.Lambda\(function\)"),
        (3, r"nn.Dense\(8\)"),
    ],
)
def test_what_is_no_layer_is_refused_with_what_to_write(wrong, hint):
    with pytest.raises(TypeError, match=hint):
        nn.Sequential(wrong)


def test_extending_is_all_or_nothing():
    net = nn.Sequential()
    with pytest.raises(TypeError):
        net.extend([nn.Dense(1), 3])
    assert len(net) == 0


def test_a_layer_added_later_is_seen_by_a_compiled_function():
    net = nn.Sequential(nn.Dense(3))
    step = az.jit(lambda net, x: net(x))
    assert step(net, jnp.ones((1, 2))).shape == (1, 3)
    net.append(nn.Dense(5))
    assert step(net, jnp.ones((1, 2))).shape == (1, 5)


def test_a_layer_used_twice_is_printed_as_shared():
    shared = nn.Linear(8, 8)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=8, out_features=8, bias=True)\n"
        "  (1): ReLU()\n"
        "  (2): Linear(in_features=8, out_features=8, bias=True)  # shared with 0\n"
        ")"
    )


def test_nested_containers_are_printed_as_a_tree():
    inner = nn.Sequential({"block 0": nn.Sequential(nn.Linear(4, 8), nn.ReLU())})
    assert repr(nn.Sequential(inner, nn.Linear(8, 1))) == (
        "Sequential(\n"
        "  (0): Sequential(\n"
        "    (block 0): Sequential(\n"
        "      (0): Linear(in_features=4, out_features=8, bias=True)\n"
        "      (1): ReLU()\n"
        "    )\n"
        "  )\n"
        "  (1): Linear(in_features=8, out_features=1, bias=True)\n"
        ")"
    )


def test_a_copy_has_layers_of_its_own():
    net = nn.Sequential(nn.Dense(3, 2))
    other = copy.deepcopy(net)
    other[0].weight.value = jnp.zeros((3, 2))
    assert net[0].weight.value.any()
