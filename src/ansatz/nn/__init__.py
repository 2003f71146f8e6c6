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
from ansatz.nn.batch_norm import BatchNorm
from ansatz.nn.containers import Sequential
from ansatz.nn.dropout import Dropout
from ansatz.nn.embedding import Embedding
from ansatz.nn.instance_norm import GroupNorm, InstanceNorm
from ansatz.nn.layer_norm import LayerNorm, RMSNorm
from ansatz.nn.linear import Dense, Linear
from ansatz.nn.losses import (
    binary_cross_entropy,
    huber_loss,
    l1_loss,
    l2_loss,
    softmax_cross_entropy,
)
from ansatz.nn.stateless import Flatten, Identity, Lambda

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
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Identity",
    "InstanceNorm",
    "Lambda",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "Module",
    "PReLU",
    "RMSNorm",
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
