import dataclasses
import functools
import types
import weakref

import jax.numpy as jnp
import pytest
from numpy.testing import assert_allclose

import ansatz as az
from tests.core.layers import Affine, Call, Centre, Chain, inputs

X = inputs()


class Owner:
    """A plain object that holds a network, as a training loop does."""

    def __init__(self, net):
        self.net = net
        self.calls = 0

    def step(self, x):
        self.calls += 1
        return self.net(x)

    def __call__(self, x):
        return self.net(x)


class SlotOwner:
    __slots__ = ("net",)

    def __init__(self, net):
        self.net = net


@dataclasses.dataclass
class DataOwner:
    net: object


module = types.ModuleType("models")
GLOBAL = None


def uses_global(x):
    return GLOBAL(x)


def uses_global_object(x):
    return GLOBAL.net(x)


def uses_module(x):
    return module.net(x)


def set_global(value, function):
    global GLOBAL
    GLOBAL = value
    return function


def decorated(net):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(x):
            return function(net(x))

        return wrapper

    return decorate(lambda y: y)


def helpers(net):
    def inner(x):
        return net(x)

    def outer(x):
        return inner(x)

    return outer


def recursive(net):
    def repeat(x, times=2):
        return x if times == 0 else repeat(net(x), times - 1)

    return lambda x: repeat(x, 1)


def in_class(net):
    class Models:
        held = net

    return lambda x: Models.held(x)


def in_module(net):
    module.net = net
    return uses_module


def beside(net):
    outer = az.Module()
    outer.net = net
    outer.owner = Owner(net)
    return lambda x: outer.owner.step(x)


WAYS = {
    "closure": lambda net: lambda x: net(x),
    "nested helper": helpers,
    "recursive helper": recursive,
    "list": lambda net: (lambda held: lambda x: held[0](x))([net]),
    "dict of tuples": lambda net: (lambda held: lambda x: held["a"][0](x))({"a": (net,)}),
    "default": lambda net: lambda x, net=net: net(x),
    "keyword default": lambda net: lambda x, *, net=net: net(x),
    "partial": lambda net: functools.partial(lambda net, x: net(x), net),
    "partial of a module": functools.partial,
    "module": lambda net: net,
    "method of a module": lambda net: net.forward,
    "method of an object": lambda net: Owner(net).step,
    "callable object": Owner,
    "object": lambda net: (lambda owner: lambda x: owner.net(x))(Owner(net)),
    "object with slots": lambda net: (lambda owner: lambda x: owner.net(x))(SlotOwner(net)),
    "data class in a list": lambda net: (lambda held: lambda x: held[0].net(x))([DataOwner(net)]),
    "namespace": lambda net: (lambda n: lambda x: n.net(x))(types.SimpleNamespace(net=net)),
    "global": lambda net: set_global(net, uses_global),
    "global partial": lambda net: set_global(functools.partial(net), uses_global),
    "global jit": lambda net: set_global(az.jit(lambda x: net(x)), uses_global),
    "global object": lambda net: set_global(Owner(net), uses_global_object),
    "attribute of a Python module": in_module,
    "attribute of a class": in_class,
    "decorator": decorated,
    "az.jit": lambda net: az.jit(lambda x: net(x)),
    "az.remat": az.remat,
    "az.vmap": lambda net: az.vmap(lambda x: net(x[None])[0]),
    "az.remat in a closure": lambda net: (lambda r: lambda x: r(x))(az.remat(net)),
    "function of a module": lambda net: Call(lambda x: net(x)),
    "object beside": lambda net: beside(net),
    "weak reference": lambda net: (lambda ref: lambda x: ref()(x))(weakref.ref(net)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_network_that_a_function_reaches_is_never_stale(way):
    net = Chain(Affine(5, 5), Centre())
    call = az.jit(WAYS[way](net))
    if way == "az.vmap":  # Each instance would have statistics of its own.
        net(X)
        net.eval()
    call(X)
    call(X)
    assert int(net.layers[1].calls.value) == (1 if way == "az.vmap" else 2)
    net.eval()
    assert_allclose(call(X), net(X), rtol=1e-4, atol=1e-5)
    net.layers[0].weight.value = jnp.eye(5)
    assert_allclose(call(X), net(X), rtol=1e-4, atol=1e-5)
    net.layers.append(Affine(5, 5))
    assert_allclose(call(X), net(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"weak reference"}))
def test_a_first_call_may_be_through_any_reach(way):
    net = Chain(Affine(5), Affine(5)).eval()
    call = az.jit(WAYS[way](net))
    first = call(X)
    assert net.layers[0].weight.shape == (5, 5)
    assert_allclose(first, net(X), rtol=1e-4, atol=1e-5)


REBINDINGS = {
    "attribute": lambda: (lambda o: (lambda x: o.net(x), lambda net: setattr(o, "net", net)))(
        Owner(None)
    ),
    "slot": lambda: (lambda o: (lambda x: o.net(x), lambda net: setattr(o, "net", net)))(
        SlotOwner(None)
    ),
    "item": lambda: (lambda h: (lambda x: h["net"](x), lambda net: h.update(net=net)))({}),
    "list": lambda: (lambda h: (lambda x: h[0](x), lambda net: h.__setitem__(slice(None), [net])))(
        []
    ),
    "global": lambda: (uses_global, lambda net: set_global(net, None)),
    "global object": lambda: (uses_global_object, lambda net: set_global(Owner(net), None)),
    "module": lambda: (uses_module, lambda net: setattr(module, "net", net)),
}


@pytest.mark.parametrize("kind", REBINDINGS)
def test_rebinding_is_seen(kind):
    function, bind = REBINDINGS[kind]()
    one, other = Affine(2, 5), Affine(2, 5)
    call = az.jit(function)
    bind(one)
    assert_allclose(call(X), one(X), rtol=1e-5)
    bind(other)
    assert_allclose(call(X), other(X), rtol=1e-5)
    bind(one)
    assert_allclose(call(X), one(X), rtol=1e-5)


def test_rebinding_a_variable_is_seen():
    one, other = Affine(2, 5), Affine(2, 5)
    current = one
    call = az.jit(lambda x: current(x))
    assert_allclose(call(X), one(X), rtol=1e-5)
    current = other
    assert_allclose(call(X), other(X), rtol=1e-5)
    assert call.traces == 1


def test_a_counter_in_a_plain_object_is_no_reason_to_trace_again():
    owner = Owner(Affine(2, 5))
    call = az.jit(owner.step)
    for _ in range(3):
        call(X)
    assert call.traces == 1
    assert owner.calls == 1


def test_cells_alone_may_be_closed_over():
    count = az.State(0)

    @az.jit
    def step():
        count.value += 1

    step()
    step()
    assert int(count.value) == 2
    assert step.traces == 1


def test_a_large_data_set_in_a_closure_costs_nothing():
    data = list(range(100_000))
    net = Affine(2, 5)
    call = az.jit(lambda x: net(x) + data[0])
    call(X)
    data[1] = -1
    call(X)
    assert call.traces == 1
