"""The layers of Flax NNX, taken apart into graph and parameters and merged in the program.

What Flax leaves to others is left to them: its documentation takes losses from optax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax
from flax import nnx
from layer_tables.cases import Built, Call, Table, jax_calls

rngs = nnx.Rngs(0)


def plain(function: Callable[..., Any]) -> Built:
    """A function without parameters."""
    return Built(lambda _, *arguments: function(*arguments))


TABLE: Table = {
    "Conv2D(64, 3), 64 channels": lambda: nnx.Conv(64, 64, (3, 3), rngs=rngs),
    "Conv2D(6, 5), 1 channel": lambda: nnx.Conv(1, 6, (5, 5), rngs=rngs),
    "Conv2D(128, 1), 64 channels": lambda: nnx.Conv(64, 128, (1, 1), rngs=rngs),
    "depthwise 3x3, 64 channels": lambda: nnx.Conv(
        64, 64, (3, 3), feature_group_count=64, rngs=rngs
    ),
    "Conv2D(64, 3, groups=4), 64 channels": lambda: nnx.Conv(
        64, 64, (3, 3), feature_group_count=4, rngs=rngs
    ),
    "Conv2D(192, 16, 16), 3 channels": lambda: nnx.Conv(3, 192, (16, 16), 16, rngs=rngs),
    "Conv3D(32, 3), 16 channels": lambda: nnx.Conv(16, 32, (3, 3, 3), rngs=rngs),
    "ConvTranspose2D(32, 4, 2), 64 channels": lambda: nnx.ConvTranspose(
        64, 32, (4, 4), (2, 2), rngs=rngs
    ),
    "MaxPool2D(2)": lambda: plain(lambda x: nnx.max_pool(x, (2, 2), (2, 2))),
    "MaxPool2D(3, 2, padding=1)": lambda: plain(
        lambda x: nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    ),
    "AvgPool2D(2)": lambda: plain(lambda x: nnx.avg_pool(x, (2, 2), (2, 2))),
    "GlobalAvgPool2D": lambda: plain(lambda x: nnx.avg_pool(x, x.shape[1:3])),
    "GlobalMaxPool2D": lambda: plain(lambda x: nnx.max_pool(x, x.shape[1:3])),
    "Dense(512), 3-D input": lambda: nnx.Linear(256, 512, rngs=rngs),
    "BatchNorm": lambda: nnx.BatchNorm(64, rngs=rngs),
    "GroupNorm(8)": lambda: nnx.GroupNorm(64, 8, rngs=rngs),
    "LayerNorm": lambda: nnx.LayerNorm(512, rngs=rngs),
    "RMSNorm": lambda: nnx.RMSNorm(512, rngs=rngs),
    "Dropout(0.5)": lambda: nnx.Dropout(0.5, rngs=rngs),
    "Embedding": lambda: nnx.Embed(4096, 256, rngs=rngs),
    "LSTM(256), 64 steps": lambda: nnx.RNN(nnx.OptimizedLSTMCell(256, 256, rngs=rngs)),
    "GRU(256), 64 steps": lambda: nnx.RNN(nnx.GRUCell(256, 256, rngs=rngs)),
    "attention, 8 heads, 128 positions": lambda: nnx.MultiHeadAttention(
        8, 256, decode=False, rngs=rngs
    ),
    "softmax cross-entropy, 4096 classes": lambda: plain(
        optax.softmax_cross_entropy_with_integer_labels
    ),
}


def build(case: str) -> tuple[Call, Call]:
    made = TABLE[case]()
    if not isinstance(made, Built):
        graph, parameters, rest = nnx.split(made, nnx.Param, ...)
        made = Built(
            lambda p, x, rest: nnx.merge(graph, p, rest, copy=True)(x), parameters, (rest,)
        )
    return jax_calls(case, made)
