import copy
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from tests.core.layers import Affine, Chain, inputs


def test_a_cell_holds_what_was_assigned_last():
    cell = az.Cell(jnp.zeros(2))
    cell.value = cell.value + 1
    assert cell.value.tolist() == [1, 1]


def test_a_cell_may_hold_a_pytree():
    cell = az.Cell({"a": jnp.zeros(2), "b": (jnp.ones(()),)})

    @az.jit
    def step():
        cell.value = jax.tree.map(lambda leaf: leaf + 1, cell.value)

    step()
    step()
    assert cell.value["a"].tolist() == [2, 2]
    assert float(cell.value["b"][0]) == 3


def test_reading_an_empty_cell_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"has no value yet; assign one to `\.value`"):
        _ = az.Cell().value


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: jax.jit(f)(jnp.ones(3)),
        lambda f: jax.grad(lambda x: f(x).sum())(jnp.ones(3)),
        lambda f: jax.vmap(f)(jnp.ones((2, 3))),
        lambda f: jax.lax.scan(lambda c, x: (c, f(x)), 0, jnp.ones((2, 3))),
        lambda f: jax.checkpoint(f)(jnp.ones(3)),
        lambda f: jax.lax.cond(True, f, lambda x: x, jnp.ones(3)),
        lambda f: jax.eval_shape(f, jnp.ones(3)),
    ],
    ids=["jit", "grad", "vmap", "scan", "checkpoint", "cond", "eval_shape"],
)
def test_a_write_that_a_plain_transform_would_lose_is_refused(transform):
    net = Chain()
    net.count = az.State(jnp.zeros(3))

    def f(x):
        net.count.value = x
        return x

    with pytest.raises(az.TraceError, match=r"state 'count' was written inside a plain JAX"):
        transform(f)
    assert net.count.value.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "inner",
    [
        lambda f, x: jax.jit(f)(x),
        lambda f, x: jax.grad(lambda x: f(x).sum())(x),
        lambda f, x: jax.vmap(f)(x),
        lambda f, x: jax.lax.scan(lambda c, x: (c, f(x)), 0, x)[1],
        lambda f, x: jax.lax.cond(x.sum() > 0, f, lambda x: x, x),
    ],
    ids=["jit", "grad", "vmap", "scan", "cond"],
)
def test_a_write_in_a_plain_transform_within_ours_is_refused(inner):
    net = Chain()
    net.count = az.State(0.0)

    def f(x):
        net.count.value = net.count.value + 1
        return x

    with pytest.raises(az.TraceError, match=r"state 'count' .*Use the transform of the same name"):
        az.jit(lambda x: inner(f, x))(jnp.ones((2, 3)))
    assert float(net.count.value) == 0


def test_reading_in_a_plain_jit_warns_once_for_each_trace():
    net = Chain(Affine(2, 5), Affine(3, 2))
    x = inputs()
    net(x)
    with pytest.warns(az.StaleParameterWarning, match=r"'layers.0.weight'.*az.jit") as seen:
        jax.jit(lambda x: net(x))(x)
    assert len(seen) == 1
    with pytest.warns(az.StaleParameterWarning) as seen:
        jax.jit(lambda x: net(x) * 2)(x)
    assert len(seen) == 1


def test_reading_under_plain_grad_and_vmap_is_current_and_does_not_warn():
    cell = az.State(jnp.full((3,), 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jax.grad(lambda x: (x * cell.value).sum())(jnp.ones(3)).tolist() == [2, 2, 2]
        assert jax.vmap(lambda x: x * cell.value)(jnp.ones((2, 3))).tolist() == [[2, 2, 2]] * 2


@pytest.mark.parametrize(
    "use",
    [
        lambda p: jax.jit(lambda p: 1)(p),
        lambda p: jax.tree.map(lambda a: a, {"p": p}),
        lambda p: jnp.sin(p),
        lambda p: jax.jit(lambda: p)(),
    ],
    ids=["jit", "tree", "jnp", "returned"],
)
def test_a_parameter_given_to_jax_names_itself_and_the_way_out(use):
    net = Affine(2, 3)
    with pytest.raises(az.TraceError, match=r"parameter 'weight' .*p\.value"):
        use(net.weight)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copied_cell_is_independent(copied):
    cell = az.Cell(jnp.ones(3))
    other = copied(cell)
    step = az.jit(lambda: cell.assign(cell.value + 1))
    step()
    step()
    assert cell.value.tolist() == [3, 3, 3]
    assert other.value.tolist() == [1, 1, 1]


def test_a_cell_outside_of_modules_has_no_path():
    assert az.State(0).path == ""
    assert az.State(0).describe() == "state (not part of a module)"


def test_a_cell_is_equal_to_itself_only():
    a, b = az.State(0), az.State(0)
    assert a == a
    assert a != b
    assert len({a, b, a}) == 2


def test_numpy_values_of_a_plain_cell_survive_donation():
    held = np.ones(3, np.float32)
    cell = az.Cell(held)
    step = az.jit(lambda: cell.assign(cell.value + 1))
    step()
    step()
    assert held.tolist() == [1, 1, 1]
    assert cell.value.tolist() == [3, 3, 3]
