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
from ansatz.nn.attention import MultiHeadAttention
from ansatz.nn.containers import Sequential
from ansatz.nn.decoding import decoding
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
from ansatz.nn.packed_attention import MultiheadAttention
from ansatz.nn.positions import LearnedPositions, RotaryPositions, SinusoidalPositions
from ansatz.nn.stack import Stack
from ansatz.nn.stateless import Flatten, Identity, Lambda
from ansatz.nn.transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Identity",
    "Lambda",
    "LayerNorm",
    "LeakyReLU",
    "LearnedPositions",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "Module",
    "MultiHeadAttention",
    "MultiheadAttention",
    "PReLU",
    "ReLU",
    "ReLU6",
    "RotaryPositions",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Softsign",
    "Stack",
    "Swish",
    "Tanh",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "binary_cross_entropy",
    "decoding",
    "huber_loss",
    "init",
    "l1_loss",
    "l2_loss",
    "softmax_cross_entropy",
]
