"""Layers, containers and losses."""

from ansatz import init
from ansatz.core.module import Module
from ansatz.nn.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Swish,
    Tanh,
)
from ansatz.nn.containers import Sequential
from ansatz.nn.dropout import Dropout
from ansatz.nn.embedding import Embedding
from ansatz.nn.linear import Dense, Linear
from ansatz.nn.losses import (
    binary_cross_entropy,
    huber_loss,
    l1_loss,
    l2_loss,
    softmax_cross_entropy,
)
from ansatz.nn.normalization import BatchNorm, LayerNorm
from ansatz.nn.recurrent import GRU, LSTM, RNN
from ansatz.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell
from ansatz.nn.stateless import Flatten, Identity, Lambda

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Identity",
    "LSTMCell",
    "Lambda",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "Module",
    "PReLU",
    "RNNCell",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Swish",
    "Tanh",
    "binary_cross_entropy",
    "huber_loss",
    "init",
    "l1_loss",
    "l2_loss",
    "softmax_cross_entropy",
]
