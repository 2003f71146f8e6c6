"""Gluon, document 000: share parameters between layers."""

# ruff: noqa: N802 - the numbers of the statements are part of the names

import jax
import jax.numpy as jnp
import numpy as np

import ansatz as az
from ansatz import nn


def batch() -> jax.Array:
    return jax.random.uniform(jax.random.key(0), (2, 20))


def total(net: nn.Module, x: jax.Array) -> jax.Array:
    return net(x).sum()


def sharing() -> nn.Sequential:
    """The network of 000-M, whose third layer takes the parameters of the second."""
    shared = nn.Dense(8, activation="relu")
    return nn.Sequential(
        nn.Dense(8, activation="relu"),
        shared,
        nn.Dense(8, activation="relu", params=shared.collect_params()),
        nn.Dense(10),
    )


def test_G_000_28_a_network_with_shared_parameters_runs() -> None:
    """The sharing network gives (2, 10), and both layers show the same row of weights."""
    net = sharing()
    net.initialize()
    assert net(batch()).shape == (2, 10)
    same = net[1].weight.data[0] == net[2].weight.data[0]
    np.testing.assert_array_equal(same, np.ones(8, bool))


def test_G_000_29_two_layers_hold_one_parameter_object() -> None:
    """The weights of both layers are one object, and so are the biases."""
    net = sharing()
    assert net[1].weight is net[2].weight
    assert net[1].bias is net[2].bias
    assert net[1] is not net[2]
    net(batch())
    assert net[1].weight is net[2].weight
    assert net[1].bias is net[2].bias


def test_G_000_30_a_shared_pair_is_listed_once() -> None:
    """A shared pair stands once, under its first path, and says under which other it stands."""
    net = sharing()
    net(batch())
    everything = net.collect_params()
    assert {path: p.shape for path, p in everything.items()} == {
        "0.weight": (8, 20),
        "0.bias": (8,),
        "1.weight": (8, 8),
        "1.bias": (8,),
        "3.weight": (10, 8),
        "3.bias": (10,),
    }
    assert everything.aliases == {"1.weight": ("2.weight",), "1.bias": ("2.bias",)}
    assert everything["2.weight"] is everything["1.weight"]
    assert "also 2.weight" in repr(everything)


def test_G_000_31_sharing_may_come_before_the_shape() -> None:
    """Parameters of unknown input width can be shared; the first call settles both layers."""
    net = sharing()
    assert net[1].weight.shape == net[2].weight.shape == (8, None)
    net(batch())
    assert net[1].weight.shape == net[2].weight.shape == (8, 8)


def test_G_000_32_what_is_written_through_one_layer_is_read_through_the_other() -> None:
    """Sharing is more than equal values: an edit through one layer is seen through the other."""
    net = sharing()
    net.initialize(seed=0)
    before = net(batch())
    net[1].weight.data[0, 0] = 100
    assert net[2].weight.data[0, 0] == 100
    assert net[2].weight.value[0, 0] == 100
    net[2].bias.data[:] = 100
    assert (net[1].bias.value == 100).all()
    untied = nn.Sequential(*(nn.Dense(8, activation="relu") for _ in range(3)), nn.Dense(10))
    untied(batch())
    untied.collect_params().set(net.state_dict(aliases=True))
    np.testing.assert_allclose(net(batch()), untied(batch()), rtol=1e-5)
    assert not np.allclose(net(batch()), before)


def test_G_000_33_the_shared_gradient_is_reached_through_the_parameter() -> None:
    """The gradient of a shared weight is an attribute of the weight, the same through both."""
    net = sharing()
    az.backward(total, net, batch())
    assert net[1].weight.grad.shape == (8, 8)
    np.testing.assert_array_equal(net[1].weight.grad, net[2].weight.grad)


def twice() -> nn.Sequential:
    """`Dense(2)` used twice through `params=`: W = [[100, 1], [1, 1]], bias 0."""
    first = nn.Dense(2, in_units=2)
    net = nn.Sequential(first, nn.Dense(2, in_units=2, params=first.collect_params()))
    first.weight.value = jnp.array([[100.0, 1.0], [1.0, 1.0]])
    return net


def test_G_000_34_the_gradients_of_both_uses_are_summed() -> None:
    """The gradient of a shared parameter is the sum over its uses: [[202, 103], [103, 4]]."""
    net, ones = twice(), jnp.ones((1, 2))
    az.backward(total, net, ones)
    np.testing.assert_array_equal(net[0].weight.grad, [[202, 103], [103, 4]])
    np.testing.assert_array_equal(net[0].bias.grad, [102, 3])
    _, grads = az.value_and_grad(total)(net, ones)
    assert list(grads) == ["0.weight", "0.bias"]
    np.testing.assert_array_equal(grads["0.weight"], [[202, 103], [103, 4]])


def test_G_000_35_write_replaces_the_last_gradient_and_add_accumulates() -> None:
    """A further backward pass overwrites the sum, unless `grad_req` is "add"."""
    net, ones = twice(), jnp.ones((1, 2))
    for _ in range(2):
        az.backward(total, net, ones)
    np.testing.assert_array_equal(net[0].weight.grad, [[202, 103], [103, 4]])
    net[0].weight.grad_req = "add"
    net.zero_grad()
    for _ in range(2):
        az.backward(total, net, ones)
    np.testing.assert_array_equal(net[1].weight.grad, [[404, 206], [206, 8]])
    np.testing.assert_array_equal(net[1].bias.grad, [102, 3])


def test_G_000_36_one_layer_object_used_twice_behaves_the_same() -> None:
    """A layer object that stands twice is listed once, and its gradients are summed."""
    layer = nn.Dense(2, in_units=2, weight_init="ones")
    net = nn.Sequential(layer, layer)
    assert list(net.collect_params()) == ["0.weight", "0.bias"]
    assert net[0] is net[1]
    az.backward(total, net, jnp.ones((1, 2)))
    np.testing.assert_array_equal(net[1].weight.grad, [[4, 4], [4, 4]])
