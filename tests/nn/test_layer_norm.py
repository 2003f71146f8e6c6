import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.reference import COMPILED, close

BATCH = jnp.array([[1.0, 2.0], [3.0, 6.0]])
NORMS = [nn.LayerNorm, nn.RMSNorm]


@pytest.mark.parametrize("norm", NORMS)
def test_other_sizes_are_refused_also_without_parameters(norm):
    bare = {"use_weight": False} | ({"use_bias": False} if norm is nn.LayerNorm else {})
    with pytest.raises(az.ShapeError, match=r"\(4,\).*\(5,\)"):
        norm(4)(jnp.ones((2, 5)))
    with pytest.raises(az.ShapeError, match=r"\(4,\).*\(5,\)"):
        norm(4, **bare)(jnp.ones((2, 5)))
    with pytest.raises(az.ShapeError, match=r"\(None, None\).*\(5,\)"):
        norm((None, None), **bare)(jnp.ones(5))


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_over_no_axis_is_refused(norm):
    with pytest.raises(ValueError, match=f"{norm.__name__} names at least one axis"):
        norm(())
    with pytest.raises(TypeError, match="normalized_shape"):
        norm("5")


@pytest.mark.parametrize("norm", NORMS)
def test_the_output_has_the_dtype_of_the_input(norm):
    assert norm()(jnp.ones((2, 3), "bfloat16")).dtype == "bfloat16"
    assert norm()(jnp.ones((2, 3), "int32")).dtype == "float32"


@pytest.mark.parametrize("norm", NORMS)
def test_a_call_outside_of_jit_is_one_dispatch(norm):
    layer = norm().settle_shapes(BATCH)
    called = jax.make_jaxpr(lambda state, x: az.functional_call(layer, state, x))
    (equation,) = called(layer.state_dict(), BATCH).eqns
    assert equation.primitive.name in COMPILED


@settings(max_examples=10, deadline=None)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), data=st.data())
def test_any_number_of_last_axes_is_normalised_together(shape, data):
    axes = data.draw(st.integers(1, len(shape)))
    x = jax.random.normal(jax.random.key(0), shape)
    y = nn.LayerNorm((None,) * axes, eps=0, use_weight=False, use_bias=False)(x)
    assert y.shape == x.shape
    last = tuple(range(-axes, 0))
    if x.size // max(1, int(jnp.prod(jnp.array(shape[:-axes])))) > 1:
        close(y.mean(last), 0, atol=1e-4)
        close((y**2).mean(last), 1, rtol=1e-2)


def test_rms_norm_does_not_take_off_the_mean():
    y = nn.RMSNorm(eps=0)(jnp.array([3.0, 4.0]))
    close(y, jnp.array([3.0, 4.0]) / 12.5**0.5)


def test_rms_norm_adds_the_machine_epsilon_of_what_it_computes_in():
    tiny = jnp.array([1e-3, 1e-3])
    expected = 1e-3 / (1e-6 + 2.0**-23) ** 0.5
    close(nn.RMSNorm()(tiny), expected, rtol=1e-5)
    close(nn.RMSNorm()(tiny.astype("float16")), expected, rtol=2e-3)


def test_they_print_their_settings():
    assert repr(nn.LayerNorm((3, None))) == "LayerNorm((3, None), eps=1e-05)"
    assert repr(nn.RMSNorm()) == "RMSNorm((None,), eps=None)"
