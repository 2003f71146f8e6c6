"""Recurrent layers and cells against PyTorch, with its packed sequences for `lengths=`."""

import jax.numpy as jnp
import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("recurrent")
WIDTH, HIDDEN = 2, 3
LAYERS = {
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
CELLS = {
    "tanh": nn.RNNCell,
    "relu": lambda *sizes, **options: nn.RNNCell(*sizes, nonlinearity="relu", **options),
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
}


def state_of(arrays):
    if not arrays:
        return None
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def call(layer, x, *rest):
    lengths = rest[-1] if rest and jnp.issubdtype(rest[-1].dtype, jnp.integer) else None
    return layer(x, state_of(rest if lengths is None else rest[:-1]), lengths=lengths)


def call_cell(cell, x, *states):
    return cell(x, state_of(states))


def build(name, input_size):
    kind, *rest = name.split()
    if rest == ["cell"]:
        return CELLS[kind](HIDDEN, input_size=input_size)
    if rest == ["projected"]:
        return nn.LSTM(HIDDEN, input_size=input_size, num_layers=2, bidirectional=True, proj_size=2)
    if rest == ["time", "first"]:
        return nn.GRU(HIDDEN, input_size=input_size, use_bias=False, batch_first=False)
    return LAYERS[kind](
        HIDDEN, input_size=input_size, num_layers=int(rest[0]), bidirectional=rest[1] == "True"
    )


@pytest.mark.parametrize("name", CASES)
def test_a_recurrence_computes_what_pytorch_computes(name):
    # Every other one has to find out its input size.
    module = build(name, WIDTH if list(CASES).index(name) % 2 else None)
    replay.check(CASES[name], module, call_cell if "cell" in name else call)
