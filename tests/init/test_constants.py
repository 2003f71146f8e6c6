import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn

DTYPES = ["float32", "float16", "bfloat16", "int32", "uint8", "bool", "complex64"]


def value_of(initializer, shape=(4, 3), dtype="float32"):
    parameter = az.Parameter(shape, dtype=dtype, init=initializer)
    assert parameter.value.dtype == dtype
    return np.asarray(parameter.value)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (2, 0, 3), (300, 1001)])
def test_zeros_and_ones_work_for_every_dtype_and_shape(dtype, shape):
    assert (value_of(init.Zeros(), shape, dtype) == 0).all()
    assert (value_of(init.Ones(), shape, dtype) == 1).all()
    assert (value_of(init.Constant(1), shape, dtype) == 1).all()


def test_a_constant_sets_every_element():
    assert (value_of(init.Constant(42)) == 42).all()
    assert (value_of(init.Constant(-np.inf)) == -np.inf).all()


@pytest.mark.parametrize("value", [[1, 2, 3], (1, 2, 3), np.array([1, 2, 3]), jnp.arange(1, 4)])
def test_an_array_is_broadcast_to_the_shape(value):
    np.testing.assert_array_equal(value_of(init.Constant(value), (2, 3)), [[1, 2, 3], [1, 2, 3]])


def test_a_constant_is_rounded_once_to_low_precision():
    expected = np.array(1 / 3).astype(jnp.bfloat16)
    assert (value_of(init.Constant(1 / 3), dtype="bfloat16") == expected).all()


def test_later_changes_of_the_array_are_not_seen():
    array = np.ones(3)
    constant = init.Constant(array)
    array[:] = 7
    assert (value_of(constant) == 1).all()


def test_a_constant_declares_a_weight_and_leaves_biases_alone():
    net = nn.Sequential(nn.Dense(8, in_units=4))
    net.initialize(init.Constant(1), force_reinit=True)
    assert (net[0].weight.value == 1).all()
    assert (net[0].bias.value == 0).all()


@pytest.mark.parametrize("value", [float("nan"), [1.0, float("nan")], "1", None, {}, [None]])
def test_what_is_not_a_number_is_refused_at_construction(value):
    with pytest.raises(az.InitializationError, match="value of Constant"):
        init.Constant(value)


def test_a_value_that_does_not_broadcast_is_refused_by_path():
    net = nn.Sequential(nn.Dense(4, in_units=3))
    with pytest.raises(
        az.InitializationError, match=r"parameter '0.weight' has shape \(4, 3\).*shape \(4,\)"
    ):
        net.initialize(init.Constant([1, 2, 3, 4]))
    with pytest.raises(az.InitializationError, match="does not broadcast"):
        value_of(init.Constant(np.ones((2, 4, 3))))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(0.5, "int32"), (-1, "uint8"), (300, "uint8"), (1e6, "float16"), (1e300, "float32"),
     (1j, "float32"), (2, "bool")],
)  # fmt: skip
def test_a_value_that_the_dtype_cannot_hold_is_refused(value, dtype):
    with pytest.raises(az.InitializationError, match=f"dtype {dtype}, which cannot hold"):
        value_of(init.Constant(value), dtype=dtype)


def test_the_printed_form_can_be_read_back():
    assert repr(init.Zeros()) == "Zeros()"
    assert repr(init.Constant(0.5)) == "Constant(value=0.5)"
