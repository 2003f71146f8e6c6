import collections
import dataclasses
import enum
import gc
import logging
import pathlib
import types
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ansatz as az
from tests.core.layers import Affine, Centre, Chain, Mask, inputs, mean_square, sgd

X = inputs()


def run(net, x):
    return net(x)


def settled(*layers):
    return Chain(*layers).settle_shapes(X)


# -- what is no reason to trace again -----------------------------------------------------------


def test_a_program_is_traced_once_for_many_steps():
    net = settled(Affine(3, 5), Centre(), Mask())
    step = az.jit(sgd)
    for seed in range(4):
        step(net, inputs(seed=seed))
    assert step.traces == 1


@pytest.mark.parametrize(
    "edit",
    [
        lambda net, other: setattr(net.layers[0].weight, "value", jnp.ones((3, 5))),
        lambda net, other: net.layers[0].weight.data.__setitem__((0, 0), 1.0),
        lambda net, other: net.initialize(seed=1, force_reinit=True),
        lambda net, other: net.layers[0].weight.initialize("ones", force_reinit=True),
        lambda net, other: net.collect_params().set({"layers.0.bias": jnp.ones(3)}),
        lambda net, other: net.zero_grad(),
        lambda net, other: net.state_dict(),
        lambda net, other: other.layers.append(Affine(2)),
        lambda net, other: other.eval(),
        lambda net, other: other.freeze(),
        lambda net, other: setattr(other, "anything", object()),
        lambda net, other: Chain(Affine(7, 7)),
        lambda net, other: net.train(),
        lambda net, other: repr(net),
        lambda net, other: az.backward(mean_square, net, X),
    ],
)
def test_values_and_other_networks_are_no_reason_to_trace_again(edit):
    net, other = settled(Affine(3, 5), Centre()), Chain(Affine(3, 5))
    step = az.jit(sgd)
    step(net, X)
    edit(net, other)
    step(net, X)
    assert step.traces == 1


def test_there_and_back_finds_the_old_program():
    net = settled(Affine(3, 5), Centre(), Mask())
    call = az.jit(run)
    for _ in range(2):
        call(net.train(), X)
        call(net.eval(), X)
        net.freeze("*.bias")
        call(net, X)
        net.unfreeze()
    assert call.traces == 3


def test_a_second_network_of_one_architecture_shares_the_program():
    call = az.jit(sgd)
    nets = [settled(Affine(3, 5), Centre(), Mask()) for _ in range(3)]
    for net in nets:
        call(net, X)
    assert call.traces == 1
    assert all(int(net.layers[1].calls.value) == 1 for net in nets)


class Size(enum.Enum):
    SMALL = 1


@dataclasses.dataclass
class Config:
    factor: float = 1.0
    inner: object = None


@dataclasses.dataclass(slots=True)
class SlotConfig:
    factor: float = 1.0


@pytest.mark.parametrize(
    "attribute",
    [
        lambda: np.ones(3),
        lambda: np.float32(2),
        lambda: frozenset({1, 2}),
        lambda: {1, 2},
        lambda: range(3),
        lambda: slice(1, 2),
        lambda: Config(2.0, [Config()]),
        lambda: SlotConfig(2.0),
        lambda: types.SimpleNamespace(a=1, b=[2]),
        lambda: jnp.dtype("float32"),
        lambda: jnp.float32,
        lambda: float("nan"),
        lambda: jax.nn.relu,
        lambda: jnp.tanh,
        lambda: (1, [2, {"a": 3.0}]),
        lambda: collections.OrderedDict(a=1),
        lambda: collections.deque([1]),
        lambda: pathlib.PurePath("a/b"),
        lambda: Size.SMALL,
        lambda: jax.sharding.PartitionSpec("a", None),
        lambda: b"bytes",
        lambda: None,
        lambda: Ellipsis,
        lambda: jax.ShapeDtypeStruct((2,), "float32"),
    ],
)
def test_equal_attributes_share_a_program(attribute):
    call = az.jit(run)
    for _ in range(2):
        net = Chain(Affine(3, 5))
        net.attribute = attribute()
        call(net, X)
        call(net, X)
        net.attribute = attribute()
        call(net, X)
    assert call.traces == 1


def test_a_logger_in_a_module_is_no_reason_to_trace_again():
    class Logs(az.Module):
        def __init__(self):
            self.log = logging.getLogger("ansatz.tests.a")

        def forward(self, x):
            self.log.debug("called")
            return x

    net, call = Logs(), az.jit(run)
    call(net, X)
    net(X)
    logging.getLogger("ansatz.tests.a.b").isEnabledFor(10)
    call(net, X)
    assert call.traces == 1


# -- what is a reason ---------------------------------------------------------------------------


class Reads(az.Module):
    """Multiplies by what `read` finds in its attribute."""

    def __init__(self, attribute, read):
        self.attribute = attribute
        self.read = read
        self.one = az.State(1.0)

    def forward(self):
        return self.one.value * self.read(self.attribute)


def deep():
    outer = inner = types.SimpleNamespace()
    for _ in range(7):
        inner.next = types.SimpleNamespace()
        inner = inner.next
    inner.factor = 1.0
    return outer


def deepest(box):
    while hasattr(box, "next"):
        box = box.next
    return box


CHANGES = {
    "dataclass": (Config, lambda c: c.factor, lambda c: setattr(c, "factor", 2.0)),
    "slots": (SlotConfig, lambda c: c.factor, lambda c: setattr(c, "factor", 2.0)),
    "namespace": (deep, lambda c: deepest(c).factor, lambda c: setattr(deepest(c), "factor", 2.0)),
    "numpy": (lambda: np.ones(1), lambda c: float(c[0]), lambda c: c.__setitem__(0, 2.0)),
    "set": (lambda: {1}, len, lambda c: c.add(2)),
    "bytearray": (lambda: bytearray(b"a"), len, lambda c: c.append(1)),
    "deque": (lambda: collections.deque([1]), len, lambda c: c.append(2)),
    "list": (lambda: [[1]], lambda c: len(c[0]), lambda c: c[0].append(2)),
    "dict": (
        lambda: {"a": ({"b": 1.0},)},
        lambda c: c["a"][0]["b"],
        lambda c: c["a"][0].update(b=2.0),
    ),
    "ordered": (
        lambda: collections.OrderedDict(a=1.0),
        lambda c: c["a"],
        lambda c: c.update(a=2.0),
    ),
    "numpy in dataclass": (
        lambda: Config(inner=np.ones(1)),
        lambda c: float(c.inner[0]),
        lambda c: c.inner.__setitem__(0, 2.0),
    ),
    "set in list": (lambda: [{1}], lambda c: len(c[0]), lambda c: c[0].add(2)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_an_attribute_changed_in_place_is_seen(kind):
    make, read, change = CHANGES[kind]
    net = Reads(make(), read)
    call = az.jit(lambda net: net())
    assert float(call(net)) == 1
    assert float(call(net)) == 1
    assert call.traces == 1
    change(net.attribute)
    assert float(call(net)) == 2
    assert float(call(net)) == 2
    assert call.traces == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.layers.append(Affine(2, 3)),
        lambda net: net.layers.insert(0, Affine(5, 5)),
        lambda net: setattr(net, "layers", [Affine(2, 5)]),
        lambda net: net.eval(),
        lambda net: setattr(net.layers[1], "forward", lambda x: x * 2),
        lambda net: net.layers[0].register_forward_hook(lambda m, a, out: out * 2),
        lambda net: net.collect_params().cast("bfloat16"),
        lambda net: setattr(net.layers[0], "weight", az.Parameter((3, 5), init="ones")),
    ],
)
def test_a_change_of_structure_is_seen(change):
    net = Chain(Affine(3, 5), Centre())
    call = az.jit(run)
    call(net, X)
    change(net)
    reference = az.functional_call(net, net.state_dict(), X, return_state=True)[0]
    assert_allclose(call(net, X), reference, rtol=1e-2)


def test_freezing_is_seen_by_gradients_inside():
    net = Chain(Affine(3, 5))
    step = az.jit(lambda net, x: az.value_and_grad(mean_square)(net, x)[1])
    assert len(step(net, X)) == 2
    net.freeze("*.bias")
    assert list(step(net, X)) == ["layers.0.weight"]
    net.unfreeze()
    assert len(step(net, X)) == 2
    assert step.traces == 2


def test_tying_and_untying_is_seen():
    net = Chain(Affine(5, 5), Affine(5, 5))
    step = az.jit(lambda net, x: az.value_and_grad(mean_square)(net, x)[1])
    assert len(step(net, X)) == 4
    az.tie(net, "layers.0.weight", "layers.1.weight")
    assert len(step(net, X)) == 3
    az.untie(net, "layers.1.weight")
    assert len(step(net, X)) == 4
    assert step.traces == 2


def test_an_attribute_that_changes_on_every_call_warns_once():
    net = Chain(Affine(3, 5))
    call = az.jit(run)

    def change_and_call():
        for count in range(20):
            net.count = count
            call(net, X)

    with pytest.warns(az.RecompilationWarning, match=r"az\.State") as seen:
        change_and_call()
    assert len(seen) == 1


# -- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda f, net: f(net, X),
        lambda f, net: f(net=net, x=X),
        lambda f, net: az.grad(lambda n, x: f(n, x).sum())(net, X),
        lambda f, net: az.jit(lambda n, x: f(n, x))(net, X),
    ],
    ids=["positional", "keyword", "in grad", "in jit"],
)
def test_a_network_is_collected_although_the_function_lives_on(call):
    function = az.jit(run)
    net = Chain(Affine(3), Mask())
    call(function, net)
    call(function, net)
    gone = weakref.ref(net), weakref.ref(net.layers[0].weight)
    del net
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    call(function, Chain(Affine(3), Mask()))


def test_a_network_in_a_container_is_collected_too():
    function = az.jit(lambda nets, x: nets["a"][0](x))
    net = Chain(Affine(3))
    function({"a": [net]}, X)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_compiled_function_is_collected_although_the_network_lives_on():
    net = Chain(Affine(3))
    function = az.jit(run)
    function(net, X)
    gone = weakref.ref(function)
    del function
    gc.collect()
    assert gone() is None
    az.jit(run)(net, X)


def test_a_function_that_closes_over_its_network_goes_with_it():
    def make():
        net = Chain(Affine(3))
        function = az.jit(lambda x: net(x))
        function(X)
        return function, weakref.ref(net)

    function, gone = make()
    assert gone() is not None
    del function
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", ["positional", "keyword"])
def test_the_arrays_of_a_call_are_not_kept(kind):
    net = Chain(Affine(3))
    function = az.jit(run)
    x = inputs()
    gone = weakref.ref(x)
    function(net, x) if kind == "positional" else function(net=net, x=x)
    del x
    gc.collect()
    assert gone() is None


def test_no_tracer_is_left_behind():
    net = Chain(Affine(3, 5), Centre(), Mask())
    net(X)
    inner = az.jit(mean_square)
    with jax.checking_leaks():
        az.jit(sgd)(net, X)
        az.jit(lambda net, x: inner(net, x))(net, X)
        az.grad(inner)(net, X)
        az.remat(net)(X)
        az.jit(lambda net, x: az.vmap(net.eval())(x))(net, X)
