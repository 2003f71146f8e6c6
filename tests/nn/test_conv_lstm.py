"""Convolutional LSTMs, beyond what Keras' numbers say (`tests/parity`)."""

import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import init, nn

X = jnp.ones((2, 4, 4, 3))
MISTAKES = {
    "axes": (lambda: nn.ConvLSTMCell(2, (3,) * 4), ValueError, "1 to 3 spatial axes"),
    "layout": (lambda: nn.ConvLSTMCell(2, (3, 3), layout="NCW"), ValueError, "'NHWC'"),
    "input": (lambda: nn.ConvLSTMCell(2, 3)(X[0]), az.ShapeError, "4 axes, NHWC"),
    "channels": (
        lambda: nn.ConvLSTMCell(2, 3, in_channels=4)(X),
        az.ShapeError,
        "expects 4 channels",
    ),
    "state": (
        lambda: nn.ConvLSTMCell(2, 3)(X, (X, X)),
        az.ShapeError,
        r"has shape \(2, 4, 4, 3\), expected \(2, 4, 4, 2\)",
    ),
    "half a state": (lambda: nn.ConvLSTMCell(2, 3)(X, X), TypeError, r"a pair \(h, c\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake):
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        call()


def test_the_forget_gate_may_begin_open():
    cell = nn.ConvLSTMCell(2, 3, bias_init=init.LSTMBias(1.0))
    cell.initialize(seed=0)
    assert cell.bias.value.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_one_number_is_the_kernel_of_as_many_axes_as_the_layout_has():
    assert nn.ConvLSTMCell(2, 3).kernel_size == (3, 3)
    assert nn.ConvLSTMCell(2, 3, layout="NCDHW").kernel_size == (3, 3, 3)


def test_parameters_are_shared_by_name():
    first = nn.ConvLSTMCell(2, 3, in_channels=3)
    second = nn.ConvLSTMCell(2, 3, params=first.collect_params())
    assert second.weight_hh is first.weight_hh
    assert repr(second) == "ConvLSTMCell(3 -> 2, kernel_size=3)"


def test_half_precision_goes_in_and_comes_out():
    cell = nn.ConvLSTMCell(2, (2,), dtype="bfloat16", use_bias=False, layout="NCW")
    h, c = cell(jnp.ones((1, 3, 4), "bfloat16"))
    assert h.dtype == c.dtype == jnp.bfloat16
