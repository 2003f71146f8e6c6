import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Centre, Chain, Mask, inputs

X = inputs()


def network(*more):
    net = Chain(Affine(3, 5), *more, Affine(1, 3))
    net.initialize(seed=0, example=X)
    return net


def test_the_values_of_the_state_stand_in_and_the_network_does_not_change():
    net, other = network(), network()
    other.initialize(seed=1, force_reinit=True)
    before = net.state_dict()
    assert_array_equal(az.functional_call(net, other.state_dict(), X), other(X))
    for path, value in net.state_dict().items():
        assert_array_equal(value, before[path])


@pytest.mark.filterwarnings("error")
def test_plain_jax_transforms_take_it():
    net = network()
    state = net.state_dict()

    def call(state, x):
        return az.functional_call(net, state, x)

    wanted = net(X)
    assert_allclose(jax.jit(call)(state, X), wanted, rtol=1e-5)
    assert_allclose(jax.vmap(call, (None, 0))(state, X), wanted, rtol=1e-5)
    assert_allclose(jax.checkpoint(call)(state, X), wanted, rtol=1e-5)
    grads = jax.jit(jax.grad(lambda state, x: call(state, x).sum()))(state, X)
    ours = az.grad(lambda net, x: net(x).sum())(net, X)
    for path, value in ours.items():
        assert_allclose(grads[path], value, rtol=1e-5)
    hessian = jax.hessian(lambda b: call({**state, "layers.0.bias": b}, X).sum() ** 2)
    assert hessian(state["layers.0.bias"]).shape == (3, 3)
    exported = jax.export.export(jax.jit(call))(state, X)
    assert_allclose(exported.call(state, X), wanted, rtol=1e-5)


def test_an_ensemble_is_a_vmap_over_states():
    nets = [network() for _ in range(3)]
    for seed, net in enumerate(nets):
        net.initialize(seed=seed, force_reinit=True)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *(net.state_dict() for net in nets))
    out = jax.vmap(lambda state: az.functional_call(nets[0], state, X))(stacked)
    assert_allclose(out, jnp.stack([net(X) for net in nets]), rtol=1e-5)


def test_it_works_inside_our_transforms():
    net = network(Centre())
    net.eval()
    state = net.state_dict()
    out = az.jit(lambda net, state, x: az.functional_call(net, state, x))(net, state, X)
    assert_allclose(out, net(X), rtol=1e-5)


def test_states_come_back_on_request():
    net = network(Centre(), Mask())
    twin = copy.deepcopy(net)
    state = net.state_dict()
    call = jax.jit(lambda s, x: az.functional_call(net, s, x, return_state=True))
    for _ in range(2):
        out, state = call(state, X)
        assert_allclose(out, twin(X), rtol=1e-5, atol=1e-6)
    for path, value in twin.state_dict().items():
        assert_allclose(state[path], value, rtol=1e-5)
    assert int(net.layers[1].calls.value) == 0


def test_a_write_that_would_be_lost_is_refused():
    net = network(Centre())
    with pytest.raises(az.TraceError, match=r"'layers.1.mean'.*return_state=True.*net\.eval"):
        az.functional_call(net, net.state_dict(), X)
    outside = az.State(0.0)

    class Writes(az.Module):
        def forward(self, x):
            outside.value = x.sum()
            return x

    net = Chain(Writes())
    with pytest.raises(az.TraceError, match="is no parameter or state of this Chain"):
        az.functional_call(net, {}, X, return_state=True)
    assert float(outside.value) == 0


def test_a_random_stream_may_be_left_out_and_comes_back():
    net = network(Mask())
    state = {path: value for path, value in net.state_dict().items() if "stream" not in path}
    out, after = az.functional_call(net, state, X, return_state=True)
    assert set(after) == set(net.state_dict())
    again, _ = az.functional_call(net, after, X, return_state=True)
    assert (out != again).any()


def test_unknown_and_missing_names_are_listed_together():
    net = network()
    state = net.state_dict()
    state["layers.0.wieght"] = state.pop("layers.0.weight")
    with pytest.raises(
        az.PathError,
        match=r"'layers.0.wieght'; did you mean 'layers.0.weight'.*missing: 'layers.0.weight'",
    ):
        az.functional_call(net, state, X)


def test_a_wrong_shape_is_refused():
    net = network()
    state = {**net.state_dict(), "layers.0.bias": jnp.ones(7)}
    with pytest.raises(az.ShapeError, match=r"state\['layers.0.bias'\] has shape \(7,\)"):
        az.functional_call(net, state, X)


def test_a_tied_parameter_may_be_given_under_either_name_but_once():
    net = Chain(Affine(5, 5), Affine(5, 5))
    net.layers[1].weight = net.layers[0].weight
    net.initialize(seed=0)
    state = net.state_dict()
    weight = state.pop("layers.0.weight")
    renamed = {**state, "layers.1.weight": weight}
    assert_allclose(az.functional_call(net, renamed, X), net(X), rtol=1e-6)
    with pytest.raises(az.TieError, match="names of one parameter, and both are given"):
        az.functional_call(net, {**renamed, "layers.0.weight": weight}, X)


def test_a_transposed_name_takes_the_transposed_value():
    net = Chain(Affine(3, 5), Affine(5, 3))
    az.tie(net, "layers.0.weight", "layers.1.weight", transpose=True)
    net.initialize(seed=0)
    state = net.state_dict()
    state["layers.1.weight"] = state.pop("layers.0.weight").T
    assert_allclose(az.functional_call(net, state, X), net(X), rtol=1e-6)


def test_a_deferred_network_takes_a_complete_state():
    state = network().state_dict()
    deferred = Chain(Affine(3), Affine(1))
    assert_allclose(az.functional_call(deferred, state, X), network()(X), rtol=1e-6)
    assert not deferred.layers[0].weight.has_value


def test_values_of_other_dtypes_stand_in_as_they_are():
    net = network()
    half = {path: value.astype("bfloat16") for path, value in net.state_dict().items()}
    out = az.functional_call(net, half, X.astype("bfloat16"))
    assert out.dtype == jnp.bfloat16
    assert_allclose(np.asarray(out, np.float32), net(X), atol=0.1)
