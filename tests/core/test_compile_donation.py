import copy
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ansatz as az
from tests.core.layers import Affine, Centre, Chain, Mask, inputs, sgd

X = inputs()


def network():
    net = Chain(Affine(5, 5), Centre(), Mask(), Affine(1, 5))
    net.initialize(seed=0, example=X)
    return net


def read_everything(tree):
    return jax.tree.map(lambda a: np.asarray(a).copy(), tree)


HANDED_OUT = {
    "value": lambda net: net.layers[0].weight.value,
    "state_dict": lambda net: net.state_dict(),
    "data": lambda net: net.layers[0].weight.data.value,
    "item": lambda net: net.layers[0].weight[...],
    "state": lambda net: net.layers[1].mean.value,
    "stream": lambda net: net.layers[2].stream.value,
    "operator": lambda net: +net.layers[0].weight,
    "copy": lambda net: copy.deepcopy(net).state_dict(),
    "jit": lambda net: az.jit(lambda net: net.layers[0].weight.value)(net),
    "jit twice": lambda net: az.jit(lambda net: [net.layers[0].weight.value] * 2)(net),
    "gradient": lambda net: az.grad(lambda net, x: net(x).sum())(net, X),
    "numpy": lambda net: np.asarray(net.layers[0].weight),
    "grad slot": lambda net: az.backward(lambda n, x: n(x).sum(), net, X) + net.layers[0].bias.grad,
}


@pytest.fixture(scope="module")
def step():
    """Shared by networks of one structure, so compiled once."""
    return az.jit(sgd)


@pytest.mark.parametrize("kind", HANDED_OUT)
def test_what_was_handed_out_stays_alive_and_unchanged(kind, step):
    net = network()
    step(net, X)
    held = HANDED_OUT[kind](net)
    before = read_everything(held)
    for _ in range(3):
        step(net, X)
    jax.tree.map(np.testing.assert_array_equal, read_everything(held), before)


def test_an_array_read_after_each_step_stays_alive():
    net, step = network(), az.jit(sgd)
    held = []
    for _ in range(4):
        step(net, X)
        held.append(net.layers[0].weight.value)
    seen = [np.asarray(array) for array in held]
    assert not any((a == b).all() for a, b in itertools.pairwise(seen))


def test_an_array_that_was_assigned_stays_alive(step):
    net = network()
    mine = jnp.ones((5, 5))
    net.layers[0].weight.value = mine
    step(net, X)
    step(net, X)
    assert mine.tolist() == jnp.ones((5, 5)).tolist()


def test_an_array_copied_from_another_network_stays_alive_in_both(step):
    net, other = network(), network()
    net.layers[0].weight.value = other.layers[0].weight.value
    net.collect_params().set({"layers.3.bias": other.layers[3].bias.value})
    before = read_everything(other.state_dict())
    step(net, X)
    step(net, X)
    jax.tree.map(np.testing.assert_array_equal, read_everything(other.state_dict()), before)
    step(other, X)


def test_one_array_in_two_cells():
    a, b = az.State(jnp.zeros(3)), az.State(jnp.zeros(3))
    shared = jnp.ones(3)
    a.value, b.value = shared, shared

    @az.jit
    def step():
        a.value, b.value = a.value + 1, b.value * 3

    step()
    step()
    assert (a.value[0], b.value[0], shared[0]) == (3, 9, 1)


def test_one_array_given_to_two_cells_when_they_are_made():
    shared = jnp.ones(3)
    a, b = az.State(shared), az.Parameter(shared)

    @az.jit
    def step():
        a.value += 1
        b.value += 2

    step()
    step()
    assert (a.value[0], b.value[0], shared[0]) == (3, 5, 1)


def test_values_may_move_between_cells_inside_a_compiled_function():
    a, b = az.State(jnp.zeros(3)), az.State(jnp.ones(3))

    @az.jit
    def copy_over():
        a.value = b.value

    @az.jit
    def swap():
        a.value, b.value = b.value, a.value + 1

    @az.jit
    def both():
        new = a.value * 2
        a.value, b.value = new, new
        return new

    copy_over()
    swap()
    swap()
    assert (a.value[0], b.value[0]) == (2, 2)
    out = both()
    swap()
    copy_over()
    copy_over()
    swap()
    assert (float(out[0]), float(a.value[0]), float(b.value[0])) == (4, 5, 6)


def test_an_argument_that_was_put_into_a_cell_stays_the_users_own():
    a, mine = az.State(jnp.zeros(3)), jnp.ones(3)
    az.jit(lambda new: a.assign(new))(mine)
    step = az.jit(lambda: a.assign(a.value + 1))
    step()
    step()
    assert (a.value[0], mine[0]) == (3, 1)


def test_the_old_value_may_be_returned():
    a = az.State(jnp.zeros(3))

    @az.jit
    def step():
        old = a.value
        a.value = old + 1
        return old

    assert [float(step()[0]) for _ in range(3)] == [0, 1, 2]


def test_a_closed_over_array_that_was_put_into_a_cell_stays_alive():
    a, mine = az.State(jnp.zeros(3)), jnp.arange(3.0)
    put = az.jit(lambda: a.assign(mine))
    step = az.jit(lambda: a.assign(a.value + 1))
    for _ in range(2):
        put()
        step()
        step()
    assert mine.tolist() == [0, 1, 2]
    assert a.value.tolist() == [2, 3, 4]


def test_memory_of_written_cells_is_given_away():
    a = az.State(shape=(1024,))
    step = az.jit(lambda: a.assign(a.value + 1))
    step()
    own = a._value
    step()
    assert own.is_deleted()
    keep = az.jit(lambda: a.assign(a.value + 1), donate=False)
    own = a._value
    keep()
    assert not own.is_deleted()


def test_a_trace_that_fails_leaves_every_cell_intact(step):
    net = network()
    step(net, X)
    before = read_everything(net.state_dict())

    @az.jit
    def fails(net, x):
        sgd(net, x)
        raise RuntimeError("late")

    for bad in (lambda: fails(net, X), lambda: step(net, inputs(width=3))):
        with pytest.raises((RuntimeError, az.ShapeError)):
            bad()
    jax.tree.map(np.testing.assert_array_equal, read_everything(net.state_dict()), before)
    step(net, X)


@pytest.mark.parametrize("late", [False, True])
def test_debug_nans_finds_the_operation_and_leaves_every_cell_intact(late):
    state = az.State(jnp.ones(3))
    step = az.jit(lambda x: state.assign(jnp.log(state.value - x)))
    if late:
        step(0.0)
        state.value = jnp.ones(3)
    jax.config.update("jax_debug_nans", True)
    try:
        with pytest.raises(FloatingPointError, match="log"):
            step(5.0)
    finally:
        jax.config.update("jax_debug_nans", False)
    assert state.value.tolist() == [1, 1, 1]
    step(0.0)
    assert state.value.tolist() == [0, 0, 0]


def test_donation_does_not_change_what_is_computed(step):
    net, other = network(), network()
    keeping = az.jit(sgd, donate=False)
    for seed in range(3):
        x = inputs(seed=seed)
        assert_allclose(step(net, x), keeping(other, x), rtol=1e-6)
