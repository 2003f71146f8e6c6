"""Every public layer, with random options and shapes: what comes out, and under which transforms.

`catalogue.py` says what a layer takes and gives by its docstring.
"""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.catalogue import LAYERS, Chooser
from tests.nn.test_every_layer import DEFERRED

PUBLIC = {
    name
    for name in nn.__all__
    if inspect.isclass(getattr(nn, name)) and issubclass(getattr(nn, name), nn.Module)
} - {"Module"}


def test_no_layer_is_left_out_of_the_catalogue():
    assert set(LAYERS) == PUBLIC


def pure(layer, inputs):
    """The layer as a function of its state and inputs, and the sum of all that it gives."""
    layer.settle_shapes(*inputs)
    state = layer.state_dict()

    def call(state, *inputs):
        outputs, _ = az.functional_call(layer, state, *inputs, return_state=True)
        return jax.tree.leaves(outputs)

    def total(state, *inputs):
        return sum(jnp.sum(y) for y in call(state, *inputs))

    floating = [
        i for i, x in enumerate([state, *inputs]) if i and jnp.issubdtype(x.dtype, jnp.floating)
    ]
    return state, call, jax.grad(total, tuple(floating)) if floating else call


@pytest.mark.parametrize("name", sorted(LAYERS))
@settings(max_examples=2)
@given(data=st.data())
def test_what_comes_out_has_the_shape_of_the_docs_also_under_jit_grad_and_vmap(name, data):
    layer, inputs, expected = LAYERS[name](Chooser(data))
    state, call, gradient = pure(layer, inputs)
    shapes = [tuple(y.shape) for y in jax.eval_shape(jax.jit(call), state, *inputs)]
    assert shapes == [tuple(shape) for shape in expected]
    several = [jax.ShapeDtypeStruct((2, *x.shape), x.dtype) for x in inputs]
    mapped = jax.vmap(gradient, in_axes=(None, *[0] * len(inputs)))
    floating = [x for x in several if jnp.issubdtype(x.dtype, jnp.floating)]
    found = jax.eval_shape(jax.jit(mapped), state, *several)
    if floating:
        assert [y.shape for y in found] == [x.shape for x in floating]
    else:
        assert [y.shape for y in found] == [(2, *shape) for shape in expected]


def given_to(inputs):
    rng = np.random.default_rng(0)
    return [
        jnp.zeros(x.shape, x.dtype)
        if jnp.issubdtype(x.dtype, jnp.integer)
        else jnp.asarray(rng.normal(size=x.shape), x.dtype)
        for x in inputs
    ]


# The others are in the table of test_every_layer.py.
NOT_YET_SETTLED = sorted(
    PUBLIC - {base.__name__ for build in DEFERRED.values() for base in type(build()).__mro__}
)
WITH_OPEN_SIZES = [
    name
    for name in NOT_YET_SETTLED
    if any(p.is_deferred for p in LAYERS[name](Chooser())[0].parameters())
]


def test_every_layer_with_parameters_has_open_sizes_except_tables():
    with_parameters = {n for n in NOT_YET_SETTLED if [*LAYERS[n](Chooser())[0].parameters()]}
    assert with_parameters - set(WITH_OPEN_SIZES) == {"Embedding", "EmbeddingBag"}


@pytest.mark.parametrize("name", WITH_OPEN_SIZES)
def test_eager_compiled_and_abstract_first_calls_settle_on_the_same_values(name):
    states = []
    for first_call in (
        lambda net, x: net(*x),
        lambda net, x: az.jit(net)(*x),
        lambda net, x: net.settle_shapes(*x),
    ):
        layer, inputs, _ = LAYERS[name](Chooser())
        net = nn.Sequential(layer).eval() if len(inputs) == 1 else layer.eval()
        net.initialize(seed=5)
        first_call(net, given_to(inputs))
        assert not any(p.is_deferred for p in net.parameters())
        states.append(net.state_dict())
    for state in states[1:]:
        assert list(state) == list(states[0])
        for path, value in state.items():
            assert value.shape == states[0][path].shape
            assert math.prod(value.shape) == 0 or (value == states[0][path]).all(), path
