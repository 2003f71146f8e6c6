import copy
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Chain, inputs, mean_square, sgd

X = inputs()


def pair(transpose=False):
    net = Chain(Affine(3, 5), Affine(5, 3)) if transpose else Chain(Affine(5, 5), Affine(5, 5))
    net.initialize(seed=0)
    az.tie(net, "layers.0.weight", "layers.1.weight", transpose=transpose)
    return net


@pytest.mark.parametrize("transpose", [False, True])
def test_a_tie_is_one_parameter_with_two_names(transpose):
    net = pair(transpose)
    assert list(net.collect_params()) == ["layers.0.weight", "layers.0.bias", "layers.1.bias"]
    assert net.collect_params().aliases == {"layers.0.weight": ("layers.1.weight",)}
    assert len(net.state_dict()) == 3


def test_the_first_one_keeps_its_value():
    net = Chain(Affine(5, 5), Affine(5, 5))
    net.initialize(seed=0)
    kept = net.layers[0].weight.value
    assert az.tie(net, "layers.0.weight", "layers.1.weight") is net.layers[0].weight
    assert_array_equal(net.layers[1].weight.value, kept)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("jitted", [False, True])
def test_the_gradient_of_a_tie_is_the_sum_over_its_uses(transpose, jitted):
    net = pair(transpose)
    grad = az.grad(mean_square)
    grads = (az.jit(grad) if jitted else grad)(net, X)
    free = Chain(Affine(3, 5), Affine(5, 3)) if transpose else Chain(Affine(5, 5), Affine(5, 5))
    free.collect_params().set(net.state_dict(aliases=True))
    apart = az.grad(mean_square)(free, X)
    second = apart["layers.1.weight"].T if transpose else apart["layers.1.weight"]
    assert_allclose(grads["layers.0.weight"], apart["layers.0.weight"] + second, rtol=1e-4)
    assert set(grads) == {"layers.0.weight", "layers.0.bias", "layers.1.bias"}


def test_a_transposed_tie_reads_and_writes_through():
    net = pair(transpose=True)
    first, second = net.layers[0].weight, net.layers[1].weight
    assert second.shape == (5, 3)
    second.value = jnp.arange(15.0).reshape(5, 3)
    assert_array_equal(first.value, np.arange(15.0).reshape(5, 3).T)
    second.data[0, 2] = 42
    assert float(first.value[2, 0]) == 42
    second *= 2
    assert float(first.value[2, 0]) == 84
    az.jit(lambda net: net.layers[1].weight.data.__setitem__((0, 0), 7.0))(net)
    assert float(first.value[0, 0]) == 7
    with pytest.raises(az.ShapeError):
        second.value = jnp.ones((3, 5))
    assert (first + second.T).shape == (3, 5)


def test_a_transposed_tie_shares_everything_else():
    net = pair(transpose=True)
    first, second = net.layers[0].weight, net.layers[1].weight
    az.backward(mean_square, net, X)
    assert_array_equal(second.grad, first.grad.T)
    second.zero_grad()
    assert float(abs(first.grad).sum()) == 0
    second.trainable = False
    assert not first.trainable
    second.grad_req = "add"
    assert first.grad_req == "add"
    assert second.origin == first.origin
    second.cast("bfloat16")
    assert first.value.dtype == second.value.dtype == second.dtype == jnp.bfloat16
    second.value = second.value + jnp.bfloat16(1)
    second.initialize("ones", force_reinit=True)
    assert float(first.value.astype("float32").sum()) == 15


def test_a_transposed_name_can_be_differentiated_by_itself():
    second = pair(transpose=True).layers[1].weight
    weights = jnp.arange(15.0).reshape(5, 3)
    grad = az.grad(lambda p: (p.value * weights).sum())(second)
    assert_array_equal(grad, weights)


def test_transposing_twice_gives_the_parameter_itself():
    net = Chain(Affine(3, 5), Affine(5, 3), Affine(3, 5))
    az.tie(net, "layers.0.weight", "layers.1.weight", transpose=True)
    az.tie(net, "layers.1.weight", "layers.2.weight", transpose=True)
    assert net.layers[2].weight is net.layers[0].weight
    assert net(X).shape == (4, 3)
    assert len(net.collect_params()) == 4


def test_a_tie_that_does_not_fit_is_refused_and_nothing_changes():
    net = Chain(Affine(3, 5), Affine(5, 3))
    before = net.layers[1].weight
    with pytest.raises(az.TieError, match=r"shape \(3, 5\).*transpose=True"):
        az.tie(net, "layers.0.weight", "layers.1.weight")
    with pytest.raises(az.TieError, match="needs two dimensions"):
        az.tie(net, "layers.0.bias", "layers.1.bias", transpose=True)
    with pytest.raises(az.TieError, match="one parameter already"):
        az.tie(net, "layers.0.weight", "layers.0.weight")
    with pytest.raises(az.PathError, match="did you mean"):
        az.tie(net, "layers.0.weight", "layers.1.wieght")
    with pytest.raises(az.TieError, match="only parameters can be tied"):
        az.tie(net, "layers.0", "layers.1.weight")
    assert net.layers[1].weight is before


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("path", ["layers.0.weight", "layers.1.weight"])
def test_untying_gives_a_copy_of_the_value(transpose, path):
    net = pair(transpose)
    before = net.state_dict(aliases=True)
    az.untie(net, path)
    assert len(net.collect_params()) == 4
    for name, value in net.state_dict().items():
        assert_array_equal(value, before[name])
    step = az.jit(sgd)
    step(net, X)
    step(net, X)
    assert before["layers.0.weight"].shape == net.layers[0].weight.shape


def test_untying_before_the_first_draw_gives_one_value_too():
    net = Chain(Affine(5, 5), Affine(5, 5))
    net.layers[1].weight = net.layers[0].weight
    az.untie(net, "layers.1.weight")
    assert_array_equal(net.layers[0].weight.value, net.layers[1].weight.value)


def test_what_is_not_tied_cannot_be_untied():
    net = Chain(Affine(5, 5))
    with pytest.raises(az.TieError, match="nothing to untie"):
        az.untie(net, "layers.0.weight")
    shared = Affine(5, 5)
    with pytest.raises(az.TieError, match=r"copy\.deepcopy"):
        az.untie(Chain(shared, shared), "layers.0.weight")


OPERATIONS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "step": lambda net: az.jit(sgd)(net, X) is None or net,
    "eager step": lambda net: sgd(net, X) is None or net,
    "initialize": lambda net: net.initialize(force_reinit=True) is None or net,
    "set": lambda net: net.collect_params().set({"layers.1.bias": jnp.ones(5)}) or net,
    "assign": lambda net: net.layers[1].weight.data.__setitem__((0, 0), 3.0) or net,
    "backward": lambda net: az.backward(mean_square, net, X) is None or net,
    "freeze": lambda net: net.freeze().unfreeze(),
    "cast": lambda net: net.collect_params().cast("float32") or net,
    "eval": lambda net: net.eval().train(),
    "append": lambda net: net.layers.append(Affine(5, 5)) or net,
}


@pytest.mark.parametrize("transpose", [False, True])
@settings(max_examples=15, deadline=None)
@given(names=st.lists(st.sampled_from([*OPERATIONS, "retie"]), max_size=5))
def test_a_tie_stays_a_tie_whatever_happens(transpose, names):
    net = Chain(Affine(5, 5), Affine(5, 5))
    net.initialize(seed=0)
    az.tie(net, "layers.0.weight", "layers.1.weight", transpose=transpose)
    for name in names:
        if name == "retie":
            az.untie(net, "layers.1.weight")
            az.tie(net, "layers.0.weight", "layers.1.weight", transpose=transpose)
        else:
            net = OPERATIONS[name](net)
        first, second = net.layers[0].weight, net.layers[1].weight
        assert second.base is first
        assert_array_equal(second.value, first.value.T if transpose else first.value)
        assert net.collect_params().aliases == {"layers.0.weight": ("layers.1.weight",)}
        assert "layers.1.weight" not in az.grad(mean_square)(net, X)
